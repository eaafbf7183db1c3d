"""The unmodified clients, as a person at a terminal would call them."""

import contextlib
import json
import os
import pathlib
import pty
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests import service

#: Where `deploy/setup.sh clients` puts them.
PROGRAMS = service.ROOT / ".venv-clients/bin"
_TOURS = pathlib.Path(__file__).with_name("sdk_tours.py")
#: Seconds that one command may take.
_LIMIT = 180


def require() -> None:
    """Fail, in words, where the clients are not installed: without them nothing here means anything."""
    missing = [name for name in ("glance", "openstack", "python") if not (PROGRAMS / name).exists()]
    if missing:
        pytest.fail(
            f"the unmodified clients are not installed ({', '.join(missing)} missing in .venv-clients): "
            "run `deploy/setup.sh clients`, or `make compat`, which does",
            pytrace=False,
        )


class Clients:
    """The `glance` and `openstack` commands and openstacksdk, pointed at one service."""

    def __init__(self, url: str, home: pathlib.Path) -> None:
        self._url = url
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        #: A home of their own: no cached schema and no clouds.yaml of somebody else.
        self._environment = kept | {"HOME": str(home), "COLUMNS": "400", "PYTHONWARNINGS": "ignore"}

    def glance(self, *words: str, fails: bool = False) -> str:
        """What `glance` says."""
        return self._run(
            "glance", "--os-image-url", self._url, "--os-auth-token", "none", *words, fails=fails
        )

    def openstack(self, *words: str, fails: bool = False) -> str:
        """What `openstack` says."""
        named = ("--os-auth-type", "none", "--os-endpoint", self._url)
        return self._run("openstack", *named, *words, fails=fails)

    def openstack_json(self, *words: str) -> Any:
        """What `openstack` says, as the objects that it means."""
        return json.loads(self.openstack(*words, "-f", "json"))

    def sdk(self, tour: str, *words: str) -> dict[str, Any]:
        """What one of the tours with openstacksdk has seen."""
        seen: dict[str, Any] = json.loads(self._run("python", str(_TOURS), self._url, tour, *words))
        return seen

    def _run(self, program: str, *words: str, fails: bool = False) -> str:
        with _terminal() as terminal:
            ended = subprocess.run(
                [str(PROGRAMS / program), *words],
                env=self._environment,
                stdin=terminal,
                capture_output=True,
                text=True,
                timeout=_LIMIT,
                check=False,
            )
        said = ended.stdout + ended.stderr
        assert (ended.returncode != 0) == fails, f"{' '.join(words)}: {ended.returncode}\n{said}"
        return said if fails else ended.stdout


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    """A terminal for standard input; both commands would take anything else for image data."""
    ends = pty.openpty()
    try:
        yield ends[1]
    finally:
        for end in ends:
            os.close(end)


def table(text: str) -> dict[str, str]:
    """The fields of a two-column table that `glance` draws; long values go over several lines."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("| "):
            left, right = (cell.strip() for cell in line.strip("|").split("|", 1))
            name = left or name
            fields[name] = fields.get(name, "") + right
    return fields
