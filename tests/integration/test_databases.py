"""PostgreSQL and MariaDB: the tables, and the whole service on top of them."""

import hashlib
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from images import db
from tests import service, web
from tests.integration import databases, glance_tables

DATA = bytes(range(256)) * 8192  # 2 MiB
_QUICK = (
    "[gantry]\nlease_seconds = 5\nheartbeat_seconds = 0.2\nsweep_seconds = 1\nretry_pause = 0.1\n"
)
_PATCH = "application/openstack-images-v2.1-json-patch"


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database."""
    with getattr(databases, request.param)() as made:
        yield made


@pytest.fixture(scope="module")
def running(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """API, worker and beat on that database."""
    state = tmp_path_factory.mktemp("gantry")
    options = (
        f"[DEFAULT]\nimage_cache_dir = {state}/cache\n[database]\nconnection = {url}\n{_QUICK}"
    )
    with service.running(state, "api", "worker", "beat", options=options) as whole:
        yield whole


@pytest.fixture(scope="module")
def inspector(running: service.Service, url: str) -> Iterator[sa.Inspector]:
    """A look at the tables."""
    engine = db.create_engine(url)
    yield sa.inspect(engine)
    engine.dispose()


def gantry(running: service.Service, *words: str) -> str:
    """What the operators' command prints."""
    command = [sys.executable, "-m", "images.commands.main", *words]
    ended = subprocess.run(
        command,
        cwd=service.ROOT,
        env=running.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_db_sync_does_nothing_the_second_time(running: service.Service) -> None:
    version = gantry(running, "db", "version")
    assert version
    for _ in range(2):
        assert "up to date" in gantry(running, "db", "sync")
    assert gantry(running, "db", "version") == version


def described(column: Any) -> str:
    """A column as `glance_tables` writes it."""
    default = str(column["default"] or "").split("::")[0].strip("'")
    default = {"false": "0", "NULL": ""}.get(default, default)
    if default.startswith("nextval("):
        default = ""
    return f"{_kind(column['type'])}{'' if column['nullable'] else '!'}{default and '=' + default}"


def _kind(kind: sa.types.TypeEngine[Any]) -> str:
    if isinstance(kind, sa.Boolean | mysql.TINYINT):  # MariaDB has no other boolean
        return "boolean"
    if isinstance(kind, sa.String) and not isinstance(kind, sa.Text | sa.Enum):
        return f"string{kind.length}"
    names = {sa.Enum: "enum", sa.Text: "text", sa.DateTime: "datetime", sa.BigInteger: "bigint"}
    for known, name in names.items():
        if isinstance(kind, known):
            return name
    return "integer" if isinstance(kind, sa.Integer) else str(kind)


@pytest.mark.parametrize("table", glance_tables.COLUMNS)
def test_columns_are_those_of_glance(inspector: sa.Inspector, table: str) -> None:
    found = {column["name"]: described(column) for column in inspector.get_columns(table)}
    assert found == glance_tables.COLUMNS[table]
    keys = {
        key["constrained_columns"][0]: key["referred_table"]
        for key in inspector.get_foreign_keys(table)
    }
    assert keys == {c: to for (t, c), to in glance_tables.REFERENCES.items() if t == table}


@pytest.mark.parametrize("table", glance_tables.INDEXES)
def test_indexes_are_those_of_glance(inspector: sa.Inspector, table: str) -> None:
    indexes = inspector.get_indexes(table)
    plain = {i["name"]: " ".join(map(str, i["column_names"])) for i in indexes if not i["unique"]}
    unique = {i["name"]: " ".join(map(str, i["column_names"])) for i in indexes if i["unique"]}
    assert glance_tables.INDEXES[table].items() <= plain.items()
    assert unique == glance_tables.UNIQUE.get(table, {})


def test_other_tables_are_ours_by_their_names(inspector: sa.Inspector) -> None:
    others = set(inspector.get_table_names()) - set(glance_tables.COLUMNS)
    assert not [name for name in others if not name.startswith("gantry_")]


def listed(running: service.Service, query: str) -> list[str]:
    """Names of all images that a list gives, page by page."""
    names: list[str] = []
    path: str | None = f"/v2/images?{query}"
    while path:
        answer = running.ask("GET", path)
        assert answer.status == 200, answer.data
        names += [image["name"] for image in answer.json()["images"]]
        path = answer.json().get("next")
    return names


@pytest.fixture(scope="module")
def seven(running: service.Service) -> Iterator[list[str]]:
    """Names of seven images, the oldest first."""
    names = [f"image-{n}" for n in range(7)]
    ids = [
        running.create(
            name=name, disk_format="raw", min_ram=n, tags=[f"tag{n % 2}"], color=f"c{n % 3}"
        )
        for n, name in enumerate(names)
    ]
    yield names
    for image_id in ids:
        assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_paging_gives_each_image_once(
    running: service.Service, seven: list[str], limit: int
) -> None:
    assert sorted(listed(running, f"limit={limit}")) == seven
    assert listed(running, f"limit={limit}&sort=name:asc") == seven
    assert listed(running, f"limit={limit}&sort_key=name&sort_dir=desc") == seven[::-1]
    assert sorted(listed(running, f"limit={limit}&sort=disk_format:asc,size:desc")) == seven


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("name=image-3", [3]),
        ("name=in:image-1,image-5", [1, 5]),
        ("tag=tag1", [1, 3, 5]),
        ("color=c0", [0, 3, 6]),
        ("color=c0&tag=tag1", [3]),
        ("min_ram_min=5", [5, 6]),
        ("min_ram=2", [2]),
        ("status=active", []),
        ("status=in:queued,active", [0, 1, 2, 3, 4, 5, 6]),
        ("created_at=gte:2020-01-01T00:00:00Z&name=image-0", [0]),
        ("updated_at=lt:2020-01-01T00:00:00Z", []),
        ("size_min=1", []),
        ("min_disk=words", []),
        ("visibility=shared&protected=false&name=image-6", [6]),
        ("os_hidden=true", []),
        ("owner=somebody", []),
    ],
)
def test_filters(
    running: service.Service, seven: list[str], query: str, numbers: list[int]
) -> None:
    assert listed(running, f"{query}&sort=name:asc") == [seven[n] for n in numbers]


def test_changes(running: service.Service) -> None:
    image_id = running.create(name="first", tags=["a", "b"], color="red", shape="round")
    patch = [
        {"op": "replace", "path": "/name", "value": "schön 字"},
        {"op": "replace", "path": "/tags", "value": ["b", "c"]},
        {"op": "remove", "path": "/color"},
        {"op": "add", "path": "/long", "value": "x" * 60_000},
        {"op": "replace", "path": "/protected", "value": True},
    ]
    answer = running.ask("PATCH", f"/v2/images/{image_id}", patch, Content_Type=_PATCH)
    assert answer.status == 200, answer.data
    record = running.image(image_id)
    assert (record["name"], record["tags"], record["shape"]) == ("schön 字", ["b", "c"], "round")
    assert (len(record["long"]), "color" in record) == (60_000, False)
    again = [{"op": "add", "path": "/color", "value": "blue"}]
    running.ask("PATCH", f"/v2/images/{image_id}", again, Content_Type=_PATCH)
    assert running.image(image_id)["color"] == "blue"
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 403
    free = [{"op": "replace", "path": "/protected", "value": False}]
    running.ask("PATCH", f"/v2/images/{image_id}", free, Content_Type=_PATCH)
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
    assert running.ask("GET", f"/v2/images/{image_id}").status == 404
    assert running.ask("POST", "/v2/images", {"id": image_id}).status == 409


def test_an_upload(running: service.Service) -> None:
    image_id = running.create(disk_format="raw")
    assert running.ask("PUT", f"/v2/images/{image_id}/file", DATA).status == 204
    record = running.image(image_id)
    assert (record["status"], record["size"]) == ("active", len(DATA))
    assert record["checksum"] == hashlib.md5(DATA).hexdigest()  # noqa: S324 - Glance's checksum
    assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204


def test_an_import_with_conversion(running: service.Service, tmp_path: pathlib.Path) -> None:
    raw, qcow2 = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(os.urandom(4 << 20))
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2)]
    subprocess.run(command, check=True)
    image_id = running.create(disk_format="qcow2")
    running.stage(image_id, qcow2.read_bytes())
    running.begin_import(image_id)
    task = running.wait_for_task(image_id)
    assert task["status"] == "success", task["message"]
    record = running.image(image_id)
    assert (record["status"], record["disk_format"]) == ("active", "raw")
    assert record["os_hash_value"] == hashlib.sha512(raw.read_bytes()).hexdigest()
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204


def test_web_download_well_and_badly(running: service.Service) -> None:
    image_id = running.create(disk_format="raw")
    with web.serving({"/raw": web.whole(DATA)}) as url:
        running.begin_import(image_id, "web-download", uri=f"{url}/absent")
        assert running.wait_for_task(image_id)["status"] == "failure"
        assert running.image(image_id)["status"] == "queued"
        time.sleep(1.1)  # MariaDB keeps whole seconds: of two tasks in one, the newest is not known
        running.begin_import(image_id, "web-download", uri=f"{url}/raw")
        assert running.wait_for_task(image_id)["status"] == "success"
    assert running.image(image_id)["size"] == len(DATA)
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
    service.wait_for(lambda: not running.left_over(), "the data to be gone", 10)


def test_the_image_cache(running: service.Service) -> None:
    image_id = running.create(disk_format="raw")
    path = f"/v2/images/{image_id}/file"
    assert running.ask("PUT", path, DATA).status == 204
    assert running.ask("PUT", f"/v2/cache/{image_id}").status == 202

    def listed() -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = running.ask("GET", "/v2/cache").json()["cached_images"]
        return entries

    service.wait_for(listed, "the worker to fetch it")
    for _ in range(2):
        assert running.ask("GET", path).data == DATA
    assert [(one["image_id"], one["size"], one["hits"]) for one in listed()] == [
        (image_id, len(DATA), 2)
    ]
    assert len(running.ask("GET", f"/v2/cache/nodes/{image_id}").json()) == 1
    pruned = running.ask("POST", "/v2/cache/prune").json()
    assert pruned == {"total_files_pruned": 0, "total_bytes_pruned": 0}
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
    assert listed() == []


def test_a_killed_worker_is_replaced(running: service.Service) -> None:
    with web.serving({"/raw": web.whole(DATA, seconds=4)}) as url:
        image_id = running.create(disk_format="raw")
        running.begin_import(image_id, "web-download", uri=f"{url}/raw")
        service.wait_for(lambda: running.task(image_id)["status"] == "processing", "the download")
        running.kill("worker")
        running.start("worker")
        task = running.wait_for_task(image_id)
        assert (task["status"], task["progress"]["attempt"]) == ("success", 2)
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
