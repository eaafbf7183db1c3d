"""The Rocky release, item by item: what processes, signals and web servers have a part in."""

import http.client
import os
import pathlib
import shutil
import subprocess
import urllib.parse

import pytest

from tests import service

DATA = os.urandom(1 << 20)


def staged(running: service.Service, data: bytes = DATA, **fields: str) -> str:
    image_id = running.create(**({"disk_format": "raw"} | fields))
    running.stage(image_id, data)
    return image_id


def is_active(running: service.Service, image_id: str) -> bool:
    return bool(running.image(image_id)["status"] == "active")


def test_r37_an_import_outlives_the_api(running: service.Service) -> None:
    image_id = staged(running)
    running.begin_import(image_id)
    running.kill("api")
    running.start("api")
    service.wait_for(lambda: is_active(running, image_id), "the import")
    assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA


def test_r37_without_workers_a_task_waits(running: service.Service) -> None:
    running.stop("worker")
    image_id = staged(running)
    running.begin_import(image_id)
    assert running.task(image_id)["status"] == "pending"
    assert running.ask("GET", "/v2/images").status == 200
    running.start("worker")
    assert running.wait_for_task(image_id)["status"] == "success"
    assert running.image(image_id)["status"] == "active"


def test_r38_the_api_needs_no_qemu_img(running: service.Service, tmp_path: pathlib.Path) -> None:
    """Nor anything else that is not in its virtual environment, but for what starts it here."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "setpriv"):
        (tools / name).symlink_to(str(shutil.which(name)))
    whole = running.environment["PATH"]
    running.kill("api")
    running.environment["PATH"] = f"{whole.partition(':')[0]}:{tools}"
    try:
        assert shutil.which("qemu-img", path=running.environment["PATH"]) is None
        running.start("api")
    finally:
        running.environment["PATH"] = whole
    raw, qcow2 = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(DATA)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2)]
    subprocess.run(command, check=True)
    image_id = staged(running, qcow2.read_bytes(), disk_format="qcow2")
    running.begin_import(image_id)
    assert running.wait_for_task(image_id)["status"] == "success"
    assert running.image(image_id)["disk_format"] == "raw"
    assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA


@pytest.mark.parametrize("what", ["file", "stage"])
@pytest.mark.parametrize("data", [DATA, b""], ids=["whole", "empty"])
def test_r39_chunked_bodies(running: service.Service, what: str, data: bytes) -> None:
    image_id = running.create(disk_format="raw")
    line = http.client.HTTPConnection(urllib.parse.urlsplit(running.url).netloc, timeout=60)
    pieces = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
    headers = {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
    path = f"/v2/images/{image_id}/{what}"
    line.request("PUT", path, iter(pieces), headers, encode_chunked=True)
    answer = line.getresponse()
    answer.read()
    line.close()
    assert answer.status == 204
    assert running.image(image_id)["size"] == len(data)
    if what == "file" and data:
        assert running.ask("GET", path).data == data


def test_r40_both_web_servers(running: service.Service) -> None:
    """The documentation names both, and the tests of this directory run on both."""
    text = (service.ROOT / "docs/running.md").read_text()
    assert "gunicorn -c deploy/gunicorn.conf.py" in text
    assert "uwsgi --ini deploy/uwsgi.ini" in text
    name = "uwsgi" if running._server == "uwsgi" else "gunicorn"
    assert name in " ".join(running.family("api")[0].cmdline())
    assert running.ask("GET", "/healthcheck").status == 200
