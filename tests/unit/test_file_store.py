"""Copying into a file store that is on another file system than staging."""

import os
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from images import file_store

DATA = os.urandom(3 << 20)


@pytest.fixture
def elsewhere(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A directory of another file system."""
    memory = pathlib.Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield pathlib.Path(name)


def test_copy_to_another_file_system(tmp_path: pathlib.Path, elsewhere: pathlib.Path) -> None:
    """Linux 5.19 and later refuse copy_file_range there."""
    (tmp_path / "staged").write_bytes(DATA)
    told: list[int] = []
    writer = file_store.Writer(on_bytes=told.append)
    with file_store.Told(tmp_path / "staged", writer) as source:
        file_store._copy(source, elsewhere / "stored")
    assert (elsewhere / "stored").read_bytes() == DATA
    assert told[-1] == len(DATA)
