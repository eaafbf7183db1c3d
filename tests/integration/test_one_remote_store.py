"""A service with one store, without `enabled_backends`, that is reached over the network, on a real cluster.

What it has stored itself may be added as another image's location; what lies beside it may not.
"""

from collections.abc import Iterator

import pytest

from tests import ceph, service
from tests.integration import remote_kinds, remote_service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=sorted(remote_kinds.KINDS))
def running(
    request: pytest.FixtureRequest, cluster: ceph.Ceph, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """API, worker and beat on one store of each type after the other."""
    room = tmp_path_factory.mktemp(request.param)
    kind: remote_kinds.Kind = remote_kinds.KINDS[request.param](cluster, room)
    options = f"""
[DEFAULT]
show_multiple_locations = true
[noauth]
roles = admin,member,reader
[glance_store]
stores = file,http,{kind.name}
default_store = {kind.name}
{kind.options("works", cluster.host)}
"""
    kind.empty()
    with service.running(room, "api", "worker", "beat", options=options) as whole:
        yield whole
    kind.empty()


@pytest.fixture
def url(running: service.Service) -> str:
    """The location of an image that the service has stored."""
    image_id = running.create(disk_format="raw")
    answer = running.ask("PUT", f"/v2/images/{image_id}/file", remote_service.SMALL)
    assert answer.status == 204, answer.data
    remote_service.check(running, image_id, remote_service.SMALL)
    (place,) = running.image(image_id)["locations"]
    return str(place["url"])


def test_its_own_location_is_taken(running: service.Service, url: str) -> None:
    """By the location API, and by PATCH as of old."""
    image_id = running.create(disk_format="raw")
    answer = running.ask("POST", f"/v2/images/{image_id}/locations", {"url": url})
    assert answer.status == 202, answer.data
    service.wait_for(lambda: running.image(image_id)["os_hash_value"], "the data to be digested")
    remote_service.check(running, image_id, remote_service.SMALL)

    other = running.create(disk_format="raw")
    change = [{"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}}]
    kind = "application/openstack-images-v2.1-json-patch"
    answer = running.ask("PATCH", f"/v2/images/{other}", change, Content_Type=kind)
    assert answer.status == 200, answer.data
    assert running.ask("GET", f"/v2/images/{other}/file").data == remote_service.SMALL


@pytest.mark.parametrize("part", [-2, -3])
def test_what_lies_beside_it_is_not(running: service.Service, url: str, part: int) -> None:
    """Another container, bucket or pool; another server, where the URL says which."""
    parts = url.split("/")
    if "rbd" in parts[0]:
        parts[3] = "others"
    else:
        parts[part] += "-of-others"
    image_id = running.create(disk_format="raw")
    elsewhere = "/".join(parts)
    answer = running.ask("POST", f"/v2/images/{image_id}/locations", {"url": elsewhere})
    assert (answer.status, b"no store here" in answer.data) == (400, True), answer.data
