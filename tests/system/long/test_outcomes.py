"""How an import may end (contract section 4.4), and that the next try is never refused because of it.

What downloads do wrong is in test_bad_input.py, what dies in test_lost_and_found.py, several stores in the
integration ring.
"""

import contextlib
import pathlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import service, web

GOOD = bytes(range(256)) * 4096  # 1 MiB
#: A qcow2's header and nothing behind it.
CUT = b"QFI\xfb\x00\x00\x00\x03" + bytes(96)
OPTIONS = """[gantry]
lease_seconds = 3
heartbeat_seconds = 0.2
sweep_seconds = 1
read_timeout = 1
retry_pause = 0.1
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """API, worker and beat; the web server makes no difference to what workers do."""
    state = tmp_path_factory.mktemp("gantry")
    with service.running(state, "api", "worker", "beat", options=OPTIONS) as made:
        yield made


def stalled(handler: Any) -> None:
    """Half of what was promised, and then nothing for longer than the worker's patience."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(GOOD)))
    handler.end_headers()
    handler.wfile.write(GOOD[: len(GOOD) // 2])
    time.sleep(3)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Good data, data that are not what they are said to be, and a server that falls silent."""
    answers = {"/good": web.whole(GOOD), "/cut": web.whole(CUT), "/stalled": stalled}
    with web.serving(answers) as base:
        yield base


@contextlib.contextmanager
def store_away(whole: service.Service) -> Iterator[None]:
    """Where the store's directory was there is a file."""
    place, aside = whole.state / "images", whole.state / "aside"
    shutil.move(place, aside)
    place.touch()
    try:
        yield
    finally:
        place.unlink()
        shutil.move(aside, place)


def begin(whole: service.Service, method: str, disk_format: str, data: bytes, uri: str) -> str:
    """Import by either method; the image's id."""
    image_id = whole.create(disk_format=disk_format)
    if method == "glance-direct":
        whole.stage(image_id, data)
        whole.begin_import(image_id)
    else:
        whole.begin_import(image_id, method, uri=uri)
    return image_id


def check_failed(whole: service.Service, image_id: str) -> str:
    """What every failure leaves: a task with its cause, and an image as if nothing had been tried."""
    task = whole.wait_for_task(image_id)
    assert (task["status"], task["result"]) == ("failure", None)
    assert task["expires_at"] is not None
    record = whole.image(image_id)
    assert record["status"] == "queued"
    assert {record[n] for n in ("size", "virtual_size", "checksum", "os_hash_value")} == {None}
    assert "os_glance_import_task" not in record
    assert record["os_glance_importing_to_stores"] == record["os_glance_failed_import"] == ""
    assert not [name for name in whole.left_over() if image_id in name]
    message: str = task["message"]
    assert "/" not in message
    return message


def check_next_try(whole: service.Service, image_id: str, url: str) -> None:
    """At once, by the other way in too."""
    patch = [{"op": "replace", "path": "/disk_format", "value": "raw"}]
    kind = "application/openstack-images-v2.1-json-patch"
    assert whole.ask("PATCH", f"/v2/images/{image_id}", patch, Content_Type=kind).status == 200
    whole.begin_import(image_id, "web-download", uri=f"{url}/good")
    assert whole.wait_for_task(image_id)["status"] == "success"
    assert whole.ask("GET", f"/v2/images/{image_id}/file").data == GOOD
    assert whole.ask("DELETE", f"/v2/images/{image_id}").status == 204


@pytest.mark.parametrize("method", ["glance-direct", "web-download"])
def test_success(whole: service.Service, url: str, method: str) -> None:
    image_id = begin(whole, method, "raw", GOOD, f"{url}/good")
    task = whole.wait_for_task(image_id)
    assert (task["status"], task["result"]) == ("success", {"image_id": image_id})
    assert task["message"] == "Copied 1 MiB"
    record = whole.image(image_id)
    assert (record["status"], record["size"], record["virtual_size"]) == (
        "active",
        1 << 20,
        1 << 20,
    )
    assert "os_glance_import_task" not in record
    assert record["os_glance_importing_to_stores"] == record["os_glance_failed_import"] == ""
    service.wait_for(lambda: whole.left_over() == [f"images/{image_id}"], "staging to be empty")
    assert whole.ask("DELETE", f"/v2/images/{image_id}").status == 204


def test_a_server_that_falls_silent(whole: service.Service, url: str) -> None:
    image_id = begin(whole, "web-download", "raw", b"", f"{url}/stalled")
    assert "no byte came" in check_failed(whole, image_id)
    check_next_try(whole, image_id, url)


@pytest.mark.parametrize("method", ["glance-direct", "web-download"])
@pytest.mark.parametrize("declared", ["qcow2", "vmdk"])
def test_the_data_are_not_what_they_should_be(
    whole: service.Service, url: str, method: str, declared: str
) -> None:
    """Whichever way they came: Glance leaves the lock behind after a download."""
    image_id = begin(whole, method, declared, CUT, f"{url}/cut")
    assert declared in check_failed(whole, image_id)
    check_next_try(whole, image_id, url)


@pytest.mark.parametrize("method", ["glance-direct", "web-download"])
def test_the_store_fails(whole: service.Service, url: str, method: str) -> None:
    """Glance leaves an image `importing` for ever after glance-direct."""
    with store_away(whole):
        image_id = begin(whole, method, "raw", GOOD, f"{url}/good")
        whole.wait_for_task(image_id)
        assert "store" in whole.task(image_id)["message"]
    check_failed(whole, image_id)
    check_next_try(whole, image_id, url)


def test_the_image_is_deleted_meanwhile(whole: service.Service) -> None:
    """The task says so; /v2/tasks still shows it, the image is gone."""
    with web.serving({"/slow": web.whole(GOOD, seconds=20)}) as url:
        image_id = begin(whole, "web-download", "raw", b"", f"{url}/slow")
        task = whole.task(image_id)
        assert whole.ask("DELETE", f"/v2/images/{image_id}").status == 204
        ended = service.wait_for(lambda: _ended(whole, task["id"]), "the task to end", 20)
        assert (ended["status"], "deleted" in ended["message"]) == ("failure", True)
    assert not [name for name in whole.left_over() if image_id in name]


def _ended(whole: service.Service, task_id: str) -> dict[str, Any] | None:
    task: dict[str, Any] = whole.ask("GET", f"/v2/tasks/{task_id}").json()
    return task if task["status"] in ("success", "failure") else None


# Legacy tasks


def legacy(whole: service.Service, **changes: Any) -> dict[str, Any]:
    """POST /v2/tasks, and the task when it has ended."""
    document = {
        "import_from_format": "raw",
        "image_properties": {
            "name": "legacy",
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "public",
            "os_distro": "x",
            "tags": ["a"],
            "min_disk": 1,
        },
    } | changes
    document = {name: value for name, value in document.items() if value is not None}
    answer = whole.ask("POST", "/v2/tasks", {"type": "import", "input": document})
    assert answer.status == 201, answer.data
    task_id = answer.json()["id"]
    return service.wait_for(lambda: _ended(whole, task_id), "the task to end")


def test_a_legacy_task(whole: service.Service, url: str) -> None:
    """It makes an image of its own, and imports into it."""
    task = legacy(whole, import_from=f"{url}/good")
    assert task["status"] == "success", task["message"]
    image_id = task["result"]["image_id"]
    record = whole.image(image_id)
    for name, value in {
        "status": "active",
        "name": "legacy",
        "visibility": "public",
        "os_distro": "x",
        "tags": ["a"],
        "min_disk": 1,
        "size": len(GOOD),
        "owner": task["owner"],
    }.items():
        assert record[name] == value
    assert whole.ask("GET", f"/v2/images/{image_id}/file").data == GOOD
    assert "os_glance_import_task" not in record
    assert [
        one["id"] for one in whole.ask("GET", f"/v2/images/{image_id}/tasks").json()["tasks"]
    ] == [task["id"]]
    assert whole.ask("DELETE", f"/v2/images/{image_id}").status == 204


def test_a_legacy_task_converts(whole: service.Service, tmp_path: pathlib.Path) -> None:
    """The operator's plugins run as in any import."""
    raw, qcow2 = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(GOOD)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2)]
    subprocess.run(command, check=True)
    with web.serving({"/qcow2": web.whole(qcow2.read_bytes())}) as base:
        properties = {"disk_format": "qcow2", "container_format": "bare"}
        task = legacy(whole, import_from=f"{base}/qcow2", image_properties=properties)
    assert task["status"] == "success", task["message"]
    record = whole.image(task["result"]["image_id"])
    assert (record["disk_format"], record["size"]) == ("raw", len(GOOD))
    assert whole.ask("GET", record["file"]).data == GOOD
    assert whole.ask("DELETE", f"/v2/images/{record['id']}").status == 204


@pytest.mark.parametrize(
    ("path", "changes", "says"),
    [
        ("/absent", {}, "404"),
        ("/inside", {}, "not allowed"),
        ("/cut", {"image_properties": {"disk_format": "vmdk", "container_format": "bare"}}, "vmdk"),
        ("/good", {"import_from_format": None}, "import_from_format"),
        ("/good", {"image_properties": None}, "image_properties"),
        ("/good", {"image_properties": []}, "image_properties"),
        ("/good", {"image_properties": {"disk_format": "raw"}}, "container_format"),
        ("/good", {"image_properties": {"disk_format": "floppy"}}, "disk_format"),
        ("/good", {"image_properties": {"name": 5}}, "name"),
        ("/good", {"image_properties": {"id": "x"}}, "id"),
        ("/good", {"image_properties": {"status": "active"}}, "status"),
        ("/good", {"image_properties": {"os_glance_x": "y"}}, "os_glance_x"),
        ("/good", {"image_properties": {"locations": []}}, "locations"),
        ("/good", {"image_properties": {"min_disk": -1}}, "min_disk"),
        ("/good", {"image_properties": {"x": {"y": "z"}}}, "x"),
    ],
)
def test_a_legacy_task_that_fails(
    whole: service.Service, path: str, changes: dict[str, Any], says: str
) -> None:
    """The cause is in the message, and no image is left: nobody was told its id. Redirects are filtered."""
    answers = {
        "/good": web.whole(GOOD),
        "/cut": web.whole(CUT),
        "/inside": web.redirect("file:///etc/passwd"),
    }
    before = whole.ask("GET", "/v2/images?visibility=all").json()["images"]
    with web.serving(answers) as base:
        task = legacy(whole, import_from=base + path, **changes)
    assert (task["status"], task["result"]) == ("failure", None)
    assert says in task["message"]
    assert whole.ask("GET", "/v2/images?visibility=all").json()["images"] == before
    assert not [name for name in whole.left_over() if name.startswith("staging/")]
