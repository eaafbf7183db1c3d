"""The WSGI application on a database, a store and a staging directory of its own; nothing runs beside it."""

import functools
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug import test

from api import app
from images import db, policy, stores
from tests import commands

OWNER, STRANGER = "owner-project", "other-project"


class Api:
    """A client of one caller: requests in, answers out."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.client = test.Client(application)

    def ask(
        self, method: str, path: str, document: Any = None, **options: Any
    ) -> test.TestResponse:
        """One request; a document goes as JSON, `data=` as it is, `headers=` by their names."""
        if document is not None:
            options |= {"data": json.dumps(document)}
            options.setdefault("content_type", "application/json")
        return self.client.open(path, method=method, buffered=True, **options)

    def create(self, **fields: Any) -> str:
        """A new image's id."""
        answer = self.ask("POST", "/v2/images", fields)
        assert answer.status_code == 201, answer.text
        image_id: str = answer.get_json()["id"]
        return image_id

    def show(self, image_id: str) -> dict[str, Any]:
        """An image's record."""
        answer = self.ask("GET", f"/v2/images/{image_id}")
        assert answer.status_code == 200, answer.text
        record: dict[str, Any] = answer.get_json()
        return record

    def patch(
        self, image_id: str, *changes: dict[str, Any], version: str = "2.1"
    ) -> test.TestResponse:
        """A PATCH."""
        kind = f"application/openstack-images-v{version}-json-patch"
        return self.ask("PATCH", f"/v2/images/{image_id}", list(changes), content_type=kind)

    def put(
        self, image_id: str, data: bytes, what: str = "file", **headers: str
    ) -> test.TestResponse:
        """PUT /file or /stage."""
        return self.ask(
            "PUT",
            f"/v2/images/{image_id}/{what}",
            data=data,
            content_type="application/octet-stream",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )


#: Makes the client of a caller; options are lines of a configuration file's [DEFAULT] and what follows.
Caller = Callable[..., Api]


@pytest.fixture
def caller(tmp_path: pathlib.Path, empty_database: pathlib.Path) -> Iterator[Caller]:
    shutil.copy(empty_database, tmp_path / "gantry.sqlite")

    def start(*, project: str = OWNER, roles: str = "member,reader", options: str = "") -> Api:
        _stop()
        file = tmp_path / "gantry.conf"
        file.write_text(
            f"[DEFAULT]\n"
            f"node_staging_uri = file://{tmp_path}/staging\n"
            f"{options}\n"
            f"[noauth]\nproject_id = {project}\nroles = {roles}\n"
            f"[glance_store]\nfilesystem_store_datadir = {tmp_path}/images\n"
            f"[database]\nconnection = sqlite:///{tmp_path}/gantry.sqlite\n"
            f"[gantry]\nstate_path = {tmp_path}\nbroker_url = memory://\n"
        )
        made = app.create_app([str(file)])
        return Api(made)

    yield start
    _stop()


def _stop() -> None:
    db.dispose()
    stores.reset()
    policy.reset()


@pytest.fixture
def api(caller: Caller) -> Api:
    """A member of a project."""
    return caller()


@pytest.fixture
def several_stores(tmp_path: pathlib.Path) -> str:
    """Options of a service with three stores, one of them read-only."""
    return f"""
enabled_backends = fast:file,cheap:file,web:http
[fast]
filesystem_store_datadir = {tmp_path}/fast
store_description = SSD
weight = 1
[cheap]
filesystem_store_datadir = {tmp_path}/cheap
weight = 9
[glance_store]
default_backend = fast
[os_glance_staging_store]
filesystem_store_datadir = {tmp_path}/staging
"""


@pytest.fixture
def execute(caller: Caller) -> Callable[..., None]:
    """Change the records behind the API's back."""

    def run(statement: Any) -> None:
        with db.transaction() as session:
            session.execute(statement)

    return run


#: Runs an operators' command on the service that `caller` has started.
Command = Callable[..., commands.Ended]


@pytest.fixture
def command(caller: Caller, tmp_path: pathlib.Path) -> Command:
    return functools.partial(commands.run, tmp_path / "gantry.conf")
