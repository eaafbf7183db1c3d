"""The one gate for URLs: which ones a web-download may ask (contract section 4.7)."""

import ipaddress
import re
import urllib.parse

from images import config, errors

#: What some resolvers take for an address although it is not written as one: 127.1, 0x7f.1, 2130706433.
_ODD_ADDRESS = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*\.?", re.IGNORECASE)


def check(url: object) -> str:
    """The URL, if the operator's lists let it pass; each hop of a redirect is asked again.

    Raises:
        Invalid: it is not a URL, or is refused; the text names the rule and not the operator's lists.
    """
    if not isinstance(url, str) or not url:
        raise errors.Invalid("The import method needs a member uri")
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise errors.Invalid("The uri is not a valid URL") from error
    if not parts.scheme or re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise errors.Invalid("The uri must be a URL with a scheme and a host")
    _judge("schemes", parts.scheme)
    if not host:
        raise errors.Invalid("The uri must be a URL with a scheme and a host")
    host = _normalised(host)
    _judge("hosts", host)
    if port is not None:
        _judge("ports", port)
    return url


def _normalised(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if _ODD_ADDRESS.fullmatch(host):
            raise errors.Invalid("The uri's host is an address in an unusual spelling") from None
        return host.rstrip(".").lower()
    return str(getattr(address, "ipv4_mapped", None) or address)


def _judge(level: str, value: str | int) -> None:
    options = config.CONF.import_filtering_opts
    allowed, refused = options[f"allowed_{level}"], options[f"disallowed_{level}"]
    if value not in allowed if allowed else value in refused:
        raise errors.Invalid(f"The uri's {level[:-1]} {value} is not allowed here")
