"""What is somebody else's is answered as what is not there: by the same words, and after as many questions.

Otherwise whoever has an id, or the name of a namespace, learns that others have such a thing. Time is counted
in statements to the database, which a busy machine does not change. One answer differs, as Glance's does: an
image's id as a list's marker is 403 where it is somebody else's, 400 where it is none (contract section 2.1).
"""

import contextlib
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.functional.conftest import STRANGER, Api, Caller
from tests.functional.importing import FORMATS

PATCH = "application/openstack-images-v2.1-json-patch"
CHANGE = [{"op": "replace", "path": "/name", "value": "mine"}]
DIRECT = {"method": {"name": "glance-direct"}}
COPY = {"method": {"name": "copy-image"}, "stores": ["cheap"]}
#: {} is an image's id.
OF_IMAGES: list[tuple[str, str, Any]] = [
    ("GET", "/v2/images/{}", None),
    ("PATCH", "/v2/images/{}", CHANGE),
    ("DELETE", "/v2/images/{}", None),
    ("GET", "/v2/images/{}/file", None),
    ("PUT", "/v2/images/{}/file", b"x"),
    ("PUT", "/v2/images/{}/stage", b"x"),
    ("POST", "/v2/images/{}/import", DIRECT),
    ("POST", "/v2/images/{}/import", COPY),
    ("GET", "/v2/images/{}/tasks", None),
    ("GET", "/v2/images/{}/locations", None),
    ("POST", "/v2/images/{}/locations", {"url": "http://images.example/x"}),
    ("PUT", "/v2/images/{}/tags/t", None),
    ("DELETE", "/v2/images/{}/tags/t", None),
    ("POST", "/v2/images/{}/actions/deactivate", None),
    ("POST", "/v2/images/{}/actions/reactivate", None),
    ("GET", "/v2/images/{}/members", None),
    ("POST", "/v2/images/{}/members", {"member": "x"}),
    ("GET", "/v2/images/{}/members/friend", None),
    ("PUT", "/v2/images/{}/members/friend", {"status": "accepted"}),
    ("DELETE", "/v2/images/{}/members/friend", None),
    ("DELETE", "/v2/stores/fast/{}", None),
    ("PUT", "/v2/cache/{}", None),
    ("DELETE", "/v2/cache/{}", None),
]
#: {} is a namespace's name.
OF_NAMESPACES: list[tuple[str, str, Any]] = [
    ("GET", "/v2/metadefs/namespaces/{}", None),
    ("PUT", "/v2/metadefs/namespaces/{}", {"namespace": "Mine"}),
    ("DELETE", "/v2/metadefs/namespaces/{}", None),
    ("GET", "/v2/metadefs/namespaces/{}/objects", None),
    ("GET", "/v2/metadefs/namespaces/{}/objects/o", None),
    ("GET", "/v2/metadefs/namespaces/{}/properties", None),
    ("GET", "/v2/metadefs/namespaces/{}/properties/p", None),
    ("GET", "/v2/metadefs/namespaces/{}/tags", None),
    ("GET", "/v2/metadefs/namespaces/{}/tags/t", None),
    ("GET", "/v2/metadefs/namespaces/{}/resource_types", None),
    ("POST", "/v2/metadefs/namespaces/{}/objects", {"name": "x"}),
    ("GET", "/v2/metadefs/namespaces?marker={}", None),
]


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that the database is asked."""
    said: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        said.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def answered(api: Api, method: str, path: str, body: Any) -> tuple[int, str, int]:
    """Status, words and the number of statements of an answer."""
    more: dict[str, Any] = {}
    if isinstance(body, bytes):
        more, body = {"data": body, "content_type": "application/octet-stream"}, None
    elif method == "PATCH":
        more = {"content_type": PATCH}
    with counted() as said:
        answer = api.ask(method, path, body, **more)
    return answer.status_code, answer.text, len(said)


def compare(api: Api, ask: tuple[str, str, Any], theirs: str, nobodys: str) -> None:
    """Ask about what is there and about what is not; the first time fills what is kept in memory."""
    method, path, body = ask
    found: list[tuple[int, str, int]] = []
    for name in (nobodys, nobodys, theirs):
        status, text, count = answered(api, method, path.format(name), body)
        found.append((status, text.replace(name, "{}"), count))
    assert found[2] == found[1]
    status, _, count = found[2]
    assert status == 403 or (status == 404 and count)


@pytest.fixture
def options(several_stores: str, tmp_path: pathlib.Path) -> str:
    """Of a service that has all that an image can be in: stores, a cache."""
    return f"show_multiple_locations = true\nimage_cache_dir = {tmp_path}/cache\n{several_stores}"


@pytest.fixture
def theirs(caller: Caller, options: str) -> str:
    """Another project's image, with data and with a member."""
    api = caller(project=STRANGER, options=options)
    image_id = api.create(**FORMATS, tags=["t"])
    assert api.put(image_id, b"data").status_code == 204
    api.ask("POST", f"/v2/images/{image_id}/members", {"member": "friend"})
    return image_id


@pytest.mark.parametrize("ask", OF_IMAGES, ids=lambda ask: f"{ask[0]} {ask[1]}")
def test_images(caller: Caller, options: str, theirs: str, ask: tuple[str, str, Any]) -> None:
    """Members of an image, its tasks, locations and cached data with it."""
    api = caller(options=options)
    compare(api, ask, theirs, str(uuid.uuid4()))


@pytest.mark.parametrize("ask", OF_NAMESPACES, ids=lambda ask: f"{ask[0]} {ask[1]}")
def test_namespaces(caller: Caller, ask: tuple[str, str, Any]) -> None:
    """Private ones, and what belongs to them."""
    other = caller(project=STRANGER, roles="admin,member,reader")
    space = {"namespace": "Theirs", "visibility": "private", "tags": [{"name": "t"}]}
    assert other.ask("POST", "/v2/metadefs/namespaces", space).status_code == 201
    compare(caller(), ask, "Theirs", "Nobody")


MEMBERS: list[tuple[str, str, Any]] = [
    ("GET", "{}", None),
    ("PUT", "{}", {"status": "accepted"}),
    ("DELETE", "{}", None),
]


@pytest.mark.parametrize("ask", MEMBERS, ids=lambda ask: str(ask[0]))
def test_members_of_an_image_that_is_shared(
    caller: Caller, options: str, theirs: str, ask: tuple[str, str, Any]
) -> None:
    """Whom else an image is shared with, a member does not learn."""
    owner = caller(project=STRANGER, options=options)
    owner.ask("POST", f"/v2/images/{theirs}/members", {"member": "owner-project"})
    method, _, body = ask
    api = caller(options=options)
    compare(api, (method, f"/v2/images/{theirs}/members/{{}}", body), "friend", "nobody")


def test_tasks(caller: Caller, tmp_path: pathlib.Path) -> None:
    """Where the operator lets users see tasks, these are their own."""
    rules = tmp_path / "policy.yaml"
    rules.write_text('tasks_api_access: "role:member"\n')
    options = f"[oslo_policy]\npolicy_file = {rules}\n"
    made = {"import_from": "http://images.example/x", "import_from_format": "raw"}
    task = {"type": "import", "input": made | {"image_properties": FORMATS}}
    other = caller(project=STRANGER, options=options)
    theirs = other.ask("POST", "/v2/tasks", task).get_json()["id"]
    api = caller(options=options)
    compare(api, ("GET", "/v2/tasks/{}", None), theirs, str(uuid.uuid4()))
