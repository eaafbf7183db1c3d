"""The image cache on request (contract section 2.13), its commands, several hosts, and its start."""

import contextlib
import fcntl
import functools
import io
import pathlib
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import cache, cache_fills, catalog, config, db, models
from images.commands import main as commands
from tests import web
from tests.functional.caching.kept import (
    ALLOW,
    DATA,
    FORMATS,
    SHOWN,
    Begun,
    Shop,
    download,
    listed,
    names,
    placed,
)
from tests.functional.conftest import OWNER, Api, Caller
from workers import jobs

Execute = Callable[[Any], None]

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


def test_nothing_is_opened_for_an_image_that_another_one_brings(
    admin: Api, shop: Shop, room: pathlib.Path
) -> None:
    """What was opened would have to be closed again."""
    offered = shop.offer("one", DATA)
    image_id = placed(admin, shop)
    cache.enqueue(image_id)
    before = len(offered.asked)
    fill = cache_fills.Fill.begin(catalog.show(cache_fills.EVERYTHING, image_id))
    assert fill
    with contextlib.closing(fill):
        assert jobs.prefetch() == 0
    assert len(offered.asked) == before
    assert jobs.prefetch() == 1


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
    manage = functools.partial(command, commands.glance_cache_manage, "-f")
    assert manage("list-cached") == (0, "")
    for image_id in (one, two):
        assert manage("queue-image", image_id)[0] == 0
    assert manage("list-queued") == (0, f"{one}\n{two}\n")
    assert manage("delete-queued-image", two) == (0, "")
    assert manage("delete-queued-image", two)[0] == 1
    assert command(commands.glance_cache_prefetcher) == (0, "1 images fetched\n")
    header, row = manage("list-cached")[1].splitlines()
    assert header.split()[0] == "ID"
    assert (row.split()[0], row.split()[-2:]) == (one, [str(len(DATA)), "0"])
    assert command(commands.glance_cache_pruner) == (0, "0 images removed, 0 bytes\n")
    (room / "incomplete" / two).write_bytes(b"left")
    assert command(commands.glance_cache_cleaner) == (0, "1 stalled or invalid images removed\n")
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
        assert command(commands.glance_cache_manage, "delete-all-cached-images")[0] == code
        assert bool(listed()) == bool(code)


def test_what_a_command_cannot_do(
    caller: Caller, shop: Shop, command: Callable[..., tuple[int, str]]
) -> None:
    caller(options=SHOWN + ALLOW)
    code, text = command(commands.glance_cache_manage, "list-cached")
    assert (code, text) == (
        1,
        "glance-cache-manage: This host has no image cache: image_cache_dir is not set\n",
    )
    code, text = command(commands.glance_cache_manage, "--host", "elsewhere.example", "list-cached")
    assert code == 1
    assert "elsewhere.example is managed there" in text


def test_a_prefetcher_that_leaves_something(
    admin: Api, shop: Shop, command: Callable[..., tuple[int, str]]
) -> None:
    image_id = placed(admin, shop)
    cache.enqueue(image_id)
    del shop.answers["/one"]
    code, text = command(commands.glance_cache_prefetcher)
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
