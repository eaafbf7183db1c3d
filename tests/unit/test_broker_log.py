"""What a power cut leaves at the end of the private broker's log goes, and nothing else."""

import pathlib

import pytest

from deploy import broker

T = broker._TAIL


@pytest.mark.parametrize(
    ("written", "zeros"),
    [
        (b"", 0),
        (b"", 5),
        (b"", 2 * T),
        (b"abc", 0),
        (b"abc", 2),
        (b"a\0b", 0),
        (b"x" * T, T),
        (b"x" * (T + 5), 3 * T + 7),
        (b"y" * (3 * T), 0),
    ],
    ids=lambda value: str(value if isinstance(value, int) else len(value)),
)
def test_zeros_at_the_end_go(tmp_path: pathlib.Path, written: bytes, zeros: int) -> None:
    log = tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
    log.parent.mkdir()
    log.write_bytes(written + bytes(zeros))
    broker._trim_logs(tmp_path)
    assert log.read_bytes() == written
