"""The `glance` command of python-glanceclient, unmodified."""

import pathlib
from collections.abc import Iterator

import pytest

from tests import service
from tests.compat import clients
from tests.compat.conftest import Data, data_of

_ISO = ("--disk-format", "iso", "--container-format", "bare")
_QCOW2 = ("--disk-format", "qcow2", "--container-format", "bare")


@pytest.fixture(autouse=True)
def nothing_is_left(running: service.Service) -> Iterator[None]:
    """Each test takes its images away again, through the client."""
    yield
    assert running.ask("GET", "/v2/images").json()["images"] == []


def active(running: service.Service, image_id: str) -> dict[str, object]:
    """The record of an image once its import has ended well."""
    task = running.wait_for_task(image_id)
    assert task["status"] == "success", task["message"]
    return running.image(image_id)


def downloaded(client: clients.Clients, image_id: str, to: pathlib.Path) -> tuple[str, ...]:
    """Digests of what `glance image-download` gives, after which the image is deleted."""
    client.glance("image-download", "--file", str(to), image_id)  # compares the digest by itself
    client.glance("image-delete", image_id)
    assert "No image found" in client.glance("image-show", image_id, fails=True)
    return data_of(to)[1:]


def test_upload(client: clients.Clients, iso: Data, tmp_path: pathlib.Path) -> None:
    words = ("--name", "memtest", "--tags", "one", "two", "--property", "os_distro=memtest")
    made = clients.table(client.glance("image-create", *_ISO, *words, "--file", str(iso.path)))
    assert (made["status"], made["os_distro"]) == ("active", "memtest")
    assert (made["checksum"], made["os_hash_value"]) == (iso.md5, iso.sha512)
    assert made["id"] in client.glance("image-list")
    assert made["id"] in client.glance("image-list", "--property-filter", "os_distro=memtest")
    assert downloaded(client, made["id"], tmp_path / "copy") == iso[1:]


def test_create_then_upload(client: clients.Clients, iso: Data, tmp_path: pathlib.Path) -> None:
    made = clients.table(client.glance("image-create", *_ISO))
    assert (made["status"], made["name"], made["size"]) == ("queued", "None", "None")
    client.glance("image-upload", "--file", str(iso.path), made["id"])
    assert clients.table(client.glance("image-show", made["id"]))["checksum"] == iso.md5
    assert downloaded(client, made["id"], tmp_path / "copy") == iso[1:]


def test_properties_and_tags(client: clients.Clients) -> None:
    made = clients.table(client.glance("image-create", "--property", "old=1", "--tags", "one"))[
        "id"
    ]
    words = ("--property", "new=2", "--remove-property", "old", "--name", "other")
    changed = clients.table(client.glance("image-update", made, *words))
    assert (changed["name"], changed["new"], "old" in changed) == ("other", "2", False)
    client.glance("image-tag-update", made, "two")
    client.glance("image-tag-delete", made, "one")
    assert clients.table(client.glance("image-show", made))["tags"] == '["two"]'
    client.glance("image-delete", made)


def test_stage_and_import(
    client: clients.Clients, running: service.Service, iso: Data, tmp_path: pathlib.Path
) -> None:
    made = clients.table(client.glance("image-create", *_ISO))["id"]
    client.glance("image-stage", "--file", str(iso.path), made)
    assert clients.table(client.glance("image-show", made))["status"] == "uploading"
    client.glance("image-import", "--import-method", "glance-direct", made)
    assert active(running, made)["os_hash_value"] == iso.sha512
    assert downloaded(client, made, tmp_path / "copy") == iso[1:]


def test_create_via_import_converts(
    client: clients.Clients, running: service.Service, qcow2: Data, raw: Data
) -> None:
    words = ("image-create-via-import", *_QCOW2, "--file", str(qcow2.path))
    made = clients.table(client.glance(*words))["id"]
    record = active(running, made)
    assert (record["disk_format"], record["checksum"]) == ("raw", raw.md5)
    client.glance("image-delete", made)


@pytest.mark.parametrize("at_once", [True, False])
def test_web_download(
    client: clients.Clients,
    running: service.Service,
    iso: Data,
    iso_url: str,
    tmp_path: pathlib.Path,
    at_once: bool,
) -> None:
    words = ("--import-method", "web-download", "--uri", iso_url)
    if at_once:
        made = clients.table(client.glance("image-create-via-import", *_ISO, *words))["id"]
    else:
        made = clients.table(client.glance("image-create", *_ISO))["id"]
        client.glance("image-import", *words, made)
    assert active(running, made)["checksum"] == iso.md5
    assert downloaded(client, made, tmp_path / "copy") == iso[1:]


def test_discovery(client: clients.Clients) -> None:
    assert "web-download" in client.glance("import-info")
    assert "Multi Backend support is not enabled" in client.glance("stores-info", fails=True)


def test_failures_name_their_cause(client: clients.Clients, iso: Data) -> None:
    wrong = client.glance("image-create", *_QCOW2, "--file", str(iso.path), fails=True)
    assert "declared qcow2, but the data are iso" in wrong
    made = clients.table(wrong)["id"]
    said = client.glance("image-update", made, "--property", "os_glance_x=1", fails=True)
    assert "403" in said
    assert "os_glance_x" in said
    client.glance("image-stage", "--file", str(iso.path), made)
    said = client.glance("image-upload", "--file", str(iso.path), made, fails=True)
    assert "HTTP 409" in said
    assert "uploading" in said
    client.glance("image-delete", made)


def test_a_refused_url_names_its_cause(client: clients.Clients) -> None:
    words = ("--import-method", "web-download", "--uri", "ftp://x.example/a")
    said = client.glance("image-create-via-import", *_ISO, *words, fails=True)
    assert "HTTP 400" in said
    assert "scheme ftp is not allowed" in said
    client.glance("image-delete", clients.table(said)["id"])
