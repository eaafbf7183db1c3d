"""The first line of the rows: on what, and with which versions, everything was measured."""

import pathlib
import platform
import re
import shutil
import subprocess
import time
import tomllib
from importlib import metadata

import psutil

from tests import service
from tests.bench import peer
from tests.bench.rows import Row

_GIB = 1 << 30


def describe(place: pathlib.Path, *, has_peer: bool) -> Row:
    """This machine and what is installed on it."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "processors": psutil.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / _GIB, 1),
        "kernel": platform.release(),
        "file_system": _file_system(place),
        "versions": _versions() | ({"glance": peer.version()} if has_peer else {}),
    }


def text(about: Row) -> str:
    """The same in two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['processors']} processors ({about['processor']}), {about['memory_gib']} GiB, "
        f"Linux {about['kernel']}, {about['file_system']}\n{versions}"
    )


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _file_system(place: pathlib.Path) -> str:
    """The type of the file system whose mount point holds the place most closely."""
    holders = [
        disk
        for disk in psutil.disk_partitions(all=True)
        if place.resolve().is_relative_to(disk.mountpoint)
    ]
    return max(holders, key=lambda disk: len(disk.mountpoint)).fstype if holders else "unknown"


def _versions() -> dict[str, str]:
    project = tomllib.loads((service.ROOT / "pyproject.toml").read_text())["project"]
    found = {"gantry": str(project["version"]), "python": platform.python_version()}
    found |= {name: metadata.version(name) for name in ("gunicorn", "celery", "sqlalchemy")}
    programs = {
        "mariadb": ["mariadbd", "--version"],
        "qemu-img": ["qemu-img", "--version"],
        "wrk": ["wrk", "--version"],
    }
    return found | {name: _said(command) for name, command in programs.items()}


def _said(command: list[str]) -> str:
    """The first thing that looks like a version in what a program says."""
    program = shutil.which(command[0], path="/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin")
    if program is None:
        return "none"
    said = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return found[0] if found else "unknown"
