"""How many connections each process of the API serves, in memory that all of them share.

A kept connection stays with the process that took it, and whoever wakes first takes a new one: of eight
clients seven could end up with one of two processes, and get half of what the machine can do.
"""

import mmap

#: Processes that can be told apart; with more, some share a place, and only their balance suffers.
_PLACES = 256
_WIDTH = 4
#: What stands in a place that no process has.
_NOBODY = 2 ** (8 * _WIDTH) - 1


class Board:
    """A number for each process, known by its `age`, gunicorn's count of the processes it has started.

    To be made before the processes are forked. Nothing is locked: each writes its own place, and a number
    that is read a moment too early only sends one connection to the second best.
    """

    def __init__(self) -> None:
        shared = mmap.mmap(-1, _PLACES * _WIDTH)
        self._serves = memoryview(shared).cast("I")
        for age in range(_PLACES):
            self.leave(age)

    def serves(self, age: int, count: int) -> None:
        """A process serves so many connections."""
        self._serves[age % _PLACES] = count

    def leave(self, age: int) -> None:
        """A process is no more."""
        self._serves[age % _PLACES] = _NOBODY

    def is_least(self, age: int) -> bool:
        """Whether no other process serves fewer."""
        return self._serves[age % _PLACES] <= min(self._serves)
