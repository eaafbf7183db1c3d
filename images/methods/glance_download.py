"""glance-download: a worker fetches an image from the image service of another region.

The caller's own token and catalog are used: what the caller may not read there, it does not get here. A
token of this service beside it (`images.service_tokens`) lets the caller's expire meanwhile. Formats and the
configured properties come along, and the bytes are held against the checksums of the other region.
"""

import dataclasses
import http
import json
import uuid
from collections.abc import Callable
from typing import Any

from images import (
    answers,
    checksums,
    config,
    context,
    errors,
    filters,
    methods,
    properties,
    service_tokens,
    signatures,
    staging,
    task_secrets,
    transfers,
    urls,
)
from images.methods import web_download

#: Bytes that a record may have.
_MOST = 8 << 20
#: Characters of a text of the record that a cause quotes.
_SHOWN = 40
#: What promises of the bytes that they were verified: nobody does that here, for it comes with the bytes.
_PROMISES = {*signatures.PROPERTIES, checksums.PROPERTY}


class GlanceDownload:
    """Fetches over the Images API of the region that the request names."""

    name = "glance-download"
    accepts = ("queued",)
    rule = "modify_image"
    queue = "fetch"

    def check(self, fields: dict[str, Any]) -> None:
        """The region and the image must be named."""
        for member in ("glance_region", "glance_image_id"):
            if not isinstance(fields.get(member), str):
                raise errors.Invalid(
                    f"'{member}' needs to be set for glance-download import method"
                )
        try:
            uuid.UUID(fields["glance_image_id"])
        except ValueError as error:
            raise errors.Invalid(
                f"Remote image id does not look like a UUID: {fields['glance_image_id']}"
            ) from error
        if not isinstance(fields.setdefault("glance_service_interface", "public"), str):
            raise errors.Invalid("'glance_service_interface' must be public, internal or admin")

    def origin(self, asker: context.Context, fields: dict[str, Any]) -> str:
        """Find the region's endpoint, and judge it by the operator's lists; keep it with the token.

        A region that the caller's catalog does not have is found missing when the task runs, as in Glance.
        """
        regions = config.CONF.gantry.remote_regions
        if asker.service_catalog is None and not regions:
            raise errors.Invalid(
                "glance-download needs a caller who has a token and a catalog of services; where nobody is "
                "asked for one, [gantry] remote_regions names the regions' endpoints"
            )
        endpoint = _endpoint(asker.service_catalog or (), fields) or regions.get(
            fields["glance_region"]
        )
        if endpoint is not None:
            # From Keystone's catalog, or the operator's own list: it may well be in a private network.
            endpoint = urls.check(endpoint, vouched=True).rstrip("/").removesuffix("/v2")
        return task_secrets.seal({"endpoint": endpoint, "token": asker.auth_token})

    def fetch(
        self,
        image_id: str,
        fields: dict[str, Any],
        *,
        run: methods.Run,
        digest: bool,
        on_bytes: Callable[[int, int | None], None],
    ) -> methods.Fetched:
        """Read the other image's record, then its bytes, which must be what the record says."""
        region = fields["glance_region"]
        secret = task_secrets.of_task(run.task_id)
        if secret["endpoint"] is None:
            raise errors.ImportFailed(
                f"There is no image service in region {region} with that interface"
            )
        url = f"{secret['endpoint']}/v2/images/{fields['glance_image_id']}"
        wanted = _wanted(url, secret["token"])
        listener = transfers.Listener(on_bytes, run.on_fault)
        try:
            source = _record(wanted, listener)
            described = _described(source)
            facts = web_download.download(
                image_id,
                dataclasses.replace(wanted, url=f"{url}/file", size=source["size"], immutable=True),
                run=run,
                digest=True,  # whatever becomes of the bytes, these are what the other region says
                on_bytes=on_bytes,
            )
        except (errors.Stopped, service_tokens.NoToken):
            raise
        except (errors.ImportFailed, errors.SizeMismatch) as error:
            raise errors.ImportFailed(_told(error, region, wanted)) from error
        _compare(facts, source)
        return methods.Fetched(facts, described)


def _wanted(url: str, token: str | None) -> answers.Wanted:
    """Something of the region's, asked for as the caller; a service's token alone is nobody's."""
    if not token:
        return answers.Wanted(url, vouched=True)
    return answers.Wanted(url, {"X-Auth-Token": token}, service_tokens.ServiceToken(), vouched=True)


def _told(error: errors.GantryError, region: str, wanted: answers.Wanted) -> str:
    """The error with the region in it, and the cure where there is one."""
    if isinstance(error, errors.SizeMismatch):
        return f"The image of region {region} is not whole: {error}"
    service = f"The image service of region {region}"
    if (
        not wanted.headers
        or not isinstance(error, answers.Refused)
        or error.status != http.HTTPStatus.UNAUTHORIZED
    ):
        return f"{service}: {error}"
    if not service_tokens.is_used():
        return (
            f"{service} does not accept the caller's token any more (401): it has expired since the import "
            "was asked for, or was revoked. Ask for the import again with a new token; with [service_user] "
            "the operator lets imports outlast their callers' tokens"
        )
    return (
        f"{service} does not accept the caller's token, although this service's own came along (401): the "
        "caller's has expired too long ago ([token] allow_expired_window of Keystone) or was revoked, or "
        "[service_user] has none of the region's service_token_roles. Ask for the import again with a new "
        "token; if that fails too, it is for the operator"
    )


def _endpoint(catalog: tuple[dict[str, Any], ...], fields: dict[str, Any]) -> str | None:
    """The image service's URL in a region, in a catalog of either of Keystone's two forms."""
    interface = fields["glance_service_interface"]
    for service in catalog:
        if service.get("type") != "image":
            continue
        for endpoint in service.get("endpoints") or ():
            region = endpoint.get("region") or endpoint.get("region_id") or ""
            if region.lower() != fields["glance_region"].lower():
                continue
            found = endpoint.get(f"{interface}URL")
            if endpoint.get("interface") == interface:
                found = endpoint.get("url")
            if isinstance(found, str):
                return found
    return None


def _record(wanted: answers.Wanted, listener: transfers.Listener) -> dict[str, Any]:
    raw = transfers.document(wanted, listener, _MOST)
    try:
        record = json.loads(raw) if len(raw) <= _MOST else None
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not _is_size(record.get("size")):
        raise errors.ImportFailed("it does not answer as an image service does")
    if record.get("status") != "active" or record["size"] is None:
        raise errors.ImportFailed(f"the image is {_shown(record.get('status'))}; it must be active")
    return record


def _is_size(value: object) -> bool:
    """Whether a record may have this size; that of an image without data is null."""
    return value is None or (type(value) is int and 0 <= value <= filters.BIGGEST)


def _shown(value: object) -> str:
    """A text of the other region in characters that every database holds, and in any case not many."""
    return ascii(value[:_SHOWN]) if isinstance(value, str) else "none"


def _described(source: dict[str, Any]) -> dict[str, Any]:
    """The formats, and those properties that the operator wants to have copied."""
    known, options = config.CONF.image_format, config.CONF.glance_download_properties
    for column, values in (
        ("disk_format", known.disk_formats),
        ("container_format", known.container_formats),
    ):
        if source.get(column) not in values:
            found = _shown(source.get(column))
            raise errors.ImportFailed(f"its {column} {found} is not taken here")
    beginnings = tuple(options.extra_properties)
    copied = {
        name: value
        for name, value in source.items()
        if name.startswith(beginnings) and name not in _PROMISES and properties.fits(name, value)
    }
    formats = {name: source[name] for name in ("disk_format", "container_format")}
    return formats | {"properties": copied}


def _compare(facts: staging.Facts, source: dict[str, Any]) -> None:
    """Hold the bytes against the digests that the source has and that were made here too."""
    made = facts.digest or {}
    names = ["checksum"]
    if source.get("os_hash_algo") == made.get("os_hash_algo"):
        names.append("os_hash_value")
    for name in names:
        if source.get(name) and source[name] != made.get(name):
            raise errors.ImportFailed(
                f"The data that arrived are not those of the source: its {name} differs"
            )
