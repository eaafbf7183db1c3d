"""What is known to be too much is refused before a byte of it is spent."""

import http.server
import pathlib
import subprocess

import pytest

from flows import qemu_img
from images import staging
from tests import web
from tests.functional import importing
from tests.functional.conftest import Api, Caller

FILTER = web.LOOPBACK
MIB = 1 << 20


class Promise:
    """Promises a number of bytes, and sends what it is let send of them."""

    def __init__(self, size: int) -> None:
        self.size, self.sent = size, 0

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(self.size))
        handler.end_headers()
        while self.sent < self.size:
            handler.wfile.write(bytes(MIB))
            self.sent += MIB


def refusal(api: Api, promise: Promise) -> str:
    """Why its download failed; it was ended long before its end, and left nothing."""
    with web.serving({"/disk": promise}) as url:
        image_id = api.create(**importing.FORMATS)
        why = importing.refused(api, image_id, {"name": "web-download", "uri": f"{url}/disk"})
    assert promise.sent < 256 * MIB
    assert list(staging.path().iterdir()) == []
    assert api.show(image_id)["status"] == "queued"
    return why


def test_a_download_that_says_it_is_over_the_cap(caller: Caller) -> None:
    api = caller(options=f"image_size_cap = {1 << 30}\n" + FILTER)
    assert "image_size_cap, 1073741824 bytes" in refusal(api, Promise((1 << 30) + 1))


def test_a_download_for_which_there_is_no_room(caller: Caller) -> None:
    """More than the disk has free; the text says both numbers."""
    api = caller(options=f"image_size_cap = {1 << 62}\n" + FILTER)
    size = staging.free_bytes() + (1 << 40)
    assert f"staging area is full: {size} bytes are needed" in refusal(api, Promise(size))


@pytest.mark.parametrize("what", ["file", "stage"])
def test_an_upload_that_says_it_is_over_the_cap(caller: Caller, what: str) -> None:
    api = caller(options="image_size_cap = 1000")
    image_id = api.create(**importing.FORMATS)
    answer = api.put(image_id, b"x" * 2000, what)
    assert answer.status_code == 413
    assert "image_size_cap" in answer.text
    assert api.show(image_id)["status"] == "queued"
    assert list(staging.path().iterdir()) == []


def test_a_conversion_for_which_there_is_no_room(
    caller: Caller, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a disk holds counts, not its size: an empty 128 GiB has room, 4 full MiB have not."""
    api = caller(
        options="[image_import_opts]\nimage_import_plugins = [image_conversion]\n"
        "[image_conversion]\noutput_format = qcow2\n"
    )
    raw, full, empty = tmp_path / "raw", tmp_path / "full.vmdk", tmp_path / "empty.vmdk"
    raw.write_bytes(b"x" * 4 * MIB)
    packed = ["-o", "subformat=streamOptimized"]
    command = ["qemu-img", "convert", "-O", "vmdk", *packed, str(raw), str(full)]
    subprocess.run(command, check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", str(empty), "128G"], check=True)
    ids = [importing.staged(api, file.read_bytes(), disk_format="vmdk") for file in (full, empty)]
    needed = qemu_img.measure(full, "vmdk")
    monkeypatch.setattr(staging, "free_bytes", lambda: 3 * MIB)  # a disk that is nearly full
    assert f"{needed} bytes are needed" in importing.refused(api, ids[0])
    monkeypatch.setattr(staging, "free_bytes", lambda: 1 << 30)
    assert importing.imported(api, ids[1])["virtual_size"] == 1 << 37
