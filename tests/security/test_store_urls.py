"""Locations that point a store's driver elsewhere: at another server, or into others' parts of its own.

With one store, without `enabled_backends`, a Swift URL names the server that is logged in at; whoever may add
locations must not have the service log in where they like. With several, a store's URLs begin as it says.
"""

import json
import pathlib
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from images import errors, models, store_urls, stores
from tests.functional.conftest import Api, Caller
from tests.functional.importing import FORMATS
from tests.security import test_ssrf as ssrf
from tests.security.canary import Canary

Execute = Callable[[sa.Executable], None]
#: The store's own Swift listens nowhere; S3 is where the canary sits.
OPTIONS = """
show_multiple_locations = true
[glance_store]
stores = file,http,swift,s3,rbd
default_store = {default}
swift_store_auth_address = http://127.0.0.2:9/v3
swift_store_user = project:glance
swift_store_key = se%2Fcret
swift_store_container = glance
s3_store_host = http://127.0.0.1:{port}
s3_store_access_key = access
s3_store_secret_key = secret
s3_store_bucket = images
s3_store_bucket_url_format = path
[gantry]
tries = 1
"""
LOGIN = "project%3Aglance:se%252Fcret"
OWN = f"swift+http://{LOGIN}@127.0.0.2:9/v3/glance/object"
#: {} is the canary's port. The last ones only look as if they were the store's.
SWIFT = [
    "swift+http://project:user:key@127.0.0.1:{}/v3/glance/object",
    "swift+https://project:user:key@127.0.0.1:{}/v3/glance/object",
    "swift://project:user:key@127.0.0.1:{}/v3/glance/object",
    "swift+http://127.0.0.1:{}/v3/glance/object",
    f"swift+http://{LOGIN}@127.0.0.1:{{}}/v3/glance/object",
    f"swift+http://{LOGIN}@127.0.0.1:{{}}/127.0.0.2:9/v3/glance/object",
    "swift+http://127.0.0.2:9:x@127.0.0.1:{}/v3/glance/object",
    f"swift+http://{LOGIN}@127.0.0.2:9@127.0.0.1:{{}}/v3/glance/object",
    f"swift+http://{LOGIN}@127.0.0.2:9#@127.0.0.1:{{}}/v3/glance/object",
]
S3 = [
    "s3://127.0.0.1:{}/secrets/object",
    "s3://127.0.0.1:{}/images/secrets/object",
    "s3+https://127.0.0.1:{}/secrets/object",
    "s3://127.0.0.1:{}/images/../secrets/object",
    "s3://127.0.0.1:{}/images%2F..%2Fsecrets/object",
]


@pytest.fixture
def one_store(caller: Caller, bird: Canary) -> Api:
    """A service with one store, of type swift, for somebody who may add any location."""
    return caller(
        roles="admin,member,reader", options=OPTIONS.format(default="swift", port=bird.port)
    )


WAYS = [ssrf.by_location, ssrf.by_patch]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("url", [*SWIFT, *S3])
def test_no_driver_is_pointed_elsewhere(
    one_store: Api, bird: Canary, way: ssrf.Way, url: str
) -> None:
    """It is refused by the URL, before anybody is asked."""
    assert way(one_store, url.format(bird.port))[0] == 400
    assert bird.heard == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Swift's client
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("url", [SWIFT[0], S3[0]])
def test_without_judging_urls_the_canary_sings(
    one_store: Api,
    bird: Canary,
    monkeypatch: pytest.MonkeyPatch,
    way: ssrf.Way,
    url: str,
) -> None:
    """The server is logged in at, and the bucket is read, where every URL is taken for the store's."""
    monkeypatch.setattr(store_urls, "is_own", lambda *_: True)
    way(one_store, url.format(bird.port))
    assert b"/secrets/" in bird.heard[0] if url in S3 else bird.heard


@pytest.mark.parametrize(
    "url",
    [
        OWN,
        "s3://127.0.0.1:{}/images/object",
        "s3+https://127.0.0.1:{}/images/object",
        "http://images.example/x",
    ],
)
@pytest.mark.usefixtures("one_store")
def test_the_store_s_own_are_taken(bird: Canary, url: str) -> None:
    """A location of the one store bears no store's name."""
    assert stores.holder_of(url.format(bird.port)) is None


@pytest.mark.parametrize(
    "url",
    [
        OWN.replace("/glance/", "/others/"),
        OWN.replace("/glance/", "/glance_1a/"),
        OWN.replace("/v3/", "/v2/"),
        OWN.replace("swift+http:", "swift:"),
        OWN.replace("cret", "crets"),
        OWN.replace("object", ""),
        "swift+config://ref1/glance/object",
        "rbd://fsid/others/image/snap",
        "cinder://1a2b3c4d-0000-4000-8000-000000000001",
        "vsphere://esx.example/folder/glance/x?dcPath=d&dsName=s",
        "nonsense://x",
    ],
)
def test_others_are_not(one_store: Api, url: str) -> None:
    """Another container, another version's login, other credentials; and stores that there are not."""
    image_id = one_store.create(**FORMATS)
    answer = one_store.ask("POST", f"/v2/images/{image_id}/locations", {"url": url})
    assert answer.status_code == 400, answer.text
    assert "cret" not in answer.text


def test_containers_of_a_seed(caller: Caller) -> None:
    """`swift_store_multiple_containers_seed` spreads the store's objects over containers of its name."""
    options = OPTIONS.format(default="swift", port=9)
    caller(
        options=options.replace("[gantry]", "swift_store_multiple_containers_seed = 2\n[gantry]")
    )
    assert stores.holder_of(OWN.replace("/glance/", "/glance_1a/")) is None


def test_accounts_of_a_file(caller: Caller, tmp_path: pathlib.Path) -> None:
    """Each of `swift_store_config_file` is the store's own; nobody may name one by its section."""
    accounts = tmp_path / "swift.conf"
    accounts.write_text(
        "[first]\nuser = project:glance\nkey = secret\nauth_address = https://one.example/v3/\n"
        "[second]\nuser = project:other\nkey = hidden\nauth_address = two.example/v3\n"
    )
    caller(
        options="[glance_store]\nstores = file,swift\ndefault_store = swift\n"
        f"swift_store_config_file = {accounts}\ndefault_swift_reference = first\n"
    )
    taken = [
        "swift+https://project:glance:secret@one.example/v3/glance/x",
        "swift://project:other:hidden@two.example/v3/glance/x",
    ]
    assert [stores.holder_of(url) for url in taken] == [None, None]
    for url in (
        "swift+https://project:glance:hidden@one.example/v3/glance/x",
        "swift+https://project:glance:secret@two.example/v3/glance/x",
        "swift+config://first/glance/x",
    ):
        with pytest.raises(errors.Invalid):
            stores.holder_of(url)


def test_what_stands_in_the_database_is_read(
    one_store: Api, bird: Canary, execute: Execute
) -> None:
    """An operator may have moved from one server to another: only adding is judged."""
    image_id = one_store.create(**FORMATS)
    image, place = models.Image, models.ImageLocation
    execute(sa.update(image).where(image.id == image_id).values(status="active", size=10))
    url = f"s3://127.0.0.1:{bird.port}/elsewhere/object"
    row = {"image_id": image_id, "value": url, "meta_data": {}, "status": "active"}
    execute(sa.insert(place).values(**row))
    one_store.ask("GET", f"/v2/images/{image_id}/file")
    assert b"/elsewhere/object" in bird.heard[0]
    assert json.loads(one_store.ask("GET", f"/v2/images/{image_id}").data)["status"] == "active"


# Data of other images


@pytest.fixture
def member(caller: Caller, bird: Canary) -> Api:
    """The same service, for a member, who may say where data are."""
    return caller(options=OPTIONS.format(default="swift", port=bird.port))


def patched(api: Api, bird: Canary, image_id: str, object_name: str) -> int:
    """What a location with an object of this name is answered; the store has all that it is asked for."""
    place = {"url": f"s3://127.0.0.1:{bird.port}/images/{object_name}", "metadata": {}}
    change = {"op": "add", "path": "/locations/-", "value": place}
    return api.patch(image_id, change).status_code


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of boto's client
def test_another_image_s_data_are_no_member_s_location(member: Api, bird: Canary) -> None:
    """Its owner would not know who reads them; and they would go with the image that only names them."""
    other, image_id = member.create(**FORMATS), member.create(**FORMATS)
    for name in (other, f"%{ord(other[0]):02x}{other[1:]}", f"{other}-00001"):
        assert patched(member, bird, image_id, name) == 400
    assert member.show(image_id)["status"] == "queued"
    assert member.ask("DELETE", f"/v2/images/{other}").status_code == 204
    assert patched(member, bird, image_id, other) == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_image_s_own_data_are_its_location(member: Api, bird: Canary) -> None:
    """As nova says where a snapshot is that it has made in the store."""
    image_id = member.create(**FORMATS)
    assert patched(member, bird, image_id, image_id) == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_administrator_knows_what_he_does(one_store: Api, bird: Canary) -> None:
    other = one_store.create(**FORMATS)
    assert patched(one_store, bird, one_store.create(**FORMATS), other) == 200


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rbd://5b9b5b43-44d2-4b0a-8b83-5d1a2f2b6f0e/pool/im%2Dage/snap", "im-age"),
        ("rbd://image", "image"),
        ("s3://host/bucket/image", "image"),
        ("swift+http://u:k@host/v3/container/image", "image"),
        ("vsphere://host/folder/place/image?dcPath=d", "image"),
    ],
)
def test_what_an_object_is_called(url: str, name: str) -> None:
    """Never the cluster's id, which has the form of an image's: who made one of that id would block all."""
    assert store_urls.object_of(url) == name


# Several stores: a prefix ends where a name does


@pytest.mark.parametrize(
    ("prefix", "url", "held"),
    [
        ("cinder://fast", "cinder://fast/1a2b", True),
        ("cinder://fast", "cinder://faster/1a2b", False),
        ("rbd://f/pool/", "rbd://f/pool/image/snap", True),
        ("rbd://f/pool/", "rbd://f/pool-of-others/image/snap", False),
        ("vsphere://h/folder/glance", "vsphere://h/folder/glance/x?dcPath=d", True),
        ("vsphere://h/folder/glance", "vsphere://h/folder/glance-old/x?dcPath=d", False),
        ("vsphere://h/folder/glance", "vsphere://h/folder/glance/../vm/x?dcPath=d", False),
        ("vsphere://h/folder/glance", "vsphere://h/folder/glance/%2e%2e/vm/x?dcPath=d", False),
        ("http", "https://h/a/../b", True),
    ],
)
def test_where_a_prefix_ends(prefix: str, url: str, held: bool) -> None:
    assert store_urls.begins_with(url, prefix) == held
