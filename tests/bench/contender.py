"""A service under measurement, whichever of the two it is."""

import contextlib
import dataclasses
from collections.abc import Mapping

import psutil
import sqlalchemy as sa

from tests.bench import cost
from tests.bench.client import Client

#: What a process that imports starts for single steps.
_TOOLS = ("qemu-img", "prlimit", "setpriv")


@dataclasses.dataclass
class Contender:
    """A running service, and what has to be known of it."""

    #: `glance` or `gantry`.
    name: str
    #: An administrator's, who sees everything, and an ordinary user's.
    client: Client
    member: Client
    #: Its database, for the catalog's rows.
    engine: sa.Engine
    #: The first process of each group; all but `database` are the service.
    groups: Mapping[str, psutil.Process]
    #: The group whose processes run imports.
    importers: str
    #: The id of an image whose data can be downloaded, once there is one.
    stored: str = ""

    def meter(self) -> cost.Meter:
        """What measures this service's share of a piece of work."""
        return cost.Meter(self.groups)

    def importing(self) -> list[psutil.Process]:
        """Processes that run imports, without the tools that they start."""
        return _without_tools(self.groups[self.importers])

    def serving(self) -> list[psutil.Process]:
        """Processes that answer requests."""
        return _without_tools(self.groups["api"])


def _without_tools(top: psutil.Process) -> list[psutil.Process]:
    found = []
    for one in cost.family(top):
        with contextlib.suppress(psutil.NoSuchProcess):
            if one.name() not in _TOOLS:
                found.append(one)
    return found
