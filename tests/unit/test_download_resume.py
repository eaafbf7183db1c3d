"""A download is gone on with where it was interrupted, and begins anew where that cannot be."""

import email.utils
import hashlib
import json
import os
import pathlib
import resource
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from images import answers, errors, methods, new_file, partials, staging
from tests import downloading, service, web
from tests.conftest import Configure
from tests.downloading import Download, names

DATA = os.urandom(7 << 20)
OTHER = os.urandom(7 << 20)
MIB = 1 << 20
OLD, OLDER, NEW = (
    email.utils.formatdate(time.time() - age, usegmt=True) for age in (3600, 7200, -3600)
)


@pytest.fixture(autouse=True)
def files(configure: Configure) -> list[str]:
    return configure(downloading.OPTIONS + downloading.LISTS)


@pytest.fixture
def serve() -> Iterator[Callable[[web.Answer], str]]:
    """The URL of an answer; another call puts another answer behind the same URL."""
    answer: dict[str, web.Answer] = {}
    with web.serving(answer) as url:

        def put(one: web.Answer) -> str:
            answer["/image"] = one
            return f"{url}/image"

        yield put


Serve = Callable[[web.Answer], str]


def check(facts: staging.Facts, data: bytes = DATA) -> None:
    """The bytes and the digests are those of the data."""
    assert pathlib.Path(facts.path).read_bytes() == data
    assert facts.digest is not None
    assert facts.digest["checksum"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert facts.digest["os_hash_value"] == hashlib.sha512(data).hexdigest()


def abandoned(url: str, after: int, attempt: int = 1, task: str = "task", **wanted: object) -> None:
    """An attempt that is left after so many bytes."""

    def leave(done: int, _: int | None) -> None:
        if done >= after:
            raise errors.Abandoned

    with pytest.raises(errors.Abandoned):
        Download(attempt=attempt, task=task, on_bytes=leave).run(url, **wanted)


@pytest.mark.parametrize(
    ("etag", "modified", "condition"),
    [('"one"', None, '"one"'), ('"one"', OLD, '"one"'), (None, OLD, OLD), ('W/"one"', OLD, OLD)],
    ids=["tag", "both", "date", "weak-tag"],
)
def test_a_lost_connection(
    serve: Serve, etag: str | None, modified: str | None, condition: str
) -> None:
    """Only what is missing is asked for, under the strongest condition that there is."""
    file = web.Ranged(DATA, etag=etag, modified=modified, cuts=[MIB, MIB + 5])
    one = Download()
    check(one.run(serve(file)))
    assert [asked.get("Range") for asked in file.asked] == [
        None,
        f"bytes={MIB}-",
        f"bytes={2 * MIB + 5}-",
    ]
    assert [asked.get("If-Range") for asked in file.asked] == [None, condition, condition]
    assert sum(file.sent) == len(DATA)
    assert one.faults == [
        f"the connection was cut, {MIB} of {len(DATA)} bytes had arrived",
        f"the connection was cut, {2 * MIB + 5} of {len(DATA)} bytes had arrived",
    ]
    assert names() == [".1", ".1.facts", ".1.kept"]


@pytest.mark.parametrize(
    "file",
    [
        web.Ranged(DATA, etag=None),
        web.Ranged(DATA, etag='W/"one"'),
        web.Ranged(DATA, etag=None, modified=NEW),
        web.Ranged(DATA, etag=None, modified="yesterday"),
        web.Ranged(DATA, fields={"Accept-Ranges": "none"}),
    ],
    ids=["none", "weak", "young", "nonsense", "no-ranges"],
)
def test_nothing_to_go_on_by(serve: Serve, file: web.Ranged) -> None:
    """The whole is asked for again, without a Range; and nothing is left for another worker."""
    file.cuts = [MIB]
    check(Download().run(serve(file)))
    assert [asked.get("Range") for asked in file.asked] == [None, None]
    abandoned(serve(file), MIB, attempt=2)
    assert names() == [".1", ".1.facts", ".1.kept"]


def test_a_server_that_knows_no_ranges(serve: Serve) -> None:
    """It was asked to go on, answers with the whole, and that is taken."""
    file = web.Ranged(DATA, ranges=False, cuts=[MIB])
    check(Download().run(serve(file)))
    assert file.sent == [MIB, len(DATA)]


@pytest.mark.parametrize("conditions", [True, False], ids=["200", "206"])
@pytest.mark.parametrize("length", [len(OTHER), len(OTHER) - 7], ids=["same-size", "shorter"])
def test_a_file_that_has_changed(serve: Serve, length: int, *, conditions: bool) -> None:
    """Whether the server minds If-Range or not, no file is sewn together from two."""
    first = web.Ranged(DATA, cuts=[MIB])
    second = web.Ranged(OTHER[:length], etag='"two"', conditions=conditions)
    one = Download()
    check(one.run(serve(web.in_turn(first, second))), OTHER[:length])
    assert len(second.asked) == (1 if conditions else 2)
    assert one.faults[1] == "the server cannot go on in the middle, or the file has changed"


@pytest.mark.parametrize(
    ("whole", "rest", "is_taken"),
    [
        ({"etag": '"one"', "modified": OLD}, {"ETag": None, "Last-Modified": OLDER}, False),
        ({"etag": '"one"', "modified": OLD}, {"ETag": None, "Last-Modified": None}, False),
        ({"etag": None, "modified": OLD}, {"Last-Modified": OLDER}, False),
        ({"etag": None, "modified": OLD}, {"Last-Modified": None}, True),
        ({"etag": '"one"', "modified": OLD}, {"Last-Modified": None}, True),
    ],
    ids=["no-tag-other-date", "no-tag", "other-date", "no-date", "tag-no-date"],
)
def test_a_part_that_does_not_name_its_version(
    serve: Serve, whole: dict[str, Any], rest: dict[str, str | None], *, is_taken: bool
) -> None:
    """A server that ignores If-Range may give another file's; a part must name its tag, not its date."""
    first = web.Ranged(DATA, cuts=[MIB], **whole)
    other = DATA if is_taken else OTHER
    second = web.Ranged(other, conditions=False, part_fields=rest, **whole)
    check(Download().run(serve(web.in_turn(first, second))), other)
    assert [asked.get("Range") for asked in second.asked] == [
        f"bytes={MIB}-",
        *([] if is_taken else [None]),
    ]


@pytest.mark.parametrize(("tag", "is_taken"), [(None, True), ('"two"', False)])
def test_a_part_of_what_never_changes(serve: Serve, tag: str | None, *, is_taken: bool) -> None:
    """It need not name its tag, but must not name another one."""
    file = web.Ranged(DATA, cuts=[MIB], part_fields={"ETag": tag})
    check(Download().run(serve(file), immutable=True))
    assert len(file.asked) == (2 if is_taken else 3)


def part(said: str, body: bytes = DATA[MIB:]) -> web.Answer:
    """A 206 with this Content-Range."""
    return web.Ranged(body, ranges=False, fields={"Content-Range": said})


@pytest.mark.parametrize(
    "said",
    [
        f"bytes {MIB - 1}-{len(DATA) - 1}/{len(DATA)}",
        f"bytes {MIB}-{len(DATA) - 2}/{len(DATA)}",
        f"bytes {MIB}-{len(DATA)}/{len(DATA) + 1}",
        f"bytes {MIB}-{len(DATA) - 1}/*",
        "bytes",
        f"bytes {'9' * 5000}-1/1",
    ],
)
def test_another_part_than_was_asked_for(serve: Serve, said: str) -> None:
    """It is not used: the whole is asked for."""

    def wrong(handler: object) -> None:
        web.status(206, Content_Range=said, ETag='"one"')(handler)  # type: ignore[arg-type]

    whole = web.Ranged(DATA)
    check(Download().run(serve(web.in_turn(web.Ranged(DATA, cuts=[MIB]), wrong, whole))))
    assert "Range" not in whole.asked[0]


def test_a_range_that_is_refused(serve: Serve) -> None:
    """416: the file is shorter by now."""
    turns = (web.Ranged(DATA, cuts=[2 * MIB]), web.status(416), web.Ranged(OTHER[:MIB], etag=None))
    check(Download().run(serve(web.in_turn(*turns))), OTHER[:MIB])


def test_a_length_that_is_not_said(serve: Serve) -> None:
    """A body that ends with its connection is whole when that ends."""
    check(Download().run(serve(web.Ranged(DATA, length=False, etag=None))))


def test_another_worker_goes_on(serve: Serve) -> None:
    """It reads what the first one left into a file of its own, and asks for the rest."""
    file = web.Ranged(DATA)
    url = serve(file)
    abandoned(url, 2 * MIB)
    assert names() == [".1.kept", ".1.part"]
    mark = downloading.marks(1)[-1]
    check(Download(attempt=4).run(url))
    assert file.asked[1]["Range"] == f"bytes={mark}-"
    assert file.sent[1] == len(DATA) - mark
    assert names() == [".4", ".4.facts", ".4.kept"]


def test_an_attempt_that_dies_while_it_takes_over(serve: Serve) -> None:
    """What the first worker left is there until the second one has more; the third takes the longer one."""
    file = web.Ranged(DATA)
    url = serve(file)
    abandoned(url, 2 * MIB)
    first = staging.path(downloading.IMAGE, ".1.part")
    abandoned(url, 0, attempt=2)
    assert first.exists()
    check(Download(attempt=3).run(url))
    assert names() == [".3", ".3.facts", ".3.kept"]
    assert len(file.asked) == 2, "the second attempt had no need to ask"


def test_all_was_there_but_the_last_word(serve: Serve) -> None:
    """The server is not asked any more."""
    file = web.Ranged(DATA)
    url = serve(file)
    abandoned(url, len(DATA))
    assert downloading.marks(1)[-1] == len(DATA)
    check(Download(attempt=2).run(url))
    assert len(file.asked) == 1


def test_what_follows_a_failed_write_does_not_take_its_place() -> None:
    """Else a part would be marked that has a gap, and nobody would read those bytes again."""
    keeper = partials.Keeper(
        downloading.IMAGE, methods.Run("task", 1, lambda _: None), answers.Wanted("http://image")
    )
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with new_file.NewFile(keeper.part, cached=True) as file:
        sink = keeper.sink(file)
        sink.write(DATA[:MIB])
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB + MIB // 2, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                sink.write(DATA[MIB : 2 * MIB])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        sink.write(DATA[2 * MIB :])
    assert keeper.part.read_bytes() == DATA[: MIB + MIB // 2]


def test_an_earlier_attempt_had_finished(serve: Serve) -> None:
    """Its file is the one; where it was changed since, it is not."""
    file = web.Ranged(DATA)
    url = serve(file)
    facts = Download().run(url)
    assert Download(attempt=2).run(url) == facts
    assert len(file.asked) == 1
    os.utime(facts.path, (1, 1))
    check(Download(attempt=3).run(url))
    assert names() == [".3", ".3.facts", ".3.kept"]


@pytest.mark.parametrize("other", ["task", "url", "headers", "size", "later"])
def test_a_part_of_something_else(serve: Serve, other: str) -> None:
    """It is never gone on with; and never removed if it may be another worker's."""
    file = web.Ranged(DATA)
    url = serve(file)
    headers, size = ({"X-Auth-Token": "a"} if other == "headers" else {}), None
    if other == "size":
        abandoned(serve(web.Ranged(DATA + b"more")), 2 * MIB)
        serve(file)
        size = len(DATA)
    else:
        abandoned(
            url + ("#x" if other == "url" else ""),
            2 * MIB,
            attempt=9 if other == "later" else 1,
            task="other" if other == "task" else "task",
            headers=headers,
        )
    left = names()
    check(Download(attempt=2).run(url, size=size))
    assert "Range" not in file.asked[-1]
    if other == "later":
        assert set(left) < set(names())


@pytest.mark.parametrize(
    ("marks", "size"),
    [
        (b"", 0),
        (b"100\n200\n", 200),
        (b"100\n200", 100),
        (b"100\n\0\0\0\n200\n", 100),
        (b"100\n9999999999\n", 100),
        (b"100\n" + b"9" * 5000 + b"\n", 100),
    ],
)
def test_marks_that_a_crash_has_spoilt(serve: Serve, marks: bytes, size: int) -> None:
    """Whole lines up to the first bad one count, and no more bytes than there are."""
    file = web.Ranged(DATA)
    url = serve(file)
    abandoned(url, 2 * MIB)
    ledger = staging.path(downloading.IMAGE, ".1.kept")
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0] + marks)
    check(Download(attempt=2).run(url))
    assert file.asked[1].get("Range") == (f"bytes={size}-" if size else None)


@pytest.mark.parametrize("word", [b"", b"{", b"[]\n", b"5\n", b"{}\n", b'{"version": {"a": 1}}\n'])
def test_a_word_that_makes_no_sense(serve: Serve, word: bytes) -> None:
    file = web.Ranged(DATA)
    url = serve(file)
    abandoned(url, 2 * MIB)
    staging.path(downloading.IMAGE, ".1.kept").write_bytes(word)
    check(Download(attempt=2).run(url))
    assert "Range" not in file.asked[1]


def test_a_part_gives_nothing_away(serve: Serve) -> None:
    """Neither URL nor token stand in what is kept."""
    url = serve(web.Ranged(DATA))
    abandoned(url, MIB, headers={"X-Auth-Token": "very-secret"})
    word = staging.path(downloading.IMAGE, ".1.kept").read_text()
    assert "secret" not in word
    assert "127.0.0.1" not in word
    assert set(json.loads(word.splitlines()[0])) == {"task", "source", "version"}


def test_a_worker_that_is_killed(serve: Serve, files: list[str], tmp_path: pathlib.Path) -> None:
    """kill -9 in the middle: the next one gets only what is not on the disk yet."""
    data = os.urandom(24 * MIB)
    file = web.Ranged(data, rate=10 * MIB)
    url = serve(file)
    first = downloading.start(files, url, tmp_path / "lost")
    service.wait_for(lambda: downloading.marks(1), "the first mark")
    first.kill()
    first.communicate()
    file.rate = None
    mark = downloading.marks(1)[-1]
    check(Download(attempt=2).run(url), data)
    assert 0 < mark < len(data)
    assert file.asked[1]["Range"] == f"bytes={mark}-"
    assert file.sent[1] == len(data) - mark
    assert names() == [".2", ".2.facts", ".2.kept"]


@pytest.mark.parametrize(("notices", "says"), [(True, "Abandoned"), (False, "Gone")])
def test_a_worker_that_was_paused(
    serve: Serve, files: list[str], tmp_path: pathlib.Path, says: str, *, notices: bool
) -> None:
    """SIGSTOP, and SIGCONT when another one has done the work: nothing changes any more."""
    data = os.urandom(16 * MIB)
    file = web.Ranged(data, rate=8 * MIB)
    url = serve(file)
    first = downloading.start(files, url, tmp_path / "lost")
    try:
        service.wait_for(lambda: downloading.marks(1), "the first mark")
        first.send_signal(signal.SIGSTOP)
        file.rate = None
        facts = Download(attempt=2).run(url)
        before = [(one, one.stat()) for one in sorted(staging.path().iterdir())]
        if notices:
            (tmp_path / "lost").touch()
        first.send_signal(signal.SIGCONT)
        assert first.communicate(timeout=60)[0].strip() == says
    finally:
        first.kill()
        first.communicate()
    check(facts, data)
    after = [(one, one.stat()) for one in sorted(staging.path().iterdir())]
    assert [(one, staging._identity(was)) for one, was in before] == [
        (one, staging._identity(now)) for one, now in after
    ]


def test_a_part_that_its_worker_removes_meanwhile(serve: Serve) -> None:
    """A paused worker that comes back, and fails, removes its part while it is being read."""
    url = serve(web.Ranged(DATA))
    abandoned(url, 2 * MIB)
    first = staging.path(downloading.IMAGE, ".1.part")
    one = Download(attempt=2, on_bytes=lambda *_: first.unlink(missing_ok=True))
    check(one.run(url))


def test_whoever_deletes_the_image_meanwhile(serve: Serve) -> None:
    """Staging is emptied under the download: that is said, and nothing is left."""
    one = Download(on_bytes=lambda *_: staging.remove(downloading.IMAGE))
    with pytest.raises(errors.Gone):
        one.run(serve(web.Ranged(DATA)))
    assert names() == []


def test_versions() -> None:
    """What is asked for: nothing special at first, then the rest of what was seen."""
    version = answers.Version(None, 9, resumable=True)
    assert answers._range(0, version) == {}
    assert answers._range(5, version) == {"Range": "bytes=5-"}
