"""Connections go to the addresses that were judged, and TLS is verified for the name all the same."""

import base64
import contextlib
import http.server
import pathlib
import socket
import threading
import urllib.parse
from collections.abc import Iterator

import pytest

from images import errors, networks, staging
from tests import certificates, downloading, web
from tests.conftest import Configure
from tests.downloading import Download, names

DATA = b"the very bytes" * 1000
NAME = "mirror.example"


class Names:
    """A name service that answers each question with the next of its answers, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def here(url: str, host: str = NAME) -> str:
    """The URL of the same port under a host's name."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=f"{host}:{parts.port}").geturl()


@pytest.fixture(autouse=True)
def quick(configure: Configure) -> Configure:
    """Downloads that are tried again at once, from loopback."""
    configure(downloading.OPTIONS + web.LOOPBACK)
    return configure


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Every name is loopback's."""
    service = Names(["127.0.0.1"])
    monkeypatch.setattr(networks, "resolve", service)
    return service


def data_of(facts: staging.Facts) -> bytes:
    """What was received."""
    return pathlib.Path(facts.path).read_bytes()


def test_a_name_is_looked_up_once(named: Names) -> None:
    """And sent to the server as it was written."""
    file = web.Ranged(DATA)
    with web.serving({"/image": file}) as url:
        assert data_of(Download().run(here(url) + "/image")) == DATA
        assert named.asked == [NAME]
        assert file.asked[0]["Host"] == f"{NAME}:{urllib.parse.urlsplit(url).port}"


def test_an_address_that_does_not_answer_is_passed_over(named: Names) -> None:
    """Nobody listens at the first one."""
    named.answers = [["127.0.0.9", "127.0.0.1"]]
    with web.serving({"/image": web.whole(DATA)}) as url:
        one = Download()
        assert data_of(one.run(here(url) + "/image")) == DATA
    assert one.faults == []


def test_tls_is_verified_for_the_name(
    quick: Configure, named: Names, tmp_path: pathlib.Path
) -> None:
    """The certificate is the name's, not the address's; the operator's file vouches for it."""
    file = certificates.self_signed(tmp_path / "both.pem", NAME)
    lines = f"ca_certificates_file = {file}\n"
    quick(downloading.OPTIONS + web.LOOPBACK + "[web_download]\n" + lines)
    with web.serving({"/image": web.whole(DATA)}, file) as url:
        assert data_of(Download().run(here(url) + "/image")) == DATA
        for wrong in (url, here(url, "other.example")):
            with pytest.raises(errors.ImportFailed, match="certificate could not be verified"):
                Download(task=wrong).run(wrong + "/image")


def test_a_name_that_changes_its_mind(quick: Configure, named: Names) -> None:
    """Between two tries, to an address that is not allowed: the second one does not go there."""
    quick(
        downloading.OPTIONS
        + web.LOOPBACK
        + "[import_filtering_opts]\nallowed_networks = [127.0.0.2]\n"
    )
    named.answers = [["127.0.0.2"], ["127.0.0.1"]]
    file = web.Ranged(DATA)
    with (
        web.serving({"/image": file}) as url,
        pytest.raises(errors.ImportFailed, match="not known, or not allowed here"),
    ):
        Download().run(here(url) + "/image")
    assert (file.asked, len(named.asked)) == ([], 3)
    assert names() == []


# What the operator configures


def test_headers_for_one_host(quick: Configure, named: Names) -> None:
    """Another host that this one redirects to does not get them; nor are they in any text."""
    secret = "Bearer very-secret"
    lines = f"[web_download]\nheader = {NAME} Authorization: {secret}\nheader = {NAME} X-One: 1\n"
    quick(downloading.OPTIONS + web.LOOPBACK + lines)
    file = web.Ranged(DATA)
    with web.serving({"/image": file}) as far:
        asked: list[dict[str, str]] = []

        def near(handler: http.server.BaseHTTPRequestHandler) -> None:
            asked.append(dict(handler.headers))
            web.redirect(here(far, "other.example") + "/image")(handler)

        with web.serving({"/image": near}) as url:
            Download().run(here(url, NAME.upper()) + "/image")
    assert (asked[0]["Authorization"], asked[0]["X-One"]) == (secret, "1")
    assert not {"Authorization", "X-One"} & file.asked[0].keys()


@pytest.mark.parametrize("line", ["mirror.example", "mirror.example NoColon", "x A b: very-secret"])
def test_a_header_that_is_none(quick: Configure, line: str) -> None:
    """The service does not start; the text does not repeat what may be a secret."""
    with pytest.raises(SystemExit, match="header") as caught:
        quick(f"[web_download]\nheader = {line}\n")
    assert "very-secret" not in str(caught.value)


class Proxy:
    """A proxy on loopback; what it was asked is written down."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append((handler.path, handler.headers.get("Proxy-Authorization")))
        web.whole(DATA)(handler)


@pytest.fixture
def proxy(quick: Configure, named: Names) -> Iterator[Proxy]:
    """All downloads go by it."""
    one, target = Proxy(), f"http://{NAME}/image"
    with web.serving({target: one}) as url:
        address = url.replace("//", "//me:p%40ss@")
        quick(downloading.OPTIONS + f"[web_download]\nproxy = {address}\n")
        yield one


def test_a_proxy(proxy: Proxy, named: Names) -> None:
    """It looks the name up, so nobody here does; it is logged in at, and may be anywhere."""
    assert data_of(Download().run(f"http://{NAME}/image")) == DATA
    said = base64.b64encode(b"me:p@ss").decode()
    assert proxy.asked == [(f"http://{NAME}/image", f"Basic {said}")]
    assert named.asked == []


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]/", "http://10.0.0.1/x"])
def test_a_proxy_is_not_asked_for_what_is_refused(proxy: Proxy, url: str) -> None:
    """Words are judged here: schemes, ports, hosts, and addresses that are written out."""
    with pytest.raises(errors.ImportFailed, match="not allowed here"):
        Download().run(url)
    assert proxy.asked == []


@contextlib.contextmanager
def tunnel(port: int) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that connects whoever asks for anything to a port here; its address, and what it was asked."""
    asked: list[bytes] = []

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                asked.append(client.recv(1 << 16).partition(b"\r\n")[0])
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=carry, args=(server, client))
                back.start()
                carry(client, server)
                back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_tls_through_a_proxy(quick: Configure, named: Names, tmp_path: pathlib.Path) -> None:
    """It is asked for the name, and TLS is verified for the name, from end to end."""
    file = certificates.self_signed(tmp_path / "both.pem", NAME)
    with (
        web.serving({"/image": web.whole(DATA)}, file) as url,
        tunnel(urllib.parse.urlsplit(url).port or 0) as (proxy, asked),
    ):
        quick(
            f"{downloading.OPTIONS}{web.LOOPBACK}[web_download]\n"
            f"ca_certificates_file = {file}\nproxy = {proxy}\n"
        )
        assert data_of(Download().run(f"https://{NAME}/image")) == DATA
    assert [one.split()[:2] for one in asked] == [[b"CONNECT", f"{NAME}:443".encode()]]
    assert named.asked == []


def test_a_proxy_that_is_away(quick: Configure) -> None:
    """No text names it, or its password."""
    quick(downloading.OPTIONS + "[web_download]\nproxy = http://me:p%40ss@127.0.0.1:1\n")
    with pytest.raises(errors.ImportFailed) as caught:
        Download().run(f"http://{NAME}/image")
    assert not any(word in str(caught.value) for word in ("p%40ss", "p@ss", "127.0.0.1"))
