"""Data as others pack them."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def zipped(*members: bytes, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """A zip with these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.comment = comment
        for number, data in enumerate(members):
            archive.writestr(f"../../etc/member-{number}", data)
    return file.getvalue()


#: By the kind's name.
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "zip": zipped,
}
#: Kinds of which several streams, one behind the other, are one.
STREAMS = ("gzip", "bzip2", "xz", "zstd")
