"""Asking web servers that nobody vouches for: every hop passes the operator's filter, every wait has an end.

What is asked for here are the bytes behind a location of the http store (contract section 2.11).
"""

import http
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import urllib3
import urllib3.connection

from images import config, connections, errors, urls

#: Bytes asked of the network at once.
_PIECE = 1 << 20
#: Statuses that mean "not here", as opposed to "not now".
_ABSENT = (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE)
#: What a server says that does not know HEAD.
_NO_HEAD = (
    http.HTTPStatus.METHOD_NOT_ALLOWED,
    http.HTTPStatus.NOT_IMPLEMENTED,
    http.HTTPStatus.FORBIDDEN,
)


#: How a store's servers are reached.
Trust = connections.Trust


def trust(options: Any) -> Trust:
    """What glance_store's options of an http store say."""
    return Trust(
        certificates=options.https_ca_certificates_file,
        verify=bool(options.https_ca_certificates_file) or not options.https_insecure,
        proxies=dict(options.http_proxy_information),
    )


def size(url: str, trust: Trust) -> int:
    """The bytes behind a URL, as its server promises them; 0 where it does not say.

    Raises:
        NotFound: the server has nothing there.
        Unavailable: it cannot be reached, refuses, or answers what is no answer.
    """
    response = _ask("HEAD", url, trust, {})
    if response.status in _NO_HEAD or (_ok(response) and _length(response) is None):
        response.close()
        response = _ask("GET", url, trust, {})
    try:
        _check(response)
        return _length(response) or 0
    finally:
        response.close()


def read(url: str, offset: int, length: int | None, trust: Trust) -> Iterator[bytes]:
    """`length` bytes (None: all there are) behind a URL from `offset` on, in pieces of at most 1 MiB.

    The server has answered when this returns; one that cannot begin in the middle is read from its beginning.

    Raises:
        NotFound, Unavailable: as `size`; the iterator too where the connection is lost.
    """
    headers = {}
    if offset or length is not None:
        last = "" if length is None else str(offset + length - 1)
        headers["Range"] = f"bytes={offset}-{last}"
    if length == 0:
        return iter(())
    response = _ask("GET", url, trust, headers)
    skip = 0 if response.status == http.HTTPStatus.PARTIAL_CONTENT else offset
    try:
        _check(response)
        if not skip and offset:
            _check_part(response, offset)
    except errors.GantryError:
        response.close()
        raise
    return _pieces(response, skip, length)


def _pieces(response: urllib3.BaseHTTPResponse, skip: int, length: int | None) -> Iterator[bytes]:
    try:
        while length != 0 and (piece := response.read1(_PIECE)):
            kept = piece[skip : None if length is None else skip + length]
            skip = max(0, skip - len(piece))
            if length is not None:
                length -= len(kept)
            if kept:
                yield kept
        if length:
            raise errors.Unavailable("The server gave fewer bytes than the image has")
    except urllib3.exceptions.HTTPError as error:
        raise errors.Unavailable("The connection to the image's server was lost") from error
    finally:
        response.close()


def _ask(method: str, url: str, trust: Trust, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    """The answer of the last hop; a redirect is followed where the filter lets it."""
    conf = config.CONF.gantry
    ends = time.monotonic() + conf.connect_timeout * 2 + conf.read_timeout
    headers = {"Accept-Encoding": "identity", "User-Agent": "gantry"} | headers
    for _ in range(conf.max_redirects + 1):
        try:
            urls.check(url)
        except errors.Invalid as error:
            raise errors.Unavailable(f"The image's server must not be asked: {error}") from error
        response = _request(method, url, trust, headers)
        target = response.get_redirect_location()
        if not target:
            return response
        response.close()
        if time.monotonic() > ends:
            break
        url = urls.join(url, target)
    raise errors.Unavailable("The image's server redirects too often")


def _request(
    method: str, url: str, trust: Trust, headers: dict[str, str]
) -> urllib3.BaseHTTPResponse:
    conf = config.CONF.gantry
    wait = conf.connect_timeout if method == "HEAD" else conf.read_timeout
    parts = urllib.parse.urlsplit(url)
    if parts.username is not None:
        said = f"{parts.username}:{parts.password or ''}"
        headers = headers | urllib3.make_headers(basic_auth=urllib.parse.unquote(said))
    head = _Head()
    gate = connections.Gate(on_made=head.watch, on_inside=head.hold_back)
    try:
        return connections.pools(trust, parts.scheme, gate).request(
            method,
            url,
            headers=headers,
            preload_content=False,
            redirect=False,
            retries=False,
            timeout=urllib3.Timeout(connect=conf.connect_timeout, read=wait),
        )
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        head.wait()
        raise errors.Unavailable("The image's server cannot be reached") from error
    finally:
        head.arrived()


class _Head:
    """The head of an answer, which must have come in time however slowly its server sends it."""

    def __init__(self) -> None:
        conf = config.CONF.gantry
        self._connection: urllib3.connection.HTTPConnection | None = None
        self._held_until = 0.0
        self._timer = threading.Timer(2 * conf.connect_timeout + conf.read_timeout, self._shut)
        self._timer.daemon = True

    def watch(self, connection: urllib3.connection.HTTPConnection) -> None:
        """Shut this connection when the time is over."""
        self._connection = connection
        self._timer.start()

    def hold_back(self) -> None:
        """It comes from a private network: a failure is told when that of a silent port would be."""
        if seconds := config.CONF.web_download.private_answer_timeout:
            self._timer.cancel()
            self._held_until = time.monotonic() + seconds
            self._timer = threading.Timer(seconds, self._shut)
            self._timer.daemon = True
            self._timer.start()

    def wait(self) -> None:
        """What came is no answer."""
        time.sleep(max(0.0, self._held_until - time.monotonic()))

    def arrived(self) -> None:
        """Nothing is waited for any more."""
        self._timer.cancel()

    def _shut(self) -> None:
        connections.shut(self._connection and self._connection.sock)


def _ok(response: urllib3.BaseHTTPResponse) -> bool:
    return response.status in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT)


def _check(response: urllib3.BaseHTTPResponse) -> None:
    if response.status in _ABSENT:
        raise errors.NotFound("The image's data are no longer in the store")
    if not _ok(response):
        raise errors.Unavailable(f"The image's server answered {response.status}")


def _check_part(response: urllib3.BaseHTTPResponse, offset: int) -> None:
    if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        raise errors.Unavailable("The image's server gave another part than was asked for")


def _length(response: urllib3.BaseHTTPResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return (
        int(text) if text.isascii() and text.isdigit() and len(text) < len(str(1 << 63)) else None
    )
