"""Compare: are the bytes those that their publisher has published?"""

import pathlib
from typing import Any

from taskflow import task

from flows import watch as watching
from images import checksums, staging


class Compare(task.Task):
    """Holds the fetched bytes against the expected checksums, before anything is done with them."""

    def execute(self, watch: watching.Watch, staged: dict[str, Any]) -> None:
        """Use the digests that were made while the bytes arrived; read them only where one is missing.

        A second run compares again.

        Raises:
            WrongData: they are others; the text says both values.
        """
        expected = watch.plan.expected
        facts = staging.digested(
            pathlib.Path(staged["path"]),
            expected,
            digest=staging.is_stored_as_it_is(staged["disk_format"]),
            on_bytes=lambda done: watch.report(self.name, done, staged["size"]),
        )
        checksums.compare(expected, facts.made)
