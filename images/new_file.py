"""A new file whose bytes are on their way to the disk as soon as they are written.

A staged file must be on the disk before its image is active: then little is left to wait for. One that is
linked into its store is not read again, and goes past the page cache, where it would cost another copy and
push out what others read. One that will be converted, or copied into a store, stays in the cache for that.
"""

import errno
import fcntl
import io
import os
import pathlib

from images import pipeline


class NewFile(io.FileIO):
    """Takes pieces of which each but the last has whole blocks; any others go by way of the page cache.

    So does everything where the file system cannot do otherwise.
    """

    def __init__(self, path: pathlib.Path, *, cached: bool) -> None:
        """Make the file; there must be none."""
        super().__init__(path, "xb", opener=_open if cached else _open_direct)
        self._sent = 0

    def write(self, piece: pipeline.Piece, /) -> int:  # type: ignore[override]
        """All of it, not only a part as `FileIO` does."""
        if len(piece) % pipeline.BLOCK:
            self._use_cache()
        left = memoryview(piece)
        while left:
            try:
                count = super().write(left)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._use_cache():
                    raise
                continue
            left = left[count:]
            if left and count % pipeline.BLOCK:
                self._use_cache()
        send_off(self.fileno(), self._sent, len(piece))
        self._sent += len(piece)
        return len(piece)

    def _use_cache(self) -> bool:
        """Use the page cache from now on; False where it was used already."""
        flags = fcntl.fcntl(self.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(self.fileno(), fcntl.F_SETFL, flags & ~os.O_DIRECT)
        return bool(flags & os.O_DIRECT)


def send_off(file: int, begin: int, size: int) -> None:
    """Have the system begin to write these bytes of a file to the disk; it does not wait for them.

    What is being written is not dropped from the cache, whatever the name of the advice.
    """
    os.posix_fadvise(file, begin, size, os.POSIX_FADV_DONTNEED)


def open_past_cache(path: pathlib.Path) -> io.FileIO:
    """A file to be read into the rooms of a `pipeline`, past the page cache where that can be done."""
    try:
        return io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_DIRECT))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return io.FileIO(path)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags, 0o666)


def _open_direct(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_DIRECT, 0o666)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pathlib.Path(path).unlink(missing_ok=True)  # Linux has made it before it refuses
        return _open(path, flags)
