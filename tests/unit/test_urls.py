"""The gate for URLs (contract section 4.7)."""

import contextlib

import pytest

from images import errors, urls
from tests.conftest import Configure


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/image.iso",
        "https://example.org:443/a?b=c#d",
        "http://user@example.org/",
        "http://192.0.2.7/",
        "http://[2001:db8::1]/x",
    ],
)
def test_these_pass_by_default(url: str) -> None:
    """Schemes http and https, ports 80 and 443, any host."""
    assert urls.check(url) == url


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        7,
        "example.org/image",
        "http://",
        "http:///path",
        "http://[::1",
        "http://example.org:99999/",
        "http://example.org:22/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://exa mple.org/",
        "http://example.org\\@evil.example/",
        "http://example.org/\r\nX: y",
    ],
)
def test_these_are_refused(url: object) -> None:
    """Not a URL, not an allowed one, or an address in a spelling that resolvers disagree about."""
    with pytest.raises(errors.Invalid):
        urls.check(url)


def test_an_allowed_list_wins_over_the_refused_one(configure: Configure) -> None:
    """Level by level; a host is compared in lower case."""
    configure(
        "[import_filtering_opts]\nallowed_hosts = [good.example]\ndisallowed_hosts = [good.example]\n"
        "allowed_ports = []\ndisallowed_ports = [22]"
    )
    assert urls.check("http://GOOD.example:8080/")
    for url in ("http://bad.example/", "http://good.example:22/"):
        with pytest.raises(errors.Invalid):
            urls.check(url)


@pytest.mark.parametrize(
    "written", ["Internal.Example", "internal.example.", "bücher.example", "xn--bcher-kva.example"]
)
@pytest.mark.parametrize(
    "asked", ["INTERNAL.example", "b\u00fccher.example", "xn--bcher-kva.example"]
)
def test_a_host_in_any_spelling(configure: Configure, written: str, asked: str) -> None:
    """An entry that only one spelling met would let the others through."""
    is_same = ("internal" in written.lower()) == ("INTERNAL" in asked)
    configure(f"[import_filtering_opts]\ndisallowed_hosts = [{written}]")
    with pytest.raises(errors.Invalid) if is_same else contextlib.nullcontext():
        urls.check(f"http://{asked}/")


@pytest.mark.parametrize("written", ["http://a", "a/b", "[::x]", "a b", "a:8080", "me@a", "a#b"])
def test_a_host_that_is_none_stops_the_start(configure: Configure, written: str) -> None:
    with pytest.raises(SystemExit, match="hosts"):
        configure(f"[import_filtering_opts]\ndisallowed_hosts = [{written}]")


def test_a_mapped_address_is_the_address(configure: Configure) -> None:
    """::ffff:192.0.2.7 does not slip past an entry for 192.0.2.7."""
    configure("[import_filtering_opts]\ndisallowed_hosts = [192.0.2.7]")
    for url in ("http://192.0.2.7/", "http://[::ffff:192.0.2.7]/"):
        with pytest.raises(errors.Invalid):
            urls.check(url)
