"""Which endpoint another region has, in both forms of Keystone's catalog, and what of its image is copied."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from images import context, db, errors, methods, models, staging, task_secrets
from images.methods import glance_download
from tests import downloading, web
from tests.conftest import Configure

FIELDS = {
    "glance_region": "Two",
    "glance_image_id": "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c",
    "glance_service_interface": "public",
}
OLD: dict[str, object] = {
    "type": "image",
    "endpoints": [
        {"region": "one", "publicURL": "http://one.example.org"},
        {"region": "two", "publicURL": "http://two.example.org/v2/", "adminURL": "http://x:22/"},
    ],
}
NEW: dict[str, object] = {
    "type": "image",
    "endpoints": [
        {"region_id": "two", "interface": "internal", "url": "http://inside.example.org"},
        {"region_id": "two", "interface": "public", "url": "http://two.example.org"},
    ],
}
OTHER: dict[str, object] = {
    "type": "compute",
    "endpoints": [{"region": "two", "publicURL": "http://compute.example.org"}],
}


def asker(*catalog: dict[str, object]) -> context.Context:
    """Somebody with a token and this catalog."""
    return context.Context(
        user_id="u",
        project_id="p",
        owner="p",
        roles=("member",),
        is_admin=False,
        request_id="req-1",
        auth_token="very-secret",
        service_catalog=catalog,
    )


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("catalog", "changes", "endpoint"),
    [
        ((OLD,), {}, "http://two.example.org"),
        ((NEW,), {}, "http://two.example.org"),
        ((OTHER, NEW), {"glance_service_interface": "internal"}, "http://inside.example.org"),
        ((OTHER,), {}, None),
        ((), {}, None),
        ((OLD,), {"glance_region": "three"}, None),
        ((OLD,), {"glance_service_interface": "no interface"}, None),
        (({"type": "image"}, {}), {}, None),
    ],
)
def test_the_endpoint(
    catalog: tuple[dict[str, object], ...], changes: dict[str, str], endpoint: str | None
) -> None:
    """A region that is not there is found missing by the worker, as in Glance."""
    sealed = glance_download.GlanceDownload().origin(asker(*catalog), FIELDS | changes)
    assert "secret" not in sealed
    assert "example" not in sealed
    assert task_secrets.unseal(sealed) == {"endpoint": endpoint, "token": "very-secret"}


@pytest.mark.usefixtures("configure")
def test_an_endpoint_that_the_lists_refuse() -> None:
    fields = FIELDS | {"glance_service_interface": "admin"}
    with pytest.raises(errors.Invalid, match="port 22"):
        glance_download.GlanceDownload().origin(asker(OLD), fields)


def test_what_is_copied(configure: Configure) -> None:
    """By the beginnings of names; never a column, a member or a mark of ours, whatever the operator says.

    Nor what promises that the bytes were verified, which nobody does.
    """
    source: dict[str, Any] = {
        "disk_format": "raw",
        "container_format": "bare",
        "owner": "x",
        "os_hidden": "x",
        "os_distro": "a",
        "os_glance_x": "b",
        "hw_disk_bus": "c",
        "hw_n": 5,
        "speed": "d",
    }
    found = glance_download._described(source)
    assert found["properties"] == {"os_distro": "a", "hw_disk_bus": "c"}
    configure("[glance_download_properties]\nextra_properties = [o,s]")
    assert glance_download._described(source)["properties"] == {"os_distro": "a", "speed": "d"}
    promises = {
        "img_signature": "QUJD",
        "img_signature_hash_method": "SHA-256",
        "img_signature_key_type": "RSA-PSS",
        "img_signature_certificate_uuid": "6b1a2a4c-5c92-4b35-a6f0-5d1b1c0a0c5e",
        "gantry_expected_checksum": "md5:" + "0" * 32,
    }
    configure("[glance_download_properties]\nextra_properties = [img_,gantry_]")
    found = glance_download._described(source | promises | {"img_type": "e"})
    assert found["properties"] == {"img_type": "e"}
    with pytest.raises(errors.ImportFailed, match="disk_format"):
        glance_download._described(source | {"disk_format": "floppy"})


# What comes from there

DATA = os.urandom(7 << 20)
RECORD: dict[str, Any] = {
    "status": "active",
    "disk_format": "raw",
    "container_format": "bare",
    "size": len(DATA),
    "os_hash_algo": "sha512",
    "os_hash_value": hashlib.sha512(DATA).hexdigest(),
}
PATH = f"/v2/images/{FIELDS['glance_image_id']}"


@pytest.fixture
def region(configure: Configure, database: None) -> Iterator[dict[str, web.Answer]]:
    """The answers of the other region; its endpoint is kept for the task, with a token."""
    configure(downloading.OPTIONS + downloading.LISTS)
    answers: dict[str, web.Answer] = {}
    with web.serving(answers) as url:
        sealed = task_secrets.seal({"endpoint": url, "token": "very-secret"})
        with db.transaction() as session:
            session.add(models.TaskSecret(task_id="task", value=sealed))
        yield answers


def fetched(
    attempt: int = 1, on_bytes: Callable[[int, int | None], None] = lambda *_: None
) -> tuple[methods.Fetched, list[str]]:
    """What an attempt brings, and the faults on the way."""
    faults: list[str] = []
    run = methods.Run("task", attempt, faults.append)
    method = glance_download.GlanceDownload()
    found = method.fetch(downloading.IMAGE, FIELDS, run=run, digest=False, on_bytes=on_bytes)
    return found, faults


def test_another_region_is_tried_again(region: dict[str, web.Answer]) -> None:
    """For the record as for the bytes, which are gone on with although nothing tells their version."""
    record, file = (
        web.Ranged(json.dumps(RECORD).encode()),
        web.Ranged(DATA, etag=None, cuts=[1 << 20]),
    )
    region.update({PATH: web.in_turn(web.status(503), record), f"{PATH}/file": file})
    found, faults = fetched()
    assert pathlib.Path(found.facts.path).read_bytes() == DATA
    assert len(faults) == 2
    assert [asked.get("Range") for asked in file.asked] == [None, f"bytes={1 << 20}-"]
    assert {asked.get("X-Auth-Token") for asked in record.asked + file.asked} == {"very-secret"}


def test_another_worker_asks_another_region(region: dict[str, web.Answer]) -> None:
    """For the record again, and for the rest of the bytes."""

    def leave(done: int, _: int | None) -> None:
        if done >= 2 << 20:
            raise errors.Abandoned

    record, file = web.Ranged(json.dumps(RECORD).encode()), web.Ranged(DATA, etag=None)
    region.update({PATH: record, f"{PATH}/file": file})
    with pytest.raises(errors.Abandoned):
        fetched(on_bytes=leave)
    mark = downloading.marks(1)[-1]
    found, _ = fetched(attempt=2)
    assert pathlib.Path(found.facts.path).read_bytes() == DATA
    assert len(record.asked) == 2
    assert file.asked[1]["Range"] == f"bytes={mark}-"


def test_a_region_that_does_not_say_a_word(region: dict[str, web.Answer]) -> None:
    """The import hears that it is to end while the record is waited for."""
    told: list[int | None] = []

    def heard(done: int, total: int | None) -> None:
        told.extend([done, total])
        if len(told) > 4:
            raise errors.Stopped

    region[PATH] = web.silent
    with pytest.raises(errors.Stopped):
        fetched(on_bytes=heard)
    assert told == [0, None] * 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": 5}, "is not whole"),
        ({"status": "queued"}, "must be active"),
        ({"checksum": "0" * 32}, "checksum differs"),
        ({"os_hash_value": "0" * 128}, "os_hash_value differs"),
        ({"size": "5"}, "does not answer as an image service does"),
    ],
)
def test_what_another_region_gets_wrong(
    region: dict[str, web.Answer], changes: dict[str, Any], says: str
) -> None:
    """It is told, and not tried again."""
    record = web.Ranged(json.dumps(RECORD | changes).encode())
    region.update({PATH: record, f"{PATH}/file": web.Ranged(DATA)})
    with pytest.raises(errors.ImportFailed, match=says):
        fetched()
    assert len(record.asked) == 1


def test_an_image_without_data(region: dict[str, web.Answer]) -> None:
    """Its bytes are answered with 204, as they must be; those of any other are not."""
    region[f"{PATH}/file"] = web.status(204)
    region[PATH] = web.whole(json.dumps(RECORD).encode())
    with pytest.raises(errors.ImportFailed, match="204 No Content"):
        fetched()
    empty = RECORD | {"size": 0, "os_hash_value": hashlib.sha512().hexdigest()}
    region[PATH] = web.whole(json.dumps(empty).encode())
    found, faults = fetched()
    assert pathlib.Path(found.facts.path).read_bytes() == b""
    assert (found.facts.size, faults) == (0, [])


def test_a_record_without_end(region: dict[str, web.Answer]) -> None:
    """It is not read for ever."""
    region[PATH] = web.dripping(b"HTTP/1.0 200 OK\r\n\r\n", b" " * (1 << 20), 0)
    with pytest.raises(errors.ImportFailed, match="does not answer as"):
        fetched()
    assert not list(staging.path().iterdir())
