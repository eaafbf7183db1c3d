"""A relay between a client and a server that can be told to hold what is sent after so many bytes.

With it a test kills one of the two in the very middle of a transfer, on a machine of any speed.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

_LOCAL = "127.0.0.1"
_PIECE = 64 << 10


class Relay:
    """Takes connections on a port of its own and passes each on to `port`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((_LOCAL, 0))
        #: Where clients connect to.
        self.host = f"{_LOCAL}:{self._listener.getsockname()[1]}"
        #: Set once the relay holds what clients send.
        self.holding = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._left: int | None = None
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def hold_after(self, size: int) -> None:
        """Let clients send so many bytes more, and then nothing until `release`."""
        with self._lock:
            self._left = size

    def release(self) -> None:
        """Pass on what was held, and what comes."""
        with self._lock:
            self._left = None
        self._open.set()
        self.holding.clear()

    def close(self) -> None:
        """Take no more connections, and end those there are."""
        self.release()
        _shut(self._listener, *self._sockets)
        for thread in self._threads:
            thread.join()

    def _begin(self, work: Callable[..., None], *args: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with self._listener, contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._begin(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(ConnectionError):  # nobody is there
            server = socket.create_connection((_LOCAL, self._target))
            back = self._begin(self._pass_on, server, client)
            self._pass_on(client, server, counted=True)
            back.join()
            server.close()

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, *, counted: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                if counted:
                    self._wait(len(piece))
                sink.sendall(piece)
        _shut(source, sink)

    def _wait(self, size: int) -> None:
        with self._lock:
            if self._left is not None:
                self._left -= size
                if self._left < 0:
                    self._open.clear()
                    self.holding.set()
        self._open.wait()


def _shut(*sockets: socket.socket) -> None:
    """Whoever reads from or writes to them stops."""
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def running(port: int) -> Iterator[Relay]:
    """A relay to a port of this machine."""
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.close()
