"""Requests as a hostile client sends them: bytes on a socket."""

import socket
import struct

from tests import service

#: Seconds that a server may take to answer; more than it waits for a client that has stalled.
PATIENCE = 90


def connect(api: service.Service) -> socket.socket:
    """A connection to the API."""
    return socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE)


def put(path: str, *fields: str) -> bytes:
    """The head of a PUT with these header fields."""
    lines = [f"PUT {path} HTTP/1.1", "Host: x", "Content-Type: application/octet-stream", *fields]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def status(connection: socket.socket) -> int | None:
    """The status of what is answered before the connection ends; None where nothing is."""
    answer = b""
    try:
        while piece := connection.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    return int(answer.split()[1]) if answer else None


def reset(connection: socket.socket) -> None:
    """End a connection the hard way, as a client does that was killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
