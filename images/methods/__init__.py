"""Import methods: where an image's bytes come from. One file each, found by their entry points.

An operator adds a method with one file, holding a class that follows `Method`, and one line in the
entry-point group `gantry.import_methods`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

from images import config, context, entry_points, errors, staging

GROUP = "gantry.import_methods"


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes that a method has brought into staging."""

    facts: staging.Facts
    #: What their source says that the record does not: disk_format, container_format, and properties as a
    #: mapping. They are the record's once the image is active.
    described: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """For what, and how often, a method is asked."""

    task_id: str
    #: The lease's number: the how-manieth worker this is. Files in staging that are being written are named
    #: by it, so that a worker which lost its task and wakes up writes to none of its successor's.
    attempt: int
    #: To be told of each fault that is tried again, in words.
    on_fault: Callable[[str], None]
    #: Digests that are wanted of the bytes as they come, by hashlib's names. A method that does not make them
    #: while it writes (`staging.receive`) costs another read.
    algorithms: tuple[str, ...] = ()


class Method(Protocol):
    """What a method must be able to do."""

    #: As POST /import names it.
    name: str
    #: Statuses that an image may have when the import is asked for.
    accepts: tuple[str, ...]
    #: The policy rule of asking for it.
    rule: str
    #: The queue of its jobs (`images.queue`): fetch where it waits for the network, else convert.
    queue: str

    def check(self, fields: dict[str, Any]) -> None:
        """Judge whether the request's member `method` is complete; it runs in the API.

        Raises:
            Invalid: something is missing or malformed.
        """

    def origin(self, asker: context.Context, fields: dict[str, Any]) -> str | None:
        """Judge where the bytes are to come from, by the operator's lists; it runs in the API.

        What it returns is kept for the worker in a table of ours, never shown, and gone when the task ends.

        Raises:
            Invalid: it is refused.
        """

    def fetch(
        self,
        image_id: str,
        fields: dict[str, Any],
        *,
        run: Run,
        digest: bool,
        on_bytes: Callable[[int, int | None], None],
    ) -> Fetched:
        """Bring the bytes into staging; runs in a worker.

        `digest` says whether a digest of them is worth while. `on_bytes` is told the bytes done and, where
        known, the bytes in all; call it at least twice a second, with the same figures where nothing has
        come: what it raises (an import is cancelled, a worker ends) must pass at once.

        Raises:
            ImportFailed: the bytes cannot be had; the text says why.
        """


def load() -> None:
    """Read the code of the methods that are enabled, so that no request or task has to wait for it.

    Raises:
        SystemExit: one of them cannot be loaded. One that is not installed is only unknown (`get`).
    """
    try:
        for name in config.CONF.enabled_import_methods:
            if name in entry_points.found(GROUP):
                _made(name)
    except errors.Invalid as error:
        raise SystemExit(
            f"gantry: the configuration cannot be used: enabled_import_methods: {error}"
        ) from error


@functools.cache
def _made(name: str) -> Method:
    made: Method = entry_points.made(GROUP, name)
    return made


def get(name: object) -> Method:
    """The method of this name, if the operator has enabled it.

    Raises:
        Invalid: it is not known or not enabled, or cannot be loaded.
    """
    enabled = config.CONF.enabled_import_methods
    if name not in enabled or name not in entry_points.found(GROUP):
        raise errors.Invalid(
            f"Unknown import method name '{name}'; enabled here: {', '.join(enabled)}"
        )
    return _made(str(name))


def named(name: str) -> Method:
    """The method of a task that was accepted, whether or not the operator has disabled it since.

    Raises:
        ImportFailed: it is no longer installed, or cannot be loaded.
    """
    if name not in entry_points.found(GROUP):
        raise errors.ImportFailed(f"The import method {name} is not installed here")
    try:
        return _made(name)
    except errors.Invalid as error:
        raise errors.ImportFailed(f"The import method {error}") from error
