"""One answer of a web server that nobody vouches for, its body read piece by piece.

Every hop of a redirect passes the operator's filter; every wait has an end; a short answer is never taken
for a whole one. What may be otherwise at the next try is a `Fault`, what will not be is an `ImportFailed`.
"""

import collections
import contextlib
import dataclasses
import email.utils
import http
import http.client
import logging
import math
import re
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Protocol

import urllib3
import urllib3.connection

from images import config, connections, errors, pipeline, urls

LOG = logging.getLogger(__name__)

#: Bytes asked of the network at once, and seconds after which what has come is handed on all the same,
#: so that progress moves on a slow line too.
_PIECE = 1 << 20
_HAND_ON = 0.5
#: Seconds that a socket's own time limit is left to strike first.
_SLACK = 1.0
#: Seconds by which a file must be older than the answer for its date to tell it from the next one (RFC 9110,
#: section 8.8.2.2): within one second it may have been written twice, and clocks differ.
_SETTLED = 60.0
#: Most seconds of a server's wish to be left alone that are granted.
_LONGEST_PAUSE = 60.0

_OURS = {"Accept-Encoding": "identity", "User-Agent": "gantry"}

#: Refusals that are about now and not about the URL; all from 500 on are too.
_PASSING = (
    http.HTTPStatus.REQUEST_TIMEOUT,
    http.HTTPStatus.TOO_EARLY,
    http.HTTPStatus.TOO_MANY_REQUESTS,
)

#: What a person should read for each of urllib3's errors; the first that fits counts.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (urllib3.exceptions.NameResolutionError, "its host is not known, or not allowed here"),
    (urllib3.exceptions.NewConnectionError, "the connection was refused"),
    (urllib3.exceptions.ConnectTimeoutError, "its host does not answer"),
    (urllib3.exceptions.ReadTimeoutError, "no byte came for too long"),
    (urllib3.exceptions.SSLError, "the TLS connection failed"),
)
#: What is said of a closed port, of one that keeps silent, and of one that talks of something else: which of
#: them it is would make of an import a scanner of ports (OSSN-0078). The log of the worker says it.
_UNREACHED = "the connection was refused, or no web server answered"


class Fault(Exception):
    """Something went wrong that may go well at the next try."""

    def __init__(self, cause: str, what: str = "The download broke off", pause: float = 0) -> None:
        """`cause` and `what` are words for a person; `pause` seconds at least should go by until then."""
        super().__init__(f"{what}: {cause}" if what else cause)
        self.cause, self.pause = cause, pause


class Refused(errors.ImportFailed):
    """A server has answered, and will give the same answer the next time."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class FreshHeaders(Protocol):
    """Headers that do not last as long as a transfer may."""

    def headers(self) -> dict[str, str]:
        """Those of the next request.

        Raises:
            Fault: they cannot be had right now.
            ImportFailed: they cannot be had.
        """

    def renew(self) -> bool:
        """The server does not accept the last ones (401): whether the next ones are others."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be had, and where."""

    url: object
    #: They go to the URL's own host only.
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    #: So do these, which say nothing about what is wanted.
    fresh: FreshHeaders | None = None
    #: The bytes that must arrive, where somebody has said so.
    size: int | None = None
    #: Whether the URL gives the same bytes for ever, and somebody compares their digest afterwards.
    immutable: bool = False
    #: Whether the operator has named the URL's host, which may then be in any network; a redirect's may not.
    vouched: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Version:
    """Which bytes a server has at present, as far as it says so."""

    #: For If-Range: a strong ETag, or a date that is old enough.
    validator: str | None
    total: int | None
    #: Whether the server can be asked to go on in the middle.
    resumable: bool


class Answer:
    """The answer to one request for a URL, from byte `begins` on; a `readahead.Blocking`."""

    def __init__(self, wanted: Wanted, begins: int = 0, version: Version | None = None) -> None:
        #: Where the answer begins; 0 once the server has turned out to give nothing else.
        self.begins = begins
        #: What the server has; before the answer, what it had when it was asked last.
        self.version = version
        self._wanted = wanted
        self._connection: urllib3.connection.HTTPConnection | None = None
        self._response: urllib3.BaseHTTPResponse | None = None
        self._stopped = threading.Event()
        self._due: tuple[float, str] | None = None
        #: When a try that has failed is told to have failed, where that is not at once.
        self._held_until = 0.0
        self._pace = _Pace()
        self._got = 0

    def pieces(self) -> Iterator[bytes]:
        """The body; `begins` and `version` are set when the first piece comes, or the end.

        What came before a fault is given first.

        Raises:
            Fault: the server cannot be reached, is too slow, or does not give all that it has promised.
            Refused: it refuses.
            ImportFailed: a hop is refused.
            SizeMismatch: it promises another number of bytes than is wanted.
        """
        response = self._open()
        try:
            yield from self._body(response)
        finally:
            response.close()

    def stop(self) -> None:
        """Wake whoever waits in `pieces`; what comes there then is worth nothing."""
        self._stopped.set()
        connections.shut(self._connection and self._connection.sock)
        if self._response is not None:  # of a connection that it has for itself
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                self._response.shutdown()

    def check_time(self) -> None:
        """To be asked while `pieces` waits: a server may keep a socket busy, and say nothing.

        Raises:
            Fault: it has waited for too long.
        """
        due = self._due
        if due and time.monotonic() > due[0]:
            raise Fault(due[1], _UNREACHABLE if self._response is None else _BROKEN)

    # The head

    def _open(self) -> urllib3.BaseHTTPResponse:
        before = self.version
        response = self._follow(_range(self.begins, before))
        if self.begins and before and _goes_on(response, self._wanted, self.begins, before):
            self.version = dataclasses.replace(before, total=_part(response)[2])
        else:
            if self.begins and response.status in _NO_PART:
                response.close()
                response = self._follow({})
            self.begins = 0
            _check(response, self._wanted)
            self.version = _version(response, self._wanted)
        wanted, total = self._wanted.size, self.version.total
        if None not in (wanted, total) and wanted != total:
            response.close()
            raise errors.SizeMismatch(f"It should have {wanted} bytes, but has {total}")
        self._response = response
        return response

    def _follow(self, part: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer of the last hop."""
        conf = config.CONF.gantry
        url, headers = self._wanted.url, self._wanted.headers
        if self._wanted.fresh:
            headers = headers | self._wanted.fresh.headers()
        ends = _in(2 * conf.connect_timeout + conf.read_timeout, _UNREACHED)
        for _ in range(conf.max_redirects + 1):
            vouched = self._wanted.vouched and _same_host(str(self._wanted.url), str(url))
            asked = _checked(url, vouched=vouched)
            self._due, self._held_until = ends, 0.0
            response = self._ask(
                asked, headers | _configured(asked) | part | _OURS, vouched=vouched
            )
            target = response.get_redirect_location()
            if not target:
                self._due = None
                return response
            response.close()
            url = urls.join(asked, target)
            if not _same_host(asked, url):
                headers = {}  # a token is for nobody else
        raise errors.ImportFailed(f"The URL redirects more than {conf.max_redirects} times")

    def _ask(self, url: str, headers: dict[str, str], *, vouched: bool) -> urllib3.BaseHTTPResponse:
        """The answer of one hop, whose head has come."""
        conf = config.CONF.gantry
        if self._stopped.is_set():
            raise Fault("nobody waits for it")
        gate = connections.Gate(
            judges=not vouched, on_made=self._remember, on_inside=self._hold_back
        )
        try:
            return connections.pools(_trust(), urllib.parse.urlsplit(url).scheme, gate).request(
                "GET",
                url,
                headers=headers,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=conf.connect_timeout, read=conf.read_timeout),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            fault = _unreached(error)
            if self._held_until and isinstance(fault, Fault):
                # `check_time` ends this one when it ends the one of a port that keeps silent.
                self._stopped.wait(max(0, self._held_until - time.monotonic()) + _SLACK)
            raise fault from error

    def _remember(self, connection: urllib3.connection.HTTPConnection) -> None:
        """The connection is one that `stop` finds, also before there is an answer."""
        self._connection = connection

    def _hold_back(self) -> None:
        """Give the host the time for its answer that every host of a private network has."""
        if seconds := config.CONF.web_download.private_answer_timeout:
            self._due = min(self._due or (math.inf, ""), _in(seconds, _UNREACHED))
            self._held_until = self._due[0]

    # The body

    def _body(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        pending: list[bytes] = []
        size, since, fault = 0, 0.0, None
        while True:
            try:
                piece = self._read(response, min(_PIECE, pipeline.PIECE - size))
            except Fault as error:
                piece, fault = b"", error
            since = since if size else time.monotonic()
            pending.append(piece)
            size += len(piece)
            if not piece or size >= pipeline.PIECE or time.monotonic() - since > _HAND_ON:
                ripe = b"".join(pending)
                whole = size - size % pipeline.BLOCK if piece else size
                if whole:
                    yield ripe[:whole]
                pending, size, since = [ripe[whole:]], size - whole, time.monotonic()
            if fault:
                raise fault
            if not piece:
                return

    def _read(self, response: urllib3.BaseHTTPResponse, most: int) -> bytes:
        limit = config.CONF.gantry.read_timeout
        self._due = _in(limit + _SLACK, "no byte came for too long")
        began = time.monotonic()
        try:
            piece = response.read1(most)
        except urllib3.exceptions.HTTPError as error:
            if any(isinstance(one, http.client.IncompleteRead) for one in (error, *error.args)):
                raise self._cut() from error
            raise _judged(error, _BROKEN) from error
        finally:
            self._due = None
        self._got += len(piece)
        self._pace.add(len(piece), time.monotonic() - began)
        total = self.version and self.version.total
        if not piece and total is not None and self.begins + self._got != total:
            raise self._cut()
        return piece

    def _cut(self) -> Fault:
        total = self.version and self.version.total
        of = "" if total is None else f" of {total}"
        return Fault(f"the connection was cut, {self.begins + self._got}{of} bytes had arrived")


class _Pace:
    """Whether bytes come fast enough: on average, over the last `read_timeout` seconds of waiting for them.

    Only time that was spent on the network counts: a disk that is slower is no fault of the server's.
    """

    #: Marks that the window is slid by.
    _STEPS = 16

    def __init__(self) -> None:
        conf = config.CONF.gantry
        self._rate, self._window = conf.minimum_rate, conf.read_timeout
        self._waited, self._got = 0.0, 0
        self._marks: collections.deque[tuple[float, int]] = collections.deque([(0.0, 0)])

    def add(self, count: int, seconds: float) -> None:
        """So many bytes came, so long after they were asked for.

        Raises:
            Fault: that is too slow.
        """
        self._waited += seconds
        self._got += count
        if self._waited - self._marks[-1][0] < self._window / self._STEPS:
            return
        self._marks.append((self._waited, self._got))
        while self._waited - self._marks[1][0] >= self._window:
            self._marks.popleft()
        since, before = self._marks[0]
        passed = self._waited - since
        if passed >= self._window and self._got - before < self._rate * passed:
            raise Fault(f"it brought fewer than {self._rate} bytes a second")


_BROKEN = "The download broke off"
_UNREACHABLE = "The URL cannot be reached"
#: What says that the server does not give the part that was asked for, but may give the whole.
_NO_PART = (http.HTTPStatus.PARTIAL_CONTENT, http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


def _in(seconds: float, cause: str) -> tuple[float, str]:
    return time.monotonic() + seconds, cause


def _range(begins: int, version: Version | None) -> dict[str, str]:
    """The headers that ask for what is still missing."""
    if not begins or version is None:
        return {}
    condition = {"If-Range": version.validator} if version.validator else {}
    return {"Range": f"bytes={begins}-"} | condition


def _part(response: urllib3.BaseHTTPResponse) -> tuple[int, int, int]:
    """First byte, bytes up to the last one, and bytes in all; nonsense where the server does not say."""
    said = re.fullmatch(
        r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})",
        response.headers.get("Content-Range", ""),
        re.ASCII,
    )
    first, last, total = map(int, said.groups()) if said else (-1, -1, -1)
    return first, last + 1, total


def _goes_on(
    response: urllib3.BaseHTTPResponse, wanted: Wanted, begins: int, before: Version
) -> bool:
    """Whether this is the rest of the very bytes that are here; a server may get If-Range wrong."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT or _encoded(response):
        return False
    first, end, total = _part(response)
    return (
        (first, end) == (begins, total)
        and before.total in (None, total)
        and (before.validator is None or _bears(response, before.validator, wanted))
    )


def _bears(response: urllib3.BaseHTTPResponse, validator: str, wanted: Wanted) -> bool:
    """Whether a part is of the version that `validator` names.

    A part names its ETag, and need not name its date (RFC 9110, section 15.3.7); one of what never changes
    need not name anything.
    """
    is_tag = validator.startswith('"')
    said = response.headers.get("ETag" if is_tag else "Last-Modified")
    return said == validator or (said is None and (wanted.immutable or not is_tag))


def _version(response: urllib3.BaseHTTPResponse, wanted: Wanted) -> Version:
    """What the head of a whole answer says."""
    if _encoded(response):  # what is counted here would not be what the server counts
        return Version(None, None, resumable=False)
    validator = _strong_tag(response) or _strong_date(response)
    able = response.headers.get("Accept-Ranges", "").strip().lower() != "none"
    resumable = able and (validator is not None or wanted.immutable)
    return Version(validator, response.length_remaining, resumable)


def _encoded(response: urllib3.BaseHTTPResponse) -> bool:
    return response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def _strong_tag(response: urllib3.BaseHTTPResponse) -> str | None:
    tag = response.headers.get("ETag", "").strip()
    return tag if re.fullmatch(r'"[\x21\x23-\x7e]{1,1000}"', tag) else None


def _strong_date(response: urllib3.BaseHTTPResponse) -> str | None:
    said = response.headers.get("Last-Modified", "")
    try:
        changed = email.utils.parsedate_to_datetime(said)
        answered = email.utils.parsedate_to_datetime(response.headers.get("Date", ""))
        return said if (answered - changed).total_seconds() >= _SETTLED else None
    except (TypeError, ValueError, OverflowError):
        return None


def _check(response: urllib3.BaseHTTPResponse, wanted: Wanted) -> None:
    """Refuse whatever is not 200, or 204 where nothing is wanted: so images without data are answered."""
    status, fresh = response.status, wanted.fresh
    if status == http.HTTPStatus.OK or (status == http.HTTPStatus.NO_CONTENT and wanted.size == 0):
        return
    response.close()
    phrase = http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else ""
    words = f"The URL answered {status} {phrase}".strip()
    if status in _PASSING or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Fault(words, "", _asked_pause(response))
    if status == http.HTTPStatus.UNAUTHORIZED and fresh and fresh.renew():
        raise Fault(f"{words} to the service token that was at hand", "")
    raise Refused(words, status)


def _asked_pause(response: urllib3.BaseHTTPResponse) -> float:
    try:
        return min(urllib3.Retry().get_retry_after(response) or 0, _LONGEST_PAUSE)
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0


def _same_host(one: str, other: str) -> bool:
    """Whether both URLs name the same scheme, host and port; what is none does not."""
    try:
        return urllib.parse.urlsplit(one)[:2] == urllib.parse.urlsplit(other)[:2]
    except ValueError:
        return False


def _checked(url: object, *, vouched: bool) -> str:
    try:
        return urls.check(url, vouched=vouched)
    except errors.Invalid as error:
        raise errors.ImportFailed(str(error)) from error


def _trust() -> connections.Trust:
    options = config.CONF.web_download
    proxies = dict.fromkeys(("http", "https"), options.proxy) if options.proxy else {}
    return connections.Trust(options.ca_certificates_file, proxies=proxies)


def _configured(url: str) -> dict[str, str]:
    """The headers that the operator has for a URL's host."""
    host = urls.host_of(url)
    return {name: value for to, name, value in config.CONF.web_download.header or () if to == host}


def _unreached(error: Exception) -> Exception:
    """Why no answer has begun, in words that are the same whatever there is in place of a web server."""
    found = _judged(error, _UNREACHABLE)
    if not isinstance(found, Fault):
        return found
    LOG.info("No answer to a download's request: %s (%s)", found.cause, type(error).__name__)
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return found
    return Fault(_UNREACHED, _UNREACHABLE)


def _judged(error: Exception, what: str) -> Exception:
    """What happened, in words without the address: the text goes to whoever asked for the import."""
    if isinstance(error, urllib3.exceptions.SSLError):
        if any(
            isinstance(one, ssl.SSLCertVerificationError) for one in (*error.args, error.__cause__)
        ):
            return errors.ImportFailed(f"{what}: its certificate could not be verified")
    elif isinstance(error, urllib3.exceptions.DecodeError | urllib3.exceptions.LocationValueError):
        return errors.ImportFailed(f"{what}: the answer, or its address, makes no sense")
    for kind, words in _CAUSES:
        if isinstance(error, kind):
            return Fault(words, what)
    return Fault("the connection was lost", what)
