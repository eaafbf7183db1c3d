"""What Keystone has said is kept, in memcached or in the process; and what happens while Keystone is away."""

import contextlib
import getpass
import pathlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests import keystone, service
from tests.compat.test_keystone_auth import configured


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[keystone.Keystone]:
    """Somebody in a project."""
    with keystone.running(tmp_path_factory.mktemp("keystone")) as running:
        running.user("member-ours", "ours", "member")
        yield running


@pytest.fixture
def memcached(tmp_path: pathlib.Path) -> Iterator[int]:
    """The port of a memcached of its own."""
    if not shutil.which("memcached"):
        pytest.skip("memcached is not installed")
    port = service.free_port()
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        "memcached",
        "-l",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    server = subprocess.Popen([*command, "-u", getpass.getuser()])
    try:
        yield port
    finally:
        server.kill()
        server.wait()


def test_tokens_are_kept_in_memcached(
    identity: keystone.Keystone, tmp_path: pathlib.Path, memcached: int
) -> None:
    state = tmp_path / "gantry"
    state.mkdir()
    lines = ("[keystone_authtoken]", f"memcached_servers = 127.0.0.1:{memcached}")
    with configured(identity, state, *lines) as images:
        images.token = identity.token("member-ours", project="ours")
        assert stored(memcached) == 0
        for _ in range(10):
            assert images.ask("GET", "/v2/images").status == 200
        assert stored(memcached) == 1


def stored(port: int) -> int:
    """How many things a memcached has."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"stats\r\nquit\r\n")
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    found = re.search(rb"STAT curr_items (\d+)", said)
    assert found
    return int(found[1])


def test_a_memcached_that_is_away_does_no_harm(
    identity: keystone.Keystone, tmp_path: pathlib.Path
) -> None:
    lines = ("[keystone_authtoken]", f"memcached_servers = 127.0.0.1:{service.free_port()}")
    with configured(identity, tmp_path, *lines) as images:
        images.token = identity.token("member-ours", project="ours")
        start = time.monotonic()
        assert [images.ask("GET", "/v2/images").status for _ in range(4)] == [200] * 4
        assert time.monotonic() - start < 30


def test_keystone_goes_away(tmp_path: pathlib.Path) -> None:
    state = tmp_path / "gantry"
    state.mkdir()
    (tmp_path / "keystone").mkdir()
    with contextlib.ExitStack() as stack:
        identity = stack.enter_context(keystone.running(tmp_path / "keystone"))
        identity.user("member-ours", "ours", "member")
        known = identity.token("member-ours", project="ours")
        unknown = identity.token("member-ours", project="ours")
        lines = ("[keystone_authtoken]", "http_request_max_retries = 1")
        with configured(identity, state, *lines) as images:
            # Each of the two processes of the API has a cache of its own.
            for _ in range(20):
                assert images.ask("GET", "/v2/images", X_Auth_Token=known).status == 200
            stack.close()
            start = time.monotonic()
            assert images.ask("GET", "/v2/images", X_Auth_Token=unknown).status == 503
            assert time.monotonic() - start < 30
            assert images.ask("GET", "/v2/images", X_Auth_Token=known).status == 200
            assert images.ask("GET", "/v2/images").status == 401
            assert images.ask("GET", "/healthcheck").status == 200
