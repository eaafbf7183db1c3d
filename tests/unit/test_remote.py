"""Reading from web servers that do not behave."""

import base64
import http.server
import time
from collections.abc import Iterator

import pytest

from images import errors, remote
from tests import web
from tests.conftest import Configure

DATA = bytes(range(256)) * 1000
TRUST = remote.Trust()


def answer(status: int, body: bytes, *fields: tuple[str, str]) -> web.Answer:
    """Any answer."""

    def give(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in fields:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return give


def stall(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Some bytes, and then nothing for long."""
    web.cut(DATA[:10], len(DATA))(handler)
    time.sleep(3)


def ranged(handler: http.server.BaseHTTPRequestHandler) -> None:
    """The part that is asked for."""
    first, last = (int(n) for n in handler.headers["Range"].removeprefix("bytes=").split("-"))
    part = ("Content-Range", f"bytes {first}-{last}/{len(DATA)}")
    answer(206, DATA[first : last + 1], part)(handler)


def guarded(handler: http.server.BaseHTTPRequestHandler) -> None:
    """The data for one user, whom the URL names."""
    said = handler.headers.get("Authorization", "")
    known = base64.b64encode(b"me:p@ss").decode()
    web.whole(DATA)(handler) if said == f"Basic {known}" else handler.send_error(401)


ANSWERS: dict[str, web.Answer] = {
    "/whole": web.whole(DATA),
    "/ranged": ranged,
    "/guarded": guarded,
    "/unsaid": answer(200, DATA),
    "/unreadable": answer(200, b"", ("Content-Length", "many")),
    "/huge": answer(200, b"", ("Content-Length", "9" * 40)),
    "/broken": answer(500, b""),
    "/forbidden": answer(403, b""),
    "/gone": answer(410, b""),
    "/other": answer(206, DATA[:10], ("Content-Range", f"bytes 0-9/{len(DATA)}")),
    "/cut": web.cut(DATA[:50], len(DATA)),
    "/stall": stall,
    "/silent": lambda _: time.sleep(3),
    "/round": web.redirect("/round"),
    "/elsewhere": web.redirect("ftp://example.org/"),
    "/inside": web.redirect("http://169.254.169.254/"),
    "/nowhere": web.redirect("http://["),
    "/moved": web.redirect("/whole"),
}


LISTS = web.LOOPBACK + "allowed_hosts = [127.0.0.1]\n"


@pytest.fixture
def server(configure: Configure) -> Iterator[str]:
    configure(LISTS)
    with web.serving(ANSWERS) as url:
        yield url


@pytest.fixture
def impatient(configure: Configure, server: str) -> str:
    """The same server, waited for so briefly that a busy machine may be too slow for it too."""
    configure(f"connect_timeout = 0.5\nread_timeout = 0.5\n{LISTS}")
    return server


@pytest.mark.parametrize(
    ("path", "size"), [("/whole", len(DATA)), ("/moved", len(DATA)), ("/unsaid", 0), ("/huge", 0)]
)
def test_sizes(server: str, path: str, size: int) -> None:
    """This server has no HEAD; what it does not say is 0."""
    assert remote.size(server + path, TRUST) == size


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/absent", errors.NotFound),
        ("/gone", errors.NotFound),
        ("/broken", errors.Unavailable),
        ("/forbidden", errors.Unavailable),
        ("/round", errors.Unavailable),
        ("/elsewhere", errors.Unavailable),
        ("/inside", errors.Unavailable),
        ("/nowhere", errors.Unavailable),
    ],
)
def test_what_is_not_there(server: str, path: str, error: type[Exception]) -> None:
    check_refused(server, path, error)


def test_a_server_that_says_nothing(impatient: str) -> None:
    check_refused(impatient, "/silent", errors.Unavailable)


def check_refused(server: str, path: str, error: type[Exception]) -> None:
    """Size and data alike, in a bounded time; and the text names no address."""
    began = time.monotonic()
    for ask in (
        lambda: remote.size(server + path, TRUST),
        lambda: remote.read(server + path, 0, 5, TRUST),
    ):
        with pytest.raises(error) as caught:
            ask()
        assert "127.0.0.1" not in str(caught.value)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("path", ["/whole", "/moved", "/ranged", "/unsaid"])
@pytest.mark.parametrize(("offset", "length"), [(0, len(DATA)), (0, 1), (100_000, 7), (255_999, 1)])
def test_parts(server: str, path: str, offset: int, length: int) -> None:
    found = b"".join(remote.read(server + path, offset, length, TRUST))
    assert found == DATA[offset : offset + length]


def test_nothing_and_everything(server: str) -> None:
    assert not list(remote.read(f"{server}/whole", 0, 0, TRUST))
    assert b"".join(remote.read(f"{server}/whole", 0, None, TRUST)) == DATA


def test_another_part_than_was_asked_for(server: str) -> None:
    with pytest.raises(errors.Unavailable):
        remote.read(f"{server}/other", 5, 5, TRUST)


@pytest.mark.parametrize("path", ["/cut", "/stall"])
def test_too_few_bytes(impatient: str, path: str) -> None:
    with pytest.raises(errors.Unavailable):
        b"".join(remote.read(impatient + path, 0, len(DATA), TRUST))


def test_a_user_in_the_url(server: str) -> None:
    url = server.replace("//", "//me:p%40ss@") + "/guarded"
    assert remote.size(url, TRUST) == len(DATA)
    with pytest.raises(errors.Unavailable):
        remote.size(f"{server}/guarded", TRUST)


def test_through_a_proxy(server: str) -> None:
    """The proxy is the one that is asked, for the whole URL."""
    asked = "http://127.0.0.1:1/image"
    with web.serving({asked: web.whole(b"by proxy")}) as proxy:
        trust = remote.Trust(proxies={"http": proxy.removeprefix("http://")})
        assert b"".join(remote.read(asked, 0, None, trust)) == b"by proxy"
