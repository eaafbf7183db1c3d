"""What gunicorn lacks for request bodies: reading them to where they are wanted.

Its own reader copies each byte four times on the way, which costs as much as a digest.
"""

import socket
import ssl
import struct
from typing import Any

from gunicorn.http import body  # type: ignore[import-untyped]

#: Seconds after which a slow client's bytes are handed on, though the room is not full.
_PATIENCE = 5
_TIMEVAL = struct.pack("@ll", _PATIENCE, 0)


class Connection:
    """The body of known length of the request that this thread serves."""

    def __init__(self, source: Any, sock: socket.socket, stall: float) -> None:
        """`source` is gunicorn's `wsgi.input`; `stall` the seconds that may go by without a byte."""
        self._source, self._sock, self._stall = source, sock, stall
        self._is_prepared = False

    def can_read(self) -> bool:
        """Whether the bytes can be had past gunicorn: without TLS, and where it has read none of them."""
        plain = (
            isinstance(self._source.reader, body.LengthReader) and not self._source.buf.getvalue()
        )
        return plain and not isinstance(self._sock, ssl.SSLSocket)

    def readinto(self, room: memoryview) -> int:
        """Fill the room, or as much of it as comes in time; 0 when the client has closed the connection.

        Raises:
            OSError: the connection broke, or nothing came for too long.
        """
        held = self._buffered(len(room))
        room[: len(held)] = held
        count = len(held)
        if count < len(room):
            count += self._receive(room[count:], is_first=not held)
        self._source.reader.length -= count
        return count

    def _buffered(self, most: int) -> bytes:
        """What gunicorn has read together with the head."""
        unreader = self._source.reader.unreader
        held: bytes = unreader.take_buffered()
        unreader.unread(held[most:])
        return held[:most]

    def _receive(self, room: memoryview, *, is_first: bool) -> int:
        """One call of the system, which waits for all; with a timeout of Python's it would not."""
        timeout = self._sock.gettimeout()
        self._sock.setblocking(True)
        if not self._is_prepared:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL)
            self._is_prepared = True
        try:
            for _ in range(int(self._stall // _PATIENCE)):
                try:
                    return self._sock.recv_into(room, 0, socket.MSG_WAITALL)
                except BlockingIOError:
                    if not is_first:
                        return 0
            raise TimeoutError(f"nothing came for {self._stall} seconds")
        finally:
            self._sock.settimeout(timeout)
