"""The image cache of the host that is asked: /v2/cache, and the older /v2/cached_images, /v2/queued_images.

Contract section 2.13. Another host's is asked at that host.
"""

import datetime
from typing import Any

import flask
from werkzeug import routing

from api import render
from images import (
    cache,
    cache_fills,
    catalog,
    config,
    errors,
    hosts,
    models,
    policy,
    queue,
    records,
)

blueprint = flask.Blueprint("cache", __name__, url_prefix="/v2")

_ONE = "/cache/<cached:image_id>"


class ImageId(routing.BaseConverter):
    """What may stand for an image in a path: `clean` and `prune` do not, and allow other methods."""

    regex = "(?!(?:clean|prune)$)[^/]+"
    part_isolating = True


_TARGETS = ("", "cache", "queue")


@blueprint.get("/cache")
def index() -> flask.Response:
    """GET /v2/cache."""
    _allow("cache_list")
    return render.answer(_cached() | _queued())


@blueprint.put(_ONE)
def enqueue(image_id: str) -> flask.Response:
    """PUT /v2/cache/{id}; a worker of this host does it."""
    image = catalog.show(flask.g.context, image_id)
    _allow("cache_image", image)
    _enqueue(image)
    return render.empty(202)


@blueprint.delete(_ONE)
def drop(image_id: str) -> flask.Response:
    """DELETE /v2/cache/{id}; of a deleted image too."""
    try:
        image = catalog.show(flask.g.context, image_id)
    except errors.NotFound:
        if not cache.is_on() or not cache.knows(image_id):
            raise
        image = None
    _allow("cache_delete", image)
    cache.drop(image_id)
    return render.empty()


@blueprint.delete("/cache")
def clear() -> flask.Response:
    """DELETE /v2/cache."""
    _allow("cache_delete")
    target = flask.request.headers.get("x-image-cache-clear-target", "").lower()
    if target not in _TARGETS:
        raise errors.Invalid(
            "If provided 'x-image-cache-clear-target' must be 'cache', 'queue' or empty string."
        )
    # The queue first: what is fetched then has been asked for since.
    if target != "cache":
        cache.empty_queue()
    if target != "queue":
        cache.clear()
    return render.empty()


@blueprint.get("/cache/nodes/<image_id>")
def nodes(image_id: str) -> flask.Response:
    """GET /v2/cache/nodes/{id}: the hosts that have an image in their cache."""
    _allow("list_cached_nodes")
    if config.CONF.image_cache_driver != "centralized_db":
        raise errors.Conflict("Centralized caching is not enabled")
    return render.answer(cache.nodes(catalog.show(flask.g.context, image_id).id))


@blueprint.post("/cache/clean")
def clean() -> flask.Response:
    """POST /v2/cache/clean."""
    _allow("cache_clean")
    cache.clean()
    return render.empty(200)


@blueprint.post("/cache/prune")
def prune() -> flask.Response:
    """POST /v2/cache/prune."""
    _allow("cache_prune")
    images, size = cache.prune()
    return render.answer({"total_files_pruned": images, "total_bytes_pruned": size})


# As up to Rocky


@blueprint.get("/cached_images")
def old_cached() -> flask.Response:
    """GET /v2/cached_images."""
    _allow_old()
    return render.answer(_cached())


@blueprint.delete("/cached_images")
def old_clear() -> flask.Response:
    """DELETE /v2/cached_images."""
    _allow_old()
    return render.answer({"num_deleted": cache.clear()})


@blueprint.delete("/cached_images/<image_id>")
def old_drop(image_id: str) -> flask.Response:
    """DELETE /v2/cached_images/{id}."""
    _allow_old()
    cache.drop(image_id)
    return render.empty(200)


@blueprint.get("/queued_images")
def old_queued() -> flask.Response:
    """GET /v2/queued_images."""
    _allow_old()
    return render.answer(_queued())


@blueprint.put("/queued_images/<image_id>")
def old_enqueue(image_id: str) -> flask.Response:
    """PUT /v2/queued_images/{id}."""
    _allow_old()
    _enqueue(catalog.show(flask.g.context, image_id))
    return render.empty(200)


@blueprint.delete("/queued_images")
def old_empty_queue() -> flask.Response:
    """DELETE /v2/queued_images."""
    _allow_old()
    return render.answer({"num_deleted": cache.empty_queue()})


@blueprint.delete("/queued_images/<image_id>")
def old_dequeue(image_id: str) -> flask.Response:
    """DELETE /v2/queued_images/{id}."""
    _allow_old()
    if image_id in cache.queued():
        cache.dequeue(image_id)
    return render.empty(200)


def _allow(rule: str, image: records.Record | None = None) -> None:
    """Refuse who may not, and then everybody where there is no cache."""
    policy.enforce(flask.g.context, rule, image)
    if not cache.is_on():
        raise errors.NotFound("Caching via API is not supported at this site.")


def _allow_old() -> None:
    _allow("manage_image_cache")
    if not (config.CONF.paste_deploy.flavor or "").endswith("cachemanagement"):
        raise errors.NotFound("The flavor of this site has no cachemanagement; use /v2/cache.")


def _enqueue(image: records.Record) -> None:
    cache_fills.enqueue(image)
    queue.ring(image.id, hosts.queue_of_cache(), queue.PREFETCH)


def _cached() -> dict[str, Any]:
    return {"cached_images": [_shown(row) for row in cache.entries()]}


def _shown(row: models.CachedImage) -> dict[str, Any]:
    return {
        "image_id": row.image_id,
        "last_accessed": _seconds(row.last_accessed),
        "last_modified": _seconds(row.last_modified),
        "size": row.size,
        "hits": row.hits,
        "checksum": row.checksum,
    }


def _seconds(date: datetime.datetime) -> float:
    """Since 1970, as Glance shows it."""
    return date.replace(tzinfo=datetime.UTC).timestamp()


def _queued() -> dict[str, Any]:
    return {"queued_images": cache.queued()}
