"""Stores that are reached over the network, used by this process itself, without a service."""

import pathlib

from images import models, staging, stores
from tests import ceph
from tests.conftest import Configure
from tests.integration import remote_kinds


def configured(
    configure: Configure,
    cluster: ceph.Ceph,
    kind: remote_kinds.Kind,
    room: pathlib.Path,
    more: str = "",
) -> None:
    """Have the store `works` of one kind; `more` are lines for its section, or further sections."""
    configure(f"""
[DEFAULT]
enabled_backends = works:{kind.name}
[glance_store]
default_backend = works
[os_glance_staging_store]
filesystem_store_datadir = {room}/staging
[works]
{kind.options("works", cluster.host)}
{more}
""")


def store(image_id: str, data: bytes) -> models.ImageLocation:
    """Put an image's bytes into the store; their location, which is in no record yet."""
    file = staging.path("source")
    file.write_bytes(data)
    url, metadata = stores.add("works", image_id, file)
    file.unlink()
    return models.ImageLocation(image_id=image_id, value=url, meta_data=metadata)


def bytes_of(location: models.ImageLocation) -> bytes:
    """The image, from its store."""
    opened = stores.open_location(location)
    return b"".join(opened.read_range(0, opened.size or 0))
