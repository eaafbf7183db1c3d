"""Both digests of an image in one pass: MD5 for `checksum`, another for `os_hash_value`.

Each runs in a thread of its own while the next piece is being read (hashlib lets go of the GIL), so a
stream costs the time of the slower digest, not of their sum. That pays from pieces of 4 MiB on.
"""

import concurrent.futures
import dataclasses
import hashlib
import types
from typing import Any, Self

#: Bytes of one piece; smaller ones cost more in handing over than the threads save.
PIECE = 4 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Digest:
    """What the record says about an image's bytes (contract section 4.8)."""

    checksum: str
    os_hash_algo: str
    os_hash_value: str

    def columns(self) -> dict[str, Any]:
        """The record's columns."""
        return dataclasses.asdict(self)


class Hasher:
    """Digests a stream piece by piece; use it in a `with` block, which ends its threads."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._hashes = (
            hashlib.new("md5", usedforsecurity=False),
            hashlib.new(algorithm, usedforsecurity=False),
        )
        self._threads = concurrent.futures.ThreadPoolExecutor(2, "digest")
        self._running: list[concurrent.futures.Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _: BaseException | None,
        __: types.TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=True)

    def update(self, piece: bytes) -> None:
        """Take in one more piece; returns when the piece before it has been digested."""
        self._wait()
        self._running = [self._threads.submit(one.update, piece) for one in self._hashes]

    def finish(self) -> Digest:
        """The digests of all that was taken in."""
        self._wait()
        md5, secure = (one.hexdigest() for one in self._hashes)
        return Digest(md5, self._algorithm, secure)

    def _wait(self) -> None:
        for future in self._running:
            future.result()
