"""Bodies of some MiB that break in the middle: never taken for whole ones, and nothing of them is left.

How each server reads small malformed bodies is tested in tests/system/test_bodies.py.
"""

import concurrent.futures
import contextlib
import hashlib
import pathlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests import service
from tests.integration import raw_http

MIB = bytes(range(256)) * 4096
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """The API alone."""
    state = tmp_path_factory.mktemp("gantry")
    with service.running(state, "api", server=request.param) as whole:
        yield whole


@pytest.fixture(params=["file", "stage"])
def path(request: pytest.FixtureRequest, api: service.Service) -> str:
    """Where the data of a new image go."""
    return f"/v2/images/{api.create(disk_format='raw')}/{request.param}"


def nothing_came_of_it(api: service.Service, path: str) -> None:
    """The image is `queued` as before, no byte is left, and the same request goes well when it is whole."""
    image_id = path.split("/")[3]
    service.wait_for(lambda: api.image(image_id)["status"] == "queued", "the image to be queued")
    record = api.image(image_id)
    assert (record["size"], record["checksum"], record["os_hash_value"]) == (None, None, None)
    service.wait_for(lambda: not api.left_over(), "the bytes to be gone", 10)
    assert api.ask("PUT", path, MIB).status == 204
    assert api.image(image_id)["size"] == len(MIB)
    assert api.ask("DELETE", f"/v2/images/{image_id}").status == 204
    assert not api.left_over()


@pytest.mark.parametrize("ending", ["shutdown", "reset"])
@pytest.mark.parametrize("framing", [f"Content-Length: {len(MIB) * 8}", CHUNKED])
def test_a_body_that_is_cut(api: service.Service, path: str, framing: str, ending: str) -> None:
    with raw_http.connect(api) as connection:
        connection.sendall(raw_http.put(path, framing))
        for _ in range(5):
            connection.sendall(raw_http.chunk(MIB) if framing == CHUNKED else MIB)
        if ending == "reset":
            raw_http.reset(connection)
        else:
            connection.shutdown(socket.SHUT_WR)
            assert raw_http.status(connection) in (400, None)
    nothing_came_of_it(api, path)


@pytest.mark.parametrize(
    "broken",
    [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello!!\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"5;\nhello\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_a_malformed_later_chunk(api: service.Service, path: str, broken: bytes) -> None:
    with raw_http.connect(api) as connection:
        connection.sendall(raw_http.put(path, CHUNKED))
        for _ in range(3):
            connection.sendall(raw_http.chunk(MIB))
        with contextlib.suppress(OSError):  # the server may have closed already
            connection.sendall(broken)
            connection.shutdown(socket.SHUT_WR)
        assert raw_http.status(connection) in (400, None)
    nothing_came_of_it(api, path)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ((f"Content-Length: {len(MIB)}", CHUNKED), raw_http.chunk(MIB) + b"0\r\n\r\n"),
        ((CHUNKED, f"Content-Length: {len(MIB)}"), raw_http.chunk(MIB) + b"0\r\n\r\n"),
        ((f"Content-Length: {len(MIB)}", "Content-Length: 5"), MIB),
        ((CHUNKED, "X-OpenStack-Image-Size: 5"), raw_http.chunk(MIB) + b"0\r\n\r\n"),
        ((CHUNKED, f"X-OpenStack-Image-Size: {len(MIB) + 1}"), raw_http.chunk(MIB) + b"0\r\n\r\n"),
        ((f"Content-Length: {len(MIB)}", f"X-OpenStack-Image-Size: {len(MIB) - 1}"), MIB),
        ((f"Content-Length: {len(MIB)}", "X-OpenStack-Image-Size: many"), MIB),
    ],
)
def test_a_body_of_two_sizes(
    api: service.Service, path: str, fields: tuple[str, ...], body: bytes
) -> None:
    with raw_http.connect(api) as connection:
        connection.sendall(raw_http.put(path, *fields))
        with contextlib.suppress(OSError):
            connection.sendall(body)
        assert raw_http.status(connection) in (400, None)
    nothing_came_of_it(api, path)


@pytest.mark.parametrize(("framing", "body"), [("Content-Length: 0", b""), (CHUNKED, b"0\r\n\r\n")])
def test_an_empty_upload_is_an_empty_image(api: service.Service, framing: str, body: bytes) -> None:
    image_id = api.create(disk_format="raw")
    with raw_http.connect(api) as connection:
        connection.sendall(raw_http.put(f"/v2/images/{image_id}/file", framing) + body)
        assert raw_http.status(connection) == 204
    record = api.image(image_id)
    assert (record["status"], record["size"], record["virtual_size"]) == ("active", 0, None)
    assert record["os_hash_value"] == hashlib.sha512().hexdigest()
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == b""
    assert api.ask("DELETE", f"/v2/images/{image_id}").status == 204


@pytest.mark.slow
def test_clients_that_stall(tmp_path: pathlib.Path) -> None:
    """Both servers give them up after a minute, at the same time here; others are served meanwhile."""
    with contextlib.ExitStack() as stack:
        services = []
        for server in ("uwsgi", "gunicorn"):
            (tmp_path / server).mkdir()
            services.append(
                stack.enter_context(service.running(tmp_path / server, "api", server=server))
            )
        tries = [
            (api, f"/v2/images/{api.create(disk_format='raw')}/{target}", framing)
            for api in services
            for target in ("file", "stage")
            for framing in (f"Content-Length: {len(MIB) * 2}", CHUNKED)
        ]
        with concurrent.futures.ThreadPoolExecutor(len(tries)) as pool:
            waiting = [pool.submit(stall, *one) for one in tries]
            for api in services:
                assert api.ask("GET", "/v2/images").status == 200
            assert {one.result() for one in waiting} <= {400, 408, None}
        for api, path, _ in tries:
            image_id = path.split("/")[3]
            service.wait_for(lambda: api.image(image_id)["status"] == "queued", "the image")  # noqa: B023
        assert [api.left_over() for api in services] == [[], []]
        for api, path, _ in tries:
            assert api.ask("PUT", path, MIB).status == 204


def stall(api: service.Service, path: str, framing: str) -> int | None:
    """Send some of a body, then nothing more; the status of the answer, which must come in time."""
    with raw_http.connect(api) as connection:
        connection.sendall(raw_http.put(path, framing))
        connection.sendall(raw_http.chunk(MIB) if framing == CHUNKED else MIB)
        begun = time.monotonic()
        answered = raw_http.status(connection)
        assert time.monotonic() - begun < raw_http.PATIENCE
        return answered
