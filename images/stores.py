"""Where bytes go: every configured store behind one door, the one to glance_store.

Options, location URIs and object names are glance_store's, so that either service reads what the other
one stored. A file store takes a staged file of its own file system without copying it; S3, Swift and Ceph
are reached through their own libraries (`images.store_client`).
"""

import contextlib
import dataclasses
import errno
import functools
import importlib
import os
import pathlib
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import glance_store
from glance_store import exceptions as store_errors
from glance_store import location as store_location

from images import (
    config,
    errors,
    file_store,
    models,
    records,
    remote,
    store_client,
    store_options,
    store_urls,
)

#: What a location that somebody else names may never point at: files of this machine, and credentials of it.
_REFUSED_SCHEMES = ("file", "filesystem", "swift+config")
#: Who puts a file into a store (`images.file_store`).
Writer = file_store.Writer
_ANYBODY = Writer()
_making = threading.Lock()
#: What discovery tells of a driver: the member's name, and where the driver has it.
_PROPERTIES: dict[str, dict[str, str]] = {
    "file": {
        "data_dir": "datadir",
        "chunk_size": "chunk_size",
        "thin_provisioning": "thin_provisioning",
    },
    "rbd": {"chunk_size": "chunk_size", "pool": "pool", "thin_provisioning": "thin_provisioning"},
    "cinder": {
        "volume_type": "store_conf.cinder_volume_type",
        "use_multipath": "store_conf.cinder_use_multipath",
    },
    "swift": {
        "container": "container",
        "large_object_size": "large_object_size",
        "large_object_chunk_size": "large_object_chunk_size",
    },
    "s3": {
        f"s3_store_{name}": f"s3_store_{name}"
        for name in ("large_object_size", "large_object_chunk_size", "thread_pools")
    },
}


@dataclasses.dataclass(frozen=True, slots=True)
class StoreInfo:
    """One configured store, as discovery shows it (contract section 2.12)."""

    id: str
    #: file, http, rbd, s3, swift, cinder or vmware.
    type: str
    description: str | None
    is_default: bool
    is_read_only: bool
    weight: int


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """The bytes behind one location, ready to be read."""

    size: int | None
    #: Set where the bytes are a local file, which a web server can send by itself.
    path: pathlib.Path | None
    _read: Callable[[int, int], Iterator[bytes]]

    def read_range(self, offset: int, length: int) -> Iterator[bytes]:
        """`length` bytes from `offset` on, in pieces of at most 1 MiB.

        Raises:
            NotFound: they are gone.
            Unavailable: the store does not give them; both come before the first piece where the store says
                so in time.
        """
        try:
            with _translated():
                return self._read(offset, length)
        except FileNotFoundError as error:
            raise errors.NotFound("The image's data are no longer in the store") from error


@functools.cache
def _drivers() -> dict[str, Any]:
    """Every store's driver by the store's id, made once in each process; not of one that cannot be made."""
    with _making:  # where a cluster is away, one thread asks for it, and not all
        return _made()


@functools.cache
def _made() -> dict[str, Any]:
    return store_options.make_drivers(config.CONF)


def _driver(store_id: str) -> Any:
    """A store's driver; whoever names the store may have found it in a record.

    Raises:
        Misconfigured: the store is not in the configuration any more, or its driver could not be made.
    """
    try:
        return _drivers()[store_id]
    except KeyError:
        raise errors.Misconfigured(
            f"There is no store {store_id} here that can be used: the log of this service says why"
        ) from None


@functools.cache
def _ids() -> frozenset[str]:
    """What a location may name as its store; asked of each one that is shown."""
    return frozenset(config.public_stores(config.CONF) or [default_id()])


def reset() -> None:
    """Forget the drivers; the next use makes them from the configuration as it is then."""
    _ids.cache_clear()
    _drivers.cache_clear()
    _made.cache_clear()


def multi() -> bool:
    """Whether several stores are configured (`enabled_backends`)."""
    return bool(config.CONF.enabled_backends)


def default_id() -> str:
    """The store that is taken where nothing is said."""
    if multi():
        return str(config.CONF.glance_store.default_backend)
    return str(config.CONF.glance_store.default_store or "file")


def configured() -> list[StoreInfo]:
    """The stores that a user may see, in the configuration's order; none in single-store mode."""
    conf = config.CONF
    return [
        StoreInfo(
            id=name,
            type=kind,
            description=conf[name].store_description or None,
            is_default=name == conf.glance_store.default_backend,
            is_read_only=kind == "http",
            weight=conf[name].weight,
        )
        for name, kind in config.public_stores(conf).items()
    ]


def properties(store_id: str) -> dict[str, Any]:
    """What an administrator may know of a store besides (contract section 2.12)."""
    driver, kind = _driver(store_id), config.CONF.enabled_backends[store_id]
    shown = {name: _attribute(driver, path) for name, path in _PROPERTIES.get(kind, {}).items()}
    if kind == "rbd":  # rbd://<fsid>/<pool>/
        parts = (driver.url_prefix or "").removeprefix("rbd://").strip("/").split("/")
        shown["fsid"] = parts[0] if len(parts) == 2 else None  # noqa: PLR2004
    return shown


def _client(driver: Any) -> store_client.Client | None:
    """The module that reaches a store through its own library, if there is one for its type."""
    names = [
        store_options.CLIENTS[scheme]
        for scheme in driver.get_schemes()
        if scheme in store_options.CLIENTS
    ]
    try:
        return cast("store_client.Client", importlib.import_module(names[0])) if names else None
    except ImportError as error:
        raise errors.Misconfigured(f"The store lacks a library: {error.name}") from error


def clients() -> Iterator[tuple[Any, store_client.Client]]:
    """The stores that take data and are reached through their own library, as pairs of driver and module."""
    for store_id in writable():
        driver = _drivers().get(store_id)
        if driver and (client := _client(driver)):
            yield driver, client


def _attribute(driver: Any, path: str) -> Any:
    for name in path.split("."):
        driver = getattr(driver, name, None)
    return driver


def has_web_store() -> bool:
    """Whether images may lie on web servers, which only reading needs."""
    conf = config.CONF
    if multi():
        return "http" in config.public_stores(conf).values()
    return "http" in conf.glance_store.stores


def holder_of(url: str) -> str | None:
    """The store that a location's URL belongs to; None where one store needs no name.

    Raises:
        Invalid: no store here has such data, or nobody may point at them.
    """
    try:
        scheme = urllib.parse.urlsplit(url).scheme
    except ValueError as error:
        raise errors.Invalid("Invalid location: it is not a valid URL") from error
    _drivers()
    known = (
        store_location.SCHEME_TO_CLS_BACKEND_MAP if multi() else store_location.SCHEME_TO_CLS_MAP
    )
    if scheme in _REFUSED_SCHEMES or scheme not in known:
        raise errors.Invalid("Invalid location: no store here takes URLs of its scheme")
    if not multi() and store_urls.is_own(known[scheme]["store"], url, _read_by_driver(url)):
        return None
    if multi() and (name := store_urls.holder(url, _drivers())):
        return name
    raise errors.Invalid("Invalid location: no store here holds such data")


def id_of(url: str, metadata: dict[str, Any] | None) -> str:
    """The store that a location is in; the default one where nothing says it."""
    return named(url, metadata) or default_id()


def named(url: str, metadata: dict[str, Any] | None) -> str | None:
    """The store that a location's metadata name, which are called `backend` in Rocky; else that of its URL.

    Locations from the time of a single store name none, and a store's id may have changed since: these go by
    their URL, as in Glance. None where that says nothing either.
    """
    said = (metadata or {}).get("store") or (metadata or {}).get("backend")
    if not isinstance(said, str):  # an owner may have written anything, where there is one store
        said = None
    # Not the drivers: to make them may take minutes where a cluster is away, and records are shown meanwhile.
    if said in _ids():
        return said
    return (store_urls.likely_holder(url, _drivers()) or said) if multi() else None


def _read_by_driver(url: str) -> Any:
    """The parts of a location's URL, where there is one store; None if its driver takes it for none."""
    try:
        return store_location.get_location_from_uri(url).store_location
    except (store_errors.GlanceStoreException, ValueError):
        return None


def size_of(url: str, metadata: dict[str, Any] | None) -> int:
    """The bytes behind a location, as its store says; it is asked over the network.

    Raises:
        NotFound, Unavailable: the store has no such data, or cannot be asked.
    """
    driver, place = _resolve(url, metadata)
    if _is_web(driver):
        return remote.size(url, _trust(driver))
    return _size(driver, place)


def in_order(names: list[str]) -> list[str]:
    """Stores as an image's record shows them: the heaviest first, else as they are configured.

    They are written at the same time, and clients compare the list with that of the configuration.
    """
    if len(names) < 2:  # noqa: PLR2004 - one needs no order
        return names
    known = [one.id for one in sorted(configured(), key=lambda store: -store.weight)]
    place = {name: number for number, name in enumerate(known)}
    return sorted(names, key=lambda name: place.get(name, len(place)))


def listed(names: Iterable[str]) -> str:
    """As an image's record shows a list of stores; a single store has no name to show."""
    return ",".join(sorted(names)) if multi() else ""


def writable() -> list[str]:
    """Ids of the stores that an image can be put into."""
    if not multi():
        return [default_id()]
    return [store.id for store in configured() if not store.is_read_only]


def add(
    store_id: str,
    image_id: str,
    file: pathlib.Path,
    writer: Writer = _ANYBODY,
    *,
    link: bool = True,
) -> tuple[str, dict[str, str]]:
    """Put a staged file into a store, fsynced; the URI and the metadata of its location.

    The staged file stays: it is linked into the first file store of its own file system (which is what makes
    a second try after a crash possible, where a rename would not be), and copied anywhere else, or (`link`)
    everywhere. What an earlier try left under the image's name is replaced.

    Raises:
        NotFound: there is no such file.
        StorageFull, Unavailable: the store cannot take it; nothing is left in the store.
    """
    driver = _driver(store_id)
    with _opened(file, writer) as source:
        if _is_file(driver):
            with _translated(store_id):
                return file_store.add(driver, image_id, source, link=link)
        with _reached(driver, store_id) as client:
            if client:
                return client.add(driver, image_id, source)
            writer.ready()
            url, size, _, _, metadata = driver.add(
                image_id, source, source.length, config.CONF.hashing_algorithm
            )
        if size != source.length:
            delete(url, metadata)
            raise errors.Unavailable(f"The store {store_id} took {size} bytes, which is not all")
        return url, metadata


def _opened(file: pathlib.Path, writer: Writer) -> file_store.Told:
    """The file that is to be stored: what goes wrong here is not the store's fault."""
    try:
        return file_store.Told(file, writer)
    except FileNotFoundError as error:
        raise errors.NotFound("The data that were to be stored are gone") from error
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise errors.Unavailable(f"The data to be stored cannot be read: {why}") from error


def discard(store_id: str, image_id: str, attempt: int) -> None:
    """Remove what the workers of a task, up to `attempt`, may have put into a store and told nobody of.

    Raises:
        Unavailable: the store cannot be reached or changed.
    """
    driver = _driver(store_id)
    with _reached(driver, store_id) as client:
        if _is_file(driver):
            file_store.discard(driver, image_id, attempt)
        elif client:
            client.discard(driver, image_id)


def delete(url: str, metadata: dict[str, str] | None) -> None:
    """Remove the bytes behind a location; bytes that are gone already are no error.

    Raises:
        Conflict: the store says that they are in use.
        Unavailable: the store cannot be reached or does not let go of them.
    """
    driver, location = _resolve(url, metadata)
    if _is_web(driver):
        return  # somebody else's server
    with contextlib.suppress(errors.NotFound), _reached(driver) as client:
        if client:
            client.delete(driver, location)
            return
        if _is_file(driver):
            file_store.check_configured(driver)
        driver.delete(location)


def open_location(location: models.ImageLocation | records.Location) -> Opened:
    """Open the bytes behind a location.

    Raises:
        NotFound: they are gone.
        Unavailable: the store cannot be reached.
    """
    url, metadata = location.value, location.meta_data
    driver, place = _resolve(url, metadata)
    if _is_web(driver):
        trust = _trust(driver)
        return Opened(None, None, lambda offset, length: remote.read(url, offset, length, trust))
    size = _size(driver, place)
    if not _is_file(driver):
        return Opened(size, None, lambda offset, length: _read(driver, place, offset, length))
    return open_file(pathlib.Path(place.store_location.path), size)


def open_file(path: pathlib.Path, size: int) -> Opened:
    """A local file's bytes, ready to be read."""
    return Opened(size, path, functools.partial(file_store.read_range, path))


def _size(driver: Any, place: Any) -> int:
    with _reached(driver) as client:
        return client.size(driver, place) if client else int(driver.get_size(place) or 0)


def _resolve(url: str, metadata: dict[str, Any] | None) -> tuple[Any, Any]:
    _drivers()
    store_id = id_of(url, metadata)
    with _translated(store_id):
        if multi():
            driver = _driver(store_id)
            return driver, store_location.get_location_from_uri_and_backend(url, store_id)
        return glance_store.get_store_from_uri(url), store_location.get_location_from_uri(url)


def _is_web(driver: Any) -> bool:
    return "http" in driver.get_schemes()


def _is_file(driver: Any) -> bool:
    return "file" in driver.get_schemes()


@functools.cache
def _trust(driver: Any) -> remote.Trust:
    """Found once: to ask for a store's options registers them anew."""
    conf = config.CONF
    if multi():
        return remote.trust(store_options.of_store(conf, driver.backend_group, driver))
    return remote.trust(conf.glance_store)


def _read(driver: Any, place: Any, offset: int, length: int) -> Iterator[bytes]:
    """Through its library or its driver; one that cannot begin in the middle is read from its beginning."""
    with _reached(driver) as client:
        if client:
            return client.read(driver, place, offset, length)
    try:
        pieces, _ = driver.get(place, offset=offset, chunk_size=length)
        skip = 0
    except store_errors.StoreRandomGetNotSupported:
        pieces, _ = driver.get(place)
        skip = offset
    return _cut(pieces, skip, length)


def _cut(pieces: Any, skip: int, length: int) -> Iterator[bytes]:
    for piece in pieces:
        kept = piece[skip : skip + length]
        skip = max(0, skip - len(piece))
        length -= len(kept)
        if kept:
            yield kept
        if not length:
            return


@contextlib.contextmanager
def _reached(driver: Any, store_id: str | None = None) -> Iterator[store_client.Client | None]:
    """The way to a store through its own library, if there is one; whatever it raises is translated."""
    client = _client(driver)
    with _translated(store_id), client.translated(driver) if client else contextlib.nullcontext():
        yield client


@contextlib.contextmanager
def _translated(store_id: str | None = None) -> Iterator[None]:
    """glance_store's and the file system's errors as ours; no path or credential passes."""
    name = f"The store {store_id}" if store_id else "The store"
    try:
        yield
    except store_errors.NotFound as error:
        raise errors.NotFound("The image's data are no longer in the store") from error
    except store_errors.StoreAddDisabled as error:
        raise errors.Gone(f"{name} takes no data") from error
    except store_errors.StorageFull as error:
        raise errors.StorageFull(f"{name} is full") from error
    except (store_errors.InUseByStore, store_errors.HasSnapshot) as error:
        raise errors.Conflict("The image's data are in use") from error
    except (store_errors.GlanceStoreException, store_errors.BackendException) as error:
        lasts = isinstance(error, store_errors.BadStoreConfiguration)
        kind = errors.Misconfigured if lasts else errors.Unavailable
        raise kind(f"{name} cannot do this: {type(error).__name__}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise errors.StorageFull(f"{name} is full") from error
        raise errors.Unavailable(f"{name}: {os.strerror(error.errno or 0)}") from error


def directories(store_id: str) -> list[pathlib.Path]:
    """Where a file store keeps its files; none of a store of another type, or of one that takes no data."""
    driver = _drivers().get(store_id)
    return file_store.directories(driver) if driver and _is_file(driver) else []
