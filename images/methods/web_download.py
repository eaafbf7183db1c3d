"""web-download: a worker fetches the bytes from a URL."""

from collections.abc import Callable
from typing import Any

from images import answers, context, methods, partials, staging, transfers, urls


class WebDownload:
    """Fetches a URL over HTTP; every hop of a redirect passes the filter."""

    name = "web-download"
    accepts = ("queued",)
    rule = "modify_image"
    queue = "fetch"

    def check(self, fields: dict[str, Any]) -> None:
        """Nothing to judge: a missing URL is refused with the refused ones."""

    def origin(self, asker: context.Context, fields: dict[str, Any]) -> None:
        """Judge the URL by the operator's lists."""
        urls.check(fields.get("uri"))

    def fetch(
        self,
        image_id: str,
        fields: dict[str, Any],
        *,
        run: methods.Run,
        digest: bool,
        on_bytes: Callable[[int, int | None], None],
    ) -> methods.Fetched:
        """Download into staging, going on where an earlier attempt was interrupted."""
        wanted = answers.Wanted(fields.get("uri"))
        return methods.Fetched(
            download(image_id, wanted, run=run, digest=digest, on_bytes=on_bytes)
        )


def download(
    image_id: str,
    wanted: answers.Wanted,
    *,
    run: methods.Run,
    digest: bool,
    on_bytes: Callable[[int, int | None], object],
) -> staging.Facts:
    """Receive what a URL gives into staging. A cut or short answer is never taken for the whole file.

    Raises:
        ImportFailed: the URL, or one that it redirects to, is refused or does not give it.
        SizeMismatch: it does not give as many bytes as are wanted.
        LimitExceeded, Gone, StorageFull, Unavailable: as `staging.receive`.
    """
    keeper = partials.Keeper(image_id, run, wanted)
    if known := keeper.finished(digest=digest):
        on_bytes(known.size, known.size)
        return known
    listener = transfers.Listener(on_bytes, run.on_fault)
    with transfers.Transfer(wanted, listener, keeper) as source:
        while True:
            try:
                return staging.receive(
                    image_id,
                    source,
                    digest=digest,
                    algorithms=run.algorithms,
                    size=wanted.size,
                    on_bytes=lambda done: on_bytes(done, source.total),
                    keep=keeper,
                )
            except transfers.StartOver:
                keeper.disinherit()
                source.rewind()
