"""The application: the whole wiring of the API."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import flask
from werkzeug import routing

from api import (
    actions,
    auth,
    body,
    cache,
    discovery,
    edge,
    errors,
    image_data,
    images,
    imports,
    locations,
    members,
    metadefs,
    openapi,
    schemas,
    tags,
    task_records,
    tasks,
    usage,
    versions,
)
from api.metadefs import schemas as metadef_schemas
from images import cache as image_cache
from images import methods, policy, queue, service

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_BLUEPRINTS = (
    *(discovery, schemas, openapi, usage, metadefs, metadef_schemas),
    *(images, image_data, imports, locations, tasks, task_records, members, tags, actions, cache),
)


class _Rule(routing.Rule):
    """A route that has the methods which it names: GET brings no HEAD along (contract section 2.0)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.methods:
            self.methods.discard("HEAD")


class _Flask(flask.Flask):
    url_rule_class = _Rule


def create_app(files: Sequence[str] | None = None) -> "WSGIApplication":
    """The WSGI application, from the configuration files (the usual ones, unless named here).

    Raises:
        SystemExit: the configuration cannot be used.
    """
    service.start(files)
    service.check_places()
    # All that the first request of a kind would have to wait for.
    policy.load()
    schemas.load()
    methods.load()
    queue.load()
    image_cache.prepare()
    app: WSGIApplication = routes(asks_keystone=auth.asks_keystone()).wsgi_app
    # A request passes these from the last one to the first.
    for wrap in (auth.wrap, versions.Middleware, edge.wrap, body.Middleware):
        app = wrap(app)
    return app


@functools.cache
def routes(*, asks_keystone: bool) -> flask.Flask:
    """What answers the requests, the same for every configuration."""
    app = _Flask("api", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # `api.versions` has done it
    app.url_map.converters["cached"] = cache.ImageId
    errors.register(app)
    auth.register(app, asks_keystone=asks_keystone)
    for module in _BLUEPRINTS:
        app.register_blueprint(module.blueprint)
    return app
