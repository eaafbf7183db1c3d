"""Advisories that name Glance, one by one: the attack, and that it goes well where the defence is off.

An attack returns whether it has gone well. Those of files are in `test_file_advisories`, those of URLs in
`test_ssrf`, some of others in modules that are named after them; SECURITY.md has the list.
"""

import hashlib
import io
import pathlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from images import (
    config,
    editing,
    errors,
    locations,
    models,
    quota,
    signatures,
    staging,
    store_urls,
    stores,
)
from tests import limit_server, signing, web
from tests.functional.conftest import Api, Caller
from tests.functional.importing import FORMATS
from tests.security.canary import TREASURE
from workers import jobs

DATA, OTHER = b"the reviewed bytes", b"the replaced bytes"

Patch = pytest.MonkeyPatch


def active(api: Api, data: bytes = DATA) -> str:
    """An image that has data."""
    image_id = api.create(**FORMATS)
    assert api.put(image_id, data).status_code == 204
    return image_id


def files(room: pathlib.Path) -> list[pathlib.Path]:
    """What lies in staging and in the store."""
    return [file for file in room.glob("[is]*/*") if file.is_file()]


# OSSA-2014-028: `image_size_cap` did not hold for uploads

CAP = "image_size_cap = 1000"


def oversize(api: Api, room: pathlib.Path, what: str, *, chunked: bool) -> bool:
    """Send more than the cap allows, with a length or without."""
    unsaid = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""} if chunked else {}
    answer = api.ask(
        "PUT",
        f"/v2/images/{api.create(**FORMATS)}/{what}",
        input_stream=io.BytesIO(b"x" * 2000),
        content_type="application/octet-stream",
        content_length=None if chunked else 2000,
        headers={"Transfer-Encoding": "chunked"} if chunked else {},
        environ_overrides=unsaid,
    )
    assert answer.status_code in (204, 413)
    return answer.status_code == 204 or bool(files(room))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("what", ["file", "stage"])
def test_ossa_2014_028(caller: Caller, tmp_path: pathlib.Path, what: str, chunked: bool) -> None:
    """413, and no byte is left."""
    assert not oversize(caller(options=CAP), tmp_path, what, chunked=chunked)


class Uncapped:
    """The configuration, but for the cap."""

    image_size_cap = 1 << 62

    def __getattr__(self, name: str) -> Any:
        return getattr(config.CONF, name)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("what", ["file", "stage"])
def test_ossa_2014_028_sings(
    caller: Caller, tmp_path: pathlib.Path, monkeypatch: Patch, what: str, chunked: bool
) -> None:
    """Where the staging area does not look at it."""
    api = caller(options=CAP)
    monkeypatch.setattr(
        staging, "config", types.SimpleNamespace(**{**vars(config), "CONF": Uncapped()})
    )
    assert oversize(api, tmp_path, what, chunked=chunked)


# OSSA-2015-003, 2015-004, 2015-013, 2015-020: who deletes an image while it gets its data keeps the bytes,
# and the quota does not know of them. Real workers, at every moment: tests/system/long/test_delete_under_way


class Deleting(io.BytesIO):
    """A body in whose middle something happens."""

    def __init__(self, event: Callable[[], object]) -> None:
        super().__init__(b"x" * 5000)
        self.event = event

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        if self.tell() >= 2000:
            event, self.event = self.event, lambda: None
            event()
        return super().read(min(1000, size or 1000) if size and size > 0 else 1000)


def delete_while_sending(api: Api, room: pathlib.Path, what: str) -> bool:
    """Whether bytes are left that no record knows of."""
    image_id = api.create(**FORMATS)
    api.ask(
        "PUT",
        f"/v2/images/{image_id}/{what}",
        input_stream=Deleting(lambda: api.ask("DELETE", f"/v2/images/{image_id}")),
        content_type="application/octet-stream",
        content_length=5000,
    )
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404
    return bool(files(room))


@pytest.mark.parametrize("what", ["file", "stage"])
def test_ossa_2015_003_and_ossa_2015_020(api: Api, tmp_path: pathlib.Path, what: str) -> None:
    assert not delete_while_sending(api, tmp_path, what)


@pytest.mark.parametrize("what", ["file", "stage"])
def test_ossa_2015_003_and_ossa_2015_020_sings(
    api: Api, tmp_path: pathlib.Path, monkeypatch: Patch, what: str
) -> None:
    """Where whoever sends does not clear up behind a delete."""
    monkeypatch.setattr(staging, "remove", lambda *_, **__: None)
    monkeypatch.setattr(stores, "delete", lambda *_: None)
    assert delete_while_sending(api, tmp_path, what)


def delete_while_importing(caller: Caller, room: pathlib.Path) -> bool:
    """A task of type import, whose image is deleted while its data come."""
    api = caller(
        roles="admin", options=web.LOOPBACK + "[gantry]\nheartbeat_seconds = 60\ntries = 1\n"
    )

    def answer(handler: Any) -> None:
        for image in api.ask("GET", "/v2/images").get_json()["images"]:
            api.ask("DELETE", f"/v2/images/{image['id']}")
        web.whole(DATA)(handler)

    with web.serving({"/x": answer}) as url:
        made = {"import_from": f"{url}/x", "import_from_format": "raw", "image_properties": FORMATS}
        task = api.ask("POST", "/v2/tasks", {"type": "import", "input": made}).get_json()
        with pytest.raises(errors.ImportFailed):
            jobs.run_import(task["id"])
    assert api.ask("GET", "/v2/images").get_json()["images"] == []
    return bool(files(room))


def test_ossa_2015_004_and_ossa_2015_013(caller: Caller, tmp_path: pathlib.Path) -> None:
    assert not delete_while_importing(caller, tmp_path)


def test_ossa_2015_004_and_ossa_2015_013_sings(
    caller: Caller, tmp_path: pathlib.Path, monkeypatch: Patch
) -> None:
    """Where the worker does not."""
    monkeypatch.setattr(staging, "remove", lambda *_, **__: None)
    assert delete_while_importing(caller, tmp_path)


# OSSA-2015-019: a member changed the status of its image back to `queued`, and its data after that


#: What the service alone says of an image, and what somebody would like to say.
MEMBERS = [
    *(("status", "queued"), ("checksum", "0" * 32), ("size", 1), ("os_hash_value", "0" * 128)),
    *(("virtual_size", 1), ("os_hash_algo", "md5"), ("file", "/x"), ("direct_url", "http://x/")),
]


def overwrite(api: Api, image_id: str, member: str, value: Any) -> int:
    """Change a member of the record; the milder one of the answers."""
    changes = [{"op": op, "path": f"/{member}", "value": value} for op in ("replace", "add")]
    return min(api.patch(image_id, change).status_code for change in changes)


@pytest.mark.parametrize(("member", "value"), MEMBERS)
def test_ossa_2015_019_members(api: Api, member: str, value: Any) -> None:
    image_id = active(api)
    before = api.show(image_id)
    assert overwrite(api, image_id, member, value) == 403
    assert api.show(image_id) == before


@pytest.mark.parametrize(("member", "value"), MEMBERS)
def test_ossa_2015_019_members_sings(api: Api, monkeypatch: Patch, member: str, value: Any) -> None:
    """Where no member is read-only."""
    monkeypatch.setattr(editing, "_READ_ONLY", ())
    assert overwrite(api, active(api), member, value) != 403


@pytest.mark.parametrize(
    "header", ["x-image-meta-status", "X-Image-Meta-Checksum", "X-Glance-Status"]
)
def test_ossa_2015_019_headers(api: Api, header: str) -> None:
    """The header of API v1 that did it means nothing."""
    image_id = active(api)
    headers = {header: "queued", "X-Image-Meta-Name": "changed"}
    api.ask("PUT", f"/v2/images/{image_id}", headers=headers)
    api.ask("PATCH", f"/v2/images/{image_id}", headers=headers, data=b"[]")
    record = api.show(image_id)
    assert (record["status"], record["name"]) == ("active", None)


def resend(api: Api, image_id: str) -> bool:
    """Send other data for an image."""
    return api.put(image_id, OTHER).status_code == 204


def test_ossa_2015_019_data(api: Api) -> None:
    image_id = active(api)
    assert not resend(api, image_id)
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA


def test_ossa_2015_019_data_sings(api: Api, execute: Callable[[Any], None]) -> None:
    """Where the status can be changed, so can the data."""
    image, image_id = models.Image, active(api)
    execute(sa.update(image).where(image.id == image_id).values(status="queued"))
    assert resend(api, image_id)
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == OTHER


# OSSA-2016-006 and OSSN-0065: the last location was removed, which made the image queued, and another added


def exchange(api: Api, image_id: str, url: str) -> bool:
    """Replace the data of an active image through its locations."""
    value = {"url": url, "metadata": {}}
    path = "/locations"
    for change in (
        {"op": "replace", "path": path, "value": []},
        {"op": "remove", "path": f"{path}/0"},
        {"op": "add", "path": f"{path}/-", "value": value},
        {"op": "replace", "path": path, "value": [value]},
    ):
        api.patch(image_id, change)
    return bool(api.ask("GET", f"/v2/images/{image_id}/file").data != DATA)


@pytest.fixture
def exchanged(caller: Caller) -> Iterator[Callable[[], bool]]:
    """Tries it on a new image, where locations are shown."""
    with web.serving({"/x": web.whole(OTHER)}) as url:
        options = f"show_multiple_locations = true\n{web.LOOPBACK}"
        api = caller(roles="admin,member", options=options)

        def attack() -> bool:
            image_id = active(api)
            checksum = api.show(image_id)["checksum"]
            done = exchange(api, image_id, f"{url}/x")
            assert done or api.show(image_id)["checksum"] == checksum
            return done

        yield attack


def test_ossa_2016_006_and_ossn_0065(exchanged: Callable[[], bool]) -> None:
    assert not exchanged()


def test_ossa_2016_006_and_ossn_0065_sings(
    exchanged: Callable[[], bool], monkeypatch: Patch
) -> None:
    """Where the last location can be removed."""

    def unguarded(found: Any, _: Any) -> None:
        found.removed.append(found.rows.pop(0))

    monkeypatch.setattr(locations, "_remove", unguarded)
    assert exchanged()


@pytest.mark.parametrize("options", ["", "show_image_direct_url = true"])
def test_ossn_0065_is_off_by_default(caller: Caller, options: str) -> None:
    """Nobody changes locations by PATCH unless the operator shows them."""
    api = caller(roles="admin", options=options)
    change = {"op": "add", "path": "/locations/-", "value": {"url": "http://x/", "metadata": {}}}
    assert api.patch(active(api), change).status_code == 403


# OSSA-2025-001 (and OSSA-2014-041, 2015-002): files of this machine by file:// and filesystem://


def read_file(api: Api, url: str) -> bytes | None:
    """The bytes behind a location that somebody names; None where it is refused."""
    image_id = api.create(**FORMATS)
    added = api.patch(
        image_id, {"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}}
    )
    if added.status_code != 200:
        assert added.status_code == 400
        return None
    return bytes(api.ask("GET", f"/v2/images/{image_id}/file").data)


SHOWN = "show_multiple_locations = true\n"


@pytest.mark.parametrize("scheme", ["file", "filesystem"])
def test_ossa_2025_001(caller: Caller, tmp_path: pathlib.Path, scheme: str) -> None:
    canary = tmp_path / "passwd"
    canary.write_bytes(TREASURE)
    api = caller(roles="admin,member", options=SHOWN)
    assert read_file(api, f"{scheme}://{canary}") is None


@pytest.mark.parametrize("scheme", ["file", "filesystem"])
def test_ossa_2025_001_sings(
    caller: Caller, tmp_path: pathlib.Path, monkeypatch: Patch, scheme: str
) -> None:
    """Where a location may be a file of this machine."""
    canary = tmp_path / "passwd"
    canary.write_bytes(TREASURE)
    api = caller(roles="admin,member", options=SHOWN)
    monkeypatch.setattr(stores, "_REFUSED_SCHEMES", ())
    assert read_file(api, f"{scheme}://{canary}") is None, "no such URL is the store's own"
    monkeypatch.setattr(store_urls, "is_own", lambda *_: True)
    assert read_file(api, f"{scheme}://{canary}") == TREASURE


# OSSN-0057 and OSSN-0076: a flood of records


@pytest.fixture
def flood(caller: Caller) -> Iterator[Callable[[], list[int]]]:
    """Makes ten images, where a project may have five."""
    with limit_server.serving() as server:
        plenty = dict.fromkeys(
            ("image_size_total", "image_stage_total", "image_count_uploading"), 100
        )
        server.registered |= plenty | {"image_count_total": 5}
        api = caller(options=server.options())
        yield lambda: [api.ask("POST", "/v2/images", {}).status_code for _ in range(10)]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_ossn_0057_and_ossn_0076(flood: Callable[[], list[int]]) -> None:
    """A project makes as many records as it may; imports need records, so these are bounded too."""
    assert flood() == [201] * 5 + [413] * 5


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_ossn_0057_and_ossn_0076_sings(flood: Callable[[], list[int]], monkeypatch: Patch) -> None:
    monkeypatch.setattr(quota, "admit_image", lambda *_: None)
    assert flood() == [201] * 10


# OSSN-0061: a signature of the data's MD5, and other data that have the same one

#: Two messages of one MD5 (published by Wang and others in 2004), which differ in six bytes.
_FIRST = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
    "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
    "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)
_SECOND = bytearray(_FIRST)
for _at in (19, 45, 59, 83, 109, 123):
    _SECOND[_at] ^= 0x80


def swap(api: Api, signer: signing.Signer) -> bool:
    """Send the second message for an image that is signed for the first."""
    image_id = api.create(**FORMATS, **signer.properties(_FIRST))
    return api.put(image_id, bytes(_SECOND)).status_code == 204


@pytest.fixture
def swapped(caller: Caller) -> Iterator[Callable[[], bool]]:
    """Tries it where a key manager has the certificate."""
    first, second = (hashlib.md5(data).digest() for data in (_FIRST, _SECOND))  # noqa: S324
    assert first == second
    signer = signing.signer("ECC_SECP384R1")
    with signing.vault(signer) as options:
        api = caller(options=options)
        yield lambda: swap(api, signer)


def test_ossn_0061(swapped: Callable[[], bool]) -> None:
    assert not swapped()


def test_ossn_0061_sings(swapped: Callable[[], bool], monkeypatch: Patch) -> None:
    """Where nobody looks at the signature."""
    monkeypatch.setattr(signatures, "verify", lambda *_: None)
    assert swapped()
