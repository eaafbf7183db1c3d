"""Stores that share a place, and a staging area that is a store, are refused when the service starts."""

import contextlib
import pathlib

import pytest

from tests.conftest import Configure

S3 = "s3_store_host = {}\ns3_store_bucket = {}\ns3_store_access_key = a\ns3_store_secret_key = b"
OTHER_KEY = S3.replace("key = a", "key = of-another-tenant")
ACCOUNT = "swift_store_auth_address = https://a/v3\nswift_store_container = c"
SWIFT = "swift_store_auth_address = {}\nswift_store_user = {}:{}\nswift_store_container = {}"


def stores(room: pathlib.Path, one: str, two: str, kind: str = "file", more: str = "") -> str:
    """Options of a service with two stores, whose own options these are."""
    return f"""
[DEFAULT]
enabled_backends = one:{kind},two:{kind}
[one]
{one}
[two]
{two}
[glance_store]
default_backend = one
[os_glance_staging_store]
filesystem_store_datadir = {room}/staging
{more}
"""


def directory(path: object) -> str:
    return f"filesystem_store_datadir = {path}"


def directories(*paths: object) -> str:
    """Several, each with a priority."""
    lines = [f"filesystem_store_datadirs = {path}:{number}" for number, path in enumerate(paths)]
    return "\n".join(["filesystem_store_datadir =", *lines])


@pytest.fixture
def room(tmp_path: pathlib.Path) -> pathlib.Path:
    """Directories `a` and `b`, and a link to the first one."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    return tmp_path


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (directory("{room}/a"), directory("{room}/a")),
        (directory("{room}/a"), directory("{room}/b/../a/")),
        (directory("{room}/a"), directory("{room}/link")),
        (directory("{room}/later"), directory("{room}/later")),
        (directory("{room}/a"), directories("{room}/b", "{room}/link")),
        (directories("{room}/a"), directories("{room}/b", "{room}/a")),
    ],
)
def test_two_stores_in_one_directory(
    configure: Configure, room: pathlib.Path, one: str, two: str
) -> None:
    with pytest.raises(SystemExit, match="the store one and the store two share the directory"):
        configure(stores(room, one.format(room=room), two.format(room=room)))


def test_a_directory_that_is_shared_by_default(configure: Configure, room: pathlib.Path) -> None:
    more = f"[backend_defaults]\n{directory(room / 'a')}"
    with pytest.raises(SystemExit, match="share the directory"):
        configure(stores(room, "", directory(room / "a"), more=more))
    configure(stores(room, "", directory(room / "b"), more=more))


def test_a_store_where_bytes_are_staged(configure: Configure, room: pathlib.Path) -> None:
    with pytest.raises(SystemExit, match="the staging area and the store two share the directory"):
        configure(stores(room, directory(room / "a"), directory(room / "staging")))


def test_the_only_store_where_bytes_are_staged(configure: Configure, room: pathlib.Path) -> None:
    with pytest.raises(SystemExit, match="the staging area and the store file share the directory"):
        configure(
            f"[DEFAULT]\nnode_staging_uri = file://{room}/link\n[glance_store]\n{directory(room / 'a')}"
        )


def test_two_options_that_exclude_each_other(configure: Configure, room: pathlib.Path) -> None:
    """The first one has a default, which makes this easy to overlook."""
    second = f"filesystem_store_datadirs = {room}/b:1"
    with pytest.raises(SystemExit, match="exclude each other"):
        configure(stores(room, directory(room / "a"), second))


@pytest.mark.parametrize(
    ("kind", "one", "two", "shared"),
    [
        ("s3", S3.format("https://s3:1/", "i"), S3.format("http://s3:1", "i"), "the bucket i"),
        ("s3", S3.format("https://s3", "i"), S3.format("https://s3", "j"), ""),
        ("s3", S3.format("https://s3", "i"), S3.format("https://other", "i"), ""),
        (
            "swift",
            SWIFT.format("https://a/v3", "p", "u", "c"),
            SWIFT.format("https://a/v3", "p", "other", "c"),
            "the container c",
        ),
        (
            "swift",
            SWIFT.format("https://a/v3", "p", "u", "c"),
            SWIFT.format("https://a/v3", "other", "u", "c"),
            "",
        ),
        # Accounts that differ in other ways, and so do their containers and buckets.
        ("s3", S3.format("https://s3", "i"), OTHER_KEY.format("https://s3", "i"), ""),
        *(
            ("swift", *(f"{ACCOUNT}\n{option} = {value}" for value in "ab"), "")
            for option in (
                "swift_store_application_credential_id",
                "swift_store_endpoint",
                "swift_store_service_type",
                "swift_store_region",
            )
        ),
    ],
)
def test_buckets_and_containers(
    configure: Configure, room: pathlib.Path, kind: str, one: str, two: str, shared: str
) -> None:
    refused = pytest.raises(SystemExit, match=f"share {shared}:")
    with refused if shared else contextlib.nullcontext():
        configure(stores(room, one, two, kind))


def test_the_options_of_a_store_that_nobody_has_asked_for(
    configure: Configure, room: pathlib.Path
) -> None:
    """`file` is among glance_store's stores by default."""
    second = f"[glance_store]\nfilesystem_store_datadirs = {room}/b:1\n"
    with pytest.raises(SystemExit, match="exclude each other"):
        configure(second)
    configure(f"{second}stores = file,swift\ndefault_store = swift\n{ACCOUNT}\n")


def test_directories_within_one_another(configure: Configure, room: pathlib.Path) -> None:
    """Names of images tell what is whose; nothing else in a directory is touched."""
    configure(stores(room, directory(room), directories(room / "a", room / "b")))
