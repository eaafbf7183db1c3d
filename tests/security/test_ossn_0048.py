"""OSSN-0048: what may be done was judged by `assert`, and `python -O` has no assertions.

A real API process under `python -O` is asked for what its caller may not do. One that judges by an assertion
is asked the same, with assertions and without.
"""

import ast
import contextlib
import pathlib
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import service
from tests.functional.conftest import Caller
from tests.security import sources

#: An image that has data, one whose data are staged, and one without.
IMAGE, OTHER, EMPTY = (f"1a2b3c4d-0000-4000-8000-00000000000{n}" for n in range(3))
DATA = b"the reviewed bytes"
FORMATS = {"disk_format": "raw", "container_format": "bare"}
V21 = "application/openstack-images-v2.1-json-patch"
PATCH = [{"op": "replace", "path": "/name", "value": "changed"}]
DIRECT = {"method": {"name": "glance-direct"}}
STORES = """
enabled_backends = fast:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {room}/images
[os_glance_staging_store]
filesystem_store_datadir = {room}/staging
"""
#: What a reader may not do; a rule of its own stands before each.
FORBIDDEN: list[tuple[str, str, Any]] = [
    ("POST", "/v2/images", {"name": "mine"}),
    ("PATCH", f"/v2/images/{IMAGE}", PATCH),
    ("GET", f"/v2/images/{IMAGE}/file", None),
    ("PUT", f"/v2/images/{OTHER}/file", b"other bytes"),
    ("PUT", f"/v2/images/{OTHER}/stage", b"other bytes"),
    ("POST", f"/v2/images/{OTHER}/import", DIRECT),
    ("PUT", f"/v2/images/{IMAGE}/tags/t", None),
    ("POST", f"/v2/images/{IMAGE}/actions/deactivate", None),
    ("POST", f"/v2/images/{IMAGE}/members", {"member": "friend"}),
    ("POST", f"/v2/images/{EMPTY}/locations", {"url": "http://192.0.2.1/x"}),
    ("GET", f"/v2/images/{IMAGE}/locations", None),
    ("GET", "/v2/tasks", None),
    ("POST", "/v2/tasks", {"type": "import", "input": {}}),
    ("GET", "/v2/info/stores/detail", None),
    ("POST", "/v2/metadefs/namespaces", {"namespace": "Mine"}),
    ("DELETE", f"/v2/images/{IMAGE}", None),
]
#: What a build would be that judges by assertions.
WEAK = textwrap.dedent(
    """
    import pathlib
    from images import policy
    exec(pathlib.Path({settings!r}).read_text())
    def judge(asker, rule, image=None, **target):
        assert policy.allowed(asker, rule, image, **target)
    policy.enforce = judge
    """
)


def assertions(source: str) -> list[int]:
    """The lines of a program that judge, and that `python -O` leaves out.

    One that only tells the type checker that something is there judges nothing.
    """
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assert) and not ast.unparse(node.test).endswith(" is not None")
    ]


def test_ossn_0048_no_assertions() -> None:
    assert [name for name, text in sources.texts() if assertions(text)] == []
    assert assertions("def check(name):\n    assert name in allowed\n") == [2]


class Reader(service.Service):
    """The API of somebody who may only look, under gunicorn with these settings."""

    def __init__(self, state: pathlib.Path, settings: pathlib.Path, *, optimized: bool) -> None:
        self.settings = settings
        super().__init__(state, options=f"[DEFAULT]\n{STORES.format(room=state)}")
        self.environment |= {"GANTRY_API_PROCESSES": "1", "OS_NOAUTH__ROLES": "reader"}
        self.environment["PYTHONOPTIMIZE"] = "1" if optimized else ""

    def command(self, name: str) -> str:
        """The Procfile's, with the settings of this test."""
        return super().command(name).replace("deploy/gunicorn.conf.py", str(self.settings))

    def state_of_things(self) -> list[Any]:
        """What the forbidden requests would change."""
        images = self.ask("GET", "/v2/images").json()["images"]
        spaces = self.ask("GET", "/v2/metadefs/namespaces").json()["namespaces"]
        return [images, spaces, self.left_over()]


#: Starts the service on images that are there.
Reading = Callable[..., contextlib.AbstractContextManager[Reader]]


@pytest.fixture
def reading(caller: Caller, tmp_path: pathlib.Path) -> Reading:
    api = caller(project="demo", roles="member,reader", options=STORES.format(room=tmp_path))
    api.create(id=IMAGE, name="reviewed", **FORMATS)
    assert api.put(IMAGE, DATA).status_code == 204
    api.create(id=OTHER, **FORMATS)
    assert api.put(OTHER, DATA, "stage").status_code == 204
    api.create(id=EMPTY, **FORMATS)

    @contextlib.contextmanager
    def start(*, weak: bool = False, optimized: bool = True) -> Iterator[Reader]:
        settings = service.ROOT / "deploy/gunicorn.conf.py"
        if weak:
            text = WEAK.format(settings=str(settings))
            settings = tmp_path / "weak.conf.py"
            settings.write_text(text)
        running = Reader(tmp_path, settings, optimized=optimized)
        try:
            running.start("api")
            yield running
        finally:
            running.stop_all()

    return start


def statuses(api: Reader) -> dict[str, int]:
    """The answers to what is forbidden."""
    found = {}
    for method, path, body in FORBIDDEN:
        kind = {"Content_Type": V21} if method == "PATCH" else {}
        found[f"{method} {path}"] = api.ask(method, path, body, **kind).status
    return found


def test_ossn_0048(reading: Reading) -> None:
    """Without assertions, each is refused, and nothing has changed."""
    with reading() as api:
        before = api.state_of_things()
        assert {ask: status for ask, status in statuses(api).items() if status != 403} == {}
        assert api.state_of_things() == before


def test_ossn_0048_sings(reading: Reading) -> None:
    """Judged by assertions, the image is shown, changed and deleted."""
    with reading(weak=True) as api:
        found = statuses(api)
        assert found[f"PATCH /v2/images/{IMAGE}"] == 200
        assert found[f"GET /v2/images/{IMAGE}/file"] == 200
        assert api.ask("GET", f"/v2/images/{IMAGE}").status == 404


def test_ossn_0048_it_is_the_missing_assertions(reading: Reading) -> None:
    """The same build with its assertions lets nothing through."""
    with reading(weak=True, optimized=False) as api:
        before = api.state_of_things()
        assert min(statuses(api).values()) >= 400
        assert api.state_of_things() == before
