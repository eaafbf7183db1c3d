"""Request bodies on the two real servers: whole ones arrive, broken ones are refused, nothing is confused."""

import pathlib
import socket
from collections.abc import Iterator

import pytest

from tests import service

DATA = b"hello world"
CHUNKED = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Sum: z\r\n\r\n"


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    state = tmp_path_factory.mktemp("bodies")
    with service.running(state, "api", server=request.param) as whole:
        yield whole


def connect(api: service.Service) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", api.port))
    connection.settimeout(30)
    return connection


def head(path: str, *fields: str) -> bytes:
    lines = [f"PUT {path} HTTP/1.1", "Host: x", "Content-Type: application/octet-stream", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def stage(api: service.Service, field: str, body: bytes, *, cut: bool = False) -> tuple[int, str]:
    """PUT /stage in raw bytes: the status of the answer, and the image's afterwards."""
    image_id = api.create(disk_format="raw")
    with connect(api) as connection:
        connection.sendall(head(f"/v2/images/{image_id}/stage", field, "Connection: close") + body)
        if cut:
            connection.shutdown(socket.SHUT_WR)
        answer = rest(connection)
    assert answer.count(b"HTTP/1.1") == 1, answer
    return int(answer.split()[1]), api.image(image_id)["status"]


@pytest.mark.parametrize(
    ("field", "body"),
    [
        (f"Content-Length: {len(DATA)}", DATA),
        ("Transfer-Encoding: chunked", CHUNKED),
        ("Transfer-Encoding: Chunked", b"0\r\n\r\n"),
        ("Content-Length: 0", b""),
    ],
)
def test_whole_bodies(api: service.Service, field: str, body: bytes) -> None:
    assert stage(api, field, body) == (204, "uploading")


@pytest.mark.parametrize("length", [0, 2, 3, 5, 8, 9, 10, 20, len(CHUNKED) - 2, len(CHUNKED) - 1])
def test_cut_chunked_bodies(api: service.Service, length: int) -> None:
    assert stage(api, "Transfer-Encoding: chunked", CHUNKED[:length], cut=True) == (400, "queued")


@pytest.mark.parametrize("length", [0, 1, len(DATA) - 1])
def test_short_bodies(api: service.Service, length: int) -> None:
    field = f"Content-Length: {len(DATA)}"
    assert stage(api, field, DATA[:length], cut=True) == (400, "queued")


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\nxyz\r\n0\r\n\r\n",
        b"5\r\nhelloworld\r\n0\r\n\r\n",
        b"7\r\nhello\r\n0\r\n\r\n",
        b"1" * 70000,
    ],
)
def test_malformed_bodies(api: service.Service, body: bytes) -> None:
    assert stage(api, "Transfer-Encoding: chunked", body) == (400, "queued")


@pytest.mark.parametrize(
    "field",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: x",
        "Content-Length: -1",
    ],
)
def test_bodies_of_no_known_length(api: service.Service, field: str) -> None:
    assert stage(api, field, b"5\r\nhello\r\n0\r\n\r\n") == (400, "queued")


@pytest.mark.parametrize("field", ["Content-Length: 11", "Transfer-Encoding: chunked"])
def test_a_client_that_waits_is_told_to_go_on(api: service.Service, field: str) -> None:
    image_id = api.create(disk_format="raw")
    with connect(api) as connection:
        wishes = (field, "Expect: 100-continue", "Connection: close")
        connection.sendall(head(f"/v2/images/{image_id}/stage", *wishes))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(DATA if "Length" in field else CHUNKED)
        assert rest(connection).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize("field", [f"Content-Length: {64 << 20}", "Transfer-Encoding: chunked"])
def test_a_client_that_is_still_sending_reads_the_answer(api: service.Service, field: str) -> None:
    piece = b"x" * (1 << 20)
    with connect(api) as connection:
        connection.sendall(head("/v2/images/unknown/stage", field))
        for _ in range(64):
            connection.sendall(piece if "Length" in field else b"100000\r\n" + piece + b"\r\n")
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 404"), answer
    assert b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1


def test_what_is_left_of_a_body_is_no_request(api: service.Service) -> None:
    smuggled = b"DELETE /v2/images/x HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(api) as connection:
        connection.sendall(head("/v2/images/unknown/stage", f"Content-Length: {len(smuggled)}"))
        connection.sendall(smuggled + head("/v2/images/unknown/stage", "Content-Length: 0"))
        assert rest(connection).count(b"HTTP/1.1") == 1


def test_a_chunk_of_two_gigabytes_does_not_fill_memory(
    api: service.Service, tmp_path: pathlib.Path
) -> None:
    size, piece = 2 << 30, bytes(1 << 20)
    image_id = api.create(disk_format="raw")
    with connect(api) as connection:
        fields = ("Transfer-Encoding: chunked", "Connection: close")
        connection.sendall(head(f"/v2/images/{image_id}/stage", *fields) + b"%x\r\n" % size)
        for _ in range(size // len(piece)):
            connection.sendall(piece)
        connection.sendall(b"\r\n0\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 204")
    assert api.image(image_id)["size"] == size
    for process in api.family("api"):
        assert process.memory_info().rss < 200 << 20
    assert api.ask("DELETE", f"/v2/images/{image_id}").status == 204
