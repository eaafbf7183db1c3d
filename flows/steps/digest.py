"""Digest: MD5 and the secure hash of the very bytes that will be stored."""

import pathlib
from typing import Any

from taskflow import task

from flows import watch as watching
from images import errors, formats, staging


class Digest(task.Task):
    """Digests the file that goes into the stores (contract section 4.8)."""

    default_provides = "digest"

    def execute(self, watch: watching.Watch, staged: dict[str, Any]) -> dict[str, Any]:
        """Use the digest that was made while the bytes arrived, if it is of this very file; else read it.

        Raises:
            UnacceptableFormat: the outcome of a conversion is not what it should be.
        """
        file = pathlib.Path(staged["path"])
        facts = staging.facts(file)
        if facts is None or facts.digest is None:
            facts = staging.inspect(
                file,
                digest=True,
                on_bytes=lambda done: watch.report(self.name, done, staged["size"]),
            )
            formats.check(facts.inspection, staged["disk_format"], staged["container_format"])
        if facts.digest is None:
            raise errors.ImportFailed("The digest of the data is missing")
        return facts.digest
