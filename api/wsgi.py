"""What WSGI servers load: `uwsgi --module api.wsgi`, `gunicorn api.wsgi`."""

import logging
import logging.handlers
import sys

from oslo_log import log

from api import app
from images import config

# Only the configuration says where the log is; what reading it has to tell waits until that is known.
_early = logging.handlers.MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)
logging.getLogger().addHandler(_early)
try:
    application = app.create_app()
except SystemExit as error:
    # Both servers would replace a process that exits by the next one, for ever; an exception stops them.
    sys.tracebacklimit = 0
    raise ImportError(str(error)) from None
finally:
    logging.getLogger().removeHandler(_early)
log.setup(config.CONF, "gantry-api")
for record in _early.buffer:
    logging.getLogger(record.name).handle(record)
_early.buffer.clear()
