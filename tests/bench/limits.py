"""What the machine itself can do in the same minute: the bounds of what any service could do on it."""

import hashlib
import os
import pathlib
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent import futures

_MIB = 1 << 20
#: What Glance reads at a time.
_PIECE = 64 * 1024
#: Names and what they mean, for the table; `sender…` are told by `loopback…`.
NAMES = {
    "write": "write in 1 MiB blocks, fsync",
    "md5": "md5 alone",
    "sha512": "sha512 alone",
    "both": "md5 and sha512 in one thread, 64 KiB blocks",
    "beside": "md5 and sha512 side by side",
    "convert": "qemu-img convert raw to qcow2",
    "loopback": "sendfile to recv over loopback",
    "loopback-4": "4 of these at once",
    "sender": "processor time of such a sender",
    "sender-4": "of each of the 4",
}


def measure(name: str, file: pathlib.Path) -> dict[str, float]:
    """Seconds that one of `NAMES` takes for the bytes of a file in the page cache, and what else it tells."""
    scratch = file.with_name("scratch")
    try:
        began = time.monotonic()
        told = _LIMITS[name](file, scratch)
        return {name: time.monotonic() - began} | (told or {})
    finally:
        scratch.unlink(missing_ok=True)


def _write(file: pathlib.Path, scratch: pathlib.Path) -> None:
    piece = file.open("rb").read(_MIB)
    with scratch.open("wb", buffering=0) as sink:
        for _ in range(file.stat().st_size // _MIB):
            sink.write(piece)
        os.fsync(sink.fileno())


def _digest(name: str) -> Callable[[pathlib.Path, pathlib.Path], None]:
    def alone(file: pathlib.Path, _: pathlib.Path) -> None:
        with file.open("rb") as source:
            hashlib.file_digest(source, name)

    return alone


def _both(file: pathlib.Path, _: pathlib.Path) -> None:
    digests = hashlib.md5(usedforsecurity=False), hashlib.sha512()
    with file.open("rb", buffering=0) as source:
        while piece := source.read(_PIECE):
            for digest in digests:
                digest.update(piece)


def _beside(file: pathlib.Path, scratch: pathlib.Path) -> None:
    with futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: _digest(name)(file, scratch), ("md5", "sha512")))


def _convert(file: pathlib.Path, scratch: pathlib.Path) -> None:
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(file), str(scratch)]
    subprocess.run(command, check=True)


def _loopback(file: pathlib.Path, _: pathlib.Path) -> dict[str, float]:
    return {"sender": _send(file)}


def _loopback_4(file: pathlib.Path, _: pathlib.Path) -> dict[str, float]:
    with futures.ProcessPoolExecutor(4) as pool:
        return {"sender-4": statistics.mean(pool.map(_send, [file] * 4))}


def _send(file: pathlib.Path) -> float:
    """Processor time of this thread, which sends and does nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        receiver = threading.Thread(target=_receive, args=(server,))
        receiver.start()
        with socket.create_connection(server.getsockname()) as sender, file.open("rb") as source:
            began = time.thread_time()
            sender.sendfile(source)
            used = time.thread_time() - began
        receiver.join()
    return used


def _receive(server: socket.socket) -> None:
    connection, _ = server.accept()
    room = bytearray(_MIB)
    with connection:
        while connection.recv_into(room):
            pass


_LIMITS: dict[str, Callable[[pathlib.Path, pathlib.Path], dict[str, float] | None]] = {
    "write": _write,
    "md5": _digest("md5"),
    "sha512": _digest("sha512"),
    "both": _both,
    "beside": _beside,
    "convert": _convert,
    "loopback": _loopback,
    "loopback-4": _loopback_4,
}
