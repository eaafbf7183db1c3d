"""The `openstack` command of python-openstackclient, unmodified."""

import pathlib
from collections.abc import Iterator

import pytest

from tests import service
from tests.compat import clients
from tests.compat.conftest import Data, data_of


@pytest.fixture(autouse=True)
def nothing_is_left(running: service.Service) -> Iterator[None]:
    """Each test takes its images away again, through the client."""
    yield
    assert running.ask("GET", "/v2/images").json()["images"] == []


def create(client: clients.Clients, name: str, disk_format: str, *words: str) -> str:
    """`openstack image create`; the image's id."""
    made = client.openstack_json("image", "create", "--disk-format", disk_format, *words, name)
    image_id: str = made["id"]
    return image_id


def active(running: service.Service, image_id: str) -> dict[str, object]:
    """The record of an image once its import has ended well."""
    task = running.wait_for_task(image_id)
    assert task["status"] == "success", task["message"]
    return running.image(image_id)


def downloaded(client: clients.Clients, name: str, to: pathlib.Path) -> tuple[str, ...]:
    """Digests of what `openstack image save` gives, after which the image is deleted."""
    client.openstack("image", "save", "--file", str(to), name)  # compares the digest by itself
    client.openstack("image", "delete", name)
    assert "No Image found" in client.openstack("image", "show", name, fails=True)
    return data_of(to)[1:]


def test_upload(client: clients.Clients, iso: Data, tmp_path: pathlib.Path) -> None:
    words = ("--file", str(iso.path), "--tag", "one", "--property", "os_distro=memtest")
    made = create(client, "memtest", "iso", *words)
    shown = client.openstack_json("image", "show", "memtest")
    assert (shown["status"], shown["checksum"], shown["id"]) == ("active", iso.md5, made)
    assert shown["properties"]["os_hash_value"] == iso.sha512
    for filters in (
        (),
        ("--tag", "one"),
        ("--property", "os_distro=memtest"),
        ("--name", "memtest"),
    ):
        listed = client.openstack_json("image", "list", *filters)
        assert listed == [{"ID": made, "Name": "memtest", "Status": "active"}]
    assert client.openstack_json("image", "list", "--tag", "two") == []
    assert downloaded(client, "memtest", tmp_path / "copy") == iso[1:]


def test_properties_and_tags(client: clients.Clients) -> None:
    create(client, "plain", "raw", "--property", "old=1", "--tag", "one")
    client.openstack(
        "image", "set", "--property", "new=2", "--tag", "two", "--name", "other", "plain"
    )
    client.openstack("image", "unset", "--property", "old", "--tag", "one", "other")
    shown = client.openstack_json("image", "show", "other")
    assert (shown["tags"], shown["properties"]["new"]) == (["two"], "2")
    assert "old" not in shown["properties"]
    client.openstack("image", "delete", "other")


def test_stage_and_import(
    client: clients.Clients, running: service.Service, iso: Data, tmp_path: pathlib.Path
) -> None:
    """The command says all_stores_must_succeed: false by itself, which Glance refuses on a single store."""
    made = create(client, "staged", "iso")
    client.openstack("image", "stage", "--file", str(iso.path), "staged")
    assert client.openstack_json("image", "show", "staged")["status"] == "uploading"
    client.openstack("image", "import", "--method", "glance-direct", "staged")
    assert active(running, made)["os_hash_value"] == iso.sha512
    assert downloaded(client, "staged", tmp_path / "copy") == iso[1:]


def test_create_by_import_converts(
    client: clients.Clients, running: service.Service, qcow2: Data, raw: Data
) -> None:
    made = create(client, "alpine", "qcow2", "--import", "--file", str(qcow2.path))
    record = active(running, made)
    assert (record["disk_format"], record["checksum"]) == ("raw", raw.md5)
    client.openstack("image", "delete", "alpine")


def test_web_download(
    client: clients.Clients,
    running: service.Service,
    iso: Data,
    iso_url: str,
    tmp_path: pathlib.Path,
) -> None:
    made = create(client, "web", "iso")
    words = ("--method", "web-download", "--uri", iso_url)
    client.openstack("image", "import", *words, "web")
    assert active(running, made)["checksum"] == iso.md5
    assert downloaded(client, "web", tmp_path / "copy") == iso[1:]


def test_discovery(client: clients.Clients) -> None:
    methods = client.openstack_json("image", "import", "info")["import-methods"]
    assert methods == ["glance-direct", "web-download"]
    assert "not enabled" in client.openstack("image", "stores", "list", fails=True)


def test_failures_name_their_cause(client: clients.Clients, iso: Data) -> None:
    """Of an upload that is refused the client deletes the image again, by itself."""
    wrong = ("image", "create", "--disk-format", "qcow2", "--file", str(iso.path), "wrong")
    assert "declared qcow2, but the data are iso" in client.openstack(*wrong, fails=True)
    create(client, "plain", "iso")
    said = client.openstack("image", "set", "--property", "os_glance_x=1", "plain", fails=True)
    assert "403" in said
    assert "os_glance_x" in said
    client.openstack("image", "delete", "plain")
