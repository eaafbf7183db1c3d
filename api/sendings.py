"""What is told of a download when it ends: `image.send` (contract section 8)."""

from collections.abc import Iterable, Iterator
from typing import Any

from images import context, notifications, records

_EVENT = "image.send"


def told(
    pieces: Iterable[bytes], size: int, image: records.Record, asker: context.Context
) -> Iterable[bytes]:
    """The same pieces; when the server has done with them, it is told how many bytes of `size` were sent.

    Where nobody is to be told they are handed on as they are, so that a server may send a file by itself.
    """
    return _Counted(pieces, size, image, asker) if notifications.wanted(_EVENT) else pieces


class _Counted:
    """Counts what a server takes; servers close what they have sent, or could not send any further."""

    def __init__(
        self, pieces: Iterable[bytes], size: int, image: records.Record, asker: context.Context
    ) -> None:
        self._pieces, self._size, self._sent = pieces, size, 0
        self._told: dict[str, Any] = {
            "image_id": image.id,
            "owner_id": image.owner,
            "receiver_tenant_id": asker.project_id,
            "receiver_user_id": asker.user_id,
        }

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            yield piece
            self._sent += len(piece)

    def close(self) -> None:
        """Called by the server, once."""
        if close := getattr(self._pieces, "close", None):
            close()
        payload = self._told | {"bytes_sent": self._sent}
        priority = "info" if self._sent == self._size else "error"
        notifications.send(_EVENT, payload, priority=priority)
