"""Connections to web servers that nobody vouches for: to an address that was judged, and for a time.

A host's name is looked up once. Each address that comes of it is judged (`images.networks`), and the socket
is connected to that very address, so that a name which changes its mind in between leads nowhere else. TLS
is still verified for the name.
"""

import contextlib
import dataclasses
import functools
import ipaddress
import socket
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import urllib3
from urllib3 import connection as urllib3_connection
from urllib3 import connectionpool

from images import networks


@dataclasses.dataclass(frozen=True, slots=True)
class Trust:
    """How servers are reached and verified, as the operator says."""

    #: A file of certificates to verify servers by, or None for the system's.
    certificates: str | None = None
    #: Whether certificates are verified at all.
    verify: bool = True
    #: Proxy by scheme. A proxy looks names up by itself, so it must do the judging of addresses too.
    proxies: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Gate:
    """What each connection of a request passes; a redirect's next hop is a request of its own."""

    #: Off where the operator names the host: a proxy, or another region's image service.
    judges: bool = True
    #: Told of each connection before it is made.
    on_made: Callable[[urllib3_connection.HTTPConnection], object] = lambda _: None
    #: Told, before connecting, that it goes to an address which only the operator's own networks have.
    on_inside: Callable[[], object] = lambda: None


def pools(trust: Trust, scheme: str, gate: Gate) -> urllib3.PoolManager:
    """What makes a request for a URL of this scheme, by a proxy where there is one for it."""
    options: dict[str, Any] = {
        "num_pools": 1,
        "cert_reqs": "CERT_REQUIRED" if trust.verify else "CERT_NONE",
        "ca_certs": trust.certificates,
    }
    if not trust.verify:  # the operator has decided so (glance_store's default)
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    made: urllib3.PoolManager
    if proxy := trust.proxies.get(scheme):
        made = _proxied(proxy if "://" in proxy else f"http://{proxy}", options)
        gate = dataclasses.replace(gate, judges=False)
    else:
        made = urllib3.PoolManager(**options)
    made.pool_classes_by_scheme = {
        "http": functools.partial(_HTTPPool, gate=gate),  # type: ignore[dict-item]
        "https": functools.partial(_HTTPSPool, gate=gate),  # type: ignore[dict-item]
    }
    return made


def _proxied(proxy: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    """urllib3 leaves it to others to log in at a proxy."""
    parts = urllib3.util.parse_url(proxy)
    said = (
        urllib3.make_headers(proxy_basic_auth=urllib.parse.unquote(parts.auth))
        if parts.auth
        else {}
    )
    return urllib3.ProxyManager(parts._replace(auth=None).url, proxy_headers=said, **options)


def shut(sock: object) -> None:
    """Wake whoever waits for a socket; what comes there then is worth nothing."""
    with contextlib.suppress(OSError, ValueError):
        if isinstance(sock, socket.socket):
            # Not TLS's own shutdown: that would let the other thread go on without TLS.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Judged(urllib3_connection.HTTPConnection):
    """A connection that goes through a gate."""

    def __init__(self, *args: Any, gate: Gate, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gate = gate
        gate.on_made(self)

    def _new_conn(self) -> socket.socket:
        """The connected socket; urllib3's own way to it looks the name up by itself."""
        if not self._gate.judges:
            return super()._new_conn()
        try:
            addresses = networks.reachable(self.host.strip("[]"), self.port)
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        if any(networks.is_inside(address) for address in addresses):
            self._gate.on_inside()
        return self._connect_to_one(addresses)

    def _connect_to_one(self, addresses: list[networks.Address]) -> socket.socket:
        """The first that answers; they share the time that there is for connecting."""
        seconds = float(self.timeout)  # type: ignore[arg-type]  # every request of ours has one
        ends = time.monotonic() + seconds
        failure: OSError = OSError("no address")
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = max(0.1, (ends - time.monotonic()) / left)
            try:
                return self._connect_to(address, share)
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise urllib3.exceptions.ConnectTimeoutError(self, "timed out") from failure
        raise urllib3.exceptions.NewConnectionError(self, "failed") from failure

    def _connect_to(self, address: networks.Address, seconds: float) -> socket.socket:
        is_old = isinstance(address, ipaddress.IPv4Address)
        family = socket.AF_INET if is_old else socket.AF_INET6
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(seconds)
            sock.connect((str(address), self.port))
            sock.settimeout(self.timeout)
            undo.pop_all()
            return sock


class _JudgedTLS(_Judged, urllib3_connection.HTTPSConnection):
    """The same with TLS, which is verified for the host's name."""


class _HTTPPool(connectionpool.HTTPConnectionPool):
    ConnectionCls = _Judged


class _HTTPSPool(connectionpool.HTTPSConnectionPool):
    ConnectionCls = _JudgedTLS
