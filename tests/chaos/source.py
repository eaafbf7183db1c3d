"""A web server for downloads: a process of its own, each connection at its own pace, ranges where wanted.

`/<file>?rate=<bytes a second>&range=no`. Without a rate a connection is as fast as the machine; with
`range=no` the server has never heard of ranges. Each answer is a line of the log: path, status, first byte.
"""

import contextlib
import http.server
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent.parent
#: Seconds for which a connection may save up what it did not send.
_BURST = 0.25
#: Pieces a second in which a paced connection sends.
_PIECES = 20
_WHOLE = 4 << 20


class _Handler(http.server.BaseHTTPRequestHandler):
    """Gives out the files of the working directory."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A file, or what is left of it from the first byte that was asked for."""
        asked = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(asked.query))
        file = pathlib.Path(asked.path.lstrip("/")).name
        if not pathlib.Path(file).is_file():
            self.send_error(404)
            return
        with pathlib.Path(file).open("rb") as source, contextlib.suppress(OSError):
            status = os.fstat(source.fileno())
            tag = f'"{status.st_ino:x}-{status.st_mtime_ns:x}"'
            begin = 0 if query.get("range") == "no" else self._begin(tag, status.st_size)
            self._head(begin, status.st_size, tag, ranges=query.get("range") != "no")
            self._send(source.fileno(), begin, status.st_size, int(query.get("rate", 0)))

    def _begin(self, tag: str, size: int) -> int:
        """The first byte; 0 too where the file is not the one that the client knows."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not found or self.headers.get("If-Range", tag) != tag:
            return 0
        begin = int(found[1])
        return begin if begin < size else 0

    def _head(self, begin: int, size: int, tag: str, *, ranges: bool) -> None:
        status = 206 if begin else 200
        print(f"{self.path} {status} {begin}", flush=True)
        self.send_response(status)
        self.send_header("Content-Length", str(size - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
        if ranges:
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.flush()

    def _send(self, file: int, at: int, end: int, rate: int) -> None:
        """From the file to the connection by the kernel, no faster than `rate`."""
        piece = max(1, rate // _PIECES) if rate else _WHOLE
        saved, last = float(piece), time.monotonic()
        while at < end:
            if rate:
                now = time.monotonic()
                saved, last = min(rate * _BURST, saved + (now - last) * rate), now
                if saved < piece:
                    time.sleep((piece - saved) / rate)
                    continue
            sent = os.sendfile(self.connection.fileno(), file, at, min(piece, end - at))
            at, saved = at + sent, saved - sent

    def log_message(self, *_: object) -> None:
        """Say nothing but the line of `_head`."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextlib.contextmanager
def serving(directory: pathlib.Path, log: pathlib.Path) -> Iterator[str]:
    """The base URL of a server of these files; it is gone when the block ends."""
    command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", __name__]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, str(directory)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=out,
            env=os.environ | {"GANTRY_SOURCE_LOG": str(log)},
        )
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def main() -> None:
    """Serve the directory that the command line names, on a free port; the first line says the URL."""
    os.chdir(sys.argv[1])
    server = _Server(("127.0.0.1", 0), _Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    log = os.open(os.environ["GANTRY_SOURCE_LOG"], os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    server.serve_forever()


if __name__ == "__main__":
    main()
