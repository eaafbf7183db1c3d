"""A service whose stores are reached over the network, and what the tests of such stores do with it."""

import contextlib
import hashlib
import pathlib
from collections.abc import Iterator, Sequence

from tests import service
from tests.integration import remote_kinds

SMALL = hashlib.shake_128(b"small").digest(1 << 20)
#: Sent in four parts, the last one short.
LARGE = hashlib.shake_128(b"large").digest((18 << 20) + 5)
_QUICK = """[gantry]
lease_seconds = 5
heartbeat_seconds = 0.2
sweep_seconds = 1
retry_pause = 0.5
tries = 20
"""


@contextlib.contextmanager
def running(
    state: pathlib.Path, kind: remote_kinds.Kind, host: str, stores: Sequence[str]
) -> Iterator[service.Service]:
    """API, worker and beat with a local store and some of one kind (`remote_kinds`), `works` by default."""
    backends = ",".join(["local:file", *(f"{store}:{kind.name}" for store in stores)])
    sections = "".join(f"[{store}]\n{kind.options(store, host)}\n" for store in stores)
    options = f"""
[DEFAULT]
enabled_backends = {backends}
enabled_import_methods = [glance-direct,copy-image]
show_image_direct_url = true
show_multiple_locations = true
[local]
filesystem_store_datadir = {state}/local
{sections}
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks
[glance_store]
default_backend = works
{_QUICK}"""
    kind.empty()
    with service.running(state, "api", "worker", "beat", options=options) as whole:
        yield whole


def digests(data: bytes) -> tuple[str, str]:
    """What a record must say of these bytes."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest(), hashlib.sha512(data).hexdigest()


def check(running: service.Service, image_id: str, data: bytes) -> None:
    """The record and the bytes are right."""
    record = running.image(image_id)
    assert (record["status"], record["size"]) == ("active", len(data))
    assert (record["checksum"], record["os_hash_value"]) == digests(data)
    assert running.ask("GET", f"/v2/images/{image_id}/file").data == data


def remove(running: service.Service, kind: remote_kinds.Kind, image_id: str) -> None:
    """The image goes, and its bytes with it."""
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
    service.wait_for(lambda: not kind.held(), "the data to be gone", 20)
    assert not list((running.state / "staging").iterdir())


def staged(running: service.Service, data: bytes) -> str:
    """An image with bytes in staging."""
    image_id = running.create(disk_format="raw")
    running.stage(image_id, data)
    return image_id


def begin(running: service.Service, image_id: str, **fields: object) -> None:
    """POST /import, which must be answered 202."""
    body = {"method": {"name": "glance-direct"}} | fields
    answer = running.ask("POST", f"/v2/images/{image_id}/import", body)
    assert answer.status == 202, answer.data
