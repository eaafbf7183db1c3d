"""Limits hold when many ask at the same time, on every database; and what fits exactly is let in."""

import collections
import concurrent.futures
import contextlib
import http.server
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import urllib3

from tests import limit_server, service, web
from tests.integration import databases

MIB = 1 << 20
ONE = b"x" * MIB
WRITERS = 12
FITS = 5
PLENTY = {
    "image_size_total": 1000,
    "image_stage_total": 1000,
    "image_count_total": 1000,
    "image_count_uploading": 1000,
}
DATABASES = ["sqlite", "postgresql", "mariadb"]


class Limited:
    """A service and the limits that it is under."""

    def __init__(self, running: service.Service, server: limit_server.LimitServer) -> None:
        self.service, self.server = running, server

    def limit(self, **limits: int) -> None:
        """These limits, else plenty."""
        self.server.registered = PLENTY | limits

    def used(self, name: str) -> int:
        """What /info/usage says of a limit; MiB."""
        usage: int = self.service.ask("GET", "/v2/info/usage").json()["usage"][name]["usage"]
        return usage

    def images(self) -> list[dict[str, Any]]:
        """Every image there is."""
        found: list[dict[str, Any]] = self.service.ask("GET", "/v2/images?limit=1000").json()[
            "images"
        ]
        return found

    def create(self, count: int) -> list[str]:
        """The ids of new images."""
        return [self.service.create(disk_format="raw") for _ in range(count)]

    def put(self, image_id: str, data: Any, what: str = "file") -> urllib3.BaseHTTPResponse:
        """PUT; what is no bytes goes in chunks, its length unsaid."""
        return self.service.ask("PUT", f"/v2/images/{image_id}/{what}", data)


@contextlib.contextmanager
def database_options(name: str) -> Iterator[str]:
    """Lines of a configuration file."""
    if name == "sqlite":
        yield ""
        return
    with getattr(databases, name)() as url:
        yield f"[database]\nconnection = {url}\n"


@pytest.fixture(scope="module", params=DATABASES)
def unified(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Limited]:
    state = tmp_path_factory.mktemp("gantry")
    with contextlib.ExitStack() as stack:
        options = stack.enter_context(database_options(request.param))
        server = stack.enter_context(limit_server.serving())
        options += f"[DEFAULT]\n{server.options()}{web.LOOPBACK}"
        running = service.running(state, "api", "worker", options=options)
        yield Limited(stack.enter_context(running), server)


@pytest.fixture
def limited(unified: Limited) -> Iterator[Limited]:
    """Without any image before and after."""
    unified.limit()
    yield unified
    unified.limit()
    for image in unified.images():
        unified.service.ask("DELETE", f"/v2/images/{image['id']}")
    assert [unified.used(name) for name in PLENTY] == [0, 0, 0, 0]
    assert unified.service.left_over() == []


def at_once(work: Callable[[str], Any], over: Iterable[str]) -> list[Any]:
    """Do it for all at the same time."""
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(work, over))


def in_pieces(data: bytes, size: int = 300_000) -> Iterator[bytes]:
    """A body that does not say its length."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


def test_images(limited: Limited) -> None:
    limited.limit(image_count_total=FITS)

    def create(name: str) -> int:
        return limited.service.ask("POST", "/v2/images", {"name": name}).status

    answers = at_once(create, map(str, range(WRITERS)))
    assert collections.Counter(answers) == {201: FITS, 413: WRITERS - FITS}
    assert len(limited.images()) == FITS


@pytest.mark.parametrize(
    ("what", "name"), [("file", "image_size_total"), ("stage", "image_stage_total")]
)
def test_bytes(limited: Limited, what: str, name: str) -> None:
    """As many get through as fit, and no more."""
    ids = limited.create(WRITERS)
    limited.limit(**{name: FITS})
    answers = at_once(lambda one: limited.put(one, ONE, what).status, ids)
    assert collections.Counter(answers) == {204: FITS, 413: WRITERS - FITS}
    assert limited.used(name) == FITS
    refused = [one for one, answer in zip(ids, answers, strict=True) if answer == 413]
    assert {limited.service.image(one)["status"] for one in refused} == {"queued"}


@pytest.mark.parametrize(
    ("what", "name"), [("file", "image_size_total"), ("stage", "image_stage_total")]
)
def test_bytes_of_unsaid_length(limited: Limited, what: str, name: str) -> None:
    """What fits exactly gets in; of more, at most the one MiB that Glance's softness is cut down to."""
    ids = limited.create(FITS)
    limited.limit(**{name: 3 * FITS})
    answers = at_once(lambda one: limited.put(one, in_pieces(ONE * 3), what).status, ids)
    assert answers == [204] * FITS
    more = limited.create(WRITERS)
    limited.limit(**{name: 3 * FITS + 4})
    answers = at_once(lambda one: limited.put(one, in_pieces(ONE * 3), what).status, more)
    assert set(answers) <= {204, 413}
    assert 413 in answers
    assert limited.used(name) <= 3 * FITS + 4 + 1


def test_images_under_way(limited: Limited) -> None:
    ids = limited.create(WRITERS)
    limited.limit(image_count_uploading=FITS)
    answers = at_once(lambda one: limited.put(one, b"x", "stage").status, ids)
    assert collections.Counter(answers) == {204: FITS, 413: WRITERS - FITS}
    assert limited.used("image_count_uploading") == FITS


def test_imports(limited: Limited) -> None:
    """Together they are too much: as many succeed as fit, the others say which limit it was."""
    ids = limited.create(WRITERS)
    for one in ids:
        assert limited.put(one, ONE, "stage").status == 204
    limited.limit(image_size_total=FITS)
    at_once(limited.service.begin_import, ids)
    tasks = [limited.service.wait_for_task(one) for one in ids]
    ended = collections.Counter(task["status"] for task in tasks)
    assert ended == {"success": FITS, "failure": WRITERS - FITS}
    causes = {task["message"] for task in tasks if task["status"] == "failure"}
    assert all("image_size_total is over limit of 5" in cause for cause in causes), causes
    assert limited.used("image_size_total") == FITS
    assert limited.used("image_stage_total") == 0
    for one, task in zip(ids, tasks, strict=True):
        image = limited.service.image(one)
        assert image["status"] == ("active" if task["status"] == "success" else "queued")
        assert "os_glance_import_task" not in image


def test_imports_under_way(limited: Limited) -> None:
    """Imports that bring their bytes are admitted by the worker: those that find no room say so."""
    ids = limited.create(4)
    limited.limit(image_count_uploading=0)
    with web.serving({"/one": web.whole(ONE)}) as url:
        for one in ids:
            limited.service.begin_import(one, "web-download", uri=f"{url}/one")
        tasks = [limited.service.wait_for_task(one) for one in ids]
    assert {task["status"] for task in tasks} == {"failure"}
    assert all("image_count_uploading is over limit of 0" in task["message"] for task in tasks)
    assert {limited.service.image(one)["status"] for one in ids} == {"queued"}


@pytest.mark.parametrize("name", ["image_size_total", "image_stage_total"])
@pytest.mark.parametrize("said", [True, False])
def test_downloads(limited: Limited, name: str, said: bool) -> None:
    """Each of them fits, both do not; one whose length is not said is stopped where it passes the limit."""
    ids = limited.create(2)
    limited.limit(**{name: 5})

    def unsaid(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(30):
            handler.wfile.write(b"x" * (MIB // 10))

    slow = web.whole(b"x" * (3 * MIB), seconds=1)
    with web.serving({"/image": slow if said else unsaid}) as url:
        at_once(
            lambda one: limited.service.begin_import(one, "web-download", uri=f"{url}/image"), ids
        )
        tasks = [limited.service.wait_for_task(one) for one in ids]
    ended = [task["status"] for task in tasks]
    if name == "image_size_total":
        assert ended.count("success") <= 1
        assert limited.used(name) <= 5
    failed = [task["message"] for task in tasks if task["status"] == "failure"]
    assert all(f"{name} is over limit of 5" in message for message in failed)


def test_a_download_that_is_too_long(limited: Limited) -> None:
    """It is not downloaded to its end."""
    sent = []

    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(500):
            handler.wfile.write(ONE)
            sent.append(1)

    (one,) = limited.create(1)
    limited.limit(image_stage_total=3)
    with web.serving({"/endless": endless}) as url:
        limited.service.begin_import(one, "web-download", uri=f"{url}/endless")
        task = limited.service.wait_for_task(one)
    assert task["status"] == "failure"
    assert "image_stage_total is over limit of 3" in task["message"]
    assert limited.service.image(one)["status"] == "queued"
    assert len(sent) < 200


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("chunked", [False, True])
def test_user_storage_quota(
    tmp_path_factory: pytest.TempPathFactory, database: str, chunked: bool
) -> None:
    state = tmp_path_factory.mktemp("gantry")
    with database_options(database) as where:
        options = f"{where}[DEFAULT]\nuser_storage_quota = {FITS}MB\n"
        with service.running(state, "api", options=options) as running:
            ids = [running.create(disk_format="raw") for _ in range(WRITERS)]

            def put(one: str) -> int:
                data: Any = in_pieces(ONE) if chunked else ONE
                return running.ask("PUT", f"/v2/images/{one}/file", data).status

            answers = at_once(put, ids)
            assert collections.Counter(answers) == {204: FITS, 413: WRITERS - FITS}
            assert len(running.left_over()) == FITS
            for one in ids:
                assert running.ask("DELETE", f"/v2/images/{one}").status == 204
            assert running.left_over() == []
