"""Copying an image's bytes from one store into another, and holding the copy against the record."""

import pathlib
import threading
from collections.abc import Callable, Iterable

from images import digests, errors, models, pipeline, readahead, staging, stores

_Place = tuple[str, dict[str, str]]
#: Held by the copy that brings the bytes into staging, for all that are made at the same time.
_brings = threading.Lock()


def nearest(locations: Iterable[models.ImageLocation]) -> list[models.ImageLocation]:
    """The locations, those first that are local files: these are copied without passing through staging."""
    return sorted(locations, key=lambda row: not row.value.startswith("file://"))


def copy(
    source: models.ImageLocation,
    store_id: str,
    image_id: str,
    known: tuple[int, dict[str, str]],
    writer: stores.Writer,
) -> _Place:
    """Copy into a store; the URI and the metadata of the new location.

    A local file is copied by the kernel, which lets both share their blocks where the file system can. What
    is elsewhere comes into staging first, where it serves the other stores of the task too. `known` is what
    the record says: bytes, and checksum, os_hash_algo and os_hash_value as far as it has them.

    Raises:
        NotFound, Unavailable, StorageFull: the bytes cannot be read, or not be written.
        ImportFailed: they are no longer what the record says; the copy is gone again.
    """
    size, digest = known
    opened = stores.open_location(source)
    file = opened.path or _staged(image_id, size, opened, writer.on_bytes)
    try:
        is_whole = file.stat().st_size == size
    except FileNotFoundError as error:
        raise errors.NotFound("The image's data are no longer in the store") from error
    if not is_whole:
        raise errors.ImportFailed("The stored data are not as long as the record says")
    url, metadata = stores.add(store_id, image_id, file, writer, link=file != opened.path)
    made = stores.open_location(models.ImageLocation(value=url, meta_data=metadata))
    try:
        _check(made.path or file, digest, lambda: writer.on_bytes(size))
    except errors.ImportFailed:
        writer.ready()  # by now it may be another worker's copy
        stores.delete(url, metadata)
        if not opened.path:
            file.unlink(missing_ok=True)  # the next try is to bring them again
        raise
    return url, metadata


def _staged(
    image_id: str, size: int, opened: stores.Opened, on_bytes: Callable[[int], object]
) -> pathlib.Path:
    """The bytes of a store that is not local, in staging: brought by the copy that comes first.

    A file of this name is whole, and each copy is held against the record, so what is known of it besides
    does not count: a store that has linked it has changed it in that respect.
    """
    file = staging.path(image_id)
    while not _brings.acquire(timeout=readahead.TICK):
        on_bytes(0)
    try:
        if not file.exists() or file.stat().st_size != size:
            _bring(image_id, size, opened, on_bytes)
    finally:
        _brings.release()
    return file


def _bring(
    image_id: str, size: int, opened: stores.Opened, on_bytes: Callable[[int], object]
) -> None:
    done = 0

    def heard(total: int) -> None:
        nonlocal done
        done = total
        on_bytes(total)

    data = readahead.Pieces(lambda: opened.read_range(0, size))
    with readahead.ReadAhead(data, lambda: on_bytes(done)) as source:
        staging.receive(image_id, source, digest=False, size=size, on_bytes=heard)


def _check(file: pathlib.Path, known: dict[str, str], go_on: Callable[[], object]) -> None:
    """Digest a file by the record's own algorithm, and compare."""
    if not known:
        return
    algorithm = known.get("os_hash_algo", "md5")
    made = digests.Digests(*digests.of_record(algorithm))
    with file.open("rb", buffering=0) as source, pipeline.Pipeline(made.takers) as line:
        while size := source.readinto(room := line.room()):
            line.send(room[:size])
            go_on()
        line.finish()
    found = digests.columns(made.values(), algorithm)
    if any(found[name] != value for name, value in known.items()):
        raise errors.ImportFailed("The stored data are no longer what the record's checksum says")
