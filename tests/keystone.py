"""A real Keystone for tests: SQLite, fernet tokens, behind uWSGI on a private port of loopback.

`deploy/setup.sh keystone` installs it into .venv-keystone; without that, tests that need it are skipped.
Nothing but plain HTTP is spoken with it, so no client library's opinion stands between it and a test.
"""

import base64
import contextlib
import dataclasses
import fcntl
import os
import pathlib
import secrets
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from tests import service

_BIN = service.ROOT / ".venv-keystone" / "bin"
PASSWORD = "none-of-your-business"
REGION = "RegionOne"
_DOMAIN = "default"
#: Tables, and the first administrator: one process for both, since loading Keystone takes two seconds.
_PREPARE = """
import sys
from keystone.cmd import manage
file, *bootstrap = sys.argv[1:]
for command in (["db_sync"], bootstrap):
    sys.argv = ["keystone-manage", "--config-file", file, *command]
    manage.main()
    manage.cli.CONF.reset()
"""


def require() -> None:
    """Skip a test where Keystone is not installed."""
    if not (_BIN / "uwsgi").exists():
        pytest.skip("Keystone is not installed: deploy/setup.sh keystone")


@dataclasses.dataclass(frozen=True)
class User:
    """Somebody with a password."""

    id: str
    name: str


class Keystone:
    """A running Keystone, and what tests make in it; whoever is made twice is made once."""

    def __init__(self, state: pathlib.Path, port: int) -> None:
        self.state = state
        self.root = f"http://127.0.0.1:{port}"
        #: What clients call the `auth_url`.
        self.url = f"{self.root}/v3"
        self._http = urllib3.PoolManager(retries=False, timeout=service.PATIENCE)
        self._admin_token = ""
        self._ids: dict[str, dict[str, str]] = {}
        #: Of the service and the endpoint `image`, once `serve_images` has made them.
        self.service_id = self.endpoint_id = ""

    # Requests

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """One request, by default the administrator's."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["X-Auth-Token"] = token or self.admin_token
        return self._http.request(method, self.url + path, json=body, headers=named)

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """One request that must succeed; its document, or None."""
        answer = self.ask(method, path, body)
        assert answer.status < 300, (answer.status, answer.data)
        return answer.json() if answer.data else None

    @property
    def admin_token(self) -> str:
        """A token of the user `admin` in the project `admin`."""
        if not self._admin_token:
            self._admin_token = self.token("admin", project="admin")
        return self._admin_token

    # Tokens

    def token(
        self,
        user: str,
        *,
        project: str | None = None,
        domain: str | None = None,
        system: bool = False,
        password: str = PASSWORD,
    ) -> str:
        """A new token of a user, for a project, a domain, the whole system, or for nothing."""
        who = {"name": user, "domain": {"id": _DOMAIN}, "password": password}
        identity = {"methods": ["password"], "password": {"user": who}}
        scope: dict[str, Any] | str = "unscoped"
        if project:
            scope = {"project": {"name": project, "domain": {"id": _DOMAIN}}}
        elif domain:
            scope = {"domain": {"id": domain}}
        elif system:
            scope = {"system": {"all": True}}
        body = {"auth": {"identity": identity, "scope": scope}}
        answer = self._http.request("POST", f"{self.url}/auth/tokens", json=body)
        assert answer.status == 201, answer.data
        return answer.headers["X-Subject-Token"]

    def restricted_token(self, user: str, project: str, rules: list[dict[str, str]]) -> str:
        """A token of an application credential that is good for some requests only."""
        token = self.token(user, project=project)
        name = {"name": f"for-{user}-{len(rules)}-{secrets.token_hex(4)}", "access_rules": rules}
        path = f"/users/{self._ids['user'][user]}/application_credentials"
        answer = self.ask("POST", path, {"application_credential": name}, token)
        assert answer.status == 201, answer.data
        made = answer.json()["application_credential"]
        given = {"id": made["id"], "secret": made["secret"]}
        methods = {"methods": ["application_credential"], "application_credential": given}
        body = {"auth": {"identity": methods}}
        answer = self._http.request("POST", f"{self.url}/auth/tokens", json=body)
        assert answer.status == 201, answer.data
        return answer.headers["X-Subject-Token"]

    def revoke(self, token: str) -> None:
        """Make a token invalid before its time."""
        answer = self.ask("DELETE", "/auth/tokens", X_Subject_Token=token)
        assert answer.status == 204, answer.data

    # Who there is

    def project(self, name: str) -> str:
        """The id of a project."""
        return self._id("project", name, domain_id=_DOMAIN)

    def role(self, name: str) -> str:
        """The id of a role; admin implies member, and member implies reader."""
        return self._id("role", name)

    def user(self, name: str, project: str | None = None, *roles: str) -> User:
        """A user with roles in a project."""
        user_id = self._id("user", name, domain_id=_DOMAIN, password=PASSWORD)
        for role in roles:
            assert project
            path = f"/projects/{self.project(project)}/users/{user_id}/roles/{self.role(role)}"
            self.do("PUT", path)
        return User(user_id, name)

    def grant_on_domain(self, user: User, role: str, domain: str = _DOMAIN) -> None:
        """Give a user a role in a domain."""
        self.do("PUT", f"/domains/{domain}/users/{user.id}/roles/{self.role(role)}")

    def grant_on_system(self, user: User, role: str) -> None:
        """Give a user a role in the whole system."""
        self.do("PUT", f"/system/users/{user.id}/roles/{self.role(role)}")

    def _id(self, kind: str, name: str, **fields: Any) -> str:
        known = self._ids.setdefault(kind, {})
        if name not in known:
            found = self.do("GET", f"/{kind}s?name={name}")[f"{kind}s"]
            if not found:
                found = [self.do("POST", f"/{kind}s", {kind: {"name": name, **fields}})[kind]]
            known[name] = found[0]["id"]
        return known[name]

    # The image service in it

    def serve_images(self, url: str) -> None:
        """Put an image service into the catalog, or say that it is elsewhere now.

        Its user is `glance`: admin and service in the project `service`, and reader of the system's limits.
        """
        if not self.service_id:
            body = {"service": {"name": "glance", "type": "image"}}
            self.service_id = self.do("POST", "/services", body)["service"]["id"]
            user = self.user("glance", "service", "admin", "service")
            self.grant_on_system(user, "reader")
        where = {"interface": "public", "region_id": REGION, "url": url}
        if self.endpoint_id:
            self.do("PATCH", f"/endpoints/{self.endpoint_id}", {"endpoint": where})
        else:
            body = {"endpoint": {"service_id": self.service_id} | where}
            self.endpoint_id = self.do("POST", "/endpoints", body)["endpoint"]["id"]

    def options(self, *more: str) -> str:
        """Lines of a configuration file that put Gantry behind this Keystone; `more` is for [DEFAULT]."""
        who = f"""auth_url = {self.url}
auth_type = password
username = glance
password = {PASSWORD}
user_domain_id = {_DOMAIN}"""
        return "\n".join(
            [
                *(
                    "[DEFAULT]",
                    *more,
                    "[paste_deploy]",
                    "flavor = keystone",
                    "[keystone_authtoken]",
                ),
                *(f"www_authenticate_uri = {self.url}", who, "project_name = service"),
                f"project_domain_id = {_DOMAIN}",
                *(
                    "[oslo_limit]",
                    who,
                    "system_scope = all",
                    f"endpoint_id = {self.endpoint_id}",
                    "",
                ),
            ]
        )

    # Unified limits

    def registered_limit(self, resource: str, limit: int) -> None:
        """What every project may have of one of our resources, unless it has a limit of its own."""
        where = {"service_id": self.service_id, "region_id": REGION, "resource_name": resource}
        self._set("registered_limit", where, "default_limit", limit)

    def project_limit(self, project: str, resource: str, limit: int) -> None:
        """What one project may have; the registered limit must be there."""
        where = {"service_id": self.service_id, "region_id": REGION, "resource_name": resource}
        where["project_id"] = self.project(project)
        self._set("limit", where, "resource_limit", limit)

    def _set(self, kind: str, where: dict[str, str], name: str, limit: int) -> None:
        query = "&".join(f"{key}={value}" for key, value in where.items())
        if found := self.do("GET", f"/{kind}s?{query}")[f"{kind}s"]:
            self.do("PATCH", f"/{kind}s/{found[0]['id']}", {kind: {name: limit}})
        else:
            self.do("POST", f"/{kind}s", {f"{kind}s": [where | {name: limit}]})


@contextlib.contextmanager
def running(state: pathlib.Path, images: str = "") -> Iterator[Keystone]:
    """A Keystone on an empty directory; `images` is the URL of the image service, for the catalog.

    Skips the test where Keystone is not installed. Nothing is left running when the block ends.
    """
    require()
    _make_keys(state)
    port = service.free_port()
    keystone = Keystone(state, port)
    _configure(state / "etc", state, 24 * 3600)
    _make_database(state / "keystone.sqlite", keystone.url)
    with _serving(state / "etc", port):
        keystone.serve_images(images or "http://127.0.0.1:9292")
        yield keystone


def _make_database(file: pathlib.Path, url: str) -> None:
    """The tables, the first administrator and Keystone's own place in the catalog.

    Made once for each installation of Keystone and copied from then on: it takes longer than most tests.
    """
    ready = _BIN.parent / "bootstrapped.sqlite"
    with (_BIN.parent / "bootstrapped.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = _BIN.parent / ".setup-requirements-keystone.txt"
        if not ready.exists() or ready.stat().st_mtime < stamp.stat().st_mtime:
            with tempfile.TemporaryDirectory() as scratch:
                _bootstrap(pathlib.Path(scratch))
                shutil.move(pathlib.Path(scratch) / "keystone.sqlite", ready)
        shutil.copy(ready, file)
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE endpoint SET url = ?", [url])
        database.commit()


def _bootstrap(state: pathlib.Path) -> None:
    _make_keys(state)
    command = [*("-W", "ignore", "-c", _PREPARE, str(_configure(state / "etc", state, 60)))]
    command += [*("bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", REGION)]
    for interface in ("public", "internal", "admin"):
        command += [f"--bootstrap-{interface}-url", "http://127.0.0.1:5000/v3"]
    done = subprocess.run([_BIN / "python", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def hasty(keystone: Keystone, seconds: int) -> Iterator[Keystone]:
    """The same Keystone at a second address, where tokens are good for so many seconds only."""
    port = service.free_port()
    etc = keystone.state / f"hasty-{port}"
    _configure(etc, keystone.state, seconds)
    with _serving(etc, port):
        yield Keystone(keystone.state, port)


def _make_keys(state: pathlib.Path) -> None:
    """What `keystone-manage fernet_setup` and `credential_setup` make, without starting them."""
    for name in ("fernet", "credential"):
        directory = state / name
        directory.mkdir(mode=0o700)
        for number in range(2):
            (directory / str(number)).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
            (directory / str(number)).chmod(0o600)


def _configure(etc: pathlib.Path, state: pathlib.Path, seconds: int) -> pathlib.Path:
    etc.mkdir()
    file = etc / "keystone.conf"
    file.write_text(
        f"[DEFAULT]\nlog_file = {etc}/keystone.log\n"
        f"[database]\nconnection = sqlite:///{state}/keystone.sqlite\n"
        f"[token]\nexpiration = {seconds}\n"
        f"[fernet_tokens]\nkey_repository = {state}/fernet\n"
        f"[fernet_receipts]\nkey_repository = {state}/fernet\n"
        f"[credential]\nkey_repository = {state}/credential\n"
        # Without it a request costs half a second of processor time. In memory it is right for one process
        # only, which with one thread also keeps writers out of each other's way in SQLite.
        "[cache]\nenabled = true\nbackend = dogpile.cache.memory\n"
        "[identity]\npassword_hash_rounds = 4\n"
    )
    return file


@contextlib.contextmanager
def _serving(etc: pathlib.Path, port: int) -> Iterator[None]:
    """Keystone behind uWSGI; tests that are killed themselves leave none behind."""
    options = (
        "--master --need-app --no-orphans --enable-threads --disable-logging --processes 1"
        f" --socket-timeout 60 --buffer-size 65535 --http-socket 127.0.0.1:{port}"
        " --module keystone.wsgi.api:application"
    )
    command = ["setpriv", "--pdeathsig", "KILL", "--", str(_BIN / "uwsgi"), *options.split()]
    command += ["--add-header", "Connection: close"]
    environment = os.environ | {"OS_KEYSTONE_CONFIG_DIR": str(etc), "PYTHONWARNINGS": "ignore"}
    with (etc / "uwsgi.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        service.wait_for(lambda: _answers(server, port, etc), "Keystone to answer")
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # asked gently, uWSGI takes five seconds
        server.wait(service.PATIENCE)


def _answers(server: subprocess.Popen[bytes], port: int, etc: pathlib.Path) -> bool:
    assert server.poll() is None, (etc / "uwsgi.log").read_text()
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/v3", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
