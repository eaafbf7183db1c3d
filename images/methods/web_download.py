"""web-download: a worker fetches the bytes from a URL."""

import http
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import urllib3

from images import config, context, errors, methods, staging, urls

#: Bytes asked of the network at once, and seconds after which what has come is handed on all the same,
#: so that progress moves on a slow line too.
_PIECE = 256 << 10
_HAND_ON = 0.5

_OURS = {"Accept-Encoding": "identity", "User-Agent": "gantry"}

#: What a person should read for each of urllib3's errors; the first that fits counts.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (urllib3.exceptions.NameResolutionError, "its host name is not known"),
    (urllib3.exceptions.NewConnectionError, "the connection was refused"),
    (urllib3.exceptions.ConnectTimeoutError, "its host does not answer"),
    (urllib3.exceptions.ReadTimeoutError, "no byte came for too long"),
    (urllib3.exceptions.SSLError, "its certificate could not be verified"),
)


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
        """Download into staging. A cut or short answer is never taken for the whole file."""
        return methods.Fetched(
            download(image_id, fields.get("uri"), digest=digest, on_bytes=on_bytes)
        )


def download(
    image_id: str,
    url: object,
    *,
    digest: bool,
    on_bytes: Callable[[int, int | None], None],
    headers: dict[str, str] | None = None,
    size: int | None = None,
) -> staging.Facts:
    """Receive what a URL gives into staging. A cut or short answer is never taken for the whole file.

    `headers` go to the URL's own host only; `size` is what must arrive, where that is known.

    Raises:
        ImportFailed: the URL, or one that it redirects to, is refused or does not give it.
    """
    response = open_url(url, headers or {})
    try:
        length = response.length_remaining
        on_bytes(0, length)
        return staging.receive(
            image_id,
            _Download(response),
            digest=digest,
            size=size,
            on_bytes=lambda done: on_bytes(done, length),
        )
    finally:
        response.release_conn()
        response.close()


class _Download:
    """A response's body as a source of bytes."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def read(self, size: int, /) -> bytes:
        """What the network gives within half a second, up to `size` bytes; none at the end."""
        pieces, due = [], time.monotonic() + _HAND_ON
        try:
            while size > 0 and (piece := self._response.read1(min(size, _PIECE))):
                pieces.append(piece)
                size -= len(piece)
                if time.monotonic() > due:
                    break
        except urllib3.exceptions.HTTPError as error:
            raise errors.ImportFailed(f"The download broke off: {_cause(error)}") from error
        return b"".join(pieces)


def open_url(url: object, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    """The answer of a URL, or of the one that it redirects to in the end; its body is not read yet.

    `headers` go to the URL's own host only.

    Raises:
        ImportFailed: a hop is refused, cannot be reached, or does not answer 200.
    """
    conf = config.CONF.gantry
    timeout = urllib3.Timeout(connect=conf.connect_timeout, read=conf.read_timeout)
    pool = urllib3.PoolManager(num_pools=1)
    headers = headers | _OURS
    for _ in range(conf.max_redirects + 1):
        asked = _checked(url)
        try:
            response = pool.request(
                "GET",
                asked,
                headers=headers,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=timeout,
            )
        except urllib3.exceptions.HTTPError as error:
            raise errors.ImportFailed(f"The URL cannot be reached: {_cause(error)}") from error
        target = response.get_redirect_location()
        if not target:
            return _accepted(response)
        response.close()
        url = urllib.parse.urljoin(asked, target)
        if not _same_host(asked, url):
            headers = dict(_OURS)  # a token is for nobody else
    raise errors.ImportFailed(f"The URL redirects more than {conf.max_redirects} times")


def _same_host(one: str, other: str) -> bool:
    """Whether both URLs name the same scheme, host and port."""
    return urllib.parse.urlsplit(one)[:2] == urllib.parse.urlsplit(other)[:2]


def _checked(url: object) -> str:
    try:
        return urls.check(url)
    except errors.Invalid as error:
        raise errors.ImportFailed(str(error)) from error


def _accepted(response: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
    if response.status == http.HTTPStatus.OK:
        return response
    response.close()
    phrase = (
        http.HTTPStatus(response.status).phrase if response.status in set(http.HTTPStatus) else ""
    )
    raise errors.ImportFailed(f"The URL answered {response.status} {phrase}".strip())


def _cause(error: urllib3.exceptions.HTTPError) -> str:
    """What happened, in words without the address: the text goes to whoever asked for the import."""
    if isinstance(error, urllib3.exceptions.IncompleteRead):
        return f"{error.partial} bytes arrived and {error.expected} more were promised"
    for kind, words in _CAUSES:
        if isinstance(error, kind):
            return words
    return f"the connection was lost ({type(error.__context__ or error).__name__})"
