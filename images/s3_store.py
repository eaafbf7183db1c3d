"""A store of type s3, through boto3: ranges, parts that are sent side by side, and nothing left half sent.

glance_store's driver reads no ranges, refuses to write where an earlier try has left something, and leaves
uploads behind that it has begun. The client, with all its options, is still made by it.
"""

import contextlib
import functools
import logging
import math
import ssl
from collections.abc import Iterator
from typing import Any

from botocore import exceptions
from s3transfer import utils

from images import errors, file_store, store_client

LOG = logging.getLogger(__name__)

_PIECE = 1 << 20
#: S3 takes no more parts of one object.
_MOST_PARTS = 10_000
_ABSENT = ("NoSuchKey", "NoSuchBucket", "NotFound", "404")
_FULL = ("QuotaExceeded", "InsufficientStorage", "EntityTooLarge", "XMinioStorageFull", "507")
_REFUSED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "RequestTimeTooSkewed",
    "ExpiredToken",
    "InvalidToken",
    "Forbidden",
    "401",
    "403",
)


@contextlib.contextmanager
def translated(driver: Any) -> Iterator[None]:
    """boto3's errors as ours."""
    try:
        yield
    except exceptions.ClientError as error:
        raise _meaning(file_store.name(driver), error) from error
    except exceptions.BotoCoreError as error:
        LOG.warning("%s: %s", file_store.name(driver), error)
        if _is_lasting(error):
            raise errors.Misconfigured(
                f"{file_store.name(driver)} cannot be asked: its operator has to correct the name of its "
                "bucket, or its certificates"
            ) from error
        raise errors.Unavailable(f"{file_store.name(driver)} does not answer") from error


def _is_lasting(error: exceptions.BotoCoreError) -> bool:
    """Whether asking again cannot help; one that breaks off while it begins is an `SSLError` too."""
    if isinstance(error, exceptions.SSLError):
        return "certificate verify failed" in str(error)
    return isinstance(error, exceptions.ParamValidationError | exceptions.InvalidDNSNameError)


def _meaning(store: str, error: exceptions.ClientError) -> errors.GantryError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _ABSENT:
        return errors.NotFound("The image's data are no longer in the store")
    LOG.warning("%s: %s", store, error)
    if code in _FULL:
        return errors.StorageFull(f"{store} is full")
    if code in _REFUSED:
        return errors.Misconfigured(
            f"{store} refuses this service: its operator has to correct the credentials, or the rights, of it"
        )
    return errors.Unavailable(f"{store} cannot do this: {code}")


def add(driver: Any, image_id: str, source: file_store.Told) -> tuple[str, dict[str, str]]:
    """What `store_client.Client` says."""
    file_store.check_configured(driver)
    store_client.alone(source.writer, lambda: _prepare(driver, image_id))
    if not source.length or source.length < driver.s3_store_large_object_size:
        _send_whole(driver, image_id, source)
    else:
        _send_parts(driver, image_id, source)
    return _url(driver, image_id), store_client.metadata(driver)


@functools.lru_cache(maxsize=16)
def _client(driver: Any) -> Any:
    """To make one takes longer than to store a small image.

    Raises:
        Misconfigured: the host, the region or the certificates are no such things.
    """
    if not hasattr(driver, "full_s3_host"):  # glance_store has stopped at an option before
        file_store.check_configured(driver)
    try:
        if certificates := driver._option_get("s3_store_cacert"):
            # What boto3 says of a bad file is what it says of a connection that breaks off.
            ssl.create_default_context(cafile=certificates)
        return driver._create_s3_client()
    except (OSError, ValueError) as error:
        LOG.warning("%s: %s", file_store.name(driver), error)
        raise errors.Misconfigured(
            f"{file_store.name(driver)} cannot be asked: its operator has to correct its host, region or "
            "certificates"
        ) from error


def _url(driver: Any, image_id: str) -> str:
    host = driver.full_s3_host.partition("://")[2].strip("/")
    return f"{driver.scheme}://{host}/{driver.bucket}/{image_id}"


def _prepare(driver: Any, image_id: str) -> None:
    """Have a bucket, without what earlier tries have begun."""
    _have_bucket(driver, _client(driver))
    # A worker that has lost the task while it was sending parts fails from here on.
    _abort(driver, image_id)


def _have_bucket(driver: Any, client: Any) -> None:
    try:
        client.head_bucket(Bucket=driver.bucket)
    except exceptions.ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        if not driver._option_get("s3_store_create_bucket_on_put"):
            raise errors.Misconfigured(
                f"{file_store.name(driver)} has no bucket: its operator has to make it, "
                "or to set s3_store_create_bucket_on_put"
            ) from error
        host, region = map(driver._option_get, ("s3_store_host", "s3_store_region_name"))
        driver._create_bucket(client, host, driver.bucket, region)


def _send_whole(driver: Any, key: str, source: file_store.Told) -> None:
    def put() -> None:
        with source.path.open("rb") as file:
            _client(driver).put_object(
                Bucket=driver.bucket, Key=key, Body=file, ContentLength=source.length
            )

    source.writer.ready()
    try:
        store_client.together(source.writer, [(source.length, put)], 1)
    except Exception:
        # It may be stored, and only the answer be lost. A worker's is removed with its import, once nobody
        # else can have the task.
        if not source.writer.attempt:
            where = {"Bucket": driver.bucket, "Key": key}
            store_client.briefly(lambda: _client(driver).delete_object(**where))
        raise


def _send_parts(driver: Any, key: str, source: file_store.Told) -> None:
    """Own code beside boto3's upload_file, which asks nobody before an object appears under its name."""
    client, where = _client(driver), {"Bucket": driver.bucket, "Key": key}
    begin = functools.partial(client.create_multipart_upload, **where)
    upload = where | {"UploadId": store_client.alone(source.writer, begin)["UploadId"]}
    size = max(driver.s3_store_large_object_chunk_size, math.ceil(source.length / _MOST_PARTS))

    def part(index: int) -> dict[str, Any]:
        with utils.ReadFileChunk.from_filename(str(source.path), index * size, size) as body:
            sent = client.upload_part(**upload, PartNumber=index + 1, Body=body)
        return {"PartNumber": index + 1, "ETag": sent["ETag"]}

    try:
        sizes = [min(size, source.length - start) for start in range(0, source.length, size)]
        work = [(length, functools.partial(part, index)) for index, length in enumerate(sizes)]
        parts = store_client.together(source.writer, work, driver.s3_store_thread_pools)
        source.writer.ready()
        finish = functools.partial(
            client.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts}
        )
        store_client.alone(source.writer, finish, source.length)
    except BaseException:
        # Where this fails too, the next try, the end of the import or upkeep finds what was begun.
        store_client.briefly(lambda: client.abort_multipart_upload(**upload))
        raise


def size(driver: Any, place: Any) -> int:
    """What `store_client.Client` says."""
    where = place.store_location
    return int(_client(driver).head_object(Bucket=where.bucket, Key=where.key)["ContentLength"])


def read(driver: Any, place: Any, offset: int, length: int) -> Iterator[bytes]:
    """What `store_client.Client` says."""
    if not length:
        return iter(())
    where = place.store_location
    wanted = f"bytes={offset}-{offset + length - 1}"
    body = _client(driver).get_object(Bucket=where.bucket, Key=where.key, Range=wanted)["Body"]

    def pieces() -> Iterator[bytes]:
        with contextlib.closing(body), translated(driver):
            yield b""
            yield from body.iter_chunks(_PIECE)

    return store_client.opened(pieces())


def delete(driver: Any, place: Any) -> None:
    """What `store_client.Client` says."""
    where = place.store_location
    _client(driver).delete_object(Bucket=where.bucket, Key=where.key)


def discard(driver: Any, image_id: str) -> None:
    """What `store_client.Client` says."""
    _abort(driver, image_id)
    _client(driver).delete_object(Bucket=driver.bucket, Key=image_id)


def found(driver: Any, digit: str) -> Iterator[store_client.Found]:
    """What `store_client.Client` says."""
    listing = _client(driver).get_paginator("list_objects_v2")
    for page in listing.paginate(Bucket=driver.bucket, Prefix=digit):
        for one in page.get("Contents", ()):
            key, written = one["Key"], one["LastModified"].timestamp()
            yield store_client.Found(key, written, key, (f"/{driver.bucket}/{key}",))
    yield from _begun(driver, digit)


def _begun(driver: Any, prefix: str) -> Iterator[store_client.Found]:
    """Uploads that were begun and neither finished nor aborted."""
    listing = _client(driver).get_paginator("list_multipart_uploads")
    for page in listing.paginate(Bucket=driver.bucket, Prefix=prefix):
        for one in page.get("Uploads", ()):
            begun = one["Initiated"].timestamp()
            yield store_client.Found(one["Key"], begun, one["UploadId"])


def _abort(driver: Any, image_id: str) -> None:
    """End the uploads of one image that were begun."""
    for one in list(_begun(driver, image_id)):
        if one.image_id == image_id:
            remove(driver, one)


def remove(driver: Any, found: store_client.Found) -> None:
    """What `store_client.Client` says."""
    try:
        _client(driver).abort_multipart_upload(
            Bucket=driver.bucket, Key=found.image_id, UploadId=found.name
        )
    except exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchUpload":
            raise


def take_away(driver: Any, found: store_client.Found) -> None:
    """What `store_client.Client` says."""
    _client(driver).delete_object(Bucket=driver.bucket, Key=found.name)
