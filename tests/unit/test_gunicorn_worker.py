"""A connection keeps its thread for the request that follows at once, while there are threads for all."""

import socket
import types

import pytest
from gunicorn.http import unreader  # type: ignore[import-untyped]

from api import gunicorn_worker

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("connections", "threads", "comes", "keeps"),
    [
        (1, 1, HEAD, True),
        (2, 2, HEAD, True),
        (2, 1, HEAD, False),  # the other one waits for a thread
        (1, 1, HEAD[:-2], False),  # the main loop waits for the rest
        (1, 1, b"", False),
    ],
)
def test_who_keeps_a_thread(connections: int, threads: int, comes: bytes, *, keeps: bool) -> None:
    worker = object.__new__(gunicorn_worker.Worker)
    worker.cfg = types.SimpleNamespace(threads=threads, is_ssl=False)
    worker.alive = True
    worker._handed_over = set(range(connections))
    client, served = socket.socketpair()
    with client, served:
        client.sendall(comes)
        parser = types.SimpleNamespace(unreader=unreader.SocketUnreader(served))
        assert worker._follows(types.SimpleNamespace(sock=served, parser=parser)) is keeps
        left = parser.unreader.take_buffered() or (comes and served.recv(len(comes)))
        assert left == comes  # nothing is lost, whoever reads it
