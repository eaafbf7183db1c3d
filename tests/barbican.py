"""A real Barbican for tests: SQLite, its software crypto plugin, behind uWSGI on a private port of loopback.

`deploy/setup.sh keystone` installs it beside Keystone, which says who its callers are.
"""

import base64
import contextlib
import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator

import pytest
import urllib3

from tests import keystone, service

_VENV = service.ROOT / ".venv-keystone"
_PASTE = _VENV / "etc" / "barbican" / "barbican-api-paste.ini"
_WSGI = f"from paste import deploy\napplication = deploy.loadapp('config:{_PASTE}')\n"


class Barbican:
    """A running Barbican."""

    def __init__(self, url: str) -> None:
        self.url = url

    def keep_certificate(self, token: str, pem: bytes) -> str:
        """The id of a certificate that the token's project keeps there from now on."""
        body = {
            "name": "publisher",
            "secret_type": "certificate",
            "payload": base64.b64encode(pem).decode(),
            "payload_content_type": "application/octet-stream",
            "payload_content_encoding": "base64",
        }
        headers = {"X-Auth-Token": token}
        answer = urllib3.request("POST", f"{self.url}/v1/secrets", json=body, headers=headers)
        assert answer.status == 201, answer.data
        kept: str = answer.json()["secret_ref"].rsplit("/", 1)[1]
        return kept

    def options(self, identity: keystone.Keystone) -> str:
        """Lines of a configuration file that have an image service ask it."""
        return (
            f"[key_manager]\nbackend = barbican\n[barbican]\nbarbican_endpoint = {self.url}\n"
            f"auth_endpoint = {identity.url}\n"
        )


@contextlib.contextmanager
def running(state: pathlib.Path, identity: keystone.Keystone) -> Iterator[Barbican]:
    """A Barbican on an empty directory; nothing is left running when the block ends.

    Skips the test where it is not installed.
    """
    if not _PASTE.exists():
        pytest.skip("Barbican is not installed: deploy/setup.sh keystone")
    port = service.free_port()
    _configure(state, f"http://127.0.0.1:{port}", identity)
    options = f"--master --need-app --enable-threads --http-socket 127.0.0.1:{port}"
    command = ["setpriv", "--pdeathsig", "KILL", "--", str(_VENV / "bin" / "uwsgi")]
    command += [*options.split(), "--no-orphans", "--add-header", "Connection: close"]
    command += ["--wsgi-file", str(state / "barbican.wsgi")]
    environment = os.environ | {"HOME": str(state), "PYTHONWARNINGS": "ignore"}
    log = state / "barbican.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        service.wait_for(lambda: _answers(server, port, log), "Barbican to answer")
        yield Barbican(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(service.PATIENCE)


def _configure(state: pathlib.Path, url: str, identity: keystone.Keystone) -> None:
    """Barbican looks for its file in the home directory of its user."""
    identity.user("barbican", "service", "admin", "service")
    directory = state / ".barbican"
    directory.mkdir()
    (state / "barbican.wsgi").write_text(_WSGI)
    (directory / "barbican.conf").write_text(
        f"[DEFAULT]\nhost_href = {url}\ndb_auto_create = true\n"
        f"[database]\nconnection = sqlite:///{state}/barbican.sqlite\n"
        "[secretstore]\nenabled_secretstore_plugins = store_crypto\n"
        "[crypto]\nenabled_crypto_plugins = simple_crypto\n"
        f"[simple_crypto_plugin]\nkek = {base64.urlsafe_b64encode(os.urandom(32)).decode()}\n"
        f"[keystone_authtoken]\nauth_url = {identity.url}\nwww_authenticate_uri = {identity.url}\n"
        f"auth_type = password\nusername = barbican\npassword = {keystone.PASSWORD}\n"
        "user_domain_id = default\nproject_name = service\nproject_domain_id = default\n"
    )


def _answers(server: subprocess.Popen[bytes], port: int, log: pathlib.Path) -> bool:
    assert server.poll() is None, log.read_text()
    try:
        url = f"http://127.0.0.1:{port}/v1/secrets"
        return urllib3.request("GET", url, retries=False).status == 401
    except urllib3.exceptions.HTTPError:
        return False
