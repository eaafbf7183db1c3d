"""What uWSGI lacks for request bodies: raw reads of the connection, and an answer to `Expect`.

`uwsgi.chunked_read()` cannot be used (see `api.chunks`), and the beginning of the body has been read together
with the headers. uWSGI's shared object exports the function by which it reads a body itself; that one gives
those bytes first and then the connection's.
"""

import ctypes
import errno
import functools
import importlib.util
import os
import select
from collections.abc import Callable

import uwsgi  # exists only inside the server

_BUFFER = 1 << 20
#: Modes that switch between requests inside a thread: there the current one is found otherwise.
_OTHER_LOOPS = ("async", "gevent", "ugreen", "asyncio")


@functools.cache
def _functions() -> tuple[Callable[[], int], Callable[..., int]] | None:
    """The server's functions (current request, read body); None where this build does not export them."""
    spec = importlib.util.find_spec("pyuwsgi")
    if not spec or not spec.origin or any(name in uwsgi.opt for name in _OTHER_LOOPS):
        return None
    library = ctypes.CDLL(spec.origin, use_errno=True)  # it is in the process already
    threaded = int(uwsgi.opt.get("threads", b"1")) > 1
    try:
        current = library["threaded_current_wsgi_req" if threaded else "simple_current_wsgi_req"]
        read = library["uwsgi_proto_base_read_body"]
    except AttributeError:
        return None
    current.restype = ctypes.c_void_p
    read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    read.restype = ctypes.c_ssize_t
    return current, read


class Connection:
    """The connection of the request that this thread serves; use it in that thread only."""

    def __init__(self) -> None:
        self._fd: int = uwsgi.connection_fd()
        self._buffer: ctypes.Array[ctypes.c_char] | None = None

    def fileno(self) -> int:
        """The file descriptor; it is non-blocking and uWSGI's to close."""
        return self._fd

    def can_read(self) -> bool:
        """Whether `receive` works in this process."""
        return _functions() is not None

    def receive(self, size: int) -> bytes:
        """At most `size` bytes as they come from the client; b"" when it has closed the connection.

        Raises:
            OSError: the connection broke, or nothing came for uWSGI's `socket-timeout`.
        """
        functions = _functions()
        assert functions is not None  # noqa: S101 - `can_read` was asked
        current, read = functions
        if self._buffer is None:
            self._buffer = ctypes.create_string_buffer(_BUFFER)
        while (count := read(current(), self._buffer, min(size, _BUFFER))) < 0:
            number = ctypes.get_errno()
            if number not in (errno.EAGAIN, errno.EINTR):
                raise OSError(number, os.strerror(number))
            self._wait()
        return bytes(memoryview(self._buffer)[:count])

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        seconds = int(uwsgi.opt.get("socket-timeout", b"4"))
        if not poll.poll(seconds * 1000):
            raise TimeoutError(f"nothing came for {seconds} seconds")

    def send_continue(self) -> None:
        """Tell a client that waits with its body (`Expect: 100-continue`) to send it."""
        os.write(self._fd, b"HTTP/1.1 100 Continue\r\n\r\n")
