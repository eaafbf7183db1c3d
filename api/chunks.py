"""Chunked bodies, read strictly: what is malformed or cut is an error, never an end.

The decoder of uWSGI 2.0.30 takes a chunk size that it cannot read for the end of the body and does not
look at what stands behind a chunk, so that a broken upload would be stored as a whole one.
"""

import re
from collections.abc import Callable

from images import errors

#: RFC 9112 section 7.1: the size in hex, perhaps followed by extensions, which nobody uses.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_SIZE_LINE_LIMIT = 4096
_TRAILERS_LIMIT = 16384
#: What is asked of the connection at least, so that many small chunks cost few calls.
_RECEIVE = 64 << 10


class ChunkReader:
    """A chunked body as a file: the data of its chunks, one after the other.

    `receive(n)` gives 1 to n bytes of the connection, or b"" when the client has closed it; what it
    raises passes through. No more than one piece of it is held at a time, however long a chunk is.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._held = b""  # received; [_at:] has not been used yet
        self._at = 0
        self._left = 0  # bytes of the current chunk that have not been given out
        self._begun = False
        #: Whether the last chunk and the trailers behind it have been read.
        self.finished = False

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer at the end of the body; b"" is the end.

        Raises:
            Invalid: the body is malformed, or the connection ended before the body did.
        """
        pieces = []
        while size and not self.finished:
            if not self._left:
                self._next_chunk()
                continue
            if self._at == len(self._held):
                self._held, self._at = self._more(max(self._left, _RECEIVE)), 0
            end = min(self._at + min(size, self._left), len(self._held))
            pieces.append(memoryview(self._held)[self._at : end])
            size -= end - self._at
            self._left -= end - self._at
            self._at = end
        return b"".join(pieces)

    def _next_chunk(self) -> None:
        if self._begun:
            self._line(0)  # behind the data of a chunk stands a CRLF and nothing else
        self._begun = True
        line = _SIZE_LINE.fullmatch(self._line(_SIZE_LINE_LIMIT))
        if not line:
            raise errors.Invalid("Malformed chunked body: a chunk has no valid size")
        self._left = int(line[1], 16)
        if not self._left:
            self._skip_trailers()
            self.finished = True

    def _skip_trailers(self) -> None:
        room = _TRAILERS_LIMIT
        while line := self._line(room):
            room -= len(line)
            if not _TRAILER_LINE.fullmatch(line):
                raise errors.Invalid("Malformed chunked body: a trailer is not a header line")

    def _line(self, limit: int) -> bytes:
        """The next line without its CRLF; it may have `limit` bytes."""
        while (end := self._held.find(b"\r\n", self._at, self._at + limit + 2)) < 0:
            if len(self._held) - self._at >= limit + 2:
                raise errors.Invalid(
                    "Malformed chunked body: a chunk or a line is longer than it may be"
                )
            self._held, self._at = self._held[self._at :] + self._more(_RECEIVE), 0
        line = self._held[self._at : end]
        self._at = end + 2
        return line

    def _more(self, size: int) -> bytes:
        piece = self._receive(size)
        if not piece:
            raise errors.Invalid(
                "The chunked body was cut: the connection ended before its last chunk"
            )
        return piece
