"""Digests of an image in one pass: MD5 for `checksum`, another for `os_hash_value`, and what is asked for."""

import hashlib
from collections.abc import Callable, Mapping

from images import pipeline


class Digests:
    """Digests of one stream, which `pipeline.Pipeline` brings to `takers`; each algorithm is made once."""

    def __init__(self, *algorithms: str) -> None:
        self._made = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}

    @property
    def takers(self) -> tuple[Callable[[pipeline.Piece], object], ...]:
        """What each piece is to be given to."""
        return tuple(one.update for one in self._made.values())

    def values(self) -> dict[str, str]:
        """The digests of all that was taken, in hex, by hashlib's names."""
        return {name: one.hexdigest() for name, one in self._made.items()}


def of_record(algorithm: str) -> tuple[str, str]:
    """The algorithms that a record needs whose os_hash_algo is `algorithm`."""
    return "md5", algorithm


def columns(values: Mapping[str, str], algorithm: str) -> dict[str, str]:
    """The record's columns (contract section 4.8)."""
    return {
        "checksum": values["md5"],
        "os_hash_algo": algorithm,
        "os_hash_value": values[algorithm],
    }
