"""Glance, upstream's own, for one test: a process under uWSGI that believes in its callers' headers.

`deploy/setup.sh glance` installs it into .venv-glance; without that, tests that need it are skipped.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import urllib3

from tests import service

_VENV = service.ROOT / ".venv-glance"
#: Headers: what Keystone's middleware would say of an administrator.
CALLER = {
    "X-Identity-Status": "Confirmed",
    "X-User-Id": "demo",
    "X-Project-Id": "demo",
    "X-Roles": "admin,member,reader",
}
_UWSGI = """[uwsgi]
http-socket = 127.0.0.1:{port}
module = glance.wsgi.api:application
processes = 1
threads = 4
master = true
lazy-apps = true
enable-threads = true
http-auto-chunked = true
http-chunked-input = true
http-raw-body = true
add-header = Connection: close
buffer-size = 65535
die-on-term = true
need-app = true
"""
#: Upstream's pipeline with Keystone, without the part that asks Keystone.
_PASTE = """[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api
[composite:api]
paste.composite_factory = glance.api:pipeline_factory
default = versionnegotiation context rootapp
[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app
[app:apiversions]
paste.app_factory = glance.api.versions:create_resource
[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory
[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
"""
_CONF = """{options}
[paste_deploy]
config_file = {room}/paste.ini
[wsgi]
python_interpreter = {venv}/bin/python
[oslo_concurrency]
lock_path = {room}
"""


def require() -> None:
    """Skip a test where Glance is not installed."""
    if not (_VENV / "bin/uwsgi").exists():
        pytest.skip("Glance is not installed: deploy/setup.sh glance")


class Glance:
    """A Glance on a directory of its own, with the same options (`options`, a file's text) as ours."""

    def __init__(self, room: pathlib.Path, options: str) -> None:
        self.room = room
        self.url = ""
        room.mkdir(exist_ok=True)
        (room / "paste.ini").write_text(_PASTE)
        self._file = room / "glance-api.conf"
        self._file.write_text(_CONF.format(options=options, room=room, venv=_VENV))
        self._process: subprocess.Popen[bytes] | None = None
        self._http = urllib3.PoolManager(retries=False, timeout=service.PATIENCE)

    def manage(self, *words: str) -> str:
        """What `glance-manage` says."""
        command = [str(_VENV / "bin/glance-manage"), "--config-file", str(self._file), *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serves inside the block, and is killed (kill -9) at its end."""
        port = service.free_port()
        self.url = f"http://127.0.0.1:{port}"
        (self.room / "uwsgi.ini").write_text(_UWSGI.format(port=port))
        command = [str(_VENV / "bin/uwsgi"), "--ini", str(self.room / "uwsgi.ini")]
        environment = os.environ | {
            "OS_GLANCE_CONFIG_DIR": str(self.room),
            "PATH": f"{_VENV}/bin:{os.environ['PATH']}",
            "PYTHONPATH": "",
            "PYTHONWARNINGS": "ignore",
        }
        with (self.room / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                cwd=self.room,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            service.wait_for(self._answers, "Glance to answer")
            yield
        finally:
            self._kill()

    def _kill(self) -> None:
        assert self._process is not None
        family = psutil.Process(self._process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self._process.wait()
        psutil.wait_procs(family, service.PATIENCE)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.room / "log").read_text()[-3000:]
        try:
            return self._http.request("GET", self.url).status == 300
        except urllib3.exceptions.HTTPError:
            return False

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """One request of an administrator; a dict or list goes as JSON, bytes as they are."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return service.request(self._http, method, self.url + path, body, CALLER | named)
