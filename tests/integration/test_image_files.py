"""Image files that others have made: what becomes of each when it is imported, and why (`image_files.tsv`).

The service converts to raw, and an image may have 2 GiB. The outcome is `active`, or words of the task's
message.
"""

import pathlib

import pytest

from images import errors
from tests.functional import importing
from tests.functional.conftest import Caller, caller
from tests.integration import image_files
from workers import jobs

__all__ = ["caller"]

ROWS = image_files.rows()
OPTIONS = f"""image_size_cap = {2 << 30}
[image_import_opts]
image_import_plugins = [image_conversion]
[gantry]
conversion_timeout = 120
"""


def test_there_are_enough() -> None:
    """Of each package some."""
    assert len({(row["package"], row["path"]) for row in ROWS}) >= 60
    assert len({row["package"] for row in ROWS}) == 8


@pytest.mark.parametrize(
    "row", ROWS, ids=[f"{pathlib.PurePath(row['path']).name}-{row['declared']}" for row in ROWS]
)
def test_what_becomes_of_it(caller: Caller, tmp_path: pathlib.Path, row: dict[str, str]) -> None:
    """As the table says; and what is refused leaves nothing."""
    file = image_files.image(row["package"], row["path"], tmp_path)
    api = caller(options=OPTIONS)
    image_id = importing.staged(api, file.read_bytes(), disk_format=row["declared"])
    try:
        outcome = str(jobs.run_import(importing.asked(api, image_id)))
    except errors.ImportFailed:
        outcome = str(importing.task_of(api, image_id)["message"])
        assert api.show(image_id)["status"] == "queued"
        assert not list(tmp_path.glob(f"*/{image_id}*"))
    assert row["outcome"] in outcome, row["why"]
    assert str(tmp_path) not in outcome
