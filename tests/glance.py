"""A real Glance, upstream's own, under uWSGI on a private port of loopback.

`deploy/setup.sh glance` installs it into .venv-glance; without that, tests that need it are skipped.
`tests.bench.peer` measures it.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator

import pytest
import urllib3

from tests import service

VENV = service.ROOT / ".venv-glance"
#: The rest is httpd/glance-api-uwsgi.ini of upstream's documentation.
_UWSGI = """[uwsgi]
http-socket = 127.0.0.1:{port}
module = glance.wsgi.api:application
processes = {processes}
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
"""


def require() -> None:
    """Skip a test where Glance is not installed."""
    if not (VENV / "bin" / "uwsgi").exists():
        pytest.skip("Glance is not installed: deploy/setup.sh glance")


@contextlib.contextmanager
def running(
    state: pathlib.Path, options: str, *, processes: int = 1
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The URL of a Glance with these options, and its first process, which ends with the block.

    `options` name the database, the stores and Keystone; the tables are made where they are not there.
    """
    port = service.free_port()
    url = f"http://127.0.0.1:{port}"
    file = state / "glance-api.conf"
    file.write_text(options + _CONF.format(state=state, url=url, venv=VENV))
    (state / "uwsgi.ini").write_text(_UWSGI.format(port=port, processes=processes))
    environment = os.environ | {
        "OS_GLANCE_CONFIG_DIR": str(state),
        "PATH": f"{VENV}/bin:{os.environ['PATH']}",
        "PYTHONWARNINGS": "ignore",
    }
    sync = [str(VENV / "bin/glance-manage"), "--config-file", str(file), "db_sync"]
    done = subprocess.run(sync, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"glance-manage db_sync failed:\n{done.stdout}{done.stderr}"
    command = ["setpriv", "--pdeathsig", "KILL", "--", str(VENV / "bin/uwsgi")]
    with (state / "uwsgi.log").open("ab") as log:
        server = subprocess.Popen(
            [*command, "--ini", str(state / "uwsgi.ini")],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        service.wait_for(lambda: _answers(server, url, state), "Glance to answer")
        yield url, server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(service.PATIENCE)


def _answers(server: subprocess.Popen[bytes], url: str, state: pathlib.Path) -> bool:
    log = (state / "uwsgi.log").read_text()
    assert server.poll() is None, f"Glance did not start:\n{log[-3000:]}"
    try:
        return urllib3.request("GET", url, retries=False).status == 300
    except urllib3.exceptions.HTTPError:
        return False
