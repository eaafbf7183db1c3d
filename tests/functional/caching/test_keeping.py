"""The image cache (contract section 2.3): what is kept, who is served, and what never is."""

import contextlib
import os
import pathlib
import resource
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import cache, cache_fills, catalog, config, models
from tests import web
from tests.functional.caching.kept import (
    DATA,
    FORMATS,
    Begun,
    Shop,
    download,
    listed,
    names,
    placed,
    said,
)
from tests.functional.conftest import STRANGER, Api, Caller
from workers import jobs

Execute = Callable[[Any], None]

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
