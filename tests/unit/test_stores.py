"""Putting staged files into file stores."""

import pathlib

from images import staging, stores
from tests.conftest import Configure

IMAGE = "5b9b5b43-44d2-4b0a-8b83-5d1a2f2b6f0e"


def test_only_the_first_store_shares_the_staged_file(
    configure: Configure, tmp_path: pathlib.Path
) -> None:
    configure(f"""
[DEFAULT]
enabled_backends = fast:file,cheap:file
[fast]
filesystem_store_datadir = {tmp_path}/fast
[cheap]
filesystem_store_datadir = {tmp_path}/cheap
[glance_store]
default_backend = fast
[os_glance_staging_store]
filesystem_store_datadir = {tmp_path}/staging
""")
    staged = staging.path(IMAGE)
    staged.write_bytes(b"bytes")
    for name in ("fast", "cheap", "fast"):  # the third one is a second try
        stores.add(name, IMAGE, staged)
    fast, cheap = (tmp_path / name / IMAGE for name in ("fast", "cheap"))
    assert fast.read_bytes() == cheap.read_bytes() == b"bytes"
    assert fast.stat().st_ino != cheap.stat().st_ino
    cheap.write_bytes(b"broken")
    assert fast.read_bytes() == b"bytes"
