"""What WSGI servers load: `uwsgi --module api.wsgi`, `gunicorn api.wsgi`."""

from api import app

application = app.create_app()
