"""A download is tried again, but not for ever; and it hears within a second that it is to end."""

import gzip
import http.server
import itertools
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from images import answers, errors, readahead, staging
from tests import certificates, downloading, service, web
from tests.conftest import Configure
from tests.downloading import Download, names

DATA = os.urandom(1 << 20)
SHORT = "connect_timeout = 0.5\nread_timeout = 0.5\n"
HEAD = b"HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture(autouse=True)
def files(configure: Configure) -> list[str]:
    return configure(downloading.OPTIONS + downloading.LISTS)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Whatever the outcome, threads end soon."""
    yield
    service.wait_for(lambda: not reading(), "threads to end", 3)


def reading() -> list[str]:
    """The threads of downloads."""
    ours = ("readahead", "marks", "digest")
    return [one.name for one in threading.enumerate() if one.name.startswith(ours)]


def answered(answer: web.Answer, one: Download) -> staging.Facts:
    """What comes of a download of this answer."""
    with web.serving({"/image": answer}) as url:
        return one.run(f"{url}/image")


def refused(answer: web.Answer, one: Download) -> str:
    """The text of the failure; nothing is left of it."""
    with pytest.raises(errors.ImportFailed) as caught:
        answered(answer, one)
    assert names() == []
    text = str(caught.value)
    assert "/" not in text
    assert "127.0.0.1" not in text
    return text


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 599])
def test_statuses_that_pass(code: int) -> None:
    one = Download()
    answered(web.in_turn(web.status(code), web.status(code), web.whole(DATA)), one)
    assert len(one.faults) == 2
    assert all(str(code) in fault for fault in one.faults)


@pytest.mark.parametrize("code", [201, 206, 304, 400, 401, 403, 404, 410, 416, 451])
def test_statuses_that_stay(code: int) -> None:
    """They are told at once."""
    one = Download()
    assert str(code) in refused(web.in_turn(web.status(code), web.whole(DATA)), one)
    assert one.faults == []


def test_a_status_that_does_not_pass() -> None:
    one = Download()
    said = refused(web.status(503), one)
    assert said == "The URL answered 503 Service Unavailable; it was tried 3 times"
    assert one.faults == ["The URL answered 503 Service Unavailable"] * 2


def test_one_try_only(configure: Configure) -> None:
    configure("tries = 1\n" + downloading.LISTS)
    one = Download()
    assert refused(web.status(503), one).endswith("it was tried once")
    assert one.faults == []


def test_nobody_listens() -> None:
    one = Download()
    with pytest.raises(errors.ImportFailed, match="or no web server answered; it was tried 3"):
        one.run(f"http://127.0.0.1:{service.free_port()}/image")
    assert one.faults == ["the connection was refused, or no web server answered"] * 2


def test_a_name_that_nobody_knows() -> None:
    one = Download()
    with pytest.raises(
        errors.ImportFailed, match="is not known, or not allowed here; it was tried 3"
    ):
        one.run("http://no-such-host.invalid/image")


@pytest.mark.parametrize(
    "target", ["ftp://example.org/", "http://127.1/", "http://x y/", "http://[", "/image"]
)
def test_redirects_that_are_refused(target: str) -> None:
    """Once: the filter, and the number of redirects, will not change."""
    one = Download()
    refused(web.redirect(target), one)
    assert one.faults == []


def test_a_redirect_takes_no_token_along() -> None:
    """Neither at first nor when it goes on; but what part is wanted, and on which condition."""
    file = web.Ranged(DATA, cuts=[1000])
    with web.serving({"/image": file}) as far:
        asked: list[str | None] = []

        def near(handler: object) -> None:
            asked.append(handler.headers.get("X-Auth-Token"))  # type: ignore[attr-defined]
            web.redirect(f"{far}/image")(handler)  # type: ignore[arg-type]

        with web.serving({"/image": near}) as url:
            Download().run(f"{url}/image", headers={"X-Auth-Token": "very-secret"})
    assert asked == ["very-secret"] * 2
    assert not [one for one in file.asked if "X-Auth-Token" in one]
    assert (file.asked[1]["Range"], file.asked[1]["If-Range"]) == ("bytes=1000-", '"one"')


def test_a_pause_that_is_asked_for() -> None:
    """Retry-After counts where it is longer than the pause; progress is told all the while."""
    heard: list[float] = []
    one = Download(on_bytes=lambda *_: heard.append(time.monotonic()))
    began = time.monotonic()
    answered(web.in_turn(web.status(503, Retry_After="1"), web.whole(DATA)), one)
    assert 1 <= time.monotonic() - began < 5
    assert max(later - sooner for sooner, later in itertools.pairwise(heard)) < 0.6


@pytest.mark.parametrize("said", ["nonsense", "-5", "9" * 5000, "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_pause_that_makes_no_sense(said: str) -> None:
    began = time.monotonic()
    answered(web.in_turn(web.status(503, Retry_After=said), web.whole(DATA)), Download())
    assert time.monotonic() - began < 5


def test_a_date_that_no_calendar_has() -> None:
    """It is no validator, and nothing else."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.send_header("Last-Modified", f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT")
        handler.end_headers()
        handler.wfile.write(DATA)

    answered(answer, Download())


def test_pauses_grow(configure: Configure) -> None:
    configure("retry_pause = 0.2\ntries = 4\n" + downloading.LISTS)
    began = time.monotonic()
    refused(web.status(500), Download())
    assert 1.4 <= time.monotonic() - began < 6


def test_progress_gives_tries_back(configure: Configure) -> None:
    """More faults than tries, but each try brought enough."""
    lines = "minimum_rate = 100000\nread_timeout = 1\n"
    configure(downloading.OPTIONS + lines + downloading.LISTS)
    file = web.Ranged(DATA, cuts=[100_000] * 9)
    assert answered(file, Download()).size == len(DATA)
    assert len(file.asked) > 9


def test_trickling_is_no_progress(configure: Configure) -> None:
    """Each try brings something, but less than is asked of it."""
    lines = "minimum_rate = 100001\nread_timeout = 1\n"
    configure(downloading.OPTIONS + lines + downloading.LISTS)
    file = web.Ranged(DATA, cuts=[100_000] * 9)
    assert "tried 3 times" in refused(file, Download())
    assert file.sent == [100_000] * 3


def test_any_byte_is_progress_where_no_rate_is_asked_for(configure: Configure) -> None:
    configure(downloading.OPTIONS + "minimum_rate = 0\n" + downloading.LISTS)
    file = web.Ranged(DATA[:100], cuts=[10] * 9)
    assert answered(file, Download()).size == 100


def test_the_same_bytes_again_are_no_progress(configure: Configure) -> None:
    """A server that cannot go on, and always breaks off at the same place, has no more tries for it."""
    configure(downloading.OPTIONS + "minimum_rate = 0\n" + downloading.LISTS)
    file = web.Ranged(DATA, etag=None, cuts=[500_000] * 99)
    assert "tried 4 times" in refused(file, Download())


def test_a_cut_answer_says_how_far_it_came() -> None:
    said = refused(web.cut(DATA[:10], 20), Download())
    assert said == (
        "The download broke off: the connection was cut, 10 of 20 bytes had arrived; it was tried 3 times"
    )


def test_a_cut_answer_in_chunks() -> None:
    """Without a length, too, a cut answer is not taken for a whole one."""

    def chunks(handler: object) -> None:
        handler.wfile.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n9\r\nabc"
        )

    assert "cut, 8 bytes had arrived" in refused(chunks, Download())


def test_bytes_that_are_encoded() -> None:
    """A server that compresses although nobody has asked for it: what comes out counts, and no Range."""
    packed = gzip.compress(DATA)
    file = web.Ranged(packed, cuts=[1000], fields={"Content-Encoding": "gzip"})
    facts = answered(file, Download())
    assert pathlib.Path(facts.path).read_bytes() == DATA
    assert [asked.get("Range") for asked in file.asked] == [None, None]


def test_another_size_than_was_promised() -> None:
    """It is told at once, and not tried again."""
    one = Download()
    with (
        web.serving({"/image": web.whole(DATA)}) as url,
        pytest.raises(errors.SizeMismatch, match=f"5 bytes, but has {len(DATA)}"),
    ):
        one.run(f"{url}/image", size=5)
    assert (one.faults, names()) == ([], [])


def test_a_limit_is_not_tried_again(configure: Configure) -> None:
    configure(downloading.LISTS + "[DEFAULT]\nimage_size_cap = 1000\n")
    one = Download()
    with pytest.raises(errors.LimitExceeded):
        answered(web.Ranged(DATA), one)
    assert (one.faults, names()) == ([], [])


def test_a_certificate_that_nobody_vouches_for(tmp_path: pathlib.Path) -> None:
    """It will not be better at the next try."""
    file, one = certificates.self_signed(tmp_path / "both.pem", "localhost"), Download()
    with (
        web.serving({"/image": web.whole(DATA)}, file) as url,
        pytest.raises(errors.ImportFailed, match="certificate could not be verified"),
    ):
        one.run(f"{url}/image")
    assert one.faults == []


def test_a_server_that_speaks_no_tls() -> None:
    """That is a fault like any other: something between may have broken."""
    one = Download()
    with (
        web.serving({"/image": web.whole(DATA)}) as url,
        pytest.raises(errors.ImportFailed, match="it was tried 3 times"),
    ):
        one.run(url.replace("http", "https") + "/image")


# Silence


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (web.silent, "or no web server answered"),
        (web.dripping(HEAD, b"", 9), "no byte came for too long"),
        (web.dripping(b"HTTP/1.0 200 OK\r\nX: ", b"y", 0.1), "or no web server answered"),
        (web.dripping(HEAD, b"z", 0.1), "fewer than 1024 bytes a second"),
        (
            web.dripping(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n5;", b"x", 0.1
            ),
            "no byte came for too long",
        ),
    ],
    ids=["no-head", "no-body", "dripping-head", "dripping-body", "dripping-chunk"],
)
def test_servers_that_keep_one_waiting(configure: Configure, answer: web.Answer, says: str) -> None:
    """Each wait has an end, whatever the server does to draw it out."""
    configure(downloading.OPTIONS + SHORT + downloading.LISTS)
    one = Download()
    began = time.monotonic()
    assert says in refused(answer, one)
    assert len(one.faults) == 2
    assert time.monotonic() - began < 15


def test_a_server_may_be_slow_where_no_rate_is_asked_for(configure: Configure) -> None:
    configure(downloading.OPTIONS + SHORT + "minimum_rate = 0\n" + downloading.LISTS)
    one = Download()
    assert answered(web.Ranged(DATA[:20], rate=20), one).size == 20
    assert one.faults == []


def test_a_server_that_becomes_slow_is_asked_again(configure: Configure) -> None:
    """The next answer is quick: it gives the rest."""
    configure(downloading.OPTIONS + SHORT + downloading.LISTS)
    head = HEAD.replace(b"1000000", b"%d" % len(DATA)).replace(
        b"\r\n\r\n", b'\r\nETag: "one"\r\n\r\n'
    )

    def begins_well(handler: object) -> None:
        web.dripping(head + DATA[:100_000], b"", 9)(handler)  # type: ignore[arg-type]

    file = web.Ranged(DATA)
    facts = answered(web.in_turn(begins_well, file), Download())
    assert pathlib.Path(facts.path).read_bytes() == DATA
    assert file.asked[0]["Range"] == "bytes=100000-"


def test_what_comes_slowly_comes_in_whole_blocks() -> None:
    """Or one moment of hesitation would send all that follows through the page cache."""
    data = os.urandom(100_000)

    def hesitates(handler: object) -> None:
        handler.wfile.write(HEAD.replace(b"1000000", b"100000"))  # type: ignore[attr-defined]
        for begin, end in ((0, 5_000), (5_000, 11_111), (11_111, 100_000)):
            handler.wfile.write(data[begin:end])  # type: ignore[attr-defined]
            time.sleep(0.6)

    with web.serving({"/image": hesitates}) as url:
        pieces = list(answers.Answer(answers.Wanted(f"{url}/image")).pieces())
    assert b"".join(pieces) == data
    assert len(pieces) > 1
    assert [len(piece) % 4096 for piece in pieces[:-1]] == [0] * (len(pieces) - 1)


def leaving(
    error: type[BaseException], when: Callable[[int], bool]
) -> tuple[Download, list[float]]:
    """A download that is told to end half a second after it has come so far; and when it was told so."""
    told: list[float] = []

    def heard(done: int, _: int | None) -> None:
        if when(done):
            told.append(time.monotonic())
            if told[-1] - told[0] > 0.5:
                raise error

    return Download(on_bytes=heard), told


@pytest.mark.parametrize("error", [errors.Stopped, errors.Abandoned])
@pytest.mark.parametrize(
    "answer",
    [
        web.silent,
        web.dripping(b"HTTP/1.0 200 OK\r\nX: ", b"y", 0.1),
        web.dripping(HEAD + DATA[:5000], b"", 9),
        web.dripping(HEAD, b"z", 0.1),
        web.status(503, Retry_After="50"),
    ],
    ids=["no-head", "dripping-head", "no-more", "dripping-body", "pause"],
)
def test_a_download_that_is_told_to_end(answer: web.Answer, error: type[BaseException]) -> None:
    """Within a second, whatever it waits for; the thread ends soon too, and nothing is left."""
    one, told = leaving(error, lambda _: True)
    with web.serving({"/image": answer}) as url:
        with pytest.raises(error):
            one.run(f"{url}/image")
        assert time.monotonic() - told[-1] < 1
        assert max(later - sooner for sooner, later in itertools.pairwise(told)) < 1
        service.wait_for(lambda: not reading(), "threads to end", 1.5)
    assert names() == []


@pytest.mark.parametrize(
    ("error", "left"),
    [(errors.Abandoned, [".1.kept", ".1.part"]), (errors.Stopped, []), (KeyboardInterrupt, [])],
)
def test_what_is_left_in_staging(error: type[BaseException], left: list[str]) -> None:
    """A part that can be gone on with stays, for the next worker; after anything else nothing does."""
    one, _ = leaving(error, lambda done: done > 1000)
    file = web.in_turn(web.Ranged(DATA, rate=300_000))
    with pytest.raises(error):
        answered(file, one)
    assert names() == left
    if left:
        assert downloading.marks(1)[-1] == staging.path(downloading.IMAGE, ".1.part").stat().st_size


# Reading ahead of anything


class Slow:
    """A source that takes its time, and cannot be woken."""

    def __init__(self, *found: bytes | Exception) -> None:
        self.found = found
        self.ended = threading.Event()

    def pieces(self) -> Iterator[bytes]:
        """What there is, half a second apart."""
        try:
            for one in self.found:
                time.sleep(0.5)
                if isinstance(one, Exception):
                    raise one
                yield one
        finally:
            self.ended.set()


def test_reading_ahead() -> None:
    """In order, to the end and no further; and the waiting is told."""
    waited: list[int] = []
    source = Slow(b"one", b"", b"two")
    pieces = readahead.Pieces(source.pieces)
    with readahead.ReadAhead(pieces, lambda: waited.append(1)) as ahead:
        assert [ahead.read(1) for _ in range(4)] == [b"one", b"two", b"", b""]
    assert len(waited) >= 3


def test_an_error_comes_after_what_came_before_it() -> None:
    source = readahead.Pieces(Slow(b"one", errors.Unavailable("gone")).pieces)
    with readahead.ReadAhead(source, lambda: None) as ahead:
        assert ahead.read() == b"one"
        with pytest.raises(errors.Unavailable, match="gone"):
            ahead.read()
        assert ahead.read() == b""


def test_a_source_that_nobody_reads_any_more() -> None:
    """Its thread does not wait for ever to hand over what it has."""
    source = Slow(*[b"piece"] * 9)
    with readahead.ReadAhead(readahead.Pieces(source.pieces), lambda: None) as ahead:
        ahead.read()
    assert source.ended.wait(3)
