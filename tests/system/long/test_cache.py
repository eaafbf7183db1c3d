"""The image cache of several processes, of which some get kill -9 in the middle (contract section 2.13)."""

import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import threading
from collections.abc import Iterator

import pytest
import urllib3

from tests import service, web

DATA = os.urandom(4 << 20) + b"the end"
#: Bytes a second at which there is time to kill somebody.
SLOW = 1e4
PATCH = "application/openstack-images-v2.1-json-patch"
OPTIONS = """allowed_hosts = [127.0.0.1]
[DEFAULT]
show_multiple_locations = true
image_cache_dir = {room}
cache_prefetcher_interval = 1
[gantry]
upkeep_seconds = 1
"""


def placed(whole: service.Service, url: str) -> str:
    """An active image whose bytes are at a URL."""
    known = {
        "checksum": hashlib.md5(DATA).hexdigest(),  # noqa: S324 - Glance's checksum
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(DATA).hexdigest(),
    }
    image_id = whole.create(disk_format="raw")
    place = {"url": url, "metadata": {}, "validation_data": known}
    change = [{"op": "add", "path": "/locations/-", "value": place}]
    answer = whole.ask("PATCH", f"/v2/images/{image_id}", change, Content_Type=PATCH)
    assert answer.status == 200, answer.data
    return image_id


def download(whole: service.Service, image_id: str) -> bytes:
    return whole.ask("GET", f"/v2/images/{image_id}/file").data


def names(room: pathlib.Path) -> list[str]:
    """All files in the cache but its locks."""
    found = (file for file in room.rglob("*") if file.is_file() and file.name[0] != ".")
    return sorted(str(file.relative_to(room)) for file in found)


def hits(whole: service.Service) -> dict[str, int]:
    """What GET /v2/cache says of each image."""
    listed = whole.ask("GET", "/v2/cache").json()["cached_images"]
    return {one["image_id"]: one["hits"] for one in listed}


@pytest.fixture(scope="module")
def source() -> web.Ranged:
    """What the images' bytes come from."""
    return web.Ranged(DATA)


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def whole(
    request: pytest.FixtureRequest, source: web.Ranged, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """A service with a cache, under one of the two web servers; the tests kill its processes."""
    state = tmp_path_factory.mktemp("s")
    options = OPTIONS.format(room=state / "cache")
    names = ("api", "worker", "beat")
    with service.running(state, *names, server=request.param, options=options) as running:
        yield running


@pytest.fixture
def room(whole: service.Service) -> pathlib.Path:
    """The cache, empty."""
    assert whole.ask("DELETE", "/v2/cache").status == 204
    return whole.state / "cache"


@pytest.fixture
def image_id(whole: service.Service, source: web.Ranged) -> Iterator[str]:
    """An active image whose bytes are elsewhere."""
    with web.serving({"/image": source}) as url:
        source.rate = None
        yield placed(whole, f"{url}/image")


def test_an_api_that_is_killed_while_it_keeps_a_download(
    whole: service.Service, room: pathlib.Path, source: web.Ranged, image_id: str
) -> None:
    source.rate = SLOW

    def ask() -> None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            download(whole, image_id)

    client = threading.Thread(target=ask)
    client.start()
    service.wait_for((room / "incomplete" / image_id).exists, "the first byte")
    whole.kill("api")
    client.join()
    assert not (room / image_id).exists()
    service.wait_for(lambda: not names(room), "upkeep to remove what nobody brings any more")
    whole.start("api")
    source.rate = None
    assert download(whole, image_id) == DATA
    service.wait_for((room / image_id).exists, "the image to be cached")
    assert (room / image_id).read_bytes() == DATA


def test_many_clients_of_several_processes(
    whole: service.Service, room: pathlib.Path, source: web.Ranged, image_id: str
) -> None:
    """Each gets everything; it is kept once, and then the source is not asked again."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(download, [whole] * 8, [image_id] * 8)) == {DATA}
    service.wait_for(lambda: hits(whole), "the image to be cached")
    before, asked = hits(whole)[image_id], len(source.asked)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(download, [whole] * 8, [image_id] * 8)) == {DATA}
    assert (hits(whole), len(source.asked)) == ({image_id: before + 8}, asked)
    assert names(room) == [image_id]
    assert whole.ask("DELETE", f"/v2/images/{image_id}").status == 204
    assert (names(room), hits(whole)) == ([], {})


def test_a_worker_that_is_killed_while_it_fetches(
    whole: service.Service, room: pathlib.Path, source: web.Ranged, image_id: str
) -> None:
    """Its successor begins anew; the API, which was asked for it, is not needed."""
    source.rate = SLOW
    assert whole.ask("PUT", f"/v2/cache/{image_id}").status == 202
    service.wait_for((room / "incomplete" / image_id).exists, "the worker to begin")
    whole.kill("worker")
    whole.kill("api")
    assert not (room / image_id).exists()
    assert f"queue/{image_id}" in names(room)
    source.rate = None
    whole.start("worker")
    service.wait_for(lambda: names(room) == [image_id], "the worker's successor")
    assert (room / image_id).read_bytes() == DATA
    whole.start("api")
    assert hits(whole) == {image_id: 0}
