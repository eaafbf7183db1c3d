"""Which URLs of locations belong to a store over the network; none of these tests needs the store itself."""

import pathlib

import pytest

from images import errors, stores
from tests.conftest import Configure

pytest.importorskip("boto3", reason="boto3 is among the requirements: run `make setup`")


@pytest.fixture
def configured(configure: Configure, tmp_path: pathlib.Path) -> None:
    """A store in the bucket `images`."""
    configure(f"""
[DEFAULT]
enabled_backends = local:file,far:s3
[local]
filesystem_store_datadir = {tmp_path}/local
[far]
s3_store_host = http://s3.example
s3_store_access_key = access
s3_store_secret_key = secret
s3_store_bucket = images
[glance_store]
default_backend = local
""")


@pytest.mark.usefixtures("configured")
def test_an_object_in_the_bucket() -> None:
    assert stores.holder_of("s3://s3.example/images/key") == "far"


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    "url",
    [
        "s3://s3.example/images-of-others/key",
        "s3://s3.example/images/bucket-of-others/key",
        "s3://s3.example/images//key",
        "s3://s3.example.org/images/key",
        "s3+https://s3.example/images/key",
        "s3://s3.example/key",
    ],
)
def test_whatever_else_its_credentials_can_read(url: str) -> None:
    """The bucket of a URL is its last part but one, so a longer path names another bucket."""
    with pytest.raises(errors.Invalid):
        stores.holder_of(url)
