"""copy-image: the bytes are in one of the stores already, and go into more of them."""

from collections.abc import Callable
from typing import Any

from images import context, errors, methods


class CopyImage:
    """Brings nothing into staging: the flow `flows.copy_image` copies from store to store."""

    name = "copy-image"
    accepts = ("active",)
    rule = "copy_image"
    queue = "convert"

    def check(self, fields: dict[str, Any]) -> None:
        """Nothing to judge: the request has no member but its name."""

    def origin(self, asker: context.Context, fields: dict[str, Any]) -> None:
        """Nothing to judge: the bytes are the image's own."""

    def fetch(
        self,
        image_id: str,
        fields: dict[str, Any],
        *,
        run: methods.Run,
        digest: bool,
        on_bytes: Callable[[int, int | None], None],
    ) -> methods.Fetched:
        """Not for staging."""
        raise errors.ImportFailed("A copy needs no staging")
