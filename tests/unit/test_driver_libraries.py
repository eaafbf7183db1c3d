"""What a process loads follows from its configuration."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests import service

_PROGRAM = (
    "import sys; from images import service; service.start(sys.argv[1:]); print(*sys.modules)"
)
_S3 = """
[DEFAULT]
enabled_backends = local:file,far:s3
[local]
filesystem_store_datadir = {0}/local
[far]
s3_store_bucket = images
[glance_store]
default_backend = local
"""


_RBD = _S3.replace("far:s3", "far:rbd").replace("s3_store_bucket", "rbd_store_pool")


def start(state: pathlib.Path, options: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Configure a process, with a directory before all others that modules come from."""
    whole = service.Service(state, options=options.format(state))
    files = whole.environment["OS_GLANCE_CONFIG_FILES"].split(";")
    known = os.environ.get("PYTHONPATH", "")
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *files],
        cwd=service.ROOT,
        env=whole.environment | {"PYTHONPATH": f"{path}{os.pathsep}{known}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("options", "loaded"), [("", set()), (_S3, {"boto3"})])
def test_libraries_of_stores(tmp_path: pathlib.Path, options: str, loaded: set[str]) -> None:
    """A library is loaded where a store of its type is configured, and nowhere else."""
    ended = start(tmp_path, options)
    assert ended.returncode == 0, ended.stderr
    assert {"boto3", "swiftclient", "rados", "rbd"} & set(ended.stdout.split()) == loaded


def test_a_library_that_is_missing(tmp_path: pathlib.Path) -> None:
    """The service does not start, and says in one line what it lacks, and for which store."""
    hollow = tmp_path / "hollow"
    hollow.mkdir()
    (hollow / "rados.py").write_text("raise ImportError('No module named rados')\n")
    ended = start(tmp_path, _RBD, str(hollow))
    assert ended.returncode != 0
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "type rbd of store far" in ended.stderr
    assert "rados" in ended.stderr
