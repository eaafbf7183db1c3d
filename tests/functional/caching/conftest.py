"""A service with a cache, and a web server that its images lie on."""

import pathlib
from collections.abc import Iterator

import pytest

from tests import web
from tests.functional.caching.kept import ALLOW, SHOWN, Shop
from tests.functional.conftest import Api, Caller


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    with web.serving(made.answers) as made.url:
        yield made


@pytest.fixture
def room(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "cache"


@pytest.fixture
def start(caller: Caller, room: pathlib.Path) -> Caller:
    """Makes the client of a caller of a service with a cache."""

    def begin(options: str = "", **who: str) -> Api:
        return caller(options=f"{SHOWN}image_cache_dir = {room}\n{options}{ALLOW}", **who)

    return begin


@pytest.fixture
def api(start: Caller) -> Api:
    return start()


@pytest.fixture
def admin(start: Caller, api: Api) -> Api:
    """The same service, as an administrator finds it."""
    return start(roles="admin,member,reader")
