"""A new file whose bytes go to the disk at once, not by way of the page cache.

A staged file that is stored as it is is not read again, but must be on the disk before its image is active.
By way of the cache it would cost another copy in memory, push out what others read, and wait at the end.
"""

import errno
import fcntl
import io
import os
import pathlib

from images import pipeline

#: What a file system may want the lengths of direct writes to be a multiple of.
_BLOCK = 4096


class File(io.FileIO):
    """Takes pieces of which each but the last has whole blocks; any others are written as to any file.

    So is everything where the file system cannot do otherwise.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Make the file; there must be none."""
        super().__init__(path, "xb", opener=_open)

    def write(self, piece: pipeline.Piece, /) -> int:  # type: ignore[override]
        """All of it, not only a part as `FileIO` does."""
        if len(piece) % _BLOCK:
            self._be_usual()
        left = memoryview(piece)
        while left:
            try:
                count = super().write(left)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._be_usual():
                    raise
                continue
            left = left[count:]
            if left and count % _BLOCK:
                self._be_usual()
        return len(piece)

    def _be_usual(self) -> bool:
        """Use the page cache from now on; False where it was used already."""
        flags = fcntl.fcntl(self.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(self.fileno(), fcntl.F_SETFL, flags & ~os.O_DIRECT)
        return bool(flags & os.O_DIRECT)


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_DIRECT, 0o666)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pathlib.Path(path).unlink(missing_ok=True)  # Linux has made it before it refuses
        return os.open(path, flags, 0o666)
