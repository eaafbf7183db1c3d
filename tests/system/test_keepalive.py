"""Connections that are kept alive, and those that must not be: requests on one never mix.

gunicorn, the default, keeps connections; uWSGI closes each after its answer, and says so.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import socket
import time
from collections.abc import Iterator

import psutil
import pytest

from tests import service

OCTETS = "Content-Type: application/octet-stream"
#: Seconds in which others must be served, whatever some clients do; a request takes some milliseconds.
SOON = 5


@dataclasses.dataclass
class Answer:
    """One answer, read to its end and no further."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the server says that it closes the connection."""
        return self.fields.get("connection", "").lower() == "close"


class Wire:
    """A client of one connection: bytes out, answers in."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=service.PATIENCE)
        self._file = self.socket.makefile("rb")

    def send(self, method: str, path: str, *fields: str, body: bytes = b"") -> None:
        """Send a request; its length is said unless `fields` say something about it."""
        if body and not any("Content-Length" in f or "Transfer-Encoding" in f for f in fields):
            fields = (*fields, f"Content-Length: {len(body)}")
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *fields, "", ""]
        self.socket.sendall("\r\n".join(lines).encode("latin-1") + body)

    def answer(self, method: str = "GET") -> Answer | None:
        """The next answer, to a request of this method; None at the end of the connection."""
        try:
            line = self._file.readline()
            if not line:
                return None
            fields = {}
            while (text := self._file.readline().strip()) != b"":
                name, _, value = text.decode().partition(":")
                fields[name.lower()] = value.strip()
            found = re.search(rb" ([1-5]\d\d)(?= |$)", line)
            status = int(found[1]) if found else 0
            length = (
                int(fields.get("content-length", "0")) if status != 204 and method != "HEAD" else 0
            )
            return Answer(status, fields, self._file.read(length))
        except ConnectionResetError:
            return None

    def ask(self, method: str, path: str, *fields: str, body: bytes = b"") -> Answer:
        """One request and its answer."""
        self.send(method, path, *fields, body=body)
        answer = self.answer(method)
        assert answer is not None, f"{method} {path} was not answered"
        return answer

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self.socket.close()


@pytest.fixture(scope="module", params=["gunicorn", "uwsgi"])
def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    state = tmp_path_factory.mktemp("keepalive")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANTRY_API_HOST", "0.0.0.0")  # noqa: S104 - to be called from an address of no loopback
        with service.running(state, "api", server=request.param) as whole:
            yield whole


@pytest.fixture
def keeps(request: pytest.FixtureRequest) -> bool:
    """Whether the server is one that keeps connections."""
    return bool(request.node.callspec.params["api"] == "gunicorn")


@pytest.fixture
def only_gunicorn(keeps: bool) -> None:
    if not keeps:
        pytest.skip("uWSGI keeps no connection")


@pytest.fixture
def wire(api: service.Service) -> Iterator[Wire]:
    with contextlib.closing(Wire("127.0.0.1", api.port)) as connection:
        yield connection


def test_a_server_says_whether_it_keeps_the_connection(wire: Wire, keeps: bool) -> None:
    assert wire.ask("GET", "/v2/images").closes is not keeps
    wire.send("GET", "/v2/images")
    assert (wire.answer() is not None) is keeps


@pytest.mark.usefixtures("only_gunicorn")
def test_a_life_of_an_image_on_one_connection(wire: Wire) -> None:
    fields = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
    made = wire.ask("POST", "/v2/images", body=fields)
    path = json.loads(made.body)["self"]
    chunked = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    steps = [
        (made, 201),
        (wire.ask("PUT", f"{path}/file", OCTETS, "Transfer-Encoding: chunked", body=chunked), 204),
        (wire.ask("GET", f"{path}/file"), 200),
        (wire.ask("GET", f"{path}/file", "Range: bytes=1-3"), 206),
        (wire.ask("GET", "/v2/images/unknown"), 404),
        (wire.ask("POST", "/v2/images", body=b"{"), 400),
        (wire.ask("POST", "/v2/images", body=b'{"size": 5}'), 403),
        (wire.ask("PUT", f"{path}/tags/x"), 204),
        (wire.ask("HEAD", path), 405),
        (wire.ask("DELETE", path), 204),
        (wire.ask("GET", "/"), 300),
        (wire.ask("GET", "/healthcheck"), 200),
    ]
    assert [(answer.status, answer.closes) for answer, _ in steps] == [
        (code, False) for _, code in steps
    ]
    assert [answer.body for answer, _ in steps[2:4]] == [b"hello world", b"ell"]


@pytest.mark.usefixtures("only_gunicorn")
def test_requests_sent_together_are_answered_in_their_order(wire: Wire) -> None:
    body = b'{"name": "GET /v2/images/x HTTP/1.1\\r\\n\\r\\n"}'
    requests = [
        b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v2/images HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
        b"GET /v2/nothing HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/images?limit=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ]
    wire.socket.sendall(b"".join(requests))
    answers = [wire.answer() for _ in range(5)]
    assert [answer and answer.status for answer in answers] == [200, 201, 404, 200, None]


def test_a_head_that_comes_in_pieces(wire: Wire) -> None:
    for byte in b"GET /v2/images HTTP/1.1\r\nHost: x\r\n\r\n":
        wire.socket.sendall(bytes([byte]))
    answer = wire.answer()
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET /v2/images HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"GET /v2/images HTTP/1.0\r\n\r\n", 200),
        (b"PUT /v2/images/x/stage HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 415),
        (b"POST /v2/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 404),
        (b"DELETE /v2/images HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 405),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            300,
        ),
    ],
)
def test_connections_that_end(wire: Wire, request_: bytes, code: int) -> None:
    """The client asked for it, or has sent a body that nobody read."""
    wire.socket.sendall(request_)
    answer = wire.answer()
    assert answer is not None
    assert (answer.status, answer.closes) == (code, True)
    with contextlib.suppress(OSError):
        wire.send("GET", "/v2/images")
    assert wire.answer() is None


DELETE = b"DELETE /v2/images/%s HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLERS = {
    "both lengths": (b"Content-Length: 0\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    "both lengths, the other way": (
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"0\r\n\r\n",
    ),
    "no such coding": (b"Transfer-Encoding: xchunked", b""),
    "identity": (b"Transfer-Encoding: identity", b""),
    "chunked is not last": (b"Transfer-Encoding: chunked, identity", b"0\r\n\r\n"),
    "chunked twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    "two codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"0\r\n\r\n"),
    "blank before the colon": (b"Content-Length: 0\r\nTransfer-Encoding : chunked", b"0\r\n\r\n"),
    "tab before the colon": (b"Content-Length: 0\r\nTransfer-Encoding\t: chunked", b"0\r\n\r\n"),
    "vertical tab": (b"Content-Length: 0\r\nTransfer-Encoding:\x0bchunked", b"0\r\n\r\n"),
    "blank before the length's colon": (b"Content-Length : 5", b""),
    "two lengths": (b"Content-Length: 0\r\nContent-Length: 5", b""),
    "two lengths in one": (b"Content-Length: 0, 5", b""),
    "the same length twice": (b"Content-Length: 0\r\nContent-Length: 0", b""),
    "a signed length": (b"Content-Length: +0", b""),
    "a length in hex": (b"Content-Length: 0x0", b""),
    "a length of two numbers": (b"Content-Length: 0 0", b""),
    "an empty length": (b"Content-Length:", b""),
    "a folded length": (b"Content-Length:\r\n 5", b""),
    "a folded coding": (b"Content-Length: 0\r\nTransfer-Encoding:\r\n chunked", b"0\r\n\r\n"),
    "a folded field": (b"X: a\r\n Content-Length: 0", b""),
    "bare line feeds": (b"X: a\nContent-Length: 0", b""),
    "a bare carriage return": (b"X: a\rContent-Length: 0", b""),
    "NUL in a field": (b"X: a\0b\r\nContent-Length: 0", b""),
    "NUL in a name": (b"X\0: a\r\nContent-Length: 0", b""),
    "no name": (b": a\r\nContent-Length: 0", b""),
    "no colon": (b"Content-Length 0\r\nX: y", b""),
    "two hosts": (b"Host: y\r\nContent-Length: 0", b""),
    "a chunk's size behind blanks": (b"Transfer-Encoding: chunked", b"  0\r\n\r\n"),
    "a chunk's size in C": (b"Transfer-Encoding: chunked", b"0x0\r\n\r\n"),
    "a signed chunk": (b"Transfer-Encoding: chunked", b"-0\r\n\r\n"),
    "a line feed in an extension": (b"Transfer-Encoding: chunked", b"0;\n\r\n\r\n"),
    "a trailer without colon": (b"Transfer-Encoding: chunked", b"0\r\nX\r\n\r\n"),
}


@pytest.mark.parametrize("case", SMUGGLERS)
def test_no_body_becomes_a_request(api: service.Service, wire: Wire, case: str) -> None:
    """What stands behind a request whose end is in doubt is never served, and the answer is no 500."""
    fields, body = SMUGGLERS[case]
    victim = api.create()
    target = api.create(disk_format="raw")
    head = b"PUT /v2/images/%s/stage HTTP/1.1\r\nHost: x\r\n" % target.encode()
    head += OCTETS.encode() + b"\r\n" + fields + b"\r\n\r\n"
    wire.socket.sendall(head + body + DELETE % victim.encode())
    wire.socket.shutdown(socket.SHUT_WR)
    answers = [wire.answer(), wire.answer()]
    assert answers[1] is None
    if answers[0] is not None:
        assert answers[0].status in range(400, 500) or answers[0].status in (204, 501)
    assert api.image(victim)["id"] == victim


@pytest.mark.parametrize(
    "head",
    [
        b"get /v2/images HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET  /v2/images HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/images HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /v2/images\r\n\r\n",
        b"GET\r\n\r\n",
        b"\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET /v2/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/images?name=%FF%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/images/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/images/%C3%28 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://y/v2/images HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT y:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/images HTTP/1.1\r\nHost: \xff\xfe <x>\r\n\r\n",
        b"GET /v2/images HTTP/1.1\r\n\r\n",
        b"GET /v2/images HTTP/1.1\r\nHost: x\r\nExpect: everything\r\n\r\n",
        b"GET /v2/images HTTP/1.1\r\nHost: x\r\nAccept: " + b"a" * 60000 + b"\r\n\r\n",
        b"GET /v2/images HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
        b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"X" * 300000,
    ],
)
def test_heads_that_are_malformed(api: service.Service, wire: Wire, head: bytes) -> None:
    with contextlib.suppress(OSError):
        wire.socket.sendall(head)
        wire.socket.shutdown(socket.SHUT_WR)
    answer = wire.answer()
    assert answer is None or answer.status != 500
    assert api.ask("GET", "/v2/images").status == 200


@pytest.mark.usefixtures("only_gunicorn")
@pytest.mark.parametrize("first", [b"", b"GET /v2/images HTTP/1.1\r\nHost: x\r\n", None])
def test_idle_connections_cost_nobody_anything(api: service.Service, first: bytes | None) -> None:
    """200 that were never used, that stopped within a head, or that wait for their next request."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            idle = stack.enter_context(contextlib.closing(Wire("127.0.0.1", api.port)))
            if first is None:
                assert idle.ask("GET", "/healthcheck").status == 200
            else:
                idle.socket.sendall(first)
        begun = time.monotonic()
        for _ in range(5):
            with contextlib.closing(Wire("127.0.0.1", api.port)) as other:
                assert other.ask("GET", "/v2/images").status == 200
        assert time.monotonic() - begun < SOON


@pytest.mark.usefixtures("only_gunicorn")
def test_slow_downloads_cost_nobody_anything(api: service.Service, tmp_path: pathlib.Path) -> None:
    image_id = api.create(disk_format="raw")
    assert api.ask("PUT", f"/v2/images/{image_id}/file", bytes(32 << 20)).status == 204
    with contextlib.ExitStack() as stack:
        for _ in range(48):
            slow = stack.enter_context(contextlib.closing(Wire("127.0.0.1", api.port)))
            slow.send("GET", f"/v2/images/{image_id}/file")
        begun = time.monotonic()
        for _ in range(5):
            with contextlib.closing(Wire("127.0.0.1", api.port)) as other:
                assert other.ask("GET", "/v2/images").status == 200
        assert time.monotonic() - begun < SOON


def test_each_request_of_a_connection_has_its_callers_address(api: service.Service) -> None:
    """Without authentication this machine alone is served: by its loopback, and nothing else."""
    mine = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    if not mine:
        pytest.skip("this machine has no address but the loopback's")
    for host, code in (("127.0.0.1", 200), (mine[0], 403)):
        with contextlib.closing(Wire(host, api.port)) as wire:
            first = wire.ask("GET", "/v2/images")
            assert first.status == code
            while not first.closes:
                first = wire.ask("GET", "/v2/images", "Connection: close")
                assert first.status == code


def test_a_stop_waits_for_no_idle_connection(tmp_path: pathlib.Path) -> None:
    """One of each kind is open, and the service ends as if there were none."""
    with service.running(tmp_path, "api", server="gunicorn") as api:
        used, unused, half = (Wire("127.0.0.1", api.port) for _ in range(3))
        assert used.ask("GET", "/healthcheck").status == 200
        half.socket.sendall(b"GET / HT")
        time.sleep(0.2)
        begun = time.monotonic()
        api.stop("api")
        assert time.monotonic() - begun < 8
        for wire in (used, unused, half):
            assert wire.answer() is None
            wire.close()
