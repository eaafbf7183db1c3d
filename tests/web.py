"""A web server on loopback that gives out what a test wants to see downloaded, well or badly."""

import contextlib
import dataclasses
import http.server
import itertools
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator

#: Options under which a server here may be asked, on loopback, and its absence is told at once.
LOOPBACK = """
[web_download]
private_answer_timeout = 0
[import_filtering_opts]
allowed_ports = []
allowed_networks = [127.0.0.0/8]
"""
#: What answers one path: it is given the handler, and writes the answer.
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def whole(data: bytes, *, seconds: float = 0) -> Answer:
    """The data, spread over about so many seconds."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        parts = 20 if seconds else 1
        size = -(-len(data) // parts) or 1
        for at in range(0, len(data), size):
            handler.wfile.write(data[at : at + size])
            time.sleep(seconds / parts)

    return answer


def cut(data: bytes, promised: int) -> Answer:
    """The data and then the end, although more was promised."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(promised))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def redirect(target: str) -> Answer:
    """A redirect."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@dataclasses.dataclass
class Ranged:
    """A file whose server can give the rest of it; what it was asked and what it sent is written down."""

    data: bytes
    #: What tells this file from another; None: not said.
    etag: str | None = '"one"'
    modified: str | None = None
    #: Whether Range is understood, and whether If-Range is.
    ranges: bool = True
    conditions: bool = True
    #: Bytes after which each of the first answers ends, although more was promised.
    cuts: list[int] = dataclasses.field(default_factory=list)
    #: Most bytes a second; None: as fast as they go.
    rate: float | None = None
    #: What else than the whole says the rest of it; None: left out.
    part_fields: dict[str, str | None] = dataclasses.field(default_factory=dict)
    #: Whether the length is said.
    length: bool = True
    #: Added to each answer.
    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    #: The headers of each request, and the bytes that each answer sent.
    asked: list[dict[str, str]] = dataclasses.field(default_factory=list)
    sent: list[int] = dataclasses.field(default_factory=list)

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.asked.append(dict(handler.headers))
        self.sent.append(0)
        begins = self._begins(handler)
        handler.send_response(206 if begins else 200)
        size = len(self.data)
        said = {"ETag": self.etag, "Last-Modified": self.modified}
        if begins:
            said["Content-Range"] = f"bytes {begins}-{size - 1}/{size}"
        if self.length:
            said["Content-Length"] = str(size - begins)
        for name, value in (said | self.fields | (self.part_fields if begins else {})).items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        self._send(handler, begins, len(self.sent) - 1)

    def _begins(self, handler: http.server.BaseHTTPRequestHandler) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        condition = handler.headers.get("If-Range")
        fits = condition in (None, self.etag, self.modified) or not self.conditions
        return int(asked[1]) if asked and self.ranges and fits else 0

    def _send(self, handler: http.server.BaseHTTPRequestHandler, at: int, number: int) -> None:
        end = at + self.cuts[number] if number < len(self.cuts) else len(self.data)
        step = int(self.rate / 20) if self.rate else 1 << 20
        for begin in range(at, min(end, len(self.data)), step):
            piece = self.data[begin : min(begin + step, end)]
            handler.wfile.write(piece)
            self.sent[number] += len(piece)
            if self.rate:
                time.sleep(1 / 20)


def in_turn(*answers: Answer) -> Answer:
    """Each answer once, the last one for ever: a file that changes, a server that comes to its senses."""
    left = itertools.chain(answers, itertools.repeat(answers[-1]))

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        next(left)(handler)

    return answer


def status(code: int, **fields: str) -> Answer:
    """A status without a body; headers by their names, `_` for `-`."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in fields.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def silent(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Takes the request, and never says a word."""
    handler.connection.recv(1)  # until the client has had enough


def dripping(head: bytes, drop: bytes, pause: float) -> Answer:
    """What `head` says, and then one `drop` after the other, for ever."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        while True:
            handler.wfile.write(drop)
            time.sleep(pause)

    return answer


@contextlib.contextmanager
def running(server: http.server.ThreadingHTTPServer) -> Iterator[None]:
    """A server of a test's own at work, in a thread."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def serving(
    answers: dict[str, Answer],
    certificate: str | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[str]:
    """The base URL of a server with these paths; any other is 404.

    `certificate` is a file with a certificate and its key: then it speaks TLS.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if answer := answers.get(self.path):
                with contextlib.suppress(OSError):  # the client may have had enough
                    answer(self)
            else:
                self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer((address, port), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    with running(server):
        yield f"http{'s' if certificate else ''}://{address}:{server.server_port}"
