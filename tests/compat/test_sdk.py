"""openstacksdk, unmodified."""

import pathlib

from tests import service
from tests.compat import clients
from tests.compat.conftest import Data, data_of


def test_upload(client: clients.Clients, iso: Data, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy"
    seen = client.sdk("upload", str(iso.path), str(copy))
    assert seen["status"] == "active"
    assert seen["digests"] == [iso.md5, "sha512", iso.sha512]
    assert seen["listed"] == [seen["id"]]
    assert seen["tags"] == ["two"]
    assert seen["properties"] == ["memtest", "red"]
    assert not seen["found_after_delete"]
    assert data_of(copy)[1:] == iso[1:]


def test_stage_and_import(client: clients.Clients, iso: Data, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy"
    seen = client.sdk("stage", str(iso.path), str(copy))
    assert seen == {
        "staged": "uploading",
        "disk_format": "iso",
        "digests": [iso.md5, "sha512", iso.sha512],
        "tasks": [["success", "Copied 5 MiB"]],
    }
    assert data_of(copy)[1:] == iso[1:]


def test_create_by_import(
    client: clients.Clients, qcow2: Data, raw: Data, tmp_path: pathlib.Path
) -> None:
    copy = tmp_path / "copy"
    seen = client.sdk("create_by_import", str(qcow2.path), str(copy))
    assert seen["digests"] == [raw.md5, "sha512", raw.sha512]
    assert data_of(copy)[1:] == raw[1:]


def test_web_download(
    client: clients.Clients, iso: Data, iso_url: str, tmp_path: pathlib.Path
) -> None:
    copy = tmp_path / "copy"
    seen = client.sdk("web_download", iso_url, str(copy))
    assert seen["digests"] == [iso.md5, "sha512", iso.sha512]
    assert [status for status, _ in seen["tasks"]] == ["success"]
    assert data_of(copy)[1:] == iso[1:]


def test_failures_name_their_cause(
    client: clients.Clients, running: service.Service, iso: Data
) -> None:
    said = client.sdk("failures", str(iso.path), f"http://127.0.0.1:{service.free_port()}/x")
    assert "NotFoundException" in said["missing"]
    assert "No image found" in said["missing"]
    assert "declared qcow2, but the data are iso" in said["wrong format"]
    assert "os_glance_mine" in said["reserved"]
    assert "scheme ftp is not allowed" in said["bad url"]
    assert said["bad url"].startswith("400 ")
    assert said["task"].startswith("failure: ")
    assert "refused" in said["task"]
    assert running.ask("GET", "/v2/images").json()["images"] == []
