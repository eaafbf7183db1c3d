"""Adopt and roll back: a real Glance's database, taken over and given back, on PostgreSQL and MariaDB."""

import collections
import contextlib
import dataclasses
import hashlib
import http.client
import http.server
import pathlib
import pprint
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from images import db
from tests import glance, service, web
from tests.integration import databases, glance_service

DATA = bytes(512) + bytes(range(256)) * 4096
FORMATS = {"disk_format": "raw", "container_format": "bare"}
_PATCH = "application/openstack-images-v2.1-json-patch"
_OPTIONS = """
[DEFAULT]
enabled_backends = fast:file,cheap:file
enabled_import_methods = [glance-direct,web-download,copy-image]
delayed_delete = true
scrub_time = 86400
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {room}/fast
[cheap]
filesystem_store_datadir = {room}/cheap
[os_glance_staging_store]
filesystem_store_datadir = {room}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {room}/tasks
[database]
connection = {url}
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [{port}]
"""
_OURS = """
[image_import_opts]
image_import_plugins = []
[gantry]
sweep_seconds = 1
upkeep_seconds = 1
upload_patience_seconds = 60
lease_seconds = 5
"""
_NAMESPACE = {
    "namespace": "OS::Test::Adopted",
    "display_name": "Adopted",
    "visibility": "public",
    "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}],
    "properties": {"cores": {"title": "Cores", "type": "integer", "minimum": 1}},
    "objects": [
        {
            "name": "Board",
            "required": ["maker"],
            "properties": {"maker": {"title": "Maker", "type": "string"}},
        }
    ],
    "tags": [{"name": "one"}, {"name": "two"}],
}
_SIGNED = {
    "img_signature": "c2lnbmF0dXJl",
    "img_signature_hash_method": "SHA-256",
    "img_signature_key_type": "RSA-PSS",
    "img_signature_certificate_uuid": "7a1c2a5e-1a0b-4b62-9d3f-2f2f6f2f6f2f",
}
#: Imports that are under way when Glance is killed.
_DEAD = ("dead", "dead and signed")
#: Members of a task that the services differ in: only ours shows how far it is.
_ONLY_OURS = {"progress"}

#: A request to either service: method, path, body, headers.
Ask = Callable[..., Any]
#: A statement, run by the database itself.
Sql = Callable[..., list[Any]]


class Filled:
    """What was put into the database, by either service."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def image(self, **fields: Any) -> str:
        answer = self.ask("POST", "/v2/images", FORMATS | fields)
        assert answer.status == 201, answer.data
        return str(answer.json()["id"])

    def active(self, data: bytes = DATA, **fields: Any) -> str:
        image_id = self.image(**fields)
        self.done(204, "PUT", f"/v2/images/{image_id}/file", data)
        return image_id

    def done(self, status: int, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.ask(method, path, body, **headers)
        assert answer.status == status, answer.data
        return answer

    def imported(self, image_id: str, name: str, **fields: Any) -> dict[str, Any]:
        """An import that has ended; its task."""
        self.begun(image_id, name, **fields)

        def ended() -> dict[str, Any] | None:
            tasks = self.ask("GET", f"/v2/images/{image_id}/tasks").json()["tasks"]
            live = [one for one in tasks if one["status"] in ("pending", "processing")]
            return None if live else dict(tasks[0])

        return service.wait_for(ended, f"the import of {image_id}")

    def begun(self, image_id: str, name: str, **fields: Any) -> None:
        choice = fields.pop("choice", {})
        body = {"method": {"name": name} | fields} | choice
        self.done(202, "POST", f"/v2/images/{image_id}/import", body)


def everything(ask: Ask, known: list[str]) -> dict[str, Any]:
    """All that a service serves: records and lists, members, tasks, definitions, and the data's digests.

    What has no order of its own, as tags and members, is sorted: Glance gives it as its database does.
    """
    seen: dict[str, Any] = {}
    for query in ("limit=1000", "limit=1000&os_hidden=true", "limit=1000&sort=name:asc"):
        seen[query] = [one["id"] for one in ask("GET", f"/v2/images?{query}").json()["images"]]
    for image_id in known:
        answer = ask("GET", f"/v2/images/{image_id}")
        seen[image_id] = answer.json() if answer.status == 200 else answer.status
        if answer.status == 200:
            seen[image_id]["tags"].sort()
        members = ask("GET", f"/v2/images/{image_id}/members")
        seen[f"members {image_id}"] = members.status
        if members.status == 200:
            found = {one["member_id"]: one for one in members.json()["members"]}
            seen[f"members {image_id}"] = found
        tasks = ask("GET", f"/v2/images/{image_id}/tasks")
        seen[f"tasks {image_id}"] = tasks.status
        if tasks.status == 200:
            found = {one["id"]: without(one, _ONLY_OURS) for one in tasks.json()["tasks"]}
            seen[f"tasks {image_id}"] = found
        data = ask("GET", f"/v2/images/{image_id}/file")
        whole = data.status == 200 and hashlib.sha256(data.data).hexdigest()
        seen[f"data {image_id}"] = data.status, whole
    for path in ("namespaces", "namespaces/OS::Test::Adopted", "resource_types"):
        seen[path] = ask("GET", f"/v2/metadefs/{path}").json()
    return seen


def without(record: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def differences(one: Any, other: Any) -> Any:
    """What differs, and where; None where nothing does."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        found = {key: differences(one.get(key), other.get(key)) for key in keys}
        return {key: value for key, value in found.items() if value} or None
    return None if one == other else (one, other)


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database."""
    glance.require()
    with getattr(databases, request.param)() as made:
        yield made


@pytest.fixture
def sql(url: str) -> Iterator[Sql]:
    """Asks the database itself, or changes it."""
    engine = db.create_engine(url)

    def run(statement: str, **values: Any) -> list[Any]:
        with engine.begin() as connection:
            found = connection.execute(sa.text(statement), values)
            return [tuple(row) for row in found] if found.returns_rows else []

    yield run
    engine.dispose()


@dataclasses.dataclass
class Downloads:
    """A web server: /whole, /absent, and names of which it gives half, and the rest when it is told to."""

    url: str = ""
    asked: dict[str, threading.Event] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(threading.Event)
    )
    release: threading.Event = dataclasses.field(default_factory=threading.Event)

    def uri(self, name: str) -> str:
        """Where `name` can be downloaded from."""
        return f"{self.url}/{urllib.parse.quote(name)}"

    def half(self, name: str) -> web.Answer:
        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(DATA)))
            handler.end_headers()
            handler.wfile.write(DATA[: len(DATA) // 2])
            self.asked[name].set()
            self.release.wait(service.PATIENCE)
            handler.wfile.write(DATA[len(DATA) // 2 :])

        return answer


@contextlib.contextmanager
def serving() -> Iterator[Downloads]:
    downloads = Downloads()
    halves = {f"/{urllib.parse.quote(name)}": downloads.half(name) for name in _DEAD}
    with web.serving({"/whole": web.whole(DATA)} | halves) as downloads.url:
        yield downloads


@contextlib.contextmanager
def half_an_upload(theirs: glance_service.Glance, image_id: str) -> Iterator[None]:
    """An upload that has sent half of its bytes."""
    with contextlib.closing(
        http.client.HTTPConnection(urllib.parse.urlsplit(theirs.url).netloc)
    ) as line:
        line.putrequest("PUT", f"/v2/images/{image_id}/file")
        for name, value in glance_service.CALLER.items():
            line.putheader(name, value)
        line.putheader("Content-Type", "application/octet-stream")
        line.putheader("Content-Length", str(2 * len(DATA)))
        line.endheaders()
        line.send(DATA)
        path = f"/v2/images/{image_id}"
        begun = lambda: theirs.ask("GET", path).json()["status"] == "saving"  # noqa: E731
        service.wait_for(begun, "the upload to begin")
        yield


def fill(filled: Filled, source: str) -> dict[str, str]:
    """Images in every status, and what hangs on them; their ids by their names."""
    ids = {
        "public": filled.active(name="public", visibility="public", tags=["a", "\u00df"]),
        "community": filled.active(name="community", visibility="community", protected=True),
        "private": filled.active(name="private", visibility="private", min_ram=7, min_disk=3),
        "hidden": filled.active(name="hidden", os_hidden=True),
        "shared": filled.active(name="shared", Color="red", shape="round"),
        "closed": filled.active(name="closed"),
        "gone": filled.active(name="gone"),
        "killed": filled.image(name="killed"),
        "queued": filled.image(name="queued", owner="another", tags=["late"]),
        "deleted": filled.image(name="deleted"),
        "staged": filled.image(name="staged"),
        "everywhere": filled.image(name="everywhere"),
        "failed": filled.image(name="failed"),
        "stuck": filled.image(name="stuck"),
        "saving": filled.image(name="saving"),
        "dead": filled.image(name="dead"),
        "dead and signed": filled.image(name="dead and signed", **_SIGNED),
    }
    for member, status in (("friend", "accepted"), ("stranger", "pending"), ("enemy", "rejected")):
        path = f"/v2/images/{ids['shared']}/members"
        filled.done(200, "POST", path, {"member": member})
        filled.done(200, "PUT", f"{path}/{member}", {"status": status})
    filled.done(204, "POST", f"/v2/images/{ids['closed']}/actions/deactivate")
    for name in ("gone", "deleted"):
        filled.done(204, "DELETE", f"/v2/images/{ids[name]}")
    filled.done(204, "PUT", f"/v2/images/{ids['staged']}/stage", DATA)
    whole = {"uri": f"{source}/whole", "choice": {"all_stores": True}}
    assert filled.imported(ids["everywhere"], "web-download", **whole)["status"] == "success"
    for name in ("failed", "stuck"):
        task = filled.imported(ids[name], "web-download", uri=f"{source}/absent")
        assert task["status"] == "failure", task
    filled.done(201, "POST", "/v2/metadefs/namespaces", _NAMESPACE)
    return ids


def weekend(filled: Filled, ids: dict[str, str], source: str) -> dict[str, str]:
    """What users do on the adopted database: new images, and changes of the old ones; the new ids."""
    fresh = {
        "uploaded": filled.active(name="uploaded", tags=["new"], os_type="linux"),
        "imported": filled.image(name="imported"),
        "broken": filled.image(name="broken"),
        "dropped": filled.active(name="dropped"),
    }
    whole = {"uri": f"{source}/whole", "choice": {"stores": ["cheap"]}}
    assert filled.imported(fresh["imported"], "web-download", **whole)["status"] == "success"
    assert filled.imported(ids["staged"], "glance-direct")["status"] == "success"
    choice = {"choice": {"stores": ["cheap"]}}
    assert filled.imported(ids["hidden"], "copy-image", **choice)["status"] == "success"
    absent = {"uri": f"{source}/absent"}
    assert filled.imported(fresh["broken"], "web-download", **absent)["status"] == "failure"
    filled.done(204, "DELETE", f"/v2/images/{fresh['dropped']}")
    members = f"/v2/images/{ids['shared']}/members"
    filled.done(200, "POST", members, {"member": "guest"})
    filled.done(204, "DELETE", f"{members}/enemy")
    changes = [
        {"op": "replace", "path": "/name", "value": "renamed"},
        {"op": "remove", "path": "/shape"},
        {"op": "add", "path": "/size_of", "value": "x"},
    ]
    filled.done(200, "PATCH", f"/v2/images/{ids['shared']}", changes, Content_Type=_PATCH)
    filled.done(204, "PUT", f"/v2/images/{ids['public']}/tags/fresh")
    filled.done(204, "POST", f"/v2/images/{ids['closed']}/actions/reactivate")
    tags = "/v2/metadefs/namespaces/OS::Test::Adopted/tags/three"
    filled.done(201, "POST", tags)
    return fresh


def assert_settled(filled: Filled, ids: dict[str, str], sql: Sql) -> None:
    """The imports that Glance has left are resolved, and so is its upload."""
    dead = ids["dead"]
    service.wait_for(
        lambda: filled.ask("GET", f"/v2/images/{dead}").json()["status"] == "active", "the import"
    )
    assert filled.ask("GET", f"/v2/images/{dead}/file").data == DATA
    for name in ("dead and signed", "stuck"):
        record = filled.ask("GET", f"/v2/images/{ids[name]}").json()
        assert record["status"] == "queued"
        assert "os_glance_import_task" not in record
        assert record["os_glance_importing_to_stores"] == ""
    task = filled.ask("GET", f"/v2/images/{ids['dead and signed']}/tasks").json()["tasks"][0]
    assert (task["status"], "signed" in task["message"]) == ("failure", True)
    # Nobody waits for an hour in a test.
    old = "UPDATE images SET updated_at = '2020-01-01 00:00:00' WHERE id = :id"
    sql(old, id=ids["saving"])
    service.wait_for(
        lambda: filled.ask("GET", f"/v2/images/{ids['saving']}").json()["status"] == "queued",
        "the dead upload to be given back",
    )


def assert_serves(ask: Ask, seen: dict[str, Any], changed: tuple[str, ...] = ()) -> None:
    """All that was seen is served again, but for the images that have `changed`."""
    known = [key for key in seen if len(key) == len(str(uuid.UUID(int=0)))]
    different = differences(seen, everything(ask, known)) or {}
    left = {k: v for k, v in different.items() if not any(one in k for one in changed)}
    assert not left, pprint.pformat(left, width=180)


@dataclasses.dataclass
class Cloud:
    """Both services on one database, the same stores and the same staging; one of them runs at a time."""

    glance: glance_service.Glance
    ours: service.Service
    downloads: Downloads
    sql: Sql

    def glance_revision(self) -> list[Any]:
        return self.sql("SELECT version_num FROM alembic_version")


@pytest.fixture
def cloud(url: str, tmp_path: pathlib.Path, sql: Sql) -> Iterator[Cloud]:
    for name in ("fast", "cheap", "staging", "tasks", "gantry"):
        (tmp_path / name).mkdir()
    with serving() as downloads:
        port = urllib.parse.urlsplit(downloads.url).port
        options = _OPTIONS.format(room=tmp_path, url=url, port=port)
        theirs = glance_service.Glance(tmp_path / "glance", options)
        ours = service.Service(tmp_path / "gantry", options=options + _OURS)
        try:
            yield Cloud(theirs, ours, downloads, sql)
        finally:
            ours.stop_all()


def test_friday_and_monday(cloud: Cloud) -> None:
    with cloud.glance.running():
        ids, before = thursday(cloud)
    revision = cloud.glance_revision()
    friday(cloud, ids, before)
    ids |= weekend(Filled(cloud.ours.ask), ids, cloud.downloads.url)
    for name in ("beat", "worker", "api"):
        cloud.ours.stop(name)
    cloud.ours.start("api")
    sunday = everything(cloud.ours.ask, list(ids.values()))
    cloud.ours.stop("api")
    assert cloud.glance_revision() == revision
    with cloud.glance.running():
        assert_serves(cloud.glance.ask, sunday)
        before = monday(Filled(cloud.glance.ask), ids, cloud.downloads.url)
    # Purged by somebody who does not know our tables; with its tasks gone, an import's story is too.
    cloud.sql("UPDATE tasks SET deleted = :yes, deleted_at = '2020-01-01 00:00:00'", yes=True)
    cloud.glance.manage("db", "purge", "--age_in_days", "0", "--max_rows", "-1")
    assert not cloud.sql("SELECT id FROM tasks")
    assert cloud.ours.gantry("db", "adopt").returncode == 0
    cloud.ours.start("api")
    assert_serves(cloud.ours.ask, before, changed=("tasks",))


def thursday(cloud: Cloud) -> tuple[dict[str, str], dict[str, Any]]:
    """Glance is full and busy; ids by names, and what it serves. The caller kills it."""
    filled = Filled(cloud.glance.ask)
    ids = fill(filled, cloud.downloads.url)
    cloud.sql("UPDATE images SET status = 'killed' WHERE id = :id", id=ids["killed"])
    for name in _DEAD:
        filled.begun(ids[name], "web-download", uri=cloud.downloads.uri(name))
        assert cloud.downloads.asked[name].wait(service.PATIENCE)
    with half_an_upload(cloud.glance, ids["saving"]):
        return ids, everything(cloud.glance.ask, list(ids.values()))


def friday(cloud: Cloud, ids: dict[str, str], before: dict[str, Any]) -> None:
    """The database is taken over, and everything is served by us."""
    # Older releases of Glance have left such.
    cloud.sql("UPDATE images SET status = 'importing' WHERE id = :id", id=ids["stuck"])
    cloud.downloads.release.set()
    refused = cloud.ours.gantry("db", "sync")
    assert (refused.returncode, "gantry db adopt" in refused.stderr) == (1, True), refused
    adopted = cloud.ours.gantry("db", "adopt")
    assert adopted.returncode == 0, adopted.stderr
    assert "handed to workers: 1" in adopted.stdout
    assert "tasks ended: 1" in adopted.stdout
    assert "given back: 2" in adopted.stdout
    cloud.ours.start("broker", "api", "worker", "beat")
    unsettled = tuple(ids[one] for one in (*_DEAD, "saving", "stuck"))
    assert_serves(cloud.ours.ask, before, unsettled)
    assert_settled(Filled(cloud.ours.ask), ids, cloud.sql)


def monday(filled: Filled, ids: dict[str, str], source: str) -> dict[str, Any]:
    """Glance goes on where we have stopped; what it serves then."""
    again = filled.image(name="on Monday")
    assert filled.imported(again, "web-download", uri=f"{source}/whole")["status"] == "success"
    for name in ("uploaded", "everywhere", "imported"):
        filled.done(204, "DELETE", f"/v2/images/{ids[name]}")
    return everything(filled.ask, [*ids.values(), again])
