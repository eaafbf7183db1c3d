"""Putting staged files into file stores."""

import pathlib

import pytest

from images import errors, staging, stores
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


def single(configure: Configure, tmp_path: pathlib.Path, options: str) -> pathlib.Path:
    """Have one file store with these options; its directory."""
    configure(f"""
[DEFAULT]
enabled_backends = fast:file
[fast]
filesystem_store_datadir = {tmp_path}/fast
{options}
[glance_store]
default_backend = fast
[os_glance_staging_store]
filesystem_store_datadir = {tmp_path}/staging
""")
    return tmp_path / "fast"


@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize("end", [b"", b"end", bytes(100)], ids=["block", "bytes", "zeros"])
def test_thin_provisioning_leaves_out_zeros(
    configure: Configure, tmp_path: pathlib.Path, end: bytes, *, link: bool
) -> None:
    """What is left out is read as zeros, at the end too."""
    block = 64 << 10
    directory = single(
        configure,
        tmp_path,
        f"filesystem_thin_provisioning = true\nfilesystem_store_chunk_size = {block}",
    )
    data = bytes(block * 50) + b"x" * block + bytes(block * 50) + end
    staged = staging.path(IMAGE)
    staged.write_bytes(data)
    url, metadata = stores.add("fast", IMAGE, staged, link=link)
    stored = directory / IMAGE
    assert stored.read_bytes() == data
    assert stored.stat().st_blocks * 512 < block * 10
    assert stores.size_of(url, metadata) == len(data)


@pytest.mark.parametrize(
    "options",
    [
        "filesystem_store_metadata_file = {0}/absent.json",
        "filesystem_store_file_perm = 040",
    ],
)
def test_a_store_whose_options_are_wrong_takes_nothing(
    configure: Configure, tmp_path: pathlib.Path, options: str
) -> None:
    """glance_store only logs it; who uploads is told where to look, and nobody tries again."""
    directory = single(configure, tmp_path, options.format(tmp_path))
    staged = staging.path(IMAGE)
    staged.write_bytes(b"bytes")
    with pytest.raises(
        errors.Misconfigured, match="store fast lacks an option, or has a wrong one"
    ):
        stores.add("fast", IMAGE, staged)
    assert not directory.exists() or not list(directory.iterdir())
