"""How far an import is, in one line: a bar where somebody watches, words where the line is kept."""

import os
import shutil

from images import models

_MIB = 1 << 20
_FULL, _LEFT = "█", "░"
_WIDTH = 24


def describe(task: models.Task, *, bar: bool) -> str:
    """What a task does right now; what it says, once it has ended."""
    run = task.run
    if task.status in ("success", "failure"):
        return task.info.message or ""
    if run is None or run.step is None:
        return "waits for a worker" if task.status == "pending" else "begins"
    done, total = run.bytes_done, run.bytes_total
    text = f"{done >> 20} MiB" if not total else f"{done >> 20} of {total >> 20} MiB"
    if total:
        text = f"{min(done / total, 1.0):4.0%} {text}"
    if run.rate is not None:
        text += f", {run.rate / _MIB:.1f} MiB/s"
    if run.retries:
        text += f", try {run.retries + 1}"
    drawn = f" {_bar(done, total)}" if bar and total else ""
    return f"{run.step}{drawn} {text}"


def _bar(done: int, total: int) -> str:
    full = round(min(done / total, 1.0) * _WIDTH)
    return _FULL * full + _LEFT * (_WIDTH - full)


def fitted(lines: list[str]) -> list[str]:
    """So many lines, and so much of each, that a terminal has room for: they can be drawn again in place."""
    width, height = shutil.get_terminal_size((80, 24))
    shown = lines if len(lines) < height else lines[: height - 2]
    rest = [f"… and {len(lines) - len(shown)} more"] if len(shown) < len(lines) else []
    return [one[: width - 1] for one in (*shown, *rest)]


def rewind(lines: int) -> str:
    """What moves a terminal's cursor back to the first of so many lines, and clears them."""
    return f"\x1b[{lines}A\x1b[J" if lines and os.environ.get("TERM") != "dumb" else ""
