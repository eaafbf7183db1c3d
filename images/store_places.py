"""Each store has a place of its own, and the staging area another one.

Objects are named by their image everywhere: what is deleted from one of two stores that share a place, or
goes from staging when an import ends, would be gone from the other one too, and the record still point at it.
"""

import os
import urllib.parse
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from oslo_config import cfg

from images import config, errors

#: What tells a place from others, and what it is in words.
_Place = tuple[Hashable, str]


def check(conf: cfg.ConfigOpts, options: Mapping[str, Any]) -> None:
    """Judge the configured stores: these are their options by their ids, where there are several.

    Places that two configurations reach in different ways (two mounts of one export, two names of one server)
    cannot be told here.

    Raises:
        Invalid: two share a place.
    """
    owners: dict[Hashable, str] = {}
    for owner, (place, words) in _owned(conf, options):
        other = owners.setdefault(place, owner)
        if other != owner:
            raise errors.Invalid(
                f"{other} and {owner} share {words}: what is removed from one would be gone from the other; "
                "give each a place of its own"
            )


def _owned(conf: cfg.ConfigOpts, options: Mapping[str, Any]) -> Iterator[tuple[str, _Place]]:
    if not conf.enabled_backends:
        yield "the staging area", _directory(urllib.parse.urlsplit(conf.node_staging_uri).path)
        default = conf.glance_store.default_store or "file"
        both = (
            conf.glance_store.filesystem_store_datadir,
            conf.glance_store.filesystem_store_datadirs,
        )
        # Nobody has asked for the file store who has another one by default: its options may contradict.
        if default == "file" or ("file" in conf.glance_store.stores and not all(both)):
            for place in _directories(conf.glance_store):
                yield "the store file", place
        return
    staging = conf[config.STAGING_STORE].filesystem_store_datadir
    if staging:
        yield "the staging area", _directory(staging)
    for name, kind in config.public_stores(conf).items():
        if kind in _PLACES:
            for place in _PLACES[kind](options[name]):
                yield f"the store {name}", place


def _directory(path: str) -> _Place:
    """By what it is, where it is there: a link, or another mount of it, has another name."""
    try:
        there = os.stat(path)  # noqa: PTH116 - nothing else is done with it
    except OSError:
        return os.path.realpath(path), f"the directory {path}"
    return (there.st_dev, there.st_ino), f"the directory {path}"


def _directories(options: Any) -> Iterator[_Place]:
    """`filesystem_store_datadir`, or several, each with a priority behind a colon."""
    one, several = options.filesystem_store_datadir, options.filesystem_store_datadirs or []
    if one and several:  # glance_store says so in the log only, and takes no data
        raise errors.Invalid(
            f"filesystem_store_datadir ({one}) and filesystem_store_datadirs ({', '.join(several)}) exclude "
            "each other: where the second one is used, the first one must be set to nothing"
        )
    for path in [one] if one else [each.rsplit(":", 1)[0].strip() for each in several]:
        yield _directory(path)


def _pool(options: Any) -> Iterator[_Place]:
    cluster, pool = os.path.realpath(options.rbd_store_ceph_conf), options.rbd_store_pool
    yield ("rbd", cluster, pool), f"the pool {pool}"


def _bucket(options: Any) -> Iterator[_Place]:
    host, bucket = str(options.s3_store_host or ""), options.s3_store_bucket
    server = host.rpartition("://")[2].strip("/")
    # Ceph's tenants, and Swift's accounts, have buckets of their own.
    yield ("s3", server, options.s3_store_access_key, bucket), f"the bucket {bucket}"


def _container(options: Any) -> Iterator[_Place]:
    """In the account of a project, which stands before the colon of a user's name, or in a file's section."""
    container, project = options.swift_store_container, str(options.swift_store_user or "")
    server = options.swift_store_auth_address
    if options.swift_store_config_file:
        file = os.path.realpath(options.swift_store_config_file)
        server, project = file, options.default_swift_reference
    login = (
        getattr(options, "swift_store_application_credential_id", None) or project.partition(":")[0]
    )
    where = (
        *(server, login, options.swift_store_region),
        *(options.swift_store_endpoint, options.swift_store_service_type),
    )
    yield ("swift", *where, container), f"the container {container}"


_PLACES: dict[str, Callable[[Any], Iterator[_Place]]] = {
    "file": _directories,
    "rbd": _pool,
    "s3": _bucket,
    "swift": _container,
}
