"""2 GiB up and down: the digest is right, and no API process holds more than a part of them in memory."""

import concurrent.futures
import contextlib
import hashlib
import random
import subprocess
import threading
from collections.abc import Iterator
from typing import NamedTuple

import psutil
import pytest

from tests import service

MIB = 1 << 20
COUNT = 2048
#: Most resident memory that an API process may have at any moment.
#: Eight uploads at once hold 72 MiB of it (`images.pipeline`).
LIMIT = 240 * MIB
_BLOCK = random.Random(1).randbytes(MIB)  # noqa: S311 - bytes that do not compress, the same each time


class Digests(NamedTuple):
    """What tells these data from any others."""

    md5: str
    sha512: str


def pieces() -> Iterator[bytes]:
    """2 GiB in blocks, no two of them the same, at next to no cost."""
    for number in range(COUNT):
        yield number.to_bytes(8, "big") + _BLOCK[8:]


@pytest.fixture(scope="session")
def digests() -> Digests:
    """Digests of the data, computed here, both at the same time."""

    def digest(name: str) -> str:
        made = hashlib.new(name)
        for piece in pieces():
            made.update(piece)
        return made.hexdigest()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return Digests(*pool.map(digest, ("md5", "sha512")))


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """API and worker."""
    state = tmp_path_factory.mktemp("gantry")
    with service.running(state, "api", "worker", server=request.param) as whole:
        yield whole


class Memory:
    """The most that any API process has had in memory while this watched."""

    def __init__(self, running: service.Service) -> None:
        self._running = running
        self._ended = threading.Event()
        #: What the peak must stay below.
        self.limit = LIMIT
        self.peak = 0
        self.samples = 0

    def watch(self) -> None:
        """Look, until told to stop."""
        while not self._ended.wait(0.05):
            for process in self._running.family("api"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    self.peak = max(self.peak, process.memory_info().rss)
                    self.samples += 1

    def stop(self) -> None:
        """End the watch."""
        self._ended.set()


@pytest.fixture
def memory(running: service.Service) -> Iterator[Memory]:
    """Watches, and fails the test in the end where it took too much; prints the peak."""
    memory = Memory(running)
    thread = threading.Thread(target=memory.watch)
    thread.start()
    try:
        yield memory
    finally:
        memory.stop()
        thread.join()
    print(f"peak of an API process: {memory.peak / MIB:.0f} MiB")
    assert memory.samples > 10
    assert memory.peak < memory.limit


def upload(running: service.Service, path: str, framing: str) -> None:
    """PUT the data: by a client that knows their length, or by curl from a pipe, which does not."""
    if framing == "length":
        answer = running.ask("PUT", path, pieces(), Content_Length=str(COUNT * MIB))
        assert answer.status == 204, answer.data
        return
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--upload-file", "-"]
    typed = ["--header", "Content-Type: application/octet-stream", running.url + path]
    with subprocess.Popen(
        [*command, *typed], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as curl:
        assert curl.stdin is not None
        assert curl.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # curl says why
            for piece in pieces():
                curl.stdin.write(piece)
            curl.stdin.close()
        said = curl.stdout.read()
    assert curl.returncode == 0, said


def downloaded(running: service.Service, image_id: str) -> str:
    """MD5 of what GET /file gives, read piece by piece."""
    made = hashlib.md5(usedforsecurity=False)
    # urllib3 takes a body whole unless told otherwise, so curl reads it.
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        f"{running.url}/v2/images/{image_id}/file",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        while piece := curl.stdout.read(MIB):
            made.update(piece)
    assert curl.returncode == 0
    return made.hexdigest()


def check(running: service.Service, image_id: str, digests: Digests) -> None:
    """The record says what was computed outside."""
    record = running.image(image_id)
    assert (record["status"], record["size"]) == ("active", COUNT * MIB)
    assert (record["checksum"], record["os_hash_value"]) == digests


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_up_and_down(
    running: service.Service, memory: Memory, digests: Digests, framing: str
) -> None:
    image_id = running.create(disk_format="raw")
    try:
        upload(running, f"/v2/images/{image_id}/file", framing)
        check(running, image_id, digests)
        if framing == "length":  # one download is enough for each server
            assert downloaded(running, image_id) == digests.md5
    finally:
        running.ask("DELETE", f"/v2/images/{image_id}")
    assert not running.left_over()


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_staging(running: service.Service, memory: Memory, digests: Digests, framing: str) -> None:
    image_id = running.create(disk_format="raw")
    try:
        upload(running, f"/v2/images/{image_id}/stage", framing)
        assert running.image(image_id)["size"] == COUNT * MIB
        running.begin_import(image_id)
        task = running.wait_for_task(image_id, 120)
        assert task["status"] == "success", task["message"]
        check(running, image_id, digests)
    finally:
        running.ask("DELETE", f"/v2/images/{image_id}")
    service.wait_for(lambda: not running.left_over(), "the data to be gone", 20)


@pytest.mark.slow
def test_eight_at_once(running: service.Service, memory: Memory) -> None:
    """Eight of 128 MiB, up and down: each holds a few pieces of 4 MiB, however large its body is."""
    few = b"".join(piece for piece, _ in zip(pieces(), range(16), strict=False))

    def one(_: int) -> str:
        image_id = running.create(disk_format="raw")
        length = str(8 * len(few))
        answer = running.ask(
            "PUT", f"/v2/images/{image_id}/file", (few for _ in range(8)), Content_Length=length
        )
        assert answer.status == 204, answer.data
        seen = downloaded(running, image_id)
        running.ask("DELETE", f"/v2/images/{image_id}")
        return seen

    expected = hashlib.md5(few * 8, usedforsecurity=False).hexdigest()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(8))) == {expected}
    assert not running.left_over()
