"""Several stores, as an installed service has them: `enabled_backends`, a default, and one that fails."""

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import service

DATA = bytes(range(256)) * 4096  # 1 MiB
BODY = {"method": {"name": "glance-direct"}}
QUICK = (
    "[gantry]\nlease_seconds = 5\nheartbeat_seconds = 0.2\nsweep_seconds = 1\nretry_pause = 0.1\n"
)


def options(state: pathlib.Path, cheap: str = "cheap") -> str:
    """A configuration of three file stores and a read-only one."""
    return f"""
[DEFAULT]
enabled_backends = fast:file,cheap:file,frail:file,web:http
[fast]
filesystem_store_datadir = {state}/fast
store_description = SSD
weight = 5
[cheap]
filesystem_store_datadir = {state}/{cheap}
weight = 9
[frail]
filesystem_store_datadir = {state}/frail
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks
[glance_store]
default_backend = fast
{QUICK}"""


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """API, worker and beat with these stores."""
    state = tmp_path_factory.mktemp("gantry")
    names = ("api", "worker", "beat")
    with service.running(state, *names, server=request.param, options=options(state)) as whole:
        yield whole


@pytest.fixture
def broken(running: service.Service) -> Iterator[str]:
    """The store `frail` while its disk is away: where the directory was there is a file."""
    place = running.state / "frail"
    shutil.rmtree(place, ignore_errors=True)
    place.touch()
    yield "frail"
    place.unlink()
    place.mkdir()


def holders(running: service.Service, image_id: str) -> set[str]:
    """The stores in whose directory an image's whole data are."""
    found = set()
    for name in ("fast", "cheap", "frail"):
        file = running.state / name / image_id
        if file.exists():
            assert file.read_bytes() == DATA
            found.add(name)
    return found


def staged(running: service.Service) -> str:
    """An image with bytes in staging."""
    image_id = running.create(disk_format="raw")
    running.stage(image_id, DATA)
    return image_id


def begin(
    running: service.Service, image_id: str, body: dict[str, object], **headers: str
) -> tuple[int, str]:
    """POST /import; status and text of the answer."""
    answer = running.ask("POST", f"/v2/images/{image_id}/import", BODY | body, **headers)
    return answer.status, answer.data.decode()


def delete(running: service.Service, image_id: str) -> None:
    """The image goes, and its data with it."""
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
    service.wait_for(lambda: not holders(running, image_id), "the data to be gone", 20)
    assert not list((running.state / "staging").iterdir())


def test_discovery(running: service.Service) -> None:
    assert running.ask("GET", "/v2/info/stores").json() == {
        "stores": [
            {"id": "fast", "description": "SSD", "default": "true"},
            {"id": "cheap"},
            {"id": "frail"},
            {"id": "web", "read-only": "true"},
        ]
    }
    made = running.ask("POST", "/v2/images", {})
    assert made.headers["OpenStack-image-store-ids"] == "fast,cheap,frail,web"
    assert running.ask("DELETE", made.headers["Location"].removeprefix(running.url)).status == 204


@pytest.mark.parametrize(("header", "store"), [(None, "fast"), ("cheap", "cheap")])
def test_an_upload(running: service.Service, header: str | None, store: str) -> None:
    image_id = running.create(disk_format="raw")
    headers = {"X_Image_Meta_Store": header} if header else {}
    answer = running.ask("PUT", f"/v2/images/{image_id}/file", DATA, **headers)
    assert answer.status == 204, answer.data
    assert running.image(image_id)["stores"] == store
    assert holders(running, image_id) == {store}
    assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    delete(running, image_id)


@pytest.mark.parametrize("store", ["absent", "web", "os_glance_staging_store"])
def test_an_upload_to_no_store(running: service.Service, store: str) -> None:
    image_id = running.create(disk_format="raw")
    path = f"/v2/images/{image_id}/file"
    answer = running.ask("PUT", path, DATA, X_Image_Meta_Store=store)
    assert (answer.status, store in answer.data.decode()) == (400, True)
    assert running.image(image_id)["status"] == "queued"
    assert running.ask("PUT", path, DATA).status == 204
    delete(running, image_id)


@pytest.mark.parametrize(
    ("body", "header", "stores"),
    [
        ({}, None, "fast"),
        ({}, "cheap", "cheap"),
        ({"stores": ["cheap"]}, None, "cheap"),
        ({"stores": ["fast", "cheap"]}, None, "cheap,fast"),
        ({"all_stores": True}, None, "cheap,fast,frail"),
    ],
)
def test_an_import(
    running: service.Service, body: dict[str, object], header: str | None, stores: str
) -> None:
    """The record lists the stores by weight, the heaviest first."""
    image_id = staged(running)
    headers = {"X_Image_Meta_Store": header} if header else {}
    status, text = begin(running, image_id, body, **headers)
    assert status == 202, text
    task = running.wait_for_task(image_id)
    assert task["status"] == "success", task["message"]
    record = running.image(image_id)
    assert (record["status"], record["stores"]) == ("active", stores)
    assert record["os_glance_importing_to_stores"] == record["os_glance_failed_import"] == ""
    assert holders(running, image_id) == set(stores.split(","))
    assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    delete(running, image_id)


@pytest.mark.parametrize(
    ("body", "header", "expected"),
    [
        ({"stores": ["absent"]}, None, 409),
        ({"stores": ["fast", "absent"]}, None, 409),
        ({"stores": ["web"]}, None, 409),
        ({}, "absent", 409),
        ({"stores": []}, None, 400),
        ({"stores": "fast"}, None, 400),
        ({"stores": ["fast"]}, "cheap", 400),
        ({"stores": ["fast"], "all_stores": True}, None, 400),
        ({"all_stores": True}, "cheap", 400),
        ({"all_stores": "yes"}, None, 400),
        ({"all_stores_must_succeed": "no"}, None, 400),
    ],
)
def test_an_import_that_is_refused(
    running: service.Service, body: dict[str, object], header: str | None, expected: int
) -> None:
    """The staged data stay, and the next try works."""
    image_id = staged(running)
    headers = {"X_Image_Meta_Store": header} if header else {}
    status, text = begin(running, image_id, body, **headers)
    assert status == expected, text
    assert running.image(image_id)["status"] == "uploading"
    assert begin(running, image_id, {})[0] == 202
    assert running.wait_for_task(image_id)["status"] == "success"
    delete(running, image_id)


def test_a_store_that_fails_may_fail(running: service.Service, broken: str) -> None:
    image_id = staged(running)
    assert (
        begin(running, image_id, {"all_stores": True, "all_stores_must_succeed": False})[0] == 202
    )
    task = running.wait_for_task(image_id)
    assert task["status"] == "success", task["message"]
    record = running.image(image_id)
    assert (record["status"], record["stores"]) == ("active", "cheap,fast")
    assert record["os_glance_failed_import"] == broken
    assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    delete(running, image_id)


def test_a_store_that_fails_must_not(running: service.Service, broken: str) -> None:
    """Nothing stays in the stores that did not fail; the message names the one that did."""
    image_id = staged(running)
    assert begin(running, image_id, {"all_stores": True})[0] == 202
    task = running.wait_for_task(image_id)
    assert (task["status"], broken in task["message"]) == ("failure", True), task["message"]
    assert "/" not in task["message"]
    record = running.image(image_id)
    assert (record["status"], record["size"]) == ("queued", None)
    assert record["os_glance_failed_import"] == "cheap,fast,frail"
    assert not holders(running, image_id)
    running.stage(image_id, DATA)
    assert begin(running, image_id, {})[0] == 202
    service.wait_for(lambda: running.image(image_id)["status"] == "active", "the next try")
    assert running.image(image_id)["os_glance_failed_import"] == ""
    delete(running, image_id)


def test_only_stores_that_fail(running: service.Service, broken: str) -> None:
    image_id = staged(running)
    body = {"stores": [broken], "all_stores_must_succeed": False}
    assert begin(running, image_id, body)[0] == 202
    task = running.wait_for_task(image_id)
    assert (task["status"], f"The store {broken}" in task["message"]) == ("failure", True)
    assert running.image(image_id)["status"] == "queued"
    delete(running, image_id)


def test_an_upload_to_a_store_that_fails(running: service.Service, broken: str) -> None:
    image_id = running.create(disk_format="raw")
    path = f"/v2/images/{image_id}/file"
    answer = running.ask("PUT", path, DATA, X_Image_Meta_Store=broken)
    assert (answer.status, broken in answer.data.decode()) == (503, True)
    assert running.image(image_id)["status"] == "queued"
    assert running.ask("PUT", path, DATA).status == 204
    delete(running, image_id)


def start(state: pathlib.Path, lines: str) -> tuple[int, str]:
    """Start a program of the service with these options; its exit status and what it complains of."""
    whole = service.Service(state, options=lines)
    command = [sys.executable, "-m", "images.commands.main", "db", "sync"]
    ended = subprocess.run(
        command,
        cwd=service.ROOT,
        env=whole.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("second", ["fast", "other/../fast", "link"])
def test_two_stores_that_share_a_directory_are_refused(tmp_path: pathlib.Path, second: str) -> None:
    """By whatever name: deleting an image from one store would delete it from the other."""
    (tmp_path / "fast").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "fast")
    status, said = start(tmp_path, options(tmp_path, second))
    assert status != 0
    assert len(said.splitlines()) == 1, said
    assert "fast" in said
    assert "cheap" in said
    assert "share" in said


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("default_backend = fast", "default_backend = absent", "default_backend"),
        ("default_backend = fast", "", "default_backend"),
        ("enabled_backends = fast:file", "enabled_backends = os_glance_mine:file", "os_glance_"),
        ("cheap:file", "cheap:floppy", "floppy"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(
    tmp_path: pathlib.Path, right: str, wrong: str, named: str
) -> None:
    status, said = start(tmp_path, options(tmp_path).replace(right, wrong))
    assert status != 0
    assert len(said.splitlines()) == 1, said
    assert named in said


@pytest.mark.parametrize("server", ["uwsgi", "gunicorn"])
def test_the_api_does_not_start_with_stores_that_share(tmp_path: pathlib.Path, server: str) -> None:
    """The server ends by itself, and its log holds the one line."""
    whole = service.Service(tmp_path, server, options(tmp_path, "fast"))
    ended = subprocess.run(
        ["sh", "-c", f"exec {whole.command('api')}"],
        cwd=service.ROOT,
        env=os.environ | whole.environment,
        capture_output=True,
        text=True,
        timeout=service.PATIENCE,
        check=False,
    )
    assert ended.returncode != 0
    lines = (ended.stdout + ended.stderr).splitlines()
    assert [line for line in lines if "the store fast and the store cheap share" in line], lines
