"""Digest: MD5 and the secure hash of the very bytes that will be stored, and whether they are signed."""

import pathlib
from typing import Any

from taskflow import task

from flows import watch as watching
from images import errors, formats, imports, signatures, staging


class Digest(task.Task):
    """Digests the file that goes into the stores, and holds it against its signature (contract 4.8, 4.9)."""

    default_provides = "digest"

    def execute(self, watch: watching.Watch, staged: dict[str, Any]) -> dict[str, Any]:
        """Use the digest that was made while the bytes arrived, if it is of this very file; else read it.

        Raises:
            UnacceptableFormat: the outcome of a conversion is not what it should be.
            WrongData: the image is signed, but not these bytes of it.
        """
        file, signature = pathlib.Path(staged["path"]), watch.plan.signature
        known = staging.facts(file)
        facts = staging.digested(
            file,
            [signature.algorithm] if signature else [],
            digest=True,
            on_bytes=lambda done: watch.report(self.name, done, staged["size"]),
        )
        if facts != known:
            formats.check(facts.inspection, staged["disk_format"], staged["container_format"])
        if signature:
            signatures.verify(signature, facts.made)
        if facts.digest is None:
            raise errors.ImportFailed("The digest of the data is missing")
        if watch.plan.lease.attempt > 1:
            imports.forget_other_data(watch.plan, facts.digest["checksum"])
        return facts.digest
