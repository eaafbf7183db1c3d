"""What WSGI servers load: `uwsgi --module api.wsgi`, `gunicorn api.wsgi`."""

import sys

from oslo_log import log

from api import app
from images import config

try:
    application = app.create_app()
except SystemExit as error:
    # Both servers would replace a process that exits by the next one, for ever; an exception stops them.
    sys.tracebacklimit = 0
    raise ImportError(str(error)) from None
log.setup(config.CONF, "gantry-api")
