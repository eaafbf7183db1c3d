"""A download into staging, in the test's own process or in one that can be killed and paused."""

import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from images import answers, errors, methods, service, staging
from images.methods import web_download
from tests import web

IMAGE = "1a2b3c4d-0000-4000-8000-000000000001"
#: Options under which a download may be served from loopback, and is tried again at once.
OPTIONS = "retry_pause = 0.02\ntries = 3\n"
LISTS = web.LOOPBACK


@dataclasses.dataclass
class Download:
    """One attempt, what it was told, and what it said."""

    attempt: int = 1
    task: str = "task"
    on_bytes: Callable[[int, int | None], Any] = lambda *_: None
    faults: list[str] = dataclasses.field(default_factory=list)

    def run(self, url: str, **wanted: Any) -> staging.Facts:
        """Receive what a URL gives."""
        return web_download.download(
            IMAGE,
            answers.Wanted(url, **wanted),
            run=methods.Run(self.task, self.attempt, self.faults.append),
            digest=True,
            on_bytes=self.on_bytes,
        )


def names() -> list[str]:
    """What is in staging, without the image's id."""
    return sorted(file.name.removeprefix(IMAGE) for file in staging.path().iterdir())


def marks(attempt: int) -> list[int]:
    """The marks of an attempt so far."""
    ledger = staging.path(IMAGE, f".{attempt}.kept")
    lines = ledger.read_text().splitlines()[1:] if ledger.exists() else []
    return [int(line) for line in lines]


def start(files: list[str], url: str, lost: pathlib.Path) -> subprocess.Popen[str]:
    """A process that makes the first attempt; once there is a file `lost` it has lost its task."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.downloading", url, str(lost), *files]
    root = pathlib.Path(__file__).parent.parent
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def _main(url: str, lost: str, *files: str) -> None:
    def told(_: int, __: int | None) -> None:
        if pathlib.Path(lost).exists():
            raise errors.Abandoned

    service.start(list(files))
    try:
        Download(on_bytes=told).run(url)
    except (Exception, errors.Abandoned) as error:  # noqa: BLE001 - the test wants to know
        print(type(error).__name__)
    else:
        print("done")


if __name__ == "__main__":
    _main(*sys.argv[1:])
