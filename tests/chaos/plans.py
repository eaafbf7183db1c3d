"""What happens in a round, drawn from a seed: the same seed and number give the same round."""

import dataclasses
import random

from tests.chaos import load

#: What may be killed: one child of a worker, a worker with its children, a worker without them, every
#: process of the API, the broker, the database, beat.
KILLS = ("child", "worker", "parent", "api", "broker", "database", "beat")
#: `pause`: a worker stands still until others have its tasks, then goes on. `drain`: SIGTERM. `flush`: the
#: broker forgets everything. `repeat`: each message comes ten times more.
OTHERS = ("pause", "drain", "flush", "repeat")
VICTIMS = KILLS + OTHERS
#: Steps that last long enough to be met, by the imports that have them.
STEPS = {
    "download": ("fetch",),
    "rangeless": ("fetch",),
    "direct": ("store",),
    "convert": ("convert", "digest", "store"),
    "copy": ("copy",),
    "legacy": ("fetch",),
    "location": ("digest-location",),
    "region": (),
}

#: Seconds, at most: until the blow where no step is waited for, and from it to a new start.
_LATEST = 4.0
_PAUSE = 3.0


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """One round."""

    number: int
    #: What is struck, one after the other.
    victims: tuple[str, ...]
    #: Imports by their kinds, in the order in which they are begun.
    kinds: tuple[str, ...]
    #: The step to be met; None: strike after `delay` seconds.
    step: str | None = None
    delay: float = 0.0
    #: Seconds until what was killed is started again.
    pause: float = 0.0
    #: Which of the imports is deleted after the blow; None: none is.
    deleted: int | None = None
    #: Whether a pause stops qemu-img too, as that of a whole machine does.
    tools_too: bool = True

    def __str__(self) -> str:
        when = f"in {self.step}" if self.step else f"after {self.delay:.1f} s"
        return f"{'+'.join(self.victims)} {when}"


def draw(seed: int, number: int, victims: tuple[str, ...]) -> Plan:
    """A round at random."""
    dice = random.Random(f"{seed}:{number}")  # noqa: S311 - to be repeated, not to be secret
    kinds = tuple(dice.sample(load.KINDS, 4))
    steps = [step for kind in kinds for step in STEPS[kind]]
    return Plan(
        number=number,
        victims=tuple(dice.sample(victims, 2 if dice.random() < 0.15 and len(victims) > 1 else 1)),
        kinds=kinds,
        step=dice.choice(steps) if dice.random() < 0.5 else None,
        delay=dice.uniform(0, _LATEST),
        pause=dice.uniform(0, _PAUSE),
        deleted=dice.randrange(len(kinds)) if dice.random() < 0.2 else None,
        tools_too=dice.random() < 0.5,
    )
