"""Which addresses a URL may lead to, and what a name becomes (docs/urls.md)."""

import ipaddress
import socket

import pytest

from images import networks
from tests.conftest import Configure

REFUSED = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::"),  # noqa: S104 - an address as a text
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00:ec2::254"),
    *("169.254.169.254", "fe80::1", "fec0::1", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("224.0.0.1", "239.255.255.250", "ff02::1", "240.0.0.1", "255.255.255.255", "198.18.0.1"),
    # What carries another address inside.
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:808:808::1", "2001:0:808:808::1", "2001:10::1"),
    *("3fff::1", "5f00::1", "100::1", "192.88.99.1", "4000::1"),
]
PASSING = [
    *("8.8.8.8", "1.1.1.1", "172.32.0.1", "169.253.1.1", "126.255.255.255", "128.0.0.1"),
    *("2600::1", "2a00:1450::1", "2001:200::1", "::ffff:8.8.8.8", "192.0.2.1", "2001:db8::1"),
]


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not networks.is_allowed(ipaddress.ip_address(address))
    assert networks.is_inside(ipaddress.ip_address(address))


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize("address", PASSING)
def test_what_is_public_passes(address: str) -> None:
    assert networks.is_allowed(ipaddress.ip_address(address))
    assert not networks.is_inside(ipaddress.ip_address(address))


def allowed(configure: Configure, lists: str, *addresses: str) -> list[bool]:
    """What lists make of addresses."""
    configure(f"[import_filtering_opts]\n{lists}")
    return [networks.is_allowed(ipaddress.ip_address(one)) for one in addresses]


def test_a_network_that_the_operator_allows(configure: Configure) -> None:
    """It, and what maps to it; the public ones are reached as before, its neighbours are not."""
    tried = ("10.1.2.3", "::ffff:10.1.2.3", "8.8.8.8", "10.2.0.1", "127.0.0.1")
    lists = "allowed_networks = [10.1.0.0/16]"
    assert allowed(configure, lists, *tried) == [True, True, True, False, False]


def test_an_address_in_the_list_of_hosts(configure: Configure) -> None:
    """Who names the very address means it."""
    lists = "allowed_hosts = [127.0.0.1]"
    assert allowed(configure, lists, "127.0.0.1", "127.0.0.2") == [True, False]


def test_a_network_that_the_operator_refuses(configure: Configure) -> None:
    """Allowed wins over it, so that it can mean all but one."""
    lists = "allowed_networks = [10.1.0.0/16]\ndisallowed_networks = [0.0.0.0/0,::/0]"
    assert allowed(configure, lists, "10.1.2.3", "8.8.8.8", "2600::1") == [True, False, False]


def test_a_translator_does_not_lead_past_the_list(configure: Configure) -> None:
    """Who allows NAT64's network allows the public part of it."""
    lists = "allowed_networks = [64:ff9b::/96,2002::/16]"
    tried = ("64:ff9b::808:808", "64:ff9b::7f00:1", "2002:808:808::1", "2002:a00:1::1")
    assert allowed(configure, lists, *tried) == [True, False, True, False]


@pytest.mark.parametrize(
    "lists", ["allowed_networks = [10.0.0.1/8]", "disallowed_networks = [everything]"]
)
def test_a_network_that_is_none(configure: Configure, lists: str) -> None:
    """The service does not start with it."""
    with pytest.raises(SystemExit, match="networks"):
        configure(f"[import_filtering_opts]\n{lists}")


# Names


def test_a_name_is_judged_by_what_it_stands_for(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several addresses, those that pass are left; each is there once, and in its own form."""
    configure("[import_filtering_opts]\nallowed_networks = [10.1.0.0/16]")
    found = [
        "127.0.0.1",
        "8.8.8.8",
        "::ffff:8.8.8.8",
        "::ffff:169.254.169.254",
        "10.1.0.1",
        "fd00::1",
    ]
    monkeypatch.setattr(networks, "resolve", lambda *_: found)
    assert [str(one) for one in networks.reachable("x.example", 80)] == ["8.8.8.8", "10.1.0.1"]


@pytest.mark.usefixtures("configure")
def test_a_refused_name_is_told_as_an_unknown_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the operator's log knows better: private names must not be found out."""

    def unknown(*_: object) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(networks, "resolve", lambda *_: ["10.0.0.7"])
    with pytest.raises(socket.gaierror) as refused:
        networks.reachable("db.inside.example", 80)
    assert "db.inside.example is refused: it is at 10.0.0.7" in caplog.text
    monkeypatch.setattr(networks, "resolve", unknown)
    with pytest.raises(socket.gaierror) as absent:
        networks.reachable("nothing.example", 80)
    assert refused.value.errno == absent.value.errno


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize("name", ["localhost", "localhost.", "ip6-localhost"])
def test_this_machine_by_its_name(name: str) -> None:
    """By the system's own resolver."""
    with pytest.raises(socket.gaierror):
        networks.reachable(name, 80)
