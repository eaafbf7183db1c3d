"""The API under gunicorn, the Procfile's default: `gunicorn -c deploy/gunicorn.conf.py`.

Connections are kept alive; one that waits for its next request costs no thread. The other server that is
tested is uWSGI (`deploy/uwsgi.ini`), which closes each connection after its answer.
Environment: GANTRY_API_HOST (127.0.0.1), GANTRY_API_PORT (9292), GANTRY_API_PROCESSES (2),
GANTRY_API_THREADS (64).
"""

import os
import resource
from typing import Any

# Each connection is an open file, and so is what it downloads; the usual soft limit, 1024, is too low.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_FILES = 8192
if _soft < _FILES:
    _FILES = _FILES if _hard == resource.RLIM_INFINITY else min(_FILES, _hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _hard))

wsgi_app = "api.wsgi:application"
_host = os.environ.get("GANTRY_API_HOST", "127.0.0.1")
bind = f"[{_host}]" if ":" in _host and not _host.startswith("[") else _host
bind += ":" + os.environ.get("GANTRY_API_PORT", "9292")

# gthread, which serves uploads longer than `timeout`, with threads for nothing but requests.
worker_class = "api.gunicorn_worker.Worker"
workers = int(os.environ.get("GANTRY_API_PROCESSES", "2"))
# Each request has a thread until its last byte is sent: as many as there may be slow transfers at a time.
threads = int(os.environ.get("GANTRY_API_THREADS", "64"))
# The connections of one process, those that wait included.
worker_connections = 1000
# Seconds without a sign of life of a whole process; not a limit on a request.
timeout = 60
# Seconds that requests under way may take after SIGTERM.
graceful_timeout = 10
# Seconds that an idle connection is kept for the next request: longer than clients pause between two.
keepalive = 75
# The longest request line and header field, in bytes: tokens and long filters.
limit_request_line = 8190
limit_request_field_size = 65535
# No header of a client becomes SCRIPT_NAME or PATH_INFO, not even on this machine.
forwarder_headers = ""

# gunicorn would open a control socket under the home directory.
control_socket_disable = True
proc_name = "gantry-api"
accesslog = "-"
logger_class = "api.gunicorn_worker.Logger"


def on_starting(server: Any) -> None:
    """Called before the processes are forked: SIGHUP has them read the configuration again.

    gunicorn would replace them, and cut what takes longer than `graceful_timeout`. For new code, or settings
    of this file, restart it.
    """
    from images import reloading  # not before gunicorn has found the code

    server.handle_hup = reloading.tell


def child_exit(_server: object, worker: Any) -> None:
    """Called when a process has ended, also one that was killed: no connection is left to it any more."""
    from api import gunicorn_worker  # as above

    gunicorn_worker.BOARD.leave(worker.age)
