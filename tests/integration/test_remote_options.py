"""Options of glance_store that change how a remote store is written or reached, and such as cannot work."""

import pathlib
import uuid

import pytest

from images import errors, staging, store_client, stores
from tests import ceph
from tests.conftest import Configure
from tests.integration import remote_here, remote_kinds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # swiftclient's use of keystoneclient
]
DATA = bytes(range(256)) * (40 << 10)  # 10 MiB: in parts


def _goes_round(data: bytes) -> str:
    """An image is stored, read and deleted; its URL."""
    location = remote_here.store(str(uuid.uuid4()), data)
    assert stores.size_of(location.value, location.meta_data) == len(data)
    assert remote_here.bytes_of(location) == data
    stores.delete(location.value, location.meta_data)
    with pytest.raises(errors.NotFound):
        stores.size_of(location.value, location.meta_data)
    return location.value


@pytest.mark.parametrize("reference", ["", "default_swift_reference = other"])
def test_swift_with_a_file_of_references(
    cluster: ceph.Ceph, configure: Configure, tmp_path: pathlib.Path, reference: str
) -> None:
    """Its default is `ref1`, which glance_store forgets where there are several stores."""
    kind = remote_kinds.Swift(cluster, tmp_path)
    name = reference.rpartition(" ")[2] or "ref1"
    file = tmp_path / "swift.conf"
    file.write_text(f"""[{name}]
auth_address = {cluster.tokens()}/{cluster.host}/v3
user = {ceph.USER}:swift
key = {ceph.USER}-{ceph.SECRET}
""")
    more = f"swift_store_config_file = {file}\n{reference}\n"
    remote_here.configured(configure, cluster, kind, tmp_path, more)
    assert _goes_round(DATA).startswith(f"swift+config://{name}/swift-works/")
    assert not kind.held()


def test_swift_with_application_credentials(
    cluster: ceph.Ceph, configure: Configure, tmp_path: pathlib.Path
) -> None:
    """They stand in no URL, so they are the store's own; and they go to its own Keystone only."""
    kind = remote_kinds.Swift(cluster, tmp_path)
    more = f"""
swift_store_user =
swift_store_key =
swift_store_application_credential_id = {ceph.USER}:swift
swift_store_application_credential_secret = {ceph.USER}-{ceph.SECRET}
"""
    remote_here.configured(configure, cluster, kind, tmp_path, more)
    url = _goes_round(DATA)
    assert ceph.SECRET not in url
    with pytest.raises(errors.Unavailable, match="BadStoreUri"):
        stores.size_of(url.replace("127.0.0.1", "127.0.0.2", 1), {"store": "works"})
    assert not kind.held()


@pytest.mark.parametrize("container", ["swift%20works", "swift works", "swift-wörks"])
def test_a_container_with_letters_that_are_quoted_in_urls(
    cluster: ceph.Ceph, configure: Configure, tmp_path: pathlib.Path, container: str
) -> None:
    kind = remote_kinds.Swift(cluster, tmp_path)
    more = f"swift_store_container = {container}"
    remote_here.configured(configure, cluster, kind, tmp_path, more)
    image_id = str(uuid.uuid4())
    location = remote_here.store(image_id, DATA)
    assert remote_here.bytes_of(location) == DATA
    assert [one.name for one in _left_over(image_id)] == [f"{container}/{image_id}"]
    stores.delete(location.value, location.meta_data)
    assert not _left_over(image_id)


def _left_over(image_id: str) -> list[store_client.Found]:
    [(driver, client)] = stores.clients()
    found = list(client.found(driver, image_id[0]))
    return [one for one in found if one.image_id == image_id]


def test_an_empty_image_where_all_are_large(
    cluster: ceph.Ceph, configure: Configure, tmp_path: pathlib.Path
) -> None:
    """S3 knows no upload without parts."""
    kind = remote_kinds.S3(cluster, tmp_path)
    more = "s3_store_large_object_size = 0"
    remote_here.configured(configure, cluster, kind, tmp_path, more)
    _goes_round(b"")
    _goes_round(b"one byte or more")
    assert not kind.held()


@pytest.mark.parametrize(
    ("kind", "option", "cause"),
    [
        ("s3", "s3_store_thread_pools = -2", "lacks an option, or has a wrong one"),
        ("s3", "s3_store_bucket = no/bucket", "bucket"),
        ("s3", "s3_store_bucket = No_Host\ns3_store_bucket_url_format = virtual", "bucket"),
        ("s3", "s3_store_cacert = /dev/null", "certificates"),
        ("s3", "s3_store_host = http://no host", "host"),
        ("swift", "swift_store_auth_address =", "lacks an option, or has a wrong one"),
        ("swift", "swift_store_multi_tenant = true", "tokens"),
        ("rbd", "rbd_store_chunk_size = 64", "rbd_store_chunk_size"),
    ],
)
def test_options_that_cannot_work(
    cluster: ceph.Ceph,
    configure: Configure,
    tmp_path: pathlib.Path,
    kind: str,
    option: str,
    cause: str,
) -> None:
    """Said with the cause, and so that nobody tries again: only the operator can change it."""
    made = remote_kinds.KINDS[kind](cluster, tmp_path)
    remote_here.configured(configure, cluster, made, tmp_path, option)
    file = staging.path("source")
    file.write_bytes(DATA)
    with pytest.raises(errors.Misconfigured, match=cause):
        stores.add("works", str(uuid.uuid4()), file)
