"""What is kept of an interrupted download, so that the next worker can go on with it.

Beside the part `<image>.<attempt>.part` stands `<image>.<attempt>.kept`: a line of JSON that says what the
part is of, then one line for each mark, the bytes of it that are on the disk for good. A mark is written
after an fdatasync, by a thread. Both are written to through open files and never by name: a worker that
was paused while another one took its task over cannot bring back a name that is gone.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from images import answers, config, errors, methods, pipeline, staging

#: A mark is made after so many seconds or bytes, whichever comes first.
_SECONDS = 1.0
_BYTES = 64 << 20
#: Seconds that a worker which leaves its part waits at most for the last mark.
_FAREWELL = 1.0
#: Seconds between two looks at a thread that should end.
_TICK = 0.25


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A part of an earlier attempt."""

    attempt: int
    #: Open, so that it can be read even after the worker that made it has come back and removed it.
    file: BinaryIO
    #: Its first so many bytes are good; it may have more.
    size: int
    version: answers.Version


class Keeper:
    """The part of one attempt at a download, and word of it; a `staging.Keep`.

    An earlier attempt's files are read, and removed once they are of no more use, but never written to: the
    worker that made them may only have been paused.
    """

    def __init__(self, image_id: str, run: methods.Run, wanted: answers.Wanted) -> None:
        self.part = staging.path(image_id, f".{run.attempt}.part")
        self.final = staging.path(image_id, f".{run.attempt}")
        self._ledger = staging.path(image_id, f".{run.attempt}.kept")
        self._image_id, self._attempt = image_id, run.attempt
        self._of = {"task": run.task_id, "source": _fingerprint(wanted)}
        self._file: BinaryIO | None = None
        self._marks: _Marks | None = None
        self._written = self._heirloom = 0
        self._is_torn = False

    # What earlier attempts have left

    def finished(self, *, digest: bool) -> staging.Facts | None:
        """What an earlier attempt has brought in whole, and found out about, if there is such a thing."""
        for attempt in self._earlier():
            if self._word_of(attempt):
                known = staging.facts(staging.path(self._image_id, f".{attempt}"))
                if known and (known.digest or not digest):
                    return known
        return None

    def inherit(self, size: int | None) -> Kept | None:
        """The longest part of an earlier attempt that may be gone on with; of several, the newest.

        Where `size` is known, only a part of so many bytes will do. Whoever asks closes its file.
        """
        best: Kept | None = None
        for attempt in self._earlier():
            if not (word := self._word_of(attempt)) or size not in (None, word[0].total):
                continue
            kept = self._opened(attempt, *word)
            if kept and kept.size >= (best.size if best else 1):
                best, kept = kept, best
            if kept:
                kept.file.close()
        return best

    def disinherit(self) -> None:
        """Remove what earlier attempts have left."""
        for attempt in self._earlier():
            for suffix in ("", ".part", ".kept", ".kept.part", ".facts", ".facts.part"):
                staging.path(self._image_id, f".{attempt}{suffix}").unlink(missing_ok=True)

    def _earlier(self) -> list[int]:
        """Attempts before this one of which there is a file."""
        name = re.compile(rf"{re.escape(self._image_id)}\.(\d+)(\..*)?", re.ASCII)
        files = staging.path().glob(f"{self._image_id}.*")
        attempts = {int(match[1]) for file in files if (match := name.fullmatch(file.name))}
        return sorted(attempt for attempt in attempts if attempt < self._attempt)

    def _word_of(self, attempt: int) -> tuple[answers.Version, list[int]] | None:
        """What stands in an attempt's ledger, version and marks, if it is of the same task and source."""
        try:
            ledger = staging.path(self._image_id, f".{attempt}.kept").read_bytes()
            head, *lines = ledger.splitlines(keepends=True)
            said = json.loads(head)
            version = answers.Version(**said.pop("version"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return (version, list(_read_marks(lines))) if said == self._of else None

    def _opened(self, attempt: int, version: answers.Version, marks: list[int]) -> Kept | None:
        for suffix in (
            ".part",
            "",
        ):  # a worker may have died between the last byte and the last word
            with contextlib.suppress(OSError):
                file = staging.path(self._image_id, f".{attempt}{suffix}").open("rb", buffering=0)
                room = os.fstat(file.fileno()).st_size
                size = max((mark for mark in marks if mark <= room), default=0)
                return Kept(attempt, file, size, version)
        return None

    # What this attempt leaves

    def sink(self, file: BinaryIO) -> "Keeper":
        """Take the file that the bytes shall go into; the sink to write them to is this."""
        self._file, self._marks, self._written, self._is_torn = file, None, 0, False
        return self

    def begin(self, version: answers.Version, heirloom: int = 0) -> None:
        """Say what is being received; `heirloom` bytes of it are in an earlier attempt's part so far.

        Raises:
            OSError: the staging area cannot be used.
        """
        if self._file is None:
            raise ValueError("nothing is being received")
        self._heirloom = heirloom
        temporary = self._ledger.with_name(f"{self._ledger.name}.part")
        ledger = temporary.open("wb", buffering=0)
        try:
            said = self._of | {"version": dataclasses.asdict(version)}
            ledger.write(json.dumps(said).encode() + b"\n")
            temporary.rename(self._ledger)
            if version.resumable:
                self._marks = _Marks(
                    os.dup(self._file.fileno()), os.dup(ledger.fileno()), self._marked
                )
        finally:
            ledger.close()

    def write(self, piece: pipeline.Piece) -> None:
        """Write to the part; where a piece could not be written, none that follows takes its place.

        Raises:
            OSError: it, or what went before it, could not be written.
        """
        if self._file is None:
            raise ValueError("nothing is being received")
        if self._is_torn:
            return
        self._is_torn = True
        self._file.write(piece)
        self._is_torn = False
        self._written += len(piece)
        if self._marks:
            self._file.flush()
            self._marks.wrote(self._written)

    def done(self, tick: Callable[[], object]) -> None:
        """All has been written; `tick` is called while the last mark is being made.

        Raises:
            OSError: not all could be written.
        """
        if self._marks:
            self._marks.end(last=False)
            while self._marks.goes_on(_TICK):
                tick()
            self._marks.check()
        self.disinherit()

    def leave(self) -> bool:
        """Leave the part for another worker; False where it would be of no use to it."""
        if self._marks is None:
            return False
        self._marks.end(last=True)
        self._marks.goes_on(_FAREWELL)
        return True

    def forget(self) -> None:
        """Word of a part that is gone, or will be at once, goes too."""
        if self._marks:
            self._marks.end(last=False)
        self._ledger.unlink(missing_ok=True)

    def _marked(self, mark: int) -> None:
        if self._heirloom and mark >= self._heirloom:
            self._heirloom = 0
            with contextlib.suppress(OSError, errors.Unavailable):
                self.disinherit()


class _Marks:
    """Writes down how many bytes of a part are on the disk for good, in a thread; both files are its own."""

    def __init__(self, part: int, ledger: int, on_mark: Callable[[int], None]) -> None:
        self._part, self._ledger, self._on_mark = part, ledger, on_mark
        self._written = self._marked = 0
        self._wake = threading.Event()
        self._over = self._last = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="marks", daemon=True)
        self._thread.start()

    def wrote(self, total: int) -> None:
        """So many bytes are in the file now."""
        self._written = total
        if total - self._marked >= _BYTES:
            self._wake.set()
        self.check()

    def check(self) -> None:
        """Tell of what the thread has met: the system tells of a failed write only once.

        Raises:
            OSError: the disk has not taken all.
        """
        if self._error:
            raise self._error

    def end(self, *, last: bool) -> None:
        """Let the thread end, with a `last` mark or only with the one that is being made."""
        self._last, self._over = last, True
        self._wake.set()

    def goes_on(self, seconds: float) -> bool:
        """Whether the thread still runs after so many seconds."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            over = False
            while not over:
                self._wake.wait(_SECONDS)
                self._wake.clear()
                over = self._over
                if not over or self._last:
                    self._mark(self._written)
        except OSError as error:
            self._error = error
        finally:
            os.close(self._part)
            os.close(self._ledger)

    def _mark(self, written: int) -> None:
        if written > self._marked:
            os.fdatasync(self._part)
            os.write(self._ledger, b"%d\n" % written)
            os.fdatasync(self._ledger)
            self._marked = written
            self._on_mark(written)


def _read_marks(lines: list[bytes]) -> Iterator[int]:
    """The marks up to the first line that a crash has left half written."""
    for line in lines:
        if not re.fullmatch(rb"\d{1,19}\n", line):
            return
        yield int(line)


def _fingerprint(wanted: answers.Wanted) -> str:
    """What tells one source from another, and gives neither URL nor token away."""
    key = hashlib.sha256(f"gantry parts {config.CONF.database.connection}".encode()).digest()
    named = json.dumps([str(wanted.url), sorted(wanted.headers.items())])
    return hashlib.blake2b(named.encode(), key=key, digest_size=32).hexdigest()
