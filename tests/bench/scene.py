"""What a work is given: the ground, how much to do, and the rows that it adds to."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

from tests.bench import catalog
from tests.bench.bars import Bar
from tests.bench.contender import Contender
from tests.bench.cost import Meter
from tests.bench.ground import PROJECT, Ground
from tests.bench.rows import Row

_MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Scene:
    """Where and how much."""

    ground: Ground
    #: Of the file that is moved.
    mib: int
    #: Of each run of requests.
    seconds: int
    #: Of each image of a burst.
    burst_mib: int = 64

    @property
    def file(self) -> pathlib.Path:
        """What is moved."""
        return self.ground.file

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.mib * _MIB

    @property
    def gib(self) -> float:
        """The same in GiB."""
        return self.mib / 1024

    def fill(self, contender: Contender, images: int) -> None:
        """Give a service so many images, where it has fewer."""
        if images:
            catalog.grow(contender.engine, images, self.ground.identity.project(PROJECT))


#: One run: what it did, measured; without `work`, `service` and `run`.
Run = Callable[[Scene, Contender], Row]


@dataclasses.dataclass(frozen=True)
class Work:
    """One thing to measure."""

    name: str
    what: str
    #: None: it is made of the other works' rows.
    run: Run | None
    bars: tuple[Bar, ...]
    #: The machine's limits that are measured beside it.
    limits: tuple[str, ...] = ()
    #: Images that must be there.
    images: int = 0
    #: Whether imports are converted to qcow2.
    converts: bool = False
    #: Whether Glance does it too.
    has_peer: bool = True


def costs(meter: Meter) -> Row:
    """The figures that every run has."""
    cpu: Mapping[str, float] = meter.cpu
    return {
        "seconds": round(meter.seconds, 3),
        "cpu": dict(cpu),
        "noise_cores": meter.noise_cores,
    }
