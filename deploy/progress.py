"""A progress line: redrawn in place on a terminal, now and then a new line elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

_WIDTH = 30

#: Seconds between two lines where nothing can be redrawn.
_PAUSE = 1.0


def megabytes(size: int) -> str:
    """A size in MB (10^6 bytes), to read."""
    return f"{size / 1e6:,.1f} MB"


class Line:
    """One line for one piece of work of several steps; a step that ended stays on the screen."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._text = ""
        self._shown = ""
        self._step = ""
        self._next = 0.0

    def show(self, step: str, done: int, total: int | None) -> None:
        """Show how far a step has come; `total` is None where nobody knows."""
        if step != self._step:
            self._end_line()
            self._step, self._next = step, 0.0
        self._text = f"   {step:10} {_bar(done, total)}"
        if self._live:
            print(f"\r\033[K{self._text}", end="", flush=True)
        elif time.monotonic() >= self._next:
            self._print()
            self._next = time.monotonic() + _PAUSE

    def _print(self) -> None:
        print(self._text, flush=True)
        self._shown = self._text

    def _end_line(self) -> None:
        if self._live and self._text:
            print(flush=True)
        elif self._text != self._shown:
            self._print()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_line()


def _bar(done: int, total: int | None) -> str:
    if not total:
        return megabytes(done)
    share = min(done / total, 1.0)
    full = round(share * _WIDTH)
    return f"[{'#' * full}{'.' * (_WIDTH - full)}] {share:4.0%} of {megabytes(total)}"
