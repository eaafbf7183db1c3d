"""Glance, upstream's own, under uWSGI with upstream's sample options."""

import contextlib
import os
import pathlib
import subprocess
from collections.abc import Iterator

import psutil
import urllib3

from tests import service
from tests.bench import ground
from tests.bench.client import Client
from tests.bench.contender import Contender
from tests.bench.trouble import Trouble

_VENV = service.ROOT / ".venv-glance"
#: Two processes of one thread; the rest is httpd/glance-api-uwsgi.ini of upstream's documentation.
_UWSGI = """[uwsgi]
http-socket = 127.0.0.1:{port}
module = glance.wsgi.api:application
processes = 2
master = true
socket-timeout = 10
http-auto-chunked = true
http-chunked-input = true
http-raw-body = true
lazy-apps = true
add-header = Connection: close
buffer-size = 65535
thunder-lock = true
enable-threads = true
exit-on-reload = true
die-on-term = true
need-app = true
no-orphans = true
disable-logging = true
"""
_CONF = """
[DEFAULT]
log_file = {state}/glance.log
worker_self_reference_url = {url}
[paste_deploy]
config_file = {venv}/etc/glance/glance-api-paste.ini
[wsgi]
python_interpreter = {venv}/bin/python
[oslo_concurrency]
lock_path = {state}
[image_import_opts]
image_import_plugins = [{plugins}]
[image_conversion]
output_format = qcow2
"""


@contextlib.contextmanager
def running(base: ground.Ground, *, converts: bool) -> Iterator[Contender]:
    """A Glance that converts what it imports to qcow2, or does not."""
    state = base.room / "glance"
    state.mkdir(exist_ok=True)
    port = service.free_port()
    url = f"http://127.0.0.1:{port}"
    _configure(base, state, url, converts=converts)
    environment = {
        "OS_GLANCE_CONFIG_DIR": str(state),
        "PATH": f"{_VENV}/bin:{os.environ['PATH']}",
        "PYTHONWARNINGS": "ignore",
    }
    (state / "uwsgi.ini").write_text(_UWSGI.format(port=port))
    command = [str(_VENV / "bin/uwsgi"), "--ini", str(state / "uwsgi.ini")]
    engine = base.engine("glance")
    try:
        with ground.running(command, state / "uwsgi.log", environment) as process:
            service.wait_for(lambda: _answers(process, url, state), "Glance to answer")
            yield Contender(
                name="glance",
                client=Client(url, base.identity.admin_token),
                member=Client(url, base.member_token),
                engine=engine,
                groups={"api": psutil.Process(process.pid), "database": base.database_top},
                importers="api",
            )
    finally:
        engine.dispose()


def version() -> str:
    """The one that is installed."""
    program = "from importlib import metadata; print(metadata.version('glance'))"
    command = [str(_VENV / "bin/python"), "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _configure(base: ground.Ground, state: pathlib.Path, url: str, *, converts: bool) -> None:
    """Its configuration, and its tables where they are not there."""
    file = state / "glance-api.conf"
    plugins = "image_conversion" if converts else ""
    own = _CONF.format(state=state, url=url, venv=_VENV, plugins=plugins)
    file.write_text(base.options("glance", state) + own)
    for name in ("fast", "staging", "tasks"):
        (state / name).mkdir(exist_ok=True)
    command = [str(_VENV / "bin/glance-manage"), "--config-file", str(file), "db_sync"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"glance-manage db_sync failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _answers(process: subprocess.Popen[bytes], url: str, state: pathlib.Path) -> bool:
    if process.poll() is not None:
        raise Trouble(f"Glance did not start:\n{(state / 'uwsgi.log').read_text()[-3000:]}")
    try:
        return urllib3.request("GET", url, retries=False).status == 300
    except urllib3.exceptions.HTTPError:
        return False
