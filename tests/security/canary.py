"""What must not be reached: it sings when somebody comes."""

import contextlib
import dataclasses
import socket
import threading
from collections.abc import Iterator

#: What a canary gives whoever asks it, so that an attack that gets through goes well.
TREASURE = b"root:x:0:0"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
    len(TREASURE),
    TREASURE,
)


@dataclasses.dataclass
class Canary:
    """A port of loopback, of IPv4 and of IPv6."""

    port: int
    #: The first bytes of each connection.
    heard: list[bytes] = dataclasses.field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                self.heard.append(connection.recv(4096))
                connection.sendall(_ANSWER)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass


@contextlib.contextmanager
def sitting() -> Iterator[Canary]:
    """A canary that listens until the block ends."""
    with contextlib.ExitStack() as stack:
        four = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        bird = Canary(four.getsockname()[1])
        listeners = [four]
        if socket.has_ipv6:
            with contextlib.suppress(OSError):  # a machine without IPv6, or the port is taken there
                six = socket.create_server(("::1", bird.port), family=socket.AF_INET6)
                listeners.append(stack.enter_context(six))
        threads = [threading.Thread(target=bird.serve, args=[one]) for one in listeners]
        for thread in threads:
            thread.start()
        try:
            yield bird
        finally:
            for one in listeners:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
