"""All works, in the order of the table."""

from tests.bench import bars, works_api, works_data
from tests.bench.bars import Bar
from tests.bench.scene import Work

#: Needs no run of its own: every row says how large the processes have been by then.
MEMORY = Work(
    "memory",
    "the largest process that runs imports, in all of these works",
    None,
    (
        Bar("MiB (peak RSS) of an importing process", bars.figure("peak_mib"), at_most=250),
        Bar("MiB of an API process", bars.figure("api_peak_mib")),
        Bar("MiB of qemu-img", bars.figure("qemu_img_mib")),
    ),
)

WORKS: tuple[Work, ...] = (*works_data.WORKS, *works_api.WORKS, MEMORY)


def named(names: str) -> tuple[Work, ...]:
    """The works of these names, separated by commas; all where there are none.

    Raises:
        KeyError: there is no such work; the name.
    """
    known = {work.name: work for work in WORKS}
    if not names:
        return WORKS
    wanted = [known[name.strip()].name for name in names.split(",")]
    return tuple(work for work in WORKS if work.name in wanted)
