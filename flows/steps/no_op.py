"""NoOp: the plugin `no_op`, Rocky's default, which does nothing."""

from typing import Any

from taskflow import task


class NoOp(task.Task):
    """Passes the staged file on as it is."""

    default_provides = "staged"

    def __init__(self) -> None:
        super().__init__("no-op")

    def execute(self, staged: dict[str, Any]) -> dict[str, Any]:
        """Change nothing."""
        return staged
