"""The options of what is asked of other people's web servers (`images.options` has all groups).

The lists are Glance's; those of networks, and the group `web_download`, are ours.
"""

import ipaddress
import re

import urllib3
from oslo_config import cfg
from oslo_config import types as option_types

#: What stands in a URL behind its host, or before it.
_BEYOND = re.compile(r"[/:@?#\\%\[\]]")


class Network(option_types.ConfigType):
    """10.0.0.0/8, fd00::/8, or a single address."""

    def __init__(self) -> None:
        super().__init__(type_name="network")

    def __call__(self, value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The network; raises ValueError, whose text names what is none."""
        return ipaddress.ip_network(str(value).strip())

    def _formatter(self, value: object) -> str:
        return str(value)


class HostHeader(option_types.ConfigType):
    """`host name: value`, as a tuple of the three; no error shows the value."""

    def __init__(self) -> None:
        super().__init__(type_name="host header")

    def __call__(self, value: object) -> tuple[str, str, str]:
        """The parts; raises ValueError."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(
            r"(\S+)\s+([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~]+)", str(value).strip()
        )
        if not found:
            raise ValueError("it is written as: host name: value")
        return found[1].lower(), found[2], found[3]

    def _formatter(self, value: tuple[str, str, str]) -> str:
        return "{} {}: {}".format(*value)


class Host(option_types.ConfigType):
    """A name in any spelling, as `images.urls.host_of` has those of URLs; or an address."""

    def __init__(self) -> None:
        super().__init__(type_name="host")

    def __call__(self, value: object) -> str:
        """In lower case and, where it has other letters, in their form for the name service.

        Raises:
            ValueError: it is no host.
        """
        name = str(value).strip().rstrip(".")
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            host = urllib3.util.parse_url(f"http://{name}").host or ""
            if _BEYOND.search(name) or not re.fullmatch(r"[\w.-]+", host, re.ASCII):
                raise ValueError(f"{name} is no host") from None
            return host
        return str(getattr(address, "ipv4_mapped", None) or address)

    def _formatter(self, value: object) -> str:
        return str(value)


_PORT = option_types.Integer(min=1, max=65535)

FILTERING = [
    cfg.ListOpt(
        "allowed_schemes", bounds=True, default=["http", "https"], help="Schemes of web-download."
    ),
    cfg.ListOpt("disallowed_schemes", bounds=True, default=[], help="Refused schemes."),
    cfg.ListOpt(
        "allowed_hosts",
        bounds=True,
        default=[],
        item_type=Host(),
        help="Hosts of web-download; []: any.",
    ),
    cfg.ListOpt(
        "disallowed_hosts", bounds=True, default=[], item_type=Host(), help="Refused hosts."
    ),
    cfg.ListOpt(
        "allowed_ports",
        bounds=True,
        default=[80, 443],
        item_type=_PORT,
        help="Ports that a URL may name; []: any.",
    ),
    cfg.ListOpt(
        "disallowed_ports", bounds=True, default=[], item_type=_PORT, help="Refused ports."
    ),
    cfg.ListOpt(
        "allowed_networks",
        bounds=True,
        default=[],
        item_type=Network(),
        help="Networks that are reached although their addresses are not public (loopback, link-local, "
        "private, multicast, reserved), in brackets: [10.20.0.0/16,fd00:20::/48]. Others that are not public "
        "are refused, also where a name leads there.",
    ),
    cfg.ListOpt(
        "disallowed_networks",
        bounds=True,
        default=[],
        item_type=Network(),
        help="Networks that are refused although their addresses are public; allowed_networks wins.",
    ),
]

WEB_DOWNLOAD = [
    cfg.StrOpt(
        "proxy",
        secret=True,
        help="Proxy of web-download and glance-download, http://user:password@host:port. It looks names up "
        "by itself, so it must refuse the networks that nobody may reach.",
    ),
    cfg.StrOpt(
        "ca_certificates_file",
        help="File of the certificates that servers are verified by, in place of the system's.",
    ),
    cfg.MultiOpt(
        "header",
        item_type=HostHeader(),
        secret=True,
        help="A header for one host, which gets it in every request and nobody else does: "
        "mirror.example.org Authorization: Bearer abc. May be given several times.",
    ),
    cfg.FloatOpt(
        "private_answer_timeout",
        default=10.0,
        min=0,
        help="Seconds that a host in allowed_networks has to begin its answer. A try that fails sooner lasts "
        "as long, so that nobody learns which ports of a private network are open; 0: it fails at once.",
    ),
]
