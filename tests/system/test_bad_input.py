"""Bad input gets a clear error, and loses nothing: the next try works."""

import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests import service, web

GOOD = bytes(range(256)) * 4096  # 1 MiB


def failed(running: service.Service, image_id: str) -> str:
    """Wait for an import to fail; its message, once all is checked that a failure must leave behind."""
    task = running.wait_for_task(image_id)
    assert task["status"] == "failure"
    record = running.image(image_id)
    assert (record["status"], record["size"], record["checksum"]) == ("queued", None, None)
    assert "os_glance_import_task" not in record
    assert not [name for name in running.left_over() if image_id in name]
    message: str = task["message"]
    assert "/" not in message, "a path may have got into the message"
    return message


def works(running: service.Service, image_id: str, disk_format: str = "raw") -> None:
    """The next try of the same image goes well."""
    patch = [{"op": "replace", "path": "/disk_format", "value": disk_format}]
    kind = "application/openstack-images-v2.1-json-patch"
    assert running.ask("PATCH", f"/v2/images/{image_id}", patch, Content_Type=kind).status == 200
    running.stage(image_id, GOOD)
    running.begin_import(image_id)
    assert running.wait_for_task(image_id)["status"] == "success"
    assert running.image(image_id)["status"] == "active"
    running.ask("DELETE", f"/v2/images/{image_id}")


@pytest.mark.parametrize(
    ("path", "says"),
    [("/absent", "404"), ("/cut", "broke off"), ("/loop", "redirects"), ("/file", "not allowed")],
)
def test_a_download_that_fails(running: service.Service, path: str, says: str) -> None:
    """The task's message tells what the URL did."""
    answers = {
        "/cut": web.cut(GOOD, len(GOOD) + 1),
        "/loop": web.redirect("/loop"),
        "/file": web.redirect("file:///etc/passwd"),
    }
    with web.serving(answers) as url:
        image_id = running.create(disk_format="raw")
        running.begin_import(image_id, "web-download", uri=url + path)
        assert says in failed(running, image_id)
    works(running, image_id)


def test_a_url_where_nobody_listens(running: service.Service) -> None:
    """It is said, as it is of a port that keeps silent."""
    image_id = running.create(disk_format="raw")
    uri = f"http://127.0.0.1:{service.free_port()}"
    running.begin_import(image_id, "web-download", uri=uri)
    assert "refused" in failed(running, image_id)
    works(running, image_id)


@pytest.mark.parametrize("size", [70_000, 1 << 20, 40 << 20])
def test_a_qcow2_that_was_cut(running: service.Service, qcow2: pathlib.Path, size: int) -> None:
    """Cut within its tables or its data, it never becomes active."""
    image_id = running.create(disk_format="qcow2")
    running.stage(image_id, qcow2.read_bytes()[:size])
    running.begin_import(image_id)
    assert "qcow2" in failed(running, image_id)
    works(running, image_id)


@pytest.mark.parametrize("declared", ["qcow2", "vmdk", "vhdx", "iso"])
def test_data_that_are_not_what_is_declared(running: service.Service, declared: str) -> None:
    """The message names what was declared and what was found."""
    image_id = running.create(disk_format=declared)
    running.stage(image_id, GOOD)
    running.begin_import(image_id)
    message = failed(running, image_id)
    assert declared in message
    assert "raw" in message
    works(running, image_id)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"method": {"name": "no-such"}}, 400),
        ({"method": {"name": "web-download"}}, 400),
        ({"method": {"name": "web-download", "uri": "ftp://x.example/a"}}, 400),
        ({"method": {"name": "web-download", "uri": "not a url"}}, 400),
        ({"method": {"name": "web-download", "uri": "http://2130706433/"}}, 400),
        ({"method": {"name": "glance-direct"}}, 409),
        ({"method": {}}, 400),
        ({"method": "web-download"}, 400),
        ({}, 400),
        ([], 400),
    ],
)
def test_a_request_that_is_refused(running: service.Service, body: object, status: int) -> None:
    """The status codes of contract section 2.5; the image stays queued."""
    image_id = running.create(disk_format="raw")
    assert running.ask("POST", f"/v2/images/{image_id}/import", body).status == status
    assert running.image(image_id)["status"] == "queued"
    assert running.ask("GET", f"/v2/images/{image_id}/tasks").json() == {"tasks": []}
    works(running, image_id)


def test_formats_that_are_missing(running: service.Service) -> None:
    """409 for an import, 400 for an upload, and the staged data stay."""
    image_id = running.create(container_format=None)
    assert running.ask("PUT", f"/v2/images/{image_id}/file", GOOD).status == 400
    running.stage(image_id, GOOD)
    body = {"method": {"name": "glance-direct"}}
    assert running.ask("POST", f"/v2/images/{image_id}/import", body).status == 409
    assert running.image(image_id)["status"] == "uploading"
    running.ask("DELETE", f"/v2/images/{image_id}")
    assert not [name for name in running.left_over() if image_id in name]


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of 24 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system can be mounted by root only")
    mounted = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(tmp_path)]
    if subprocess.run(mounted, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.parametrize("server", ["uwsgi", "gunicorn"])
def test_a_disk_that_is_full(
    small_disk: pathlib.Path, tmp_path_factory: pytest.TempPathFactory, server: str
) -> None:
    """413 for a body, a failed task for a download; nothing is left, and a smaller image goes in."""
    room = tmp_path_factory.mktemp("gantry")
    options = (
        f"[DEFAULT]\nnode_staging_uri = file://{small_disk}/staging\n"
        f"[glance_store]\nfilesystem_store_datadir = {small_disk}/images\n"
    )
    large = GOOD * 32
    with (
        web.serving({"/large": web.whole(large)}) as url,
        service.running(room, "api", "worker", server=server, options=options) as whole,
    ):
        image_id = whole.create(disk_format="raw")
        for target in ("stage", "file"):
            answer = whole.ask("PUT", f"/v2/images/{image_id}/{target}", large)
            assert (answer.status, b"full" in answer.data) == (413, True)
            assert whole.image(image_id)["status"] == "queued"
        whole.begin_import(image_id, "web-download", uri=f"{url}/large")
        task = whole.wait_for_task(image_id)
        assert (task["status"], "full" in task["message"]) == ("failure", True)
        assert not list((small_disk / "staging").iterdir())
        assert whole.ask("PUT", f"/v2/images/{image_id}/file", GOOD).status == 204
        assert whole.image(image_id)["status"] == "active"


def test_a_conversion_that_fills_the_disk(
    small_disk: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """qemu-img runs out of room: the task says so, and neither source nor outcome is left."""
    room = tmp_path_factory.mktemp("gantry")
    source = room / "source.qcow2"
    raw = room / "source.raw"
    raw.write_bytes(os.urandom(14 << 20))
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(source)]
    subprocess.run(command, check=True)
    options = f"[DEFAULT]\nnode_staging_uri = file://{small_disk}/staging\n"
    with service.running(room, "api", "worker", options=options) as whole:
        image_id = whole.create(disk_format="qcow2")
        whole.stage(image_id, source.read_bytes())
        whole.begin_import(image_id)
        task = whole.wait_for_task(image_id)
        assert (task["status"], "full" in task["message"]) == ("failure", True)
        assert not list((small_disk / "staging").iterdir())
