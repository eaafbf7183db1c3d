"""The image cache (contract sections 2.3 and 2.13): what is kept, who is served, and what never is."""

import contextlib
import fcntl
import functools
import hashlib
import io
import os
import pathlib
import resource
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from images import cache, cache_fills, catalog, config, db, models
from images.commands import cache as commands
from tests import web
from tests.functional.conftest import OWNER, STRANGER, Api, Caller
from workers import jobs

Execute = Callable[[Any], None]
DATA = os.urandom(3 << 20) + b"the end"
FORMATS = {"disk_format": "raw", "container_format": "bare"}
SHOWN = "show_multiple_locations = true\n"
ALLOW = "[import_filtering_opts]\nallowed_hosts = [127.0.0.1]\nallowed_ports = []\n"


class Shop:
    """A web server that images lie on; what it was asked is written down."""

    def __init__(self) -> None:
        self.answers: dict[str, web.Answer] = {}
        self.url = ""

    def offer(self, name: str, data: bytes) -> web.Ranged:
        """Have it give out some data."""
        self.answers[f"/{name}"] = offered = web.Ranged(data)
        return offered


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    with web.serving(made.answers) as made.url:
        yield made


@pytest.fixture
def room(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "cache"


@pytest.fixture
def start(caller: Caller, room: pathlib.Path) -> Caller:
    """Makes the client of a caller of a service with a cache."""

    def begin(options: str = "", **who: str) -> Api:
        return caller(options=f"{SHOWN}image_cache_dir = {room}\n{options}{ALLOW}", **who)

    return begin


@pytest.fixture
def api(start: Caller) -> Api:
    return start()


@pytest.fixture
def admin(start: Caller, api: Api) -> Api:
    """The same service, as an administrator finds it."""
    return start(roles="admin,member,reader")


def placed(api: Api, shop: Shop, name: str = "one", data: bytes = DATA, **fields: Any) -> str:
    """An active image whose bytes are at the shop."""
    shop.answers.setdefault(f"/{name}", web.whole(data))
    known = {
        "checksum": hashlib.md5(data).hexdigest(),  # noqa: S324 - Glance's checksum
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(data).hexdigest(),
    }
    image_id = api.create(**FORMATS, **fields)
    place = {"url": f"{shop.url}/{name}", "metadata": {}, "validation_data": known}
    answer = api.patch(image_id, {"op": "add", "path": "/locations/-", "value": place})
    assert answer.status_code == 200, answer.text
    return image_id


def download(api: Api, image_id: str, **headers: str) -> Any:
    return api.ask("GET", f"/v2/images/{image_id}/file", headers=headers)


class Begun:
    """A download of which some pieces have come."""

    def __init__(self, api: Api, image_id: str, pieces: int = 1) -> None:
        answer: Any = api.client.open(f"/v2/images/{image_id}/file")
        self._answer = answer
        self._pieces: Iterator[bytes] = iter(answer.response)
        self._data = b"".join(next(self._pieces) for _ in range(pieces))
        assert len(self._data) < len(DATA)

    def finish(self) -> bytes:
        """The rest comes; all of it."""
        self._data += b"".join(self._pieces)
        self.stop()
        return self._data

    def stop(self) -> None:
        """The client goes away."""
        self._answer.close()


def said(answer: Any) -> dict[str, str]:
    """An answer's headers but the request's id."""
    return {k: v for k, v in answer.headers.items() if k.lower() != "x-openstack-request-id"}


def names(room: pathlib.Path) -> list[str]:
    """All files in the cache but its locks."""
    found = (file for file in room.rglob("*") if file.is_file() and file.name[0] != ".")
    return sorted(str(file.relative_to(room)) for file in found)


def listed() -> list[tuple[str, int, int]]:
    """What the books have: image, bytes, hits."""
    return [(row.image_id, row.size, row.hits) for row in cache.entries()]


# Kept on the way


def test_a_download_is_kept_and_served_from_the_cache(
    api: Api, shop: Shop, room: pathlib.Path
) -> None:
    source = shop.offer("one", DATA)
    image_id = placed(api, shop)
    asked = len(source.asked)
    first = download(api, image_id)
    assert (first.status_code, first.data) == (200, DATA)
    assert (names(room), listed()) == ([image_id], [(image_id, len(DATA), 0)])
    assert (room / image_id).read_bytes() == DATA
    assert len(source.asked) == asked + 1
    second = download(api, image_id)
    assert (second.data, said(second)) == (DATA, said(first))
    assert len(source.asked) == asked + 1
    assert listed() == [(image_id, len(DATA), 1)]


@pytest.mark.parametrize(
    ("header", "begin", "end"),
    [
        ({"Range": "bytes=5-104"}, 5, 105),
        ({"Range": "bytes=-7"}, len(DATA) - 7, len(DATA)),
        ({"Content-Range": "bytes 10-19/*"}, 10, 20),
    ],
)
def test_a_part_is_served_from_the_cache_and_does_not_fill_it(
    api: Api, shop: Shop, room: pathlib.Path, header: dict[str, str], begin: int, end: int
) -> None:
    source = shop.offer("one", DATA)
    image_id = placed(api, shop)
    path = f"/v2/images/{image_id}/file"
    for _ in range(2):
        part = api.ask("GET", path, headers=header)
        assert (part.status_code, part.data) == (206, DATA[begin:end])
        assert (names(room), listed()) == ([], [])
    download(api, image_id)
    asked = len(source.asked)
    part = api.ask("GET", path, headers=header)
    assert (part.status_code, part.data) == (206, DATA[begin:end])
    assert part.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(DATA)}"
    assert api.ask("GET", path, headers={"Range": "bytes=9999999-"}).status_code == 416
    assert len(source.asked) == asked


def test_whoever_may_not_have_an_image_does_not_get_it_from_the_cache(
    start: Caller, api: Api, shop: Shop
) -> None:
    """OSSA-2013-027: the cache is asked behind visibility, policy and status."""
    image_id = placed(api, shop)
    public = placed(start(roles="admin"), shop, visibility="public")
    for one in (image_id, public):
        assert download(start(), one).data == DATA
    assert {row[0] for row in listed()} == {image_id, public}
    assert download(start(project=STRANGER), image_id).status_code == 404
    assert download(start(roles="reader"), image_id).status_code == 403
    assert download(start(roles="reader", project=STRANGER), public).status_code == 403
    assert [row[2] for row in listed()] == [0, 0]


def test_an_operators_policy_is_asked_before_the_cache(
    start: Caller, api: Api, shop: Shop, tmp_path: pathlib.Path
) -> None:
    image_id = placed(api, shop, secret="yes")
    assert download(api, image_id).data == DATA
    rules = tmp_path / "policy.yaml"
    rules.write_text("download_image: \"not 'yes':%(secret)s\"\n")
    ruled = start(f"[oslo_policy]\npolicy_file = {rules}\n")
    assert download(ruled, image_id).status_code == 403
    assert listed() == [(image_id, len(DATA), 0)]


def test_a_deactivated_image_is_not_served_from_the_cache(
    start: Caller, api: Api, shop: Shop
) -> None:
    source = shop.offer("one", DATA)
    image_id = placed(api, shop)
    download(api, image_id)
    admin = start(roles="admin")
    path = f"/v2/images/{image_id}/actions"
    assert admin.ask("POST", f"{path}/deactivate").status_code == 204
    asked = len(source.asked)
    assert download(start(), image_id).status_code == 403
    assert download(start(roles="admin"), image_id).data == DATA
    assert len(source.asked) == asked + 1
    assert start(roles="admin").ask("POST", f"{path}/reactivate").status_code == 204
    assert download(start(), image_id).data == DATA
    assert len(source.asked) == asked + 1


@pytest.mark.parametrize("pieces", [0, 2])
def test_a_client_that_goes_away_leaves_nothing(
    api: Api, shop: Shop, room: pathlib.Path, pieces: int
) -> None:
    image_id = placed(api, shop)
    begun = Begun(api, image_id, pieces)
    assert names(room) == [f"incomplete/{image_id}"]
    begun.stop()
    assert (names(room), listed()) == ([], [])
    assert download(api, image_id).data == DATA
    assert names(room) == [image_id]


@pytest.mark.parametrize("other", [DATA[:-1] + b"!", DATA[:-1]])
def test_data_that_are_not_the_image_are_not_kept(
    api: Api, shop: Shop, room: pathlib.Path, caplog: pytest.LogCaptureFixture, other: bytes
) -> None:
    """The store has rotted, or was cut; the client, who is told the digest, finds out by himself."""
    image_id = placed(api, shop)
    shop.answers["/one"] = web.whole(other)
    with contextlib.suppress(Exception):  # too few bytes may be seen already
        download(api, image_id)
    assert (names(room), listed()) == ([], [])
    assert f"Image {image_id} is not cached" in caplog.text or len(other) < len(DATA)


def test_two_at_once_bring_an_image_once(api: Api, shop: Shop, room: pathlib.Path) -> None:
    """The second one is sent its bytes all the same."""
    image_id = placed(api, shop)
    begun = Begun(api, image_id)
    inode = (room / "incomplete" / image_id).stat().st_ino
    assert download(api, image_id).data == DATA
    assert (room / "incomplete" / image_id).stat().st_ino == inode
    assert listed() == []
    assert begun.finish() == DATA
    assert (names(room), listed()) == ([image_id], [(image_id, len(DATA), 0)])


def test_one_who_comes_late_does_not_bring_it_again(
    api: Api, shop: Shop, room: pathlib.Path
) -> None:
    """He was sent to the store just before the first one was ready; the hits since then stay."""
    image_id = placed(api, shop)
    record = catalog.show(cache_fills.EVERYTHING, image_id)
    for _ in range(2):
        download(api, image_id)
    assert b"".join(cache_fills.kept(record, iter([DATA]))) == DATA
    assert (names(room), listed()) == ([image_id], [(image_id, len(DATA), 1)])


def test_many_at_once(api: Api, shop: Shop, room: pathlib.Path) -> None:
    ids = [placed(api, shop, f"{number}") for number in range(3)]
    wrong: list[str] = []

    def ask(image_id: str) -> None:
        client = Api(api.application)
        wrong.extend(image_id for _ in range(3) if download(client, image_id).data != DATA)

    threads = [threading.Thread(target=ask, args=[one]) for one in ids * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert names(room) == sorted(ids)
    assert {row[:2] for row in listed()} == {(one, len(DATA)) for one in ids}


def test_what_a_killed_process_was_bringing_is_begun_anew(
    api: Api, shop: Shop, room: pathlib.Path
) -> None:
    image_id = placed(api, shop)
    (room / "incomplete" / image_id).write_bytes(b"x" * (len(DATA) + 5))
    assert download(api, image_id).data == DATA
    assert (room / image_id).read_bytes() == DATA
    assert names(room) == [image_id]


def test_a_cache_that_cannot_be_used_holds_up_no_download(
    api: Api, shop: Shop, room: pathlib.Path
) -> None:
    image_id = placed(api, shop)
    shutil.rmtree(room)
    room.write_text("a file where a directory is to be")
    assert download(api, image_id).data == DATA
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204


def test_a_full_disk_holds_up_no_download(api: Api, shop: Shop, room: pathlib.Path) -> None:
    image_id = placed(api, shop)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, limits[1]))
    try:
        assert download(api, image_id).data == DATA
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (names(room), listed()) == ([], [])


def test_a_file_on_the_caches_own_file_system_is_not_kept(
    api: Api, room: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """It would be there twice, and be served no faster."""
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    assert (tmp_path / "images" / image_id).stat().st_dev == room.stat().st_dev
    assert download(api, image_id).data == DATA
    assert (names(room), listed()) == ([], [])


def test_an_image_without_a_checksum_is_not_kept(
    api: Api, shop: Shop, room: pathlib.Path, execute: Execute
) -> None:
    image_id = placed(api, shop)
    execute(sa.update(models.Image).values(checksum=None))
    assert download(api, image_id).data == DATA
    assert names(room) == []


def test_nginx_sends_what_is_cached(api: Api, shop: Shop, room: pathlib.Path) -> None:
    image_id = placed(api, shop)
    assert download(api, image_id).data == DATA
    config.CONF.set_override("x_accel_redirect", "/stored", "gantry")
    try:
        answer = download(api, image_id)
    finally:
        config.CONF.clear_override("x_accel_redirect", "gantry")
    assert answer.headers["X-Accel-Redirect"] == f"/stored{room}/{image_id}"


def test_preferred_stores_are_not_asked(api: Api, shop: Shop) -> None:
    """`prefer` is ignored where the cache serves, in its faults too (contract section 2.3)."""
    image_id = placed(api, shop)
    path = f"/v2/images/{image_id}/file?prefer=none"
    assert api.ask("GET", path).status_code == 400
    download(api, image_id)
    assert api.ask("GET", path).data == DATA


# What is not the image any more


def test_a_deleted_image_leaves_the_cache(api: Api, shop: Shop, room: pathlib.Path) -> None:
    image_id, other = placed(api, shop), placed(api, shop)
    for one in (image_id, other):
        download(api, one)
    cache.enqueue(image_id)
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert (names(room), [row[0] for row in listed()]) == ([other], [other])


def test_an_image_that_is_deleted_on_its_way_does_not_come_in(
    api: Api, shop: Shop, room: pathlib.Path
) -> None:
    image_id = placed(api, shop)
    begun = Begun(api, image_id)
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert names(room) == []
    assert begun.finish() == DATA
    assert (names(room), listed()) == ([], [])


def test_an_image_that_another_host_deletes_on_its_way_does_not_come_in(
    api: Api, shop: Shop, room: pathlib.Path, execute: Execute
) -> None:
    image_id = placed(api, shop)
    begun = Begun(api, image_id)
    execute(sa.update(models.Image).values(status="deleted", deleted=True))
    assert begun.finish() == DATA
    assert (names(room), listed()) == ([], [])


@pytest.mark.parametrize(
    "change",
    [{"checksum": "0" * 32, "os_hash_value": "0" * 128}, {"size": len(DATA) + 1}],
    ids=["checksum", "size"],
)
def test_an_image_with_new_data_is_not_served_old_ones(
    api: Api, shop: Shop, room: pathlib.Path, execute: Execute, change: dict[str, Any]
) -> None:
    """Its data may have been replaced through its locations; or its id is used again."""
    source = shop.offer("one", DATA)
    image_id = placed(api, shop)
    download(api, image_id)
    asked = len(source.asked)
    execute(sa.update(models.Image).values(change))
    with contextlib.suppress(Exception):  # there are fewer bytes than the record says
        download(api, image_id)
    assert len(source.asked) == asked + 1
    assert cache.clean() == 1
    assert (names(room), listed()) == ([], [])


def test_files_without_a_row_and_rows_without_a_file(
    api: Api, shop: Shop, room: pathlib.Path, execute: Execute
) -> None:
    """What a process leaves that is killed between the two is not served, and goes with upkeep."""
    source = shop.offer("one", DATA)
    image_id, other = placed(api, shop), placed(api, shop)
    download(api, other)
    (room / other).rename(room / image_id)
    asked = len(source.asked)
    for one in (image_id, other):
        assert not cache.knows(one) or download(api, one).data == DATA
    assert len(source.asked) == asked + 2
    assert {row[0] for row in listed()} == {image_id, other}
    execute(sa.delete(models.CachedImage).where(models.CachedImage.image_id == image_id))
    (room / other).unlink()
    assert jobs.tend_cache() == {"cleaned": 2, "pruned": 0}
    assert (names(room), listed()) == ([], [])


def test_an_entry_of_glance_is_replaced(
    api: Api, shop: Shop, room: pathlib.Path, execute: Execute
) -> None:
    """Glance does not write down of which data a cached file is."""
    image_id = placed(api, shop)
    download(api, image_id)
    execute(sa.update(models.CachedImage).values(checksum=None, hits=7))
    (room / image_id).write_bytes(b"?" * len(DATA))
    assert download(api, image_id).data == DATA
    assert (room / image_id).read_bytes() == DATA
    assert listed() == [(image_id, len(DATA), 0)]


# The limit


def test_what_was_used_longest_ago_makes_room(
    start: Caller, shop: Shop, room: pathlib.Path
) -> None:
    size = len(DATA)
    api = start(f"image_cache_max_size = {size * 5 // 2}\n")
    one, two, three = (placed(api, shop, f"{number}") for number in range(3))
    for image_id in (one, two, one, three):
        assert download(api, image_id).data == DATA
    assert sorted(names(room)) == sorted([one, three])
    assert listed() == [(one, size, 1), (three, size, 0)]


def test_a_lower_limit_is_kept_when_the_cache_is_pruned(
    start: Caller, api: Api, shop: Shop, room: pathlib.Path
) -> None:
    one, two = (placed(api, shop, f"{number}") for number in range(2))
    for image_id in (one, two):
        download(api, image_id)
    admin = start(f"image_cache_max_size = {len(DATA)}\n", roles="admin")
    pruned = admin.ask("POST", "/v2/cache/prune")
    assert pruned.get_json() == {"total_files_pruned": 1, "total_bytes_pruned": len(DATA)}
    assert (names(room), [row[0] for row in listed()]) == ([two], [two])
    assert admin.ask("POST", "/v2/cache/prune").get_json()["total_files_pruned"] == 0


def test_an_image_that_is_larger_than_the_cache(
    start: Caller, shop: Shop, room: pathlib.Path
) -> None:
    """It would push out everything, and go itself."""
    admin = start(f"image_cache_max_size = {len(DATA)}\n", roles="admin,member,reader")
    small, large = placed(admin, shop), placed(admin, shop, "large", DATA + b"!")
    for image_id in (small, large):
        download(admin, image_id)
    assert names(room) == [small]
    answer = admin.ask("PUT", f"/v2/cache/{large}")
    assert answer.status_code == 400
    assert "image_cache_max_size" in answer.text


def test_a_stalled_fill_is_removed(start: Caller, shop: Shop, room: pathlib.Path) -> None:
    """One that a process still has, but has not written to for image_cache_stall_time."""
    admin = start("image_cache_stall_time = 1000\n", roles="admin,member,reader")
    image_id = placed(admin, shop)
    begun = Begun(admin, image_id)
    file = room / "incomplete" / image_id
    assert admin.ask("POST", "/v2/cache/clean").status_code == 200
    assert file.exists()
    os.utime(file, (time.time() - 1001,) * 2)
    assert admin.ask("POST", "/v2/cache/clean").status_code == 200
    assert names(room) == []
    assert begun.finish() == DATA
    assert (names(room), listed()) == ([], [])


def test_what_nobody_is_bringing_any_more_is_removed_at_once(
    admin: Api, room: pathlib.Path
) -> None:
    image_id = admin.create()
    for part in ("incomplete", "invalid"):
        (room / part / image_id).write_bytes(b"part")
    assert cache.clean() == 2
    assert names(room) == []


# By request


def test_an_image_is_fetched_by_request(admin: Api, shop: Shop, room: pathlib.Path) -> None:
    """Of a file store's image too, for whoever asks knows why."""
    distant, near = placed(admin, shop), admin.create(**FORMATS)
    assert admin.put(near, DATA).status_code == 204
    for image_id in (distant, near, distant):
        assert admin.ask("PUT", f"/v2/cache/{image_id}").status_code == 202
    assert admin.ask("GET", "/v2/cache").get_json() == {
        "cached_images": [],
        "queued_images": [distant, near],
    }
    assert jobs.prefetch() == 2
    document = admin.ask("GET", "/v2/cache").get_json()
    assert document["queued_images"] == []
    assert [one["image_id"] for one in document["cached_images"]] == [distant, near]
    entry = document["cached_images"][0]
    assert abs(entry["last_accessed"] - time.time()) < 600
    assert entry["last_modified"] == entry["last_accessed"]
    assert (entry["size"], entry["hits"]) == (len(DATA), 0)
    assert entry["checksum"] == admin.show(distant)["checksum"]
    assert names(room) == sorted([distant, near])
    assert admin.ask("PUT", f"/v2/cache/{near}").status_code == 202
    assert cache.queued() == []
    del shop.answers["/one"]
    assert download(admin, distant).data == DATA


def test_what_cannot_be_fetched_now_goes_on_waiting(
    admin: Api, shop: Shop, room: pathlib.Path
) -> None:
    away, here = placed(admin, shop, "away"), placed(admin, shop, "here")
    for image_id in (away, here):
        cache.enqueue(image_id)
    del shop.answers["/away"]
    assert jobs.prefetch() == 1
    assert names(room) == sorted([here, f"queue/{away}"])
    shop.answers["/away"] = web.whole(DATA)
    assert jobs.prefetch() == 1
    assert names(room) == sorted([here, away])


def test_what_can_never_be_fetched_does_not_wait(
    admin: Api, shop: Shop, room: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    rotten, queued = placed(admin, shop), admin.create()
    shop.answers["/one"] = web.whole(DATA[:-1] + b"!")
    for image_id in (rotten, queued, "9d0d9f60-0000-4000-8000-000000000000"):
        cache.enqueue(image_id)
    assert jobs.prefetch() == 0
    assert names(room) == []
    assert f"Image {rotten} is not cached" in caplog.text


def test_a_second_location_is_tried(admin: Api, shop: Shop, room: pathlib.Path) -> None:
    image_id = placed(admin, shop)
    shop.answers["/two"] = web.whole(DATA)
    place = {"url": f"{shop.url}/two", "metadata": {}}
    change = {"op": "add", "path": "/locations/-", "value": place}
    assert admin.patch(image_id, change).status_code == 200
    del shop.answers["/one"]
    cache.enqueue(image_id)
    assert jobs.prefetch() == 1
    assert (room / image_id).read_bytes() == DATA


def test_a_worker_that_is_to_end_leaves_the_rest(
    admin: Api, shop: Shop, room: pathlib.Path
) -> None:
    ids = [placed(admin, shop, f"{number}") for number in range(2)]
    for image_id in ids:
        cache.enqueue(image_id)
    questions = iter([False, False, False, False])  # in the middle of the first one
    assert cache_fills.prefetch(lambda: next(questions, True)) == 0
    assert names(room) == [f"queue/{image_id}" for image_id in sorted(ids)]


def test_one_process_fetches_at_a_time(admin: Api, shop: Shop, room: pathlib.Path) -> None:
    image_id = placed(admin, shop)
    cache.enqueue(image_id)
    with (room / ".prefetch").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert cache_fills.is_prefetching()
        assert jobs.prefetch() == 0
    assert jobs.prefetch() == 1
    assert not cache_fills.is_prefetching()


def test_an_image_is_dropped_by_request(admin: Api, shop: Shop, room: pathlib.Path) -> None:
    cached, waiting = placed(admin, shop), placed(admin, shop)
    download(admin, cached)
    cache.enqueue(waiting)
    for image_id in (cached, waiting):
        assert admin.ask("DELETE", f"/v2/cache/{image_id}").status_code == 204
    assert (names(room), listed()) == ([], [])
    assert admin.ask("DELETE", f"/v2/cache/{cached}").status_code == 204


def test_what_is_left_of_a_deleted_image_is_dropped_by_request(
    admin: Api, shop: Shop, room: pathlib.Path, execute: Execute
) -> None:
    """It was deleted at another host, and upkeep has not been here since."""
    image_id = placed(admin, shop)
    download(admin, image_id)
    execute(sa.update(models.Image).values(status="deleted", deleted=True))
    assert admin.ask("DELETE", f"/v2/cache/{image_id}").status_code == 204
    assert (names(room), listed()) == ([], [])
    assert admin.ask("DELETE", f"/v2/cache/{image_id}").status_code == 404


@pytest.mark.parametrize(
    ("target", "left"), [(None, []), ("", []), ("Cache", ["queue"]), ("queue", ["cache"])]
)
def test_the_cache_is_cleared(
    admin: Api, shop: Shop, room: pathlib.Path, target: str | None, left: list[str]
) -> None:
    cached, waiting = placed(admin, shop), placed(admin, shop)
    download(admin, cached)
    cache.enqueue(waiting)
    headers = {} if target is None else {"x-image-cache-clear-target": target}
    assert admin.ask("DELETE", "/v2/cache", headers=headers).status_code == 204
    there = {"cache": cached, "queue": f"queue/{waiting}"}
    assert names(room) == [there[name] for name in left]
    assert len(listed()) == left.count("cache")


def test_what_is_on_its_way_is_cleared_too(admin: Api, shop: Shop, room: pathlib.Path) -> None:
    image_id = placed(admin, shop)
    begun = Begun(admin, image_id)
    assert admin.ask("DELETE", "/v2/cache").status_code == 204
    assert begun.finish() == DATA
    assert (names(room), listed()) == ([], [])


def test_one_who_has_lost_his_file_does_not_take_anothers(
    admin: Api, shop: Shop, room: pathlib.Path
) -> None:
    """The image was dropped, and another one has begun to bring it since."""
    image_id = placed(admin, shop)
    first = Begun(admin, image_id)
    assert admin.ask("DELETE", f"/v2/cache/{image_id}").status_code == 204
    second = Begun(admin, image_id)
    assert first.finish() == DATA
    assert (names(room), listed()) == ([f"incomplete/{image_id}"], [])
    assert second.finish() == DATA
    assert (names(room), listed()) == ([image_id], [(image_id, len(DATA), 0)])
    assert (room / image_id).read_bytes() == DATA


# Commands


@pytest.fixture
def command(
    admin: Api, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command on the service's configuration: its exit status, and what it says."""

    def run(name: Callable[[list[str]], int], *words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = name(["--config-file", str(tmp_path / "gantry.conf"), *words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_the_commands(
    admin: Api, shop: Shop, room: pathlib.Path, command: Callable[..., tuple[int, str]]
) -> None:
    """As an operator's crontab and playbook call them, one after another."""
    one, two = placed(admin, shop, "one"), placed(admin, shop, "two")
    manage = functools.partial(command, commands.manage, "-f")
    assert manage("list-cached") == (0, "")
    for image_id in (one, two):
        assert manage("queue-image", image_id)[0] == 0
    assert manage("list-queued") == (0, f"{one}\n{two}\n")
    assert manage("delete-queued-image", two) == (0, "")
    assert manage("delete-queued-image", two)[0] == 1
    assert command(commands.prefetcher) == (0, "1 images fetched\n")
    header, row = manage("list-cached")[1].splitlines()
    assert header.split()[0] == "ID"
    assert (row.split()[0], row.split()[-2:]) == (one, [str(len(DATA)), "0"])
    assert command(commands.pruner) == (0, "0 images removed, 0 bytes\n")
    (room / "incomplete" / two).write_bytes(b"left")
    assert command(commands.cleaner) == (0, "1 stalled or invalid images removed\n")
    assert manage("delete-cached-image", one) == (0, "")
    code, text = manage("delete-cached-image", one)
    assert (code, text) == (1, f"glance-cache-manage: Image {one} is not in the cache\n")
    cache.enqueue(two)
    assert manage("delete-all-queued-images") == (0, "1 images removed\n")
    download(admin, two)
    assert manage("delete-all-cached-images") == (0, "1 images removed\n")
    assert (names(room), listed()) == ([], [])


def test_a_command_asks_before_it_removes(
    admin: Api,
    shop: Shop,
    command: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image_id = placed(admin, shop)
    download(admin, image_id)
    for answer, code in (("", 1), ("n\n", 1), ("y\n", 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert command(commands.manage, "delete-all-cached-images")[0] == code
        assert bool(listed()) == bool(code)


def test_what_a_command_cannot_do(
    caller: Caller, shop: Shop, command: Callable[..., tuple[int, str]]
) -> None:
    caller(options=SHOWN + ALLOW)
    code, text = command(commands.manage, "list-cached")
    assert (code, text) == (
        1,
        "glance-cache-manage: This host has no image cache: image_cache_dir is not set\n",
    )
    code, text = command(commands.manage, "--host", "elsewhere.example", "list-cached")
    assert code == 1
    assert "elsewhere.example is managed there" in text


def test_a_prefetcher_that_leaves_something(
    admin: Api, shop: Shop, command: Callable[..., tuple[int, str]]
) -> None:
    image_id = placed(admin, shop)
    cache.enqueue(image_id)
    del shop.answers["/one"]
    code, text = command(commands.prefetcher)
    assert (code, cache.queued()) == (1, [image_id])
    assert "1 images still wait" in text


# Several hosts


def test_each_host_has_its_own_rows(
    start: Caller, api: Api, shop: Shop, tmp_path: pathlib.Path
) -> None:
    image_id = placed(api, shop)
    download(api, image_id)
    here, there = config.CONF.gantry.host, "http://b.example:9292"
    other = start(f"worker_self_reference_url = {there}\n", roles="admin,member,reader")
    config.CONF.set_override("image_cache_dir", str(tmp_path / "other"))
    try:
        cache.prepare()
        assert other.ask("GET", "/v2/cache").get_json()["cached_images"] == []
        nodes = f"/v2/cache/nodes/{image_id}"
        assert other.ask("GET", nodes).get_json() == [here]
        download(other, image_id)
        assert other.ask("GET", nodes).get_json() == [here, there]
        assert other.ask("DELETE", "/v2/cache").status_code == 204
        assert other.ask("GET", nodes).get_json() == [here]
    finally:
        config.CONF.clear_override("image_cache_dir")
    assert cache.queued() == []
    with db.reading() as session:
        assert session.scalars(sa.select(models.CachedImage.image_id)).all() == [image_id]


# The service


def test_a_directory_that_cannot_be_written_to_stops_the_start(
    caller: Caller, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="image_cache_dir cannot be written to: Not a directory"):
        caller(options=f"image_cache_dir = {tmp_path}/file/cache")


def test_glances_names_of_drivers_start(caller: Caller, room: pathlib.Path) -> None:
    for driver in ("sqlite", "xattr", "centralized_db", "Centralized_DB"):
        api = caller(options=f"image_cache_dir = {room}\nimage_cache_driver = {driver}")
        assert api.ask("GET", "/versions").status_code == 200
    with pytest.raises(SystemExit, match="image_cache_driver"):
        caller(options=f"image_cache_dir = {room}\nimage_cache_driver = memory")


def test_an_owner_sees_nothing_of_it(api: Api, shop: Shop) -> None:
    assert OWNER in str(api.show(placed(api, shop)))
    assert api.ask("GET", "/v2/cache").status_code == 403
