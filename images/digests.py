"""Both digests of an image in one pass: MD5 for `checksum`, another for `os_hash_value`."""

import hashlib
from collections.abc import Callable

from images import pipeline


class Digests:
    """Digests of one stream, which `pipeline.Pipeline` brings to `takers`."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._md5 = hashlib.new("md5", usedforsecurity=False)
        self._secure = hashlib.new(algorithm, usedforsecurity=False)

    @property
    def takers(self) -> tuple[Callable[[pipeline.Piece], object], ...]:
        """What each piece is to be given to."""
        return self._md5.update, self._secure.update

    def columns(self) -> dict[str, str]:
        """The record's columns for all that was taken (contract section 4.8)."""
        return {
            "checksum": self._md5.hexdigest(),
            "os_hash_algo": self._algorithm,
            "os_hash_value": self._secure.hexdigest(),
        }
