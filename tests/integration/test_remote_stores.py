"""Stores that are reached over the network, as an installed service has them, on a real cluster.

Uploads, imports, ranges, copies and deletion, and credentials that are wrong.
"""

from collections.abc import Iterator

import pytest

from tests import ceph, service
from tests.integration import remote_kinds, remote_service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=sorted(remote_kinds.KINDS))
def kind(
    request: pytest.FixtureRequest,
    cluster: ceph.Ceph,
    tmp_path_factory: pytest.TempPathFactory,
) -> remote_kinds.Kind:
    """One type of store after the other."""
    made: remote_kinds.Kind = remote_kinds.KINDS[request.param](
        cluster, tmp_path_factory.mktemp(request.param)
    )
    return made


@pytest.fixture(scope="module")
def running(
    kind: remote_kinds.Kind, cluster: ceph.Ceph, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """A service with a store that works, and one whose credentials are wrong."""
    state = tmp_path_factory.mktemp("gantry")
    with remote_service.running(state, kind, cluster.host, ("works", "wrong")) as whole:
        yield whole


@pytest.mark.parametrize(
    "data", [b"", remote_service.SMALL, remote_service.LARGE], ids=["empty", "small", "large"]
)
def test_r41_an_upload(running: service.Service, kind: remote_kinds.Kind, data: bytes) -> None:
    image_id = running.create(disk_format="raw")
    answer = running.ask("PUT", f"/v2/images/{image_id}/file", data)
    assert answer.status == 204, answer.data
    assert running.image(image_id)["stores"] == "works"
    if data:
        remote_service.check(running, image_id, data)
    remote_service.remove(running, kind, image_id)


@pytest.mark.parametrize(
    "data", [remote_service.SMALL, remote_service.LARGE], ids=["small", "large"]
)
def test_an_import(running: service.Service, kind: remote_kinds.Kind, data: bytes) -> None:
    """Into two stores at once, one of which is local; then each of them alone has the bytes."""
    image_id = remote_service.staged(running, data)
    remote_service.begin(running, image_id, stores=["works", "local"])
    task = running.wait_for_task(image_id)
    assert task["status"] == "success", task["message"]
    remote_service.check(running, image_id, data)
    (running.state / "local" / image_id).unlink()
    preferred = running.ask("GET", f"/v2/images/{image_id}/file?prefer=works")
    assert preferred.data == data
    remote_service.remove(running, kind, image_id)


@pytest.mark.parametrize(
    "data", [remote_service.SMALL, remote_service.LARGE], ids=["small", "large"]
)
def test_ranges(running: service.Service, kind: remote_kinds.Kind, data: bytes) -> None:
    image_id = running.create(disk_format="raw")
    assert running.ask("PUT", f"/v2/images/{image_id}/file", data).status == 204
    last = len(data) - 1
    middle = len(data) // 2
    for asked, first, end in (
        ("0-0", 0, 0),
        (f"{middle}-{middle + 99_999}", middle, middle + 99_999),
        (f"{last - 9}-", last - 9, last),
        ("-1000", last - 999, last),
        (f"{last - 1}-{last + 100}", last - 1, last),
    ):
        answer = running.ask("GET", f"/v2/images/{image_id}/file", Range=f"bytes={asked}")
        assert answer.status == 206, asked
        assert answer.headers["Content-Range"] == f"bytes {first}-{end}/{len(data)}"
        assert answer.data == data[first : end + 1], asked
    beyond = running.ask("GET", f"/v2/images/{image_id}/file", Range=f"bytes={last + 1}-")
    assert beyond.status == 416
    remote_service.remove(running, kind, image_id)


def test_copies_between_stores(running: service.Service, kind: remote_kinds.Kind) -> None:
    """From the store into a local one, and back again."""
    image_id = running.create(disk_format="raw")
    for store, there in (("works", "local"), ("local", "works")):
        if running.image(image_id)["status"] == "queued":
            path = f"/v2/images/{image_id}/file"
            answer = running.ask("PUT", path, remote_service.LARGE, X_Image_Meta_Store=store)
            assert answer.status == 204, answer.data
        body = {"method": {"name": "copy-image"}, "stores": [there]}
        assert running.ask("POST", f"/v2/images/{image_id}/import", body).status == 202
        task = running.wait_for_task(image_id)
        assert task["status"] == "success", task["message"]
        assert running.ask("DELETE", f"/v2/stores/{store}/{image_id}").status == 204
        assert running.image(image_id)["stores"] == there
        remote_service.check(running, image_id, remote_service.LARGE)
    remote_service.remove(running, kind, image_id)


def test_data_that_are_gone(running: service.Service, kind: remote_kinds.Kind) -> None:
    """Somebody has emptied the store behind our back."""
    image_id = running.create(disk_format="raw")
    assert running.ask("PUT", f"/v2/images/{image_id}/file", remote_service.SMALL).status == 204
    kind.empty()
    answer = running.ask("GET", f"/v2/images/{image_id}/file")
    assert (answer.status, "no longer in the store" in answer.data.decode()) == (404, True)
    remote_service.remove(running, kind, image_id)


def test_discovery_keeps_the_credentials(running: service.Service, kind: remote_kinds.Kind) -> None:
    """An administrator is told of types and sizes, nobody of secrets."""
    answer = running.ask("GET", "/v2/info/stores/detail")
    types = {one["id"]: one["type"] for one in answer.json()["stores"]}
    assert types == {"local": "file", "works": kind.name, "wrong": kind.name}
    assert b"secret" not in answer.data
    assert b"access" not in answer.data


def test_wrong_credentials(running: service.Service, kind: remote_kinds.Kind) -> None:
    """Said at once and in words that name the cause; nothing is tried twenty times."""
    image_id = remote_service.staged(running, remote_service.SMALL)
    remote_service.begin(running, image_id, stores=["wrong"])
    task = running.wait_for_task(image_id)
    assert task["status"] == "failure"
    assert "The store wrong refuses this service" in task["message"]
    assert "tried" not in task["message"]
    assert running.image(image_id)["status"] == "queued"
    path = f"/v2/images/{image_id}/file"
    answer = running.ask("PUT", path, remote_service.SMALL, X_Image_Meta_Store="wrong")
    assert (answer.status, "refuses" in answer.data.decode()) == (503, True)
    assert running.image(image_id)["status"] == "queued"
    assert running.ask("PUT", path, remote_service.SMALL).status == 204
    remote_service.remove(running, kind, image_id)
