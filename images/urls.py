"""The one gate for URLs: which ones somebody else may have us ask (contract section 4.7, docs/urls.md).

A URL is judged by the words in it, here, before anything is asked of anybody; what its host's name stands for
is judged when the connection is made (`images.connections`).
"""

import ipaddress
import re
import urllib.parse

import urllib3

from images import config, errors, networks

#: What some resolvers take for an address although it is not written as one: 127.1, 0x7f.1, 2130706433.
_ODD_ADDRESS = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*\.?", re.IGNORECASE)
#: What a host's name has, once it is in its ASCII form.
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?")
#: What no URL holds, and parsers disagree about.
_FORBIDDEN = re.compile(r"[\s\\\x00-\x1f\x7f]")


def check(url: object, *, vouched: bool = False) -> str:
    """The URL, if the operator's lists let it pass; each hop of a redirect is asked again.

    `vouched` is one whose host the operator has named: it may lie in any network.

    Raises:
        Invalid: it is not a URL, or is refused; the text names the rule and not the operator's lists.
    """
    if not isinstance(url, str) or not url:
        raise errors.Invalid("The import method needs a member uri")
    parts = _parts(url)
    if not parts.scheme or _FORBIDDEN.search(url):
        raise errors.Invalid("The uri must be a URL with a scheme and a host")
    _judge("schemes", parts.scheme)
    if not parts.host:
        raise errors.Invalid("The uri must be a URL with a scheme and a host")
    host = host_of(url)
    _judge("hosts", host)
    if parts.port is not None:
        _judge("ports", parts.port)
    if not vouched:
        _judge_address(host)
    return url


def join(url: str, target: str) -> str:
    """Where a redirect leads; what is no URL is left as it is, for `check` to refuse it."""
    try:
        return urllib.parse.urljoin(url, target)
    except ValueError:
        return target


def host_of(url: str) -> str:
    """A URL's host as the lists have it: an address in its one form, or a name in lower case.

    Raises:
        Invalid: it is no host, or an address in a spelling that resolvers disagree about.
    """
    host = (_parts(url).host or "").strip("[]")
    try:
        return str(networks.unmapped(ipaddress.ip_address(host)))
    except ValueError:
        pass
    name = host.rstrip(".").lower()
    if _ODD_ADDRESS.fullmatch(name):
        raise errors.Invalid("The uri's host is an address in an unusual spelling")
    if not _NAME.fullmatch(name):
        raise errors.Invalid("The uri's host is no name of a host")
    return name


def _parts(url: str) -> urllib3.util.Url:
    """As urllib3 reads it, which makes the request; what Python's parser reads otherwise is refused."""
    try:
        parts = urllib3.util.parse_url(url)
        other = urllib.parse.urlsplit(url)
        agreed = other.port == parts.port and (
            not url.isascii() or (other.hostname or "") == (parts.host or "").strip("[]").lower()
        )
    except (ValueError, urllib3.exceptions.LocationParseError) as error:
        raise errors.Invalid("The uri is not a valid URL") from error
    if not agreed:
        raise errors.Invalid("The uri is not a valid URL")
    return parts


def _judge(level: str, value: str | int) -> None:
    options = config.CONF.import_filtering_opts
    allowed, refused = options[f"allowed_{level}"], options[f"disallowed_{level}"]
    if value not in allowed if allowed else value in refused:
        raise errors.Invalid(f"The uri's {level[:-1]} {value} is not allowed here")


def _judge_address(host: str) -> None:
    """An address that is written out needs no name service, so it is judged at once."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if not networks.is_allowed(address):
        raise errors.Invalid(
            f"The uri's host {host} is not allowed here: it lies in a network that is not public"
        )
