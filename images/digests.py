"""Both digests of an image in one pass: MD5 for `checksum`, another for `os_hash_value`.

Each runs in a thread of its own while the next piece is being read (hashlib lets go of the GIL), so a
stream costs the time of the slower digest, not of their sum.
"""

import concurrent.futures
import hashlib

#: Bytes of one piece. Much smaller ones cost more in handing over than the threads save; larger ones only
#: memory, of which an upload holds some four pieces.
PIECE = 2 << 20


class Hasher:
    """Digests a stream piece by piece; its threads end with it."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._md5 = hashlib.new("md5", usedforsecurity=False)
        self._secure = hashlib.new(algorithm, usedforsecurity=False)
        self._threads = concurrent.futures.ThreadPoolExecutor(2, "digest")
        self._running: tuple[concurrent.futures.Future[None], ...] = ()

    def update(self, piece: bytes) -> None:
        """Take in one more piece; returns when the piece before it has been digested."""
        concurrent.futures.wait(self._running)
        submit = self._threads.submit
        self._running = submit(self._md5.update, piece), submit(self._secure.update, piece)

    def finish(self) -> dict[str, str]:
        """The record's columns for all that was taken in (contract section 4.8)."""
        self._threads.shutdown(wait=True)
        return {
            "checksum": self._md5.hexdigest(),
            "os_hash_algo": self._algorithm,
            "os_hash_value": self._secure.hexdigest(),
        }
