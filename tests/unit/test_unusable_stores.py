"""Stores that are away, or cannot be used, when this service starts: what it knows of them all the same."""

import pathlib
from types import SimpleNamespace
from typing import Any

import pytest

from images import config, errors, staging, store_options, store_urls, stores
from tests.conftest import Configure

IMAGE = "5b9b5b43-44d2-4b0a-8b83-5d1a2f2b6f0e"
S3 = "s3_store_host = http://127.0.0.1:1\ns3_store_bucket = b\ns3_store_access_key = a"


def start(
    configure: Configure, room: pathlib.Path, kind: str, options: str, one: str = "one"
) -> pathlib.Path:
    """With a file store, by default, and another one; a staged file."""
    configure(f"""
[DEFAULT]
enabled_backends = one:file,two:{kind}
[one]
filesystem_store_datadir = {room}/{one}
[two]
{options}
[glance_store]
default_backend = one
[os_glance_staging_store]
filesystem_store_datadir = {room}/staging
""")
    staged = staging.path(IMAGE)
    staged.write_bytes(b"bytes")
    return staged


def test_a_record_is_shown_without_asking_a_store(
    configure: Configure, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To make the drivers takes minutes where a Ceph cluster is away."""
    start(configure, tmp_path, "http", "")

    def away(_: object) -> dict[str, Any]:
        raise AssertionError("asked")

    monkeypatch.setattr(store_options, "make_drivers", away)
    assert stores.named("file:///x", {"store": "one"}) == "one"
    assert stores.named("rbd://c/pool/x/snap", {"backend": "two"}) == "two"


@pytest.mark.parametrize(
    "options",
    [
        "swift_store_config_file = /absent/swift.conf",
        "swift_store_multi_tenant = true\nswift_store_config_file = /etc/hostname",
    ],
)
def test_a_driver_that_cannot_be_made(
    configure: Configure, tmp_path: pathlib.Path, options: str
) -> None:
    """glance_store gives none: the others are used, and whoever names it is told."""
    staged = start(configure, tmp_path, "swift", options)
    url, metadata = stores.add("one", IMAGE, staged)
    assert stores.id_of(url, metadata) == stores.id_of(url, {}) == "one"
    for use in (
        lambda: stores.add("two", IMAGE, staged),
        lambda: stores.discard("two", IMAGE, 1),
        lambda: stores.size_of("swift://x/y", {"store": "two"}),
        lambda: stores.properties("two"),
    ):
        with pytest.raises(errors.Misconfigured, match="no store two here that can be used"):
            use()
    assert (list(stores.clients()), stores.directories("two")) == ([], [])


def test_the_only_driver_that_cannot_be_made(configure: Configure) -> None:
    configure(
        "[glance_store]\nstores = file,swift\ndefault_store = swift\n"
        "swift_store_config_file = /absent/swift.conf\n"
    )
    staged = staging.path(IMAGE)
    staged.write_bytes(b"bytes")
    with pytest.raises(errors.Misconfigured, match="no store swift here that can be used"):
        stores.add("swift", IMAGE, staged)


def test_a_store_that_lacks_an_option_says_so_however_it_is_used(
    configure: Configure, tmp_path: pathlib.Path
) -> None:
    staged = start(configure, tmp_path, "s3", S3)
    url = f"s3://127.0.0.1:1/b/{IMAGE}"
    for use in (
        lambda: stores.add("two", IMAGE, staged),
        lambda: stores.discard("two", IMAGE, 1),
        lambda: stores.size_of(url, {"store": "two"}),
        lambda: stores.delete(url, {"store": "two"}),
    ):
        with pytest.raises(errors.Misconfigured, match="lacks an option"):
            use()


def test_a_directory_that_was_away_at_the_start(
    configure: Configure, tmp_path: pathlib.Path
) -> None:
    """A mount, say: the store takes data as soon as it is back."""
    (tmp_path / "mount").touch()
    staged = start(configure, tmp_path, "http", "", one="mount/one")
    with pytest.raises(errors.Misconfigured):
        stores.add("one", IMAGE, staged)
    (tmp_path / "mount").unlink()
    (tmp_path / "mount/one").mkdir(parents=True)
    url, metadata = stores.add("one", IMAGE, staged)
    assert url == f"file://{tmp_path}/mount/one/{IMAGE}"
    stores._drivers()["one"].unset_capabilities(store_options.WRITE_ACCESS)
    stores.delete(url, metadata)
    assert not list((tmp_path / "mount/one").iterdir())


def test_the_staging_area_has_a_default(configure: Configure, tmp_path: pathlib.Path) -> None:
    """Which glance_store takes away when it makes its drivers."""
    configure(
        f"[DEFAULT]\nenabled_backends = one:file\n[one]\nfilesystem_store_datadir = {tmp_path}/one\n"
        "[glance_store]\ndefault_backend = one\n"
    )
    before = staging.path(IMAGE)
    stores._drivers()
    assert staging.path(IMAGE) == before


class Cluster(SimpleNamespace):
    """As much of a driver of Ceph as is asked here."""

    def get_schemes(self) -> tuple[str, ...]:
        return ("rbd",)


@pytest.mark.parametrize(
    ("prefixes", "holder"),
    [
        ({"one": "rbd://f/images/", "two": "rbd://f/cold/"}, "two"),
        ({"one": "rbd://f/images/", "two": None}, "two"),
        ({"one": None, "two": None}, "two"),
        ({"one": None, "two": "rbd://other/cold/"}, None),
    ],
)
def test_a_cluster_that_was_away_knows_its_pool(
    prefixes: dict[str, str | None], holder: str | None
) -> None:
    """Locations from the time of a single store name none: in another store their data would be lost."""
    drivers = clusters(prefixes)
    assert store_urls.likely_holder(f"rbd://f/cold/{IMAGE}/snap", drivers) == holder


def clusters(prefixes: dict[str, str | None]) -> dict[str, Cluster]:
    pools = {"one": "images", "two": "cold"}
    return {name: Cluster(url_prefix=prefixes[name], pool=pools[name]) for name in pools}


@pytest.mark.parametrize(
    "url",
    [
        f"rbd://f/cold/{IMAGE}/snap",
        "rbd://cold/vms/disk/snap",
        "rbd://f/vms/cold/snap",
        "rbd://cold",
    ],
)
def test_nobody_may_name_a_cluster_that_is_away(url: str) -> None:
    """What a location of his would mean cannot be told; nor is a pool found where none is written."""
    drivers = clusters({"one": None, "two": None})
    assert store_urls.holder(url, drivers) is None
    if "/vms/" in url or url == "rbd://cold":
        assert store_urls.likely_holder(url, drivers) is None


def test_a_driver_of_somebody_else_needs_no_options(
    configure: Configure, tmp_path: pathlib.Path
) -> None:
    """glance_store's own base class has none."""
    start(configure, tmp_path, "http", "")
    store_options.of_store(config.CONF, "one", SimpleNamespace(OPTIONS=None))
