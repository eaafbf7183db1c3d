"""An HTTP server on loopback that gives out one file, slowly enough to be watched."""

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 64 * 1024


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers every GET and HEAD with the file."""

    file: Path
    rate: int

    def do_GET(self) -> None:
        """The file, at `rate` bytes a second."""
        self._head()
        with self.file.open("rb") as source, contextlib.suppress(ConnectionError):
            while chunk := source.read(_CHUNK):
                self.wfile.write(chunk)
                time.sleep(len(chunk) / self.rate)

    def do_HEAD(self) -> None:
        """Its size."""
        self._head()

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(self.file.stat().st_size))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the library's
        """Say nothing: the demo shows the progress itself."""


@contextlib.contextmanager
def serving(file: Path, rate: int) -> Iterator[str]:
    """Serve `file` at `rate` bytes a second; gives its URL."""
    handler = type("Handler", (_Handler,), {"file": file, "rate": rate})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{file.name}"
    finally:
        server.shutdown()
        server.server_close()
