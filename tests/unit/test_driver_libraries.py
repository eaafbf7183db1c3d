"""What a process loads follows from its configuration."""

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


@pytest.mark.parametrize(("options", "loaded"), [("", set()), (_S3, {"boto3"})])
def test_libraries_of_stores(tmp_path: pathlib.Path, options: str, loaded: set[str]) -> None:
    """A library is loaded where a store of its type is configured, and nowhere else."""
    whole = service.Service(tmp_path, options=options.format(tmp_path))
    files = whole.environment["OS_GLANCE_CONFIG_FILES"].split(";")
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *files],
        cwd=service.ROOT,
        env=whole.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"boto3", "swiftclient", "rados", "rbd"} & set(ended.stdout.split()) == loaded
