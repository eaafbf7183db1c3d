"""The program's own texts, for what no run of it can show."""

import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent.parent
PACKAGES = ("api", "images", "flows", "workers", "deploy")


def texts() -> Iterator[tuple[str, str]]:
    """The names and texts of the program's files."""
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            yield str(file.relative_to(ROOT)), file.read_text()
