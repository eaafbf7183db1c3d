"""A web server on loopback that gives out what a test wants to see downloaded, well or badly."""

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator

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


@contextlib.contextmanager
def serving(answers: dict[str, Answer]) -> Iterator[str]:
    """The base URL of a server with these paths; any other is 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if answer := answers.get(self.path):
                with contextlib.suppress(OSError):  # the client may have had enough
                    answer(self)
            else:
                self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
