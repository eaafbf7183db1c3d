"""The metadata definitions that Glance ships: out of `.venv-glance`, else out of its package on PyPI."""

import pathlib
import re
import subprocess
import sys
import zipfile

from tests import service

_INSTALLED = service.ROOT / ".venv-glance/etc/glance/metadefs"


def directory(room: pathlib.Path) -> pathlib.Path:
    """Where they are; they may be fetched into `room`."""
    if _INSTALLED.is_dir():
        return _INSTALLED
    pins = (service.ROOT / "requirements-glance.txt").read_text()
    pin = re.search(r"^glance==\S+", pins, re.MULTILINE)
    assert pin, "requirements-glance.txt pins no glance"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", pin[0]]
    subprocess.run([*download, "--dest", str(room)], check=True)
    with zipfile.ZipFile(next(room.glob("glance-*.whl"))) as wheel:
        wheel.extractall(room)
    return next(room.glob("*.data/data/etc/glance/metadefs"))
