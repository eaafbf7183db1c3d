"""Code that is found by entry points, a third party's too: read when it is named, and not before.

So a package that is installed, but not used, cannot stop the service.
"""

import functools
import importlib.metadata
import logging
from typing import Any

from images import errors

LOG = logging.getLogger(__name__)


@functools.cache
def found(group: str) -> dict[str, importlib.metadata.EntryPoint]:
    """All that is installed of a group, by its names."""
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=group)}


def made(group: str, name: str) -> Any:
    """A new object of the class that one of `found` names.

    Raises:
        Invalid: it cannot be had; the text says what, whose and why, the log has the rest.
    """
    entry = found(group)[name]
    try:
        return entry.load()()
    except Exception as error:
        package = entry.dist.name if entry.dist else "unknown"
        LOG.exception("%s of the package %s cannot be loaded", entry.value, package)
        raise errors.Invalid(
            f"{name} ({entry.value} of the package {package}) cannot be loaded: {_cause(error)}"
        ) from error


def _cause(error: Exception) -> str:
    """In words where these are safe: whoever asked for an import reads them, and others may name paths."""
    kind = type(error).__name__
    return (
        f"{kind}: {error}" if isinstance(error, ModuleNotFoundError | errors.GantryError) else kind
    )
