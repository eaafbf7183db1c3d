"""Deleting an image at any moment of its life leaves no bytes, no row, and the owner's quota whole.

Glance was caught at this again and again (OSSA-2015-003, -004, -013, -020).
"""

import concurrent.futures
import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests import service, web

MIB = 1 << 20
DATA = b"x" * (2 * MIB)
QUOTA = 8
#: Moments at which an import is deleted, in seconds after it was asked for.
MOMENTS = [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8]
_OPTIONS = f"""
[DEFAULT]
user_storage_quota = {QUOTA}MB
[image_import_opts]
image_import_plugins = [image_conversion]
[image_conversion]
output_format = qcow2
[gantry]
lease_seconds = 3
heartbeat_seconds = 0.2
sweep_seconds = 1
"""


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    state = tmp_path_factory.mktemp("gantry")
    names = ("api", "worker", "beat")
    with service.running(state, *names, server=request.param, options=_OPTIONS) as whole:
        yield whole


@pytest.fixture(autouse=True)
def nothing_is_left(running: service.Service) -> Iterator[None]:
    yield
    service.wait_for(lambda: running.left_over() == [], "staging and store to be empty")
    with sqlite3.connect(running.state / "gantry.sqlite") as database:

        def count(table: str, where: str) -> int:
            rows = database.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}")  # noqa: S608 - ours
            number: int = rows.fetchone()[0]
            return number

        assert count("images", "NOT deleted") == 0
        for table in ("image_properties", "image_tags", "image_locations"):
            assert count(table, "NOT deleted") == 0, table
        running_tasks = "status IN ('pending', 'processing')"
        service.wait_for(lambda: count("tasks", running_tasks) == 0, "every task to end")
        assert count("gantry_reservations", "1") == 0
    image_id = running.create(disk_format="raw")
    whole = running.ask("PUT", f"/v2/images/{image_id}/file", b"x" * (QUOTA * MIB))
    assert whole.status == 204, "the quota is not whole"
    delete(running, image_id)


def delete(running: service.Service, image_id: str) -> None:
    answer = running.ask("DELETE", f"/v2/images/{image_id}")
    assert answer.status == 204, (answer.status, answer.data)
    assert running.ask("GET", f"/v2/images/{image_id}").status == 404


def slowly(data: bytes, seconds: float) -> Iterator[bytes]:
    """A body in chunks that takes so long."""
    for at in range(0, len(data), MIB // 4):
        yield data[at : at + MIB // 4]
        time.sleep(seconds / (len(data) / (MIB // 4)))


@pytest.mark.parametrize(("what", "code"), [("file", 410), ("stage", 404)])
def test_while_it_is_sent(running: service.Service, what: str, code: int) -> None:
    image_id = running.create(disk_format="raw")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        path = f"/v2/images/{image_id}/{what}"
        sent = pool.submit(running.ask, "PUT", path, slowly(DATA, 1))
        service.wait_for(lambda: running.image(image_id)["status"] != "queued", "it to begin")
        delete(running, image_id)
        assert sent.result().status == code


def test_staged_and_never_imported(running: service.Service) -> None:
    image_id = running.create(disk_format="raw")
    running.stage(image_id, DATA)
    delete(running, image_id)


def test_while_it_is_imported(running: service.Service) -> None:
    """At each moment between the 202 and the end, one after another."""
    for moment in MOMENTS:
        image_id = running.create(disk_format="raw", name=str(moment))
        running.stage(image_id, DATA)
        running.begin_import(image_id)
        time.sleep(moment)
        delete(running, image_id)


def test_while_it_is_downloaded(running: service.Service) -> None:
    with web.serving({"/slow": web.whole(DATA, seconds=1)}) as url:
        for moment in MOMENTS:
            image_id = running.create(disk_format="raw", name=str(moment))
            running.begin_import(image_id, "web-download", uri=f"{url}/slow")
            time.sleep(moment)
            delete(running, image_id)


def test_as_soon_as_it_is_active(running: service.Service) -> None:
    """Glance answers 500 now and then."""
    for _ in range(5):
        image_id = running.create(disk_format="raw")
        running.stage(image_id, DATA)
        running.begin_import(image_id)
        end = time.monotonic() + service.PATIENCE
        while running.image(image_id)["status"] != "active":
            assert time.monotonic() < end
        delete(running, image_id)


def test_many_at_once(running: service.Service) -> None:
    """More than the quota has room for: some are refused, all are deleted, each at another moment."""

    def live_and_die(number: int) -> None:
        image_id = running.create(disk_format="raw")
        answer = running.ask("PUT", f"/v2/images/{image_id}/stage", DATA)
        assert answer.status == 204
        running.begin_import(image_id)
        time.sleep(number * 0.1)
        delete(running, image_id)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(live_and_die, range(12)))
