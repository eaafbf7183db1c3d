"""A third party's distribution that is installed in this process for a while."""

import contextlib
import importlib
import pathlib
import sys
import textwrap
from collections.abc import Iterator

import pytest

from images import entry_points, methods


@contextlib.contextmanager
def installed(room: pathlib.Path, module: str, lines: str) -> Iterator[None]:
    """As pip installs it: the file, and beside it what the distribution acme-images says of itself.

    `module` is the text of acme_images.py, `lines` are its entry points.
    """
    about = room / "acme_images-1.0.dist-info"
    about.mkdir(parents=True)
    (room / "acme_images.py").write_text(textwrap.dedent(module))
    about.joinpath("METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-images\nVersion: 1.0\n"
    )
    about.joinpath("entry_points.txt").write_text(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(room))
        _forget()
        yield
    _forget()


def _forget() -> None:
    """What this process has found installed."""
    sys.modules.pop("acme_images", None)
    importlib.invalidate_caches()
    methods._made.cache_clear()
    entry_points.found.cache_clear()
