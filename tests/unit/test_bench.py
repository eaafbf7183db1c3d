"""The parts of `make bench` that judge: medians, bars, tables, processor time of processes that ended."""

import json
import pathlib
import subprocess
import sys
import time

import psutil
import pytest

from tests.bench import bars, cost, table, works
from tests.bench.bars import Bar
from tests.bench.rows import Rows
from tests.bench.works_data import DIRECT


@pytest.fixture
def rows(tmp_path: pathlib.Path) -> Rows:
    """Three runs of both services, of which one of Gantry's was disturbed, and limits."""
    made = Rows(tmp_path / "sub" / "rows.jsonl")
    for run, (glance, gantry) in enumerate([(12.0, 2.0), (10.0, 9.0), (11.0, 2.2)], 1):
        for service, seconds in (("glance", glance), ("gantry", gantry)):
            cpu = {"api": seconds / 2, "worker": 0.5, "database": 100.0}
            made.add(
                {"work": "direct", "service": service, "run": run, "seconds": seconds, "cpu": cpu}
            )
        for name, seconds in (("md5", 1.5), ("sha512", 1.6 + run / 10), ("write", 9.0)):
            made.add({"work": "direct", "service": "limit", "what": name, "seconds": seconds})
    return made


def test_median_is_not_moved_by_one_bad_run(rows: Rows) -> None:
    found = bars.judge(Bar("seconds", bars.seconds, times=5), "direct", rows)
    assert (found.glance, found.gantry, found.ratio) == (11.0, 2.2, 5.0)
    assert found.is_met


def test_bars_can_be_missed(rows: Rows) -> None:
    assert bars.judge(Bar("s", bars.seconds, times=5.1), "direct", rows).is_met is False
    assert bars.judge(Bar("s", bars.seconds, at_most=2.1), "direct", rows).is_met is False
    assert bars.judge(Bar("s", bars.seconds, at_most=2.2), "direct", rows).is_met is True


def test_more_is_better_for_rates(rows: Rows) -> None:
    for service, rate in (("glance", 100.0), ("gantry", 450.0)):
        rows.add({"work": "get", "service": service, "per_second": rate})
    bar = Bar("requests/s", bars.per_second, times=5, more_is_better=True)
    found = bars.judge(bar, "get", rows)
    assert found.ratio == 4.5
    assert found.is_met is False


def test_without_glance_its_bars_have_no_verdict(tmp_path: pathlib.Path) -> None:
    alone = Rows(tmp_path / "rows.jsonl")
    alone.add({"work": "direct", "service": "gantry", "seconds": 2.0})
    assert bars.judge(Bar("s", bars.seconds, times=5), "direct", alone).is_met is None
    assert bars.judge(Bar("s", bars.seconds, at_most=2), "direct", alone).is_met is True


def test_a_work_is_held_against_the_slower_digest(rows: Rows) -> None:
    bar = DIRECT.bars[1]
    assert bars.judge(bar, "direct", rows).gantry == pytest.approx(2.2 / 1.8)


def test_service_cpu_leaves_out_the_database(rows: Rows) -> None:
    assert rows.median("direct", "gantry", bars.service_cpu) == pytest.approx(1.6)


def test_table_says_what_was_missed_and_leaves_out_what_was_not_measured(rows: Rows) -> None:
    text = table.results(works.WORKS, rows)
    assert [line.split("|")[2].strip() for line in text.splitlines()[2:]] == [
        "seconds",
        "by the slower digest alone",
        "service CPU s",
    ]
    assert table.verdicts(works.WORKS, rows) == (3, 0)
    assert len({len(line) for line in text.splitlines()}) == 1
    assert "sha512 alone" in table.bounds(works.WORKS, rows)


def test_rows_are_lines_of_json(rows: Rows) -> None:
    lines = [json.loads(line) for line in rows.file.read_text().splitlines()]
    assert len(lines) == 15
    assert lines[0]["service"] == "glance"


def test_time_of_children_that_have_ended_counts() -> None:
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    parent = (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', sys.argv[1]])\n"
        "print(flush=True)\ninput()"
    )
    command = [sys.executable, "-c", parent, burn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert cost.spent(psutil.Process(process.pid)) >= 0.3
        process.kill()


def test_patience_with_a_busy_machine_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_QUIET", -1)  # nothing is ever so quiet
    calm = cost.Calm(0.5)
    began = time.monotonic()
    calm.wait()
    waited = time.monotonic() - began
    assert waited >= 0.5
    for _ in range(10):
        calm.wait()
    assert time.monotonic() - began < waited + 0.5


def test_unknown_works_are_named() -> None:
    assert [one.name for one in works.named("list, direct")] == ["direct", "list"]
    with pytest.raises(KeyError, match="lists"):
        works.named("get,lists")
