"""Which addresses a URL that somebody else chose may lead to, and how a name becomes one (docs/urls.md).

An address that is not public is refused unless the operator allows its network: loopback, link-local (where
clouds have their metadata), private, multicast, reserved. One that carries another inside is judged by both.
"""

import ipaddress
import logging
import socket
from collections.abc import Callable, Iterator, Sequence

from images import config

LOG = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What RFC 6890's registries, or the machines of a cloud, keep for themselves although Python's `ipaddress`
#: calls it global in some of its versions.
_RESERVED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # IETF protocol assignments; a cloud's metadata at 192.0.0.192
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # a cloud's host, seen from its guests
        "2001::/23",  # IETF protocol assignments, Teredo among them
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
#: Nobody has these: they stand in examples, which a user who tries one should see fail like any absent host.
_EXAMPLES = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
#: All of IPv6 that has been given to anybody (RFC 4291, section 2.4).
_UNICAST = ipaddress.IPv6Network("2000::/3")
#: Where a translator reaches IPv4 from a network without it (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_BITS = 0xFFFFFFFF


def unmapped(address: Address) -> Address:
    """The address that is connected to: of ::ffff:192.0.2.7 it is 192.0.2.7."""
    return getattr(address, "ipv4_mapped", None) or address


def is_allowed(address: Address) -> bool:
    """Whether a URL may lead there."""
    return all(_passes(one) for one in _forms(unmapped(address)))


def is_inside(address: Address) -> bool:
    """Whether it is reached only because the operator allows its network."""
    return not all(is_public(one) for one in _forms(unmapped(address)))


def is_public(address: Address) -> bool:
    """Whether anybody on the Internet may have it, or nobody at all."""
    if _is_in(address, _EXAMPLES):
        return True
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not _is_in(address, _RESERVED)
    )


def _passes(address: Address) -> bool:
    """Allowed wins over disallowed, as at each level of the filter (contract section 4.7)."""
    lists = config.CONF.import_filtering_opts
    if _is_in(address, lists.allowed_networks) or str(address) in lists.allowed_hosts:
        return True
    return is_public(address) and not _is_in(address, lists.disallowed_networks)


def _forms(address: Address) -> Iterator[Address]:
    """The address, and those that it hands the connection on to: by NAT64, 6to4 or Teredo."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            yield ipaddress.IPv4Address(int(address) & _IPV4_BITS)
        if address.sixtofour:
            yield address.sixtofour
        yield from address.teredo or ()


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _ask_system(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


#: Finds the addresses of a host by its name; raises `socket.gaierror`. Whoever has another name service, or
#: a test that must lie about names, puts it here.
resolve: Callable[[str, int], list[str]] = _ask_system


def reachable(host: str, port: int) -> list[Address]:
    """The addresses of a host that a URL may lead to, asked for once: connect to these and to no others.

    Raises:
        gaierror: the name is not known, or all its addresses are refused. Which of the two stands in the
            log only: the difference would tell a stranger which names there are in a private network.
    """
    found = [unmapped(ipaddress.ip_address(text)) for text in resolve(host, port)]
    allowed = [address for address in dict.fromkeys(found) if is_allowed(address)]
    if found and not allowed:
        LOG.warning(
            "%s is refused: it is at %s, which [import_filtering_opts] allowed_networks does not hold",
            host,
            found[0],
        )
    if not allowed:
        raise socket.gaierror(socket.EAI_NONAME, "not known, or not allowed")
    return allowed
