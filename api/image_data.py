"""The bytes of an image: PUT and GET /file, PUT /stage (contract sections 2.3 and 2.4)."""

import dataclasses
import logging
import pathlib
import re
import urllib.parse

import flask
from werkzeug import wsgi

from api import body, ranges, render, sendings
from images import (
    cache,
    cache_fills,
    catalog,
    config,
    errors,
    filters,
    locations,
    policy,
    records,
    stores,
    uploads,
)

_LOG = logging.getLogger(__name__)

blueprint = flask.Blueprint("image_data", __name__, url_prefix="/v2/images/<image_id>")

_TYPE = "application/octet-stream"
#: What may be sent as a checksum: whoever else has written one, it splits no header.
_DIGEST = re.compile("[0-9A-Za-z]+")


@blueprint.put("/file")
def upload(image_id: str) -> flask.Response:
    """PUT /v2/images/{id}/file."""
    hint = _size_hint()
    store = flask.request.headers.get("X-Image-Meta-Store")
    source: body.Body = flask.request.environ["wsgi.input"]
    uploads.upload(flask.g.context, image_id, source, size_hint=hint, store=store)
    return flask.Response(status=204)


@blueprint.put("/stage")
def stage(image_id: str) -> flask.Response:
    """PUT /v2/images/{id}/stage."""
    hint = _size_hint()
    if "glance-direct" not in config.CONF.enabled_import_methods:
        raise errors.NotFound("The import method glance-direct is not enabled at this site")
    source: body.Body = flask.request.environ["wsgi.input"]
    uploads.stage(flask.g.context, image_id, source, size_hint=hint)
    return flask.Response(status=204)


def _size_hint() -> int | None:
    """The bytes that the client says it sends."""
    request = flask.request
    if request.mimetype != _TYPE:
        raise errors.UnsupportedMediaType(f"The Content-Type of image data is {_TYPE}")
    text = request.headers.get("X-OpenStack-Image-Size")
    if text is None:
        said = request.content_length
    elif re.fullmatch("[0-9]{1,19}", text.strip(), re.ASCII):
        said = int(text)
    else:
        raise errors.Invalid("X-OpenStack-Image-Size must be a number of bytes")
    return None if said is None else min(said, filters.BIGGEST)


@blueprint.get("/file")
def download(image_id: str) -> flask.Response:
    """GET /v2/images/{id}/file."""
    body.refuse(flask.request.environ)
    asker = flask.g.context
    image = catalog.show(asker, image_id)
    policy.enforce(asker, "download_image", image)
    if image.status == "deactivated" and not asker.is_admin:
        raise errors.Forbidden(f"The requested image {image.id} has been deactivated.")
    # Of an image that is being imported some stores may have the bytes already, but nobody has judged them.
    usable = image.locations and image.status in ("active", "deactivated")
    if usable and (answer := _send_cached(image)):
        return answer
    rows = locations.preferring(image.locations, _preferred(image))
    return _send_first(image, rows) if usable else render.empty()


def _preferred(image: records.Record) -> list[str]:
    """The stores that the caller would like the bytes from; they are tried first."""
    named = [name.strip() for name in flask.request.args.get("prefer", "").split(",")]
    wanted = [name for name in named if name]
    if not wanted:
        return []
    policy.enforce(flask.g.context, "download_from_store", image)
    if not stores.multi():
        raise errors.Invalid(
            "Store selection for download is not available when multiple backends are not enabled."
        )
    known = {store.id for store in stores.configured()}
    for name in wanted:
        if name not in known:
            raise errors.Invalid(f"Store '{name}' is not configured.")
    return wanted


def _send_cached(image: records.Record) -> flask.Response | None:
    """The bytes from this host's cache, if it has them; no store is asked, whichever is preferred."""
    opened = cache.find(image)
    try:
        return _send(image, opened) if opened else None
    except errors.NotFound:  # it was pruned at this moment
        return None


def _send_first(image: records.Record, rows: list[records.Location]) -> flask.Response:
    """The bytes from the first location that gives them."""
    for row in rows[:-1]:
        try:
            return _send_from(image, row)
        except (errors.NotFound, errors.Unavailable) as error:
            _LOG.warning("Image %s: a location fails, the next one is tried: %s", image.id, error)
    return _send_from(image, rows[-1])


def _send_from(image: records.Record, location: records.Location) -> flask.Response:
    opened = stores.open_location(location)
    if opened.size is None:
        size = image.size
        if size is None:  # neither Glance's v1 nor its store has said
            size = stores.size_of(location.value, location.meta_data)
        opened = dataclasses.replace(opened, size=size)
    return _send(image, opened)


def _send(image: records.Record, opened: stores.Opened) -> flask.Response:
    size = opened.size or 0
    part = ranges.asked(flask.request, size)
    headers = {"Content-Type": _TYPE}
    if image.checksum and _DIGEST.fullmatch(image.checksum):
        headers["Content-MD5"] = image.checksum
    keeps = part is None and cache_fills.wants(image, opened)
    nginx_knows = part is None or "Range" in flask.request.headers
    if opened.path and config.CONF.gantry.x_accel_redirect and nginx_knows and not keeps:
        return _send_by_nginx(opened.path, headers)
    if part is None and opened.path and not keeps:
        return _send_file(image, opened, size, headers)
    first, last = part or (0, size - 1)
    headers["Content-Length"] = str(last - first + 1)
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    length = last - first + 1
    pieces = opened.read_range(first, length)
    if keeps:
        pieces = cache_fills.kept(image, pieces)
    told = sendings.told(pieces, length, image, flask.g.context)
    return flask.Response(told, 206 if part else 200, headers, direct_passthrough=True)


def _send_by_nginx(path: pathlib.Path, headers: dict[str, str]) -> flask.Response:
    """Let nginx send a file, or the part of it that was asked for; our own part ends here."""
    place = config.CONF.gantry.x_accel_redirect.rstrip("/") + urllib.parse.quote(str(path))
    return flask.Response(status=200, headers=headers | {"X-Accel-Redirect": place})


def _send_file(
    image: records.Record, opened: stores.Opened, size: int, headers: dict[str, str]
) -> flask.Response:
    """Let the server send a file by itself; uWSGI does it beside its threads."""
    assert opened.path is not None  # noqa: S101 - the caller looked
    try:
        file = opened.path.open("rb", buffering=0)
    except OSError as error:
        raise errors.NotFound("The image's data are no longer in the store") from error
    pieces = wsgi.wrap_file(flask.request.environ, file, 1 << 20)
    pieces = sendings.told(pieces, size, image, flask.g.context)
    headers["Content-Length"] = str(size)
    return flask.Response(pieces, 200, headers, direct_passthrough=True)
