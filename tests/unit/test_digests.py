"""Both digests of a stream, whatever the pieces."""

import hashlib
import os

import pytest

from images import digests


@pytest.mark.parametrize("pieces", [[], [b""], [b"a"], [b"abc", b"def"], [os.urandom(5 << 20)] * 3])
@pytest.mark.parametrize("algorithm", ["sha512", "sha256", "md5"])
def test_they_are_hashlib_s(pieces: list[bytes], algorithm: str) -> None:
    """In two threads as in one."""
    with digests.Hasher(algorithm) as hasher:
        for piece in pieces:
            hasher.update(piece)
        made = hasher.finish()
    data = b"".join(pieces)
    assert made == digests.Digest(
        hashlib.md5(data).hexdigest(),  # noqa: S324 - Glance's checksum
        algorithm,
        hashlib.new(algorithm, data).hexdigest(),
    )
