"""Import methods: where an image's bytes come from. One file each, found by their entry points.

An operator adds a method with one file, holding a class that follows `Method`, and one line in the
entry-point group `gantry.import_methods`.
"""

import functools
import importlib.metadata
from collections.abc import Callable
from typing import Any, Protocol

from images import config, errors, staging

GROUP = "gantry.import_methods"


class Method(Protocol):
    """What a method must be able to do."""

    #: As POST /import names it.
    name: str
    #: Statuses that an image may have when the import is asked for.
    accepts: tuple[str, ...]
    #: The queue of its jobs (`images.queue`): fetch where it waits for the network, else convert.
    queue: str

    def check(self, fields: dict[str, Any]) -> None:
        """Judge the request's member `method`; runs in the API and must not wait for anything.

        Raises:
            Invalid: something is missing or refused.
        """

    def fetch(
        self,
        image_id: str,
        fields: dict[str, Any],
        *,
        digest: bool,
        on_bytes: Callable[[int, int | None], None],
    ) -> staging.Facts:
        """Bring the bytes into staging; runs in a worker.

        `on_bytes` is told the bytes done and, where known, the bytes in all.

        Raises:
            ImportFailed: the bytes cannot be had; the text says why.
        """


@functools.cache
def _known() -> dict[str, Method]:
    found = importlib.metadata.entry_points(group=GROUP)
    return {entry.name: entry.load()() for entry in found}


def get(name: object) -> Method:
    """The method of this name, if the operator has enabled it.

    Raises:
        Invalid: it is not known or not enabled.
    """
    enabled = config.CONF.enabled_import_methods
    if name not in enabled or name not in _known():
        raise errors.Invalid(
            f"Unknown import method name '{name}'; enabled here: {', '.join(enabled)}"
        )
    return _known()[str(name)]
