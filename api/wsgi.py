"""What WSGI servers load: `uwsgi --module api.wsgi`, `gunicorn api.wsgi`."""

from oslo_log import log

from api import app
from images import config

application = app.create_app()
log.setup(config.CONF, "gantry-api")
