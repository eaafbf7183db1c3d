"""A store of type swift, through python-swiftclient: ranges, and segments sent side by side, each checked.

glance_store's driver reads no ranges, fails where the last segment is shorter than the others, and leaves
segments behind. A large image is a dynamic large object as there, but the segments of each try have a prefix
of their own: those of a try that died are never taken for the image's.
"""

import contextlib
import functools
import itertools
import logging
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib import parse

import swiftclient
import urllib3
from keystoneauth1 import exceptions as keystone_errors
from swiftclient import utils

from images import errors, file_store, store_client

LOG = logging.getLogger(__name__)

_PIECE = 1 << 20
#: Seconds for which a gateway may be silent.
_SILENCE = 60
#: Segments that are sent at the same time.
_THREADS = 3
_ID_LENGTH = 36
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_FULL = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.INSUFFICIENT_STORAGE)
#: A manifest is an object without bytes of its own, with this header: container and prefix, quoted.
_MANIFEST = "x-object-manifest"
#: A connection is lost; requests' errors are OSErrors, and a body's are urllib3's own.
_LOST = (OSError, urllib3.exceptions.HTTPError)


@contextlib.contextmanager
def translated(driver: Any) -> Iterator[None]:
    """Swiftclient's errors as ours."""
    name = file_store.name(driver)
    try:
        yield
    except swiftclient.ClientException as error:
        raise _meaning(name, error) from error
    except (*_LOST, keystone_errors.ClientException) as error:
        LOG.warning("%s: %s", name, type(error).__name__)
        raise errors.Unavailable(f"{name} does not answer") from error


def _meaning(name: str, error: swiftclient.ClientException) -> errors.GantryError:
    if error.http_status == HTTPStatus.NOT_FOUND:
        return errors.NotFound("The image's data are no longer in the store")
    LOG.warning("%s answers %s %s", name, error.http_status, error.http_reason)
    if error.http_status in _FULL:
        return errors.StorageFull(f"{name} is full")
    # Where it is Keystone that refuses, swiftclient says so in words only.
    if error.http_status in _REFUSED or str(error).startswith("Unauthorized"):
        return errors.Misconfigured(
            f"{name} refuses this service: its operator has to correct the credentials, or the rights, of it"
        )
    return errors.Unavailable(f"{name} cannot do this: {error.http_status or 'no answer'}")


@contextlib.contextmanager
def _connected(driver: Any, place: Any) -> Iterator[Any]:
    """A connection with the credentials that a location has; no two threads may use it at once."""
    _check_tenant(driver)
    if not place.swift_url:
        raise errors.Misconfigured(
            f"{file_store.name(driver)} lacks an address: its operator has to name it"
        )
    _complete(driver, place)
    with contextlib.closing(driver.get_connection(place)) as connection:
        connection.timeout = _SILENCE  # the driver sets none, and would wait for ever
        yield connection


def _place(driver: Any, name: str) -> Any:
    """Where the store puts an image of this name."""
    _check_tenant(driver)
    return driver.create_location(name)


def _check_tenant(driver: Any) -> None:
    if driver.store_conf.swift_store_multi_tenant:
        raise errors.Misconfigured(
            f"{file_store.name(driver)} would need its users' tokens (swift_store_multi_tenant), which no "
            "worker has: its operator has to configure it without"
        )


def _complete(driver: Any, place: Any) -> None:
    """Give a location the application credentials, which no URL has: those of its own Keystone only."""
    if getattr(driver, "application_credential_id", None) and not place.user:
        own = _place(driver, place.obj)
        if place.swift_url.rstrip("/") == own.swift_url.rstrip("/"):
            for name in ("application_credential_id", "application_credential_secret"):
                setattr(place, name, getattr(own, name))
            place.project_name, place.project_id = own.project_name, own.project_id


def add(driver: Any, image_id: str, source: file_store.Told) -> tuple[str, dict[str, str]]:
    """What `store_client.Client` says."""
    file_store.check_configured(driver)
    place = _place(driver, image_id)
    store_client.alone(source.writer, lambda: _have_container(driver, place))
    if source.length < driver.large_object_size:
        kept = _send_whole(driver, place, source)
    else:
        kept = _send_segments(driver, place, source)
    tidy = functools.partial(_remove_others, driver, place, kept)
    store_client.alone(source.writer, tidy, source.length)
    return _url(driver, place), store_client.metadata(driver)


def _url(driver: Any, place: Any) -> str:
    """As glance_store does: URLs hold no credentials where these stand in a file of their own.

    Its own way to make such a URL finds no reference in one of several stores, unless it is configured.
    """
    if not driver.store_conf.swift_store_config_file:
        return str(place.get_uri())
    reference = driver.store_conf.default_swift_reference
    return f"swift+config://{reference}/{place.container.strip('/')}/{place.obj}"


def _have_container(driver: Any, place: Any) -> None:
    with _connected(driver, place) as connection:
        try:
            connection.head_container(place.container)
        except swiftclient.ClientException as error:
            if error.http_status != HTTPStatus.NOT_FOUND:
                raise
            if not driver.store_conf.swift_store_create_container_on_put:
                raise errors.Misconfigured(
                    f"{file_store.name(driver)} has no container: its operator has to make it, "
                    "or to set swift_store_create_container_on_put"
                ) from error
            connection.put_container(place.container)


def _remove_others(driver: Any, place: Any, kept: tuple[str, ...]) -> None:
    """Remove the segments that earlier tries have left: those of other prefixes."""
    with _connected(driver, place) as connection:
        segments = _segments(connection, place.container, f"{place.obj}-")
        lost = [one for one in segments if not one.startswith(kept)]
        _remove(connection, place.container, lost)


def _put(driver: Any, place: Any, name: str, source: file_store.Told, part: range) -> None:
    """Send a part of a file as one object, and compare what has arrived."""
    with source.path.open("rb") as file, _connected(driver, place) as connection:
        file.seek(part.start)
        body = utils.LengthWrapper(file, len(part), md5=True)
        etag = connection.put_object(place.container, name, body, content_length=len(part))
        if etag != body.get_md5sum():
            raise errors.Unavailable("The store has not received what was sent")


def _send_whole(driver: Any, place: Any, source: file_store.Told) -> tuple[str, ...]:
    """Send a file as one object; the prefixes of its segments, of which there are none."""
    put = functools.partial(_put, driver, place, place.obj, source, range(source.length))
    source.writer.ready()
    try:
        store_client.together(source.writer, [(source.length, put)], 1)
    except Exception:
        # It may be stored, and only the answer be lost. A worker's is removed with its import, once nobody
        # else can have the task.
        if not source.writer.attempt:
            store_client.briefly(lambda: _forget(driver, place, [place.obj]))
        raise
    return ()


def _send_segments(driver: Any, place: Any, source: file_store.Told) -> tuple[str, ...]:
    """Send a file in segments, then the manifest that makes them one object; their prefix."""
    prefix, size = f"{place.obj}-{secrets.token_hex(4)}-", driver.large_object_chunk_size
    starts = range(0, source.length, size)
    parts = [range(start, min(start + size, source.length)) for start in starts]
    names = [f"{prefix}{number:05}" for number in range(1, len(parts) + 1)]
    work = [
        (len(part), functools.partial(_put, driver, place, name, source, part))
        for name, part in zip(names, parts, strict=True)
    ]
    try:
        store_client.together(source.writer, work, _THREADS)
        source.writer.ready()
        join = functools.partial(_put_manifest, driver, place, prefix)
        store_client.alone(source.writer, join, source.length)
    except BaseException:
        # Where this fails too, the next try, the end of the import or upkeep finds the segments.
        store_client.briefly(lambda: _forget(driver, place, names))
        raise
    return (prefix,)


def _put_manifest(driver: Any, place: Any, prefix: str) -> None:
    # No more is quoted than must be: glance_store's driver takes the header as it is when it deletes.
    headers = {_MANIFEST: f"{place.container}/{prefix}".replace("%", "%25")}
    with _connected(driver, place) as connection:
        connection.put_object(place.container, place.obj, b"", headers=headers)


def _forget(driver: Any, place: Any, names: list[str]) -> None:
    """Remove what a try has sent, unless it is part of an image: its answer may be all that was lost."""
    with _connected(driver, place) as connection:
        if not _is_meant(connection, place.container, names[0]):
            _remove(connection, place.container, names)


def size(driver: Any, place: Any) -> int:
    """What `store_client.Client` says."""
    where = place.store_location
    with _connected(driver, where) as connection:
        return int(connection.head_object(where.container, where.obj)["content-length"])


def read(driver: Any, place: Any, offset: int, length: int) -> Iterator[bytes]:
    """What `store_client.Client` says."""
    if not length:
        return iter(())
    return store_client.opened(_pieces(driver, place.store_location, offset, offset + length))


def _pieces(driver: Any, where: Any, start: int, end: int) -> Iterator[bytes]:
    """An empty piece once it is open, then the bytes; where they break off the rest is asked for."""
    tries = driver.store_conf.swift_store_retry_get_count
    with translated(driver), _connected(driver, where) as connection:
        body = _body(connection, where, start, end)
        yield b""
        while True:
            try:
                for piece in body:
                    start += len(piece)
                    yield piece
            except _LOST as error:
                LOG.warning("%s: %s", file_store.name(driver), type(error).__name__)
            if start >= end:  # a gateway that ignores ranges gives too much
                return
            if not tries:
                raise errors.Unavailable(f"{file_store.name(driver)} has stopped in the middle")
            tries -= 1
            body = _body(connection, where, start, end)


def _body(connection: Any, where: Any, start: int, end: int) -> Iterator[bytes]:
    # Not its get_object, which asks again from the beginning of the object where a range breaks off.
    get = swiftclient.client.get_object
    wanted = {"Range": f"bytes={start}-{end - 1}"}
    _, body = connection._retry(
        None, get, where.container, where.obj, resp_chunk_size=_PIECE, headers=wanted
    )
    return body  # type: ignore[no-any-return]


def delete(driver: Any, place: Any) -> None:
    """What `store_client.Client` says."""
    with _connected(driver, place.store_location) as connection:
        _delete(connection, place.store_location)


def _delete(connection: Any, place: Any) -> None:
    """An object, and first the segments that it is made of."""
    found = connection.head_object(place.container, place.obj)
    if found.get("x-static-large-object", "").lower() == "true":
        query = "multipart-manifest=delete"
        connection.delete_object(place.container, place.obj, query_string=query)
        return
    for meaning in _meanings(found):
        container, _, prefix = meaning.partition("/")
        with contextlib.suppress(errors.NotFound), _absence():
            _remove(connection, container, _segments(connection, container, prefix))
    connection.delete_object(place.container, place.obj)


def discard(driver: Any, image_id: str) -> None:
    """What `store_client.Client` says."""
    place = _place(driver, image_id)
    with _connected(driver, place) as connection:
        with contextlib.suppress(errors.NotFound), _absence():
            _delete(connection, place)
        with contextlib.suppress(errors.NotFound), _absence():
            segments = _segments(connection, place.container, f"{image_id}-")
            _remove(connection, place.container, segments)


@contextlib.contextmanager
def _absence() -> Iterator[None]:
    """Swift's 404 as `NotFound`."""
    try:
        yield
    except swiftclient.ClientException as error:
        if error.http_status != HTTPStatus.NOT_FOUND:
            raise
        raise errors.NotFound from error


def _segments(connection: Any, container: str, prefix: str) -> Iterator[str]:
    """Names of a container's objects that begin so."""
    _, listing = connection.get_container(container, prefix=prefix, full_listing=True)
    return (str(one["name"]) for one in listing)


def _remove(connection: Any, container: str, names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(errors.NotFound), _absence():
            connection.delete_object(container, name)


def _is_meant(connection: Any, container: str, segment: str) -> bool:
    """Whether a segment is part of an image that is there."""
    with contextlib.suppress(errors.NotFound), _absence():
        found = connection.head_object(container, segment[:_ID_LENGTH])
        return f"{container}/{segment}".startswith(_meanings(found))
    return False


def _meanings(found: dict[str, str]) -> tuple[str, ...]:
    """Beginnings of the segments that a manifest may mean: Ceph unquotes it, Swift does not."""
    manifest = found.get(_MANIFEST, "")
    return tuple({manifest, parse.unquote(manifest)} - {""})


def found(driver: Any, digit: str) -> Iterator[store_client.Found]:
    """What `store_client.Client` says."""
    place = _place(driver, digit)
    with _connected(driver, place) as connection:
        for container in _containers(driver, connection, digit):
            _, listing = connection.get_container(container, prefix=digit, full_listing=True)
            for _, some in itertools.groupby(listing, lambda one: one["name"][:_ID_LENGTH]):
                yield from _left_over(connection, container, list(some))


def _containers(driver: Any, connection: Any, digit: str) -> list[str]:
    """Where such images are: `swift_store_multiple_containers_seed` spreads them."""
    if not driver.store_conf.swift_store_multiple_containers_seed:
        return [driver.container]
    _, listing = connection.get_account(prefix=f"{driver.container}_{digit}", full_listing=True)
    return [one["name"] for one in listing]


def _left_over(
    connection: Any, container: str, listing: list[dict[str, Any]]
) -> Iterator[store_client.Found]:
    """What bears one image's name: the object itself, and segments that are not part of it."""
    image_id = listing[0]["name"][:_ID_LENGTH]
    segments = [one for one in listing if one["name"] != image_id]
    # Segments of one try beside an object are that object's: to ask about each image takes too long.
    tries = {one["name"].rpartition("-")[0] for one in segments}
    if len(segments) < len(listing):
        whole = next(one for one in listing if one["name"] == image_id)
        yield store_client.Found(
            image_id, _time(whole), f"{container}/{image_id}", (f"/{container}/{image_id}",)
        )
        if len(tries) == 1:
            return
    for one in segments:
        if not _is_meant(connection, container, one["name"]):
            yield store_client.Found(image_id, _time(one), f"{container}/{one['name']}")


def _time(listed: dict[str, Any]) -> float:
    when = datetime.fromisoformat(listed["last_modified"].rstrip("Z"))
    return when.replace(tzinfo=UTC).timestamp()


def remove(driver: Any, found: store_client.Found) -> None:
    """What `store_client.Client` says."""
    container, _, name = found.name.partition("/")
    with _connected(driver, _place(driver, found.image_id)) as connection:
        if not _is_meant(connection, container, name):  # its manifest may have come since
            _remove(connection, container, [name])


def take_away(driver: Any, found: store_client.Found) -> None:
    """What `store_client.Client` says."""
    container, _, name = found.name.partition("/")
    with _connected(driver, _place(driver, found.image_id)) as connection:
        _remove(connection, container, [name])
