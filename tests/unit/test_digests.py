"""Both digests of a stream, whatever the pieces."""

import hashlib
import os

import pytest

from images import digests, pipeline


@pytest.mark.parametrize("pieces", [[], [b""], [b"a"], [b"abc", b"def"], [os.urandom(5 << 20)] * 3])
@pytest.mark.parametrize("algorithm", ["sha512", "sha256", "md5"])
def test_they_are_hashlib_s(pieces: list[bytes], algorithm: str) -> None:
    """In two threads as in one."""
    made = digests.Digests(*digests.of_record(algorithm))
    with pipeline.Pipeline(made.takers) as line:
        for piece in pieces:
            line.send(piece)
        line.finish()
    data = b"".join(pieces)
    assert digests.columns(made.values(), algorithm) == {
        "checksum": hashlib.md5(data).hexdigest(),  # noqa: S324 - Glance's checksum
        "os_hash_algo": algorithm,
        "os_hash_value": hashlib.new(algorithm, data).hexdigest(),
    }
