"""Files that are written past the page cache, and by way of it, whatever the pieces."""

import os
import pathlib

import pytest

from images import new_file, pipeline

WHOLE = os.urandom(pipeline.PIECE)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("directory", ["disk", "/dev/shm"])
@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"a"],
        [WHOLE],
        [WHOLE, WHOLE, b"end"],
        [WHOLE, b"short", WHOLE],
        [b"x" * 4096, WHOLE[:5000]],
    ],
    ids=["nothing", "a byte", "a piece", "an end", "a short one between", "blocks"],
)
def test_all_is_there(
    tmp_path: pathlib.Path, pieces: list[bytes], directory: str, *, cached: bool
) -> None:
    path = (tmp_path if directory == "disk" else pathlib.Path(directory)) / f"gantry-{os.getpid()}"
    with pipeline.Pipeline([]) as line:
        room = line.room()
        try:
            with new_file.NewFile(path, cached=cached) as file:
                for piece in pieces:
                    room[: len(piece)] = piece
                    assert file.write(room[: len(piece)]) == len(piece)
            assert path.read_bytes() == b"".join(pieces)
        finally:
            path.unlink()


def test_memory_that_begins_anywhere(tmp_path: pathlib.Path) -> None:
    """As pieces that come out of a library do."""
    with new_file.NewFile(tmp_path / "file", cached=False) as file:
        file.write(memoryview(WHOLE)[1:4097])
    assert (tmp_path / "file").read_bytes() == WHOLE[1:4097]


def test_what_is_there_is_not_written_over(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for cached in (False, True):
        with pytest.raises(FileExistsError):
            new_file.NewFile(tmp_path / "file", cached=cached)
    assert (tmp_path / "file").read_bytes() == b"x"
