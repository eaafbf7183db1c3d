"""OSSN-0078: an import that tells an open port from a closed one is a scanner of the operator's network.

Judged by words and by order of events, not by a clock: a busy machine makes any two times differ.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from images import answers, errors, networks, remote
from tests import service
from tests.conftest import Configure
from tests.downloading import Download

#: Seconds that each port has for its answer; a test waits for several of them.
WAIT = 1.0
OPTIONS = f"""
tries = 2
retry_pause = 0.01
[import_filtering_opts]
allowed_ports = []
allowed_networks = [127.0.0.0/8]
[web_download]
private_answer_timeout = {WAIT}
"""

#: What some services say first, or answer to a request for a page.
BANNERS = {
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "smtp": b"220 mail.example ESMTP\r\n",
    "redis": b"-ERR unknown command\r\n",
    "nothing": b"",
    "half": b"HTTP/1.1 2",
    "garbage": bytes(range(256)),
}


@contextlib.contextmanager
def talking(banner: bytes | None) -> Iterator[int]:
    """A port that says this to whoever connects and hangs up; None: that says nothing, and holds the line."""
    held: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                held.append(connection)
                if banner is not None:
                    with contextlib.suppress(OSError):
                        connection.sendall(banner)
                        connection.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in held:
                one.close()


def outcome(url: str) -> tuple[str, list[str], float]:
    """What is said of a URL at the end and on the way, and the seconds that it took."""
    one, began = Download(), time.monotonic()
    with pytest.raises(errors.ImportFailed) as caught:
        one.run(url)
    return str(caught.value), one.faults, time.monotonic() - began


@pytest.fixture
def closed() -> str:
    """The URL of a port that nobody listens on."""
    return f"http://127.0.0.1:{service.free_port()}/"


SAID = "The URL cannot be reached: the connection was refused, or no web server answered"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("banner", [*BANNERS.values(), None], ids=[*BANNERS, "silent"])
def test_ossn_0078_ports_that_are_no_web_servers(
    configure: Configure, closed: str, banner: bytes | None, scheme: str
) -> None:
    """They are told like one that is closed, and neither sooner."""
    configure(OPTIONS)
    with talking(banner) as port:
        words, faults, seconds = outcome(f"{scheme}://127.0.0.1:{port}/")
    assert (words, faults) == (f"{SAID}; it was tried 2 times", [SAID.partition(": ")[2]])
    assert seconds >= 2 * WAIT


def test_ossn_0078_a_closed_port(configure: Configure, closed: str) -> None:
    """It has the same time as one that keeps silent, although it is known at once to be closed."""
    configure(OPTIONS)
    words, faults, seconds = outcome(closed)
    assert (words, faults) == (f"{SAID}; it was tried 2 times", [SAID.partition(": ")[2]])
    assert seconds >= 2 * WAIT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the look at the clock has ended, which is all that ends the wait for a silent port."""
    ended: list[str] = []
    check = answers.Answer.check_time

    def looked(self: answers.Answer) -> None:
        try:
            check(self)
        except answers.Fault:
            ended.append("clock")
            raise

    monkeypatch.setattr(answers.Answer, "check_time", looked)
    return ended


def test_ossn_0078_the_same_clock_ends_all(
    configure: Configure, closed: str, clock: list[str]
) -> None:
    """It is not what a port did that ends the wait for it."""
    configure(OPTIONS)
    with talking(BANNERS["ssh"]) as ssh, talking(None) as silent:
        for url in (closed, f"http://127.0.0.1:{ssh}/", f"http://127.0.0.1:{silent}/"):
            clock.clear()
            outcome(url)
            assert clock == ["clock"] * 2, url


def test_ossn_0078_locations(configure: Configure, closed: str) -> None:
    """The http store, which may be asked by the API itself."""
    configure(OPTIONS)
    with talking(BANNERS["ssh"]) as ssh, talking(None) as silent:
        for url in (closed, f"http://127.0.0.1:{ssh}/", f"http://127.0.0.1:{silent}/"):
            began = time.monotonic()
            with pytest.raises(errors.Unavailable, match=r"^The image's server cannot be reached$"):
                remote.size(url, remote.Trust())
            assert time.monotonic() - began >= WAIT


@pytest.mark.parametrize("leads_to", ["refused", "unknown"])
def test_ossn_0078_names_of_a_private_network(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, leads_to: str
) -> None:
    """A name that is there, but refused, is told as one that is not: same words, as many tries."""
    configure("tries = 2\nretry_pause = 0.01\n")

    def found(*_: object) -> list[str]:
        if leads_to == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ["10.0.0.7"]

    monkeypatch.setattr(networks, "resolve", found)
    words, faults, _ = outcome("http://db.inside.example/")
    assert words == (
        "The URL cannot be reached: its host is not known, or not allowed here; it was tried 2 times"
    )
    assert faults == ["its host is not known, or not allowed here"]


def test_ossn_0078_the_log_says_it(
    configure: Configure, closed: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What the user is not told, the operator is; neither is told the URL."""
    configure(OPTIONS)
    with caplog.at_level("INFO"):
        outcome(closed + "secret-path")
    assert "the connection was refused (NewConnectionError)" in caplog.text
    assert "secret-path" not in "".join(
        one.getMessage() for one in caplog.records if one.name.startswith("images")
    )


# The canary sings


def test_ossn_0078_sings_without_the_same_words(
    configure: Configure, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With urllib3's own causes a closed port and one that talks differ."""
    configure(OPTIONS.replace(f"= {WAIT}", "= 0"))
    monkeypatch.setattr(
        answers, "_unreached", lambda error: answers._judged(error, "The URL cannot be reached")
    )
    with talking(BANNERS["ssh"]) as port:
        assert outcome(closed)[0] != outcome(f"http://127.0.0.1:{port}/")[0]


def test_ossn_0078_sings_without_the_same_time(
    configure: Configure, closed: str, clock: list[str]
) -> None:
    """With `private_answer_timeout = 0` a closed port is known at once."""
    configure(OPTIONS.replace(f"= {WAIT}", "= 0"))
    outcome(closed)
    assert clock == []
