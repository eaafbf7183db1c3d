"""Request bodies, the same under uWSGI, gunicorn and Flask's test client (design section 5).

A body that is cut, stalled, short or malformed raises; none of them is ever taken for a whole one. One
that was not read to its end costs the connection: its rest must not be read as the next request.
"""

import contextlib
import json
import math
import os
import re
import select
import socket
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from werkzeug import exceptions

from api import chunks
from api import errors as answers
from images import errors, filters, reloading

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Bytes that a JSON document may have: 128 properties of 64 KiB each.
_JSON_LIMIT = 8 << 20
_JSON_DEPTH = 32
_PIECE = 1 << 20
#: Bytes that a server is asked for at once where they are copied anyway: more would only be memory.
_STEP = 256 << 10
#: Seconds without a byte, in either direction, after which gunicorn's client is given up: its threads would
#: wait for a silent one for ever (uWSGI has its `socket-timeout`).
_STALL = 60.0
#: Seconds that a client may go on sending what nobody wants before its connection is closed, and that it
#: may pause. Closing at once would make its kernel throw away our answer.
_LINGER, _LINGER_PAUSE = 30.0, 5.0


class Body:
    """The body of one request: a counting reader over `wsgi.input`."""

    def __init__(self, environ: "WSGIEnvironment") -> None:
        #: Content-Length in bytes, or None while the end is not known (chunked).
        self.length: int | None = None
        #: Bytes read so far.
        self.count = 0
        #: Why the body cannot be read at all, or None.
        self.problem: Exception | None = None
        self._source = environ["wsgi.input"]
        self._socket: socket.socket | None = environ.get("gunicorn.socket")
        if self._socket:
            self._socket.settimeout(_STALL)
        self._uwsgi = _uwsgi() if "uwsgi.version" in environ else None
        self._direct = _gunicorn(self._source, self._socket) if self._socket else None
        self._expected = "100-continue" in environ.get("HTTP_EXPECT", "").lower()
        length = environ.get("CONTENT_LENGTH") or "0"
        if "HTTP_TRANSFER_ENCODING" in environ:
            self.problem = self._unchunk(environ)
        elif re.fullmatch("[0-9]{1,19}", length, re.ASCII):
            self.length = int(length)
        else:
            self.problem = errors.Invalid("Content-Length is not a number of bytes")
        #: Whether there is nothing more to read.
        self.finished = self.length == 0

    def _unchunk(self, environ: "WSGIEnvironment") -> Exception | None:
        """Read through the chunks (RFC 9112 sections 6.3 and 7.1), or say why that cannot be."""
        if environ.get("CONTENT_LENGTH"):
            return errors.Invalid("A body has Content-Length or Transfer-Encoding, not both")
        if environ["HTTP_TRANSFER_ENCODING"].strip().lower() != "chunked":
            return errors.Invalid("The only Transfer-Encoding that is understood is chunked")
        if self._uwsgi and self._uwsgi.can_read():
            self._source = chunks.ChunkReader(self._uwsgi.receive)
        elif not environ.get("wsgi.input_terminated"):
            return exceptions.LengthRequired(
                "This server cannot read chunked bodies: send its length"
            )
        return None

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes (all by default); b"" at the end, and only there.

        Raises:
            SizeMismatch: the body is shorter than its Content-Length.
            Invalid: it is malformed, or the client was cut off or sent nothing for too long.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        return bytes(self._take(size))

    def readinto(self, room: memoryview, /) -> int:
        """`read` for who has a place for the bytes: how many there are now, 0 at the end, and only there."""
        if self._direct and self._direct.can_read():
            return len(self._take(len(room), room))
        filled = 0
        while filled < len(room) and (piece := self._take(min(_STEP, len(room) - filled))):
            room[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def _take(self, size: int, room: memoryview | None = None) -> bytes | memoryview:
        """The next bytes, from gunicorn's connection into a room or as the server gives them."""
        if self.length is not None:
            size = min(size, self.length - self.count)
        if self.finished or size == 0:
            return b""
        try:
            if self._uwsgi and self._expected:
                self._uwsgi.send_continue()
            self._expected = False
            if self._direct and room is not None:
                piece: bytes | memoryview = room[: self._direct.readinto(room[:size])]
            else:
                piece = bytes(self._source.read(size))
        except errors.GantryError:
            raise
        except Exception as error:  # OSError, and what a server raises for what it cannot parse
            kind = errors.Invalid if self.length is None else errors.SizeMismatch
            why = f"The body was cut, stalled or is malformed ({type(error).__name__})"
            raise kind(why) from error
        self.count += len(piece)
        self.finished = self.count == self.length if piece else self.length is None
        if not piece and not self.finished:
            raise errors.SizeMismatch(
                f"The body ended after {self.count} bytes; its Content-Length is {self.length}"
            )
        return piece

    def linger(self) -> None:
        """Close the sending side of the connection, then take what the client still sends."""
        holder = self._uwsgi or self._socket
        if holder is None:
            return
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(holder.fileno())) as client:
            client.shutdown(socket.SHUT_WR)
            poll, scratch = select.poll(), bytearray(256 << 10)
            poll.register(client, select.POLLIN)
            end = time.monotonic() + _LINGER
            while (left := end - time.monotonic()) > 0:
                if not poll.poll(min(left, _LINGER_PAUSE) * 1000):
                    break
                if not client.recv_into(scratch, 0, socket.MSG_DONTWAIT):
                    break


def _gunicorn(source: Any, sock: socket.socket) -> Any:
    from api import gunicorn_input  # only there is it needed

    return gunicorn_input.Connection(source, sock, _STALL)


def _uwsgi() -> Any:
    from api import uwsgi_input  # only there can it be imported

    return uwsgi_input.Connection()


def read_object(environ: "WSGIEnvironment") -> dict[str, Any]:
    """The body as a JSON object; raises what `read_json` raises."""
    document = read_json(environ)
    if not isinstance(document, dict):
        raise errors.Invalid("The body must be a JSON object")
    return document


def read_json(environ: "WSGIEnvironment", limit: int = _JSON_LIMIT) -> Any:
    """The body as JSON.

    Raises:
        Invalid: it is missing, no JSON, or holds text that the database cannot hold.
        LimitExceeded: it is longer than `limit` bytes, by default than any record can be.
    """
    body: Body = environ["wsgi.input"]
    raw = b""
    while piece := body.read(_PIECE):
        raw += piece
        if len(raw) > limit:
            raise errors.LimitExceeded(f"A JSON body may have at most {limit} bytes here")
    try:
        document = json.loads(raw.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise errors.Invalid("Malformed JSON in the body") from error
    check_text(document)
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _finite(text: str) -> float:
    """A number that can be written as JSON again, which 1e999 cannot."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def check_text(value: Any, depth: int = _JSON_DEPTH) -> None:
    """Refuse text that the database cannot hold, wherever in a JSON value it stands.

    Raises:
        Invalid: there is some, or the value is nested more deeply than `depth`.
    """
    if depth == 0:
        raise errors.Invalid("The JSON in the body is nested too deeply")
    if isinstance(value, str) and filters.UNSTORABLE.search(value):
        raise errors.Invalid("Some characters cannot be stored: 4-byte UTF-8 or NUL")
    if isinstance(value, dict):
        check_text(list(value), depth)
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            check_text(member, depth - 1)


def refuse(environ: "WSGIEnvironment") -> None:
    """Refuse a body where none may be (contract section 2.0)."""
    body: Body = environ["wsgi.input"]
    if not body.finished and body.read(1):
        raise errors.Invalid("This request takes no body")


class Middleware:
    """Gives every request its `Body`, and closes the connection of one that was not read to its end."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Serve one request (PEP 3333), by the configuration as it is now."""
        if reloading.told.value != reloading.followed:
            reloading.follow()
        body = Body(environ)
        environ["wsgi.input"], environ["wsgi.input_terminated"] = body, True
        app = answers.answer(body.problem, environ) if body.problem else self._app
        answer = app(environ, start_response)
        if body.finished:
            return answer
        _forget_keepalive(start_response)
        return _Lingering(answer, body)


def _forget_keepalive(start_response: Any) -> None:
    """Have `Connection: close` sent: gunicorn writes that header itself, uWSGI closes every connection."""
    force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if force_close:
        force_close()


class _Lingering:
    """An answer that is given while the client may still be sending."""

    def __init__(self, answer: Iterable[bytes], body: Body) -> None:
        self._answer = answer
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield b""  # uWSGI sends the headers with the first piece, even with an empty one
        yield from self._answer

    def close(self) -> None:
        """Called by the server when the answer has been sent."""
        if hasattr(self._answer, "close"):
            self._answer.close()
        if not self._body.finished:
            self._body.linger()
