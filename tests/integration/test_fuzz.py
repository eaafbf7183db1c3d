"""atheris on the gate for files and on the API's parsers, with the same inputs every time."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

from tests import service

pytestmark = pytest.mark.slow

RUNS = 3000
#: Seconds that a machine may take for them, which take it half a minute.
PATIENCE = 900


@pytest.mark.skipif(
    not importlib.util.find_spec("atheris"), reason="atheris has no wheel for this machine"
)
@pytest.mark.parametrize("target", ["files", "requests"])
def test_nothing_breaks(target: str, tmp_path: pathlib.Path) -> None:
    words = [target, "--runs", str(RUNS), "--seconds", str(PATIENCE), "--seed", "1"]
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fuzz", *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(service.ROOT), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True,
        check=False,
        timeout=PATIENCE + 60,
    )
    said = ended.stderr.decode(errors="replace")[-4000:]
    assert ended.returncode == 0, said
    assert f"Done {RUNS} runs" in said, said
