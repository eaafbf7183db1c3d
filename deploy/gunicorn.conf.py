"""The API under gunicorn, the other server that is tested: `gunicorn -c deploy/gunicorn.conf.py`.

To run it in place of uWSGI, put that line into the Procfile as `api`. It answers `Expect: 100-continue`
and takes chunked bodies by itself; many slow downloads use up its threads sooner than uWSGI's.
Environment: GANTRY_API_HOST (127.0.0.1), GANTRY_API_PORT (9292), GANTRY_API_PROCESSES (2),
GANTRY_API_THREADS (32).
"""

import os

wsgi_app = "api.wsgi:application"
_host = os.environ.get("GANTRY_API_HOST", "127.0.0.1")
bind = f"[{_host}]" if ":" in _host and not _host.startswith("[") else _host
bind += ":" + os.environ.get("GANTRY_API_PORT", "9292")

# Threads serve uploads longer than `timeout`; the class "sync" would be killed in the middle of them.
worker_class = "gthread"
workers = int(os.environ.get("GANTRY_API_PROCESSES", "2"))
threads = int(os.environ.get("GANTRY_API_THREADS", "32"))
# Seconds without a sign of life of a whole process; not a limit on a request.
timeout = 60
# Seconds that requests under way may take after SIGTERM.
graceful_timeout = 10
# Seconds that an idle connection is kept for the next request.
keepalive = 5
# The longest request line and header field, in bytes: tokens and long filters.
limit_request_line = 8190
limit_request_field_size = 65535

# gunicorn would open a control socket under the home directory.
control_socket_disable = True
proc_name = "gantry-api"
accesslog = "-"
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(B)s bytes %(M)s ms'
