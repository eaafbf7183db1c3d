"""glance-direct: the bytes were staged beforehand with PUT /stage."""

from collections.abc import Callable
from typing import Any

from images import context, errors, methods, staging


class GlanceDirect:
    """Takes what PUT /stage has put into staging."""

    name = "glance-direct"
    accepts = ("uploading",)
    rule = "modify_image"
    queue = "convert"

    def check(self, fields: dict[str, Any]) -> None:
        """Nothing to judge: the request has no member but its name."""

    def origin(self, asker: context.Context, fields: dict[str, Any]) -> None:
        """Nothing to judge: the bytes are here."""

    def fetch(
        self,
        image_id: str,
        fields: dict[str, Any],
        *,
        run: methods.Run,
        digest: bool,
        on_bytes: Callable[[int, int | None], None],
    ) -> methods.Fetched:
        """The facts of the staged file; it is read only where it was changed, or lacks a digest."""
        file = staging.path(image_id)
        if not file.exists():
            raise errors.ImportFailed("The staged data are gone; stage them again")
        total = file.stat().st_size
        on_bytes(0, total)
        known = staging.digested(
            file, run.algorithms, digest=digest, on_bytes=lambda done: on_bytes(done, total)
        )
        on_bytes(total, total)
        return methods.Fetched(known)
