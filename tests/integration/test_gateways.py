"""A gateway that is full, is killed, or is silent, and a worker that is killed, in the middle of a write.

The image has all its bytes or none, and nothing is left over.
"""

import contextlib
from collections.abc import Iterator

import pytest

from tests import ceph, relay, service
from tests.integration import remote_kinds, remote_service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["s3", "swift"])
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
def between(cluster: ceph.Ceph) -> Iterator[relay.Relay]:
    """What stands between the service and the gateway."""
    with relay.running(int(cluster.host.rpartition(":")[2])) as one:
        yield one


@pytest.fixture(scope="module")
def running(
    kind: remote_kinds.Kind, between: relay.Relay, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """A service with a store that works, and one that is soon full."""
    state = tmp_path_factory.mktemp("gantry")
    with remote_service.running(state, kind, between.host, ("works", "poor")) as whole:
        yield whole


def test_a_full_store(running: service.Service, kind: remote_kinds.Kind) -> None:
    """A part fits, the whole does not: 413 or a failed task, and no part is left."""
    image_id = remote_service.staged(running, remote_service.LARGE)
    remote_service.begin(running, image_id, stores=["poor"])
    task = running.wait_for_task(image_id)
    assert (task["status"], "poor is full" in task["message"]) == ("failure", True), task
    assert running.image(image_id)["status"] == "queued"
    service.wait_for(lambda: not kind.held("poor"), "the parts to be gone", 20)
    path = f"/v2/images/{image_id}/file"
    answer = running.ask("PUT", path, remote_service.LARGE, X_Image_Meta_Store="poor")
    assert (answer.status, "poor is full" in answer.data.decode()) == (413, True)
    assert not kind.held("poor")
    assert running.ask("PUT", path, remote_service.LARGE).status == 204
    remote_service.remove(running, kind, image_id)


@contextlib.contextmanager
def held(between: relay.Relay) -> Iterator[None]:
    """What happens while the store is being sent its seventh MiB."""
    between.hold_after(7 << 20)
    yield
    between.release()


def test_a_gateway_that_is_killed_in_the_middle(
    running: service.Service, kind: remote_kinds.Kind, cluster: ceph.Ceph, between: relay.Relay
) -> None:
    """The import waits for it and goes on; only the whole image is there afterwards."""
    image_id = remote_service.staged(running, remote_service.LARGE)
    with held(between):
        remote_service.begin(running, image_id)
        assert between.holding.wait(service.PATIENCE)
        cluster.kill_gateway()
    cluster.start_gateway()
    task = running.wait_for_task(image_id, 120)
    assert task["status"] == "success", task["message"]
    remote_service.check(running, image_id, remote_service.LARGE)
    assert kind.finished(image_id)
    remote_service.remove(running, kind, image_id)


def test_a_worker_that_is_killed_in_the_middle(
    running: service.Service, kind: remote_kinds.Kind, between: relay.Relay
) -> None:
    image_id = remote_service.staged(running, remote_service.LARGE)
    with held(between):
        remote_service.begin(running, image_id)
        assert between.holding.wait(service.PATIENCE)
        running.kill("worker")
    running.start("worker")
    task = running.wait_for_task(image_id, 120)
    assert task["status"] == "success", task["message"]
    remote_service.check(running, image_id, remote_service.LARGE)
    assert kind.finished(image_id)
    remote_service.remove(running, kind, image_id)


def test_an_image_that_is_deleted_in_the_middle(
    running: service.Service, kind: remote_kinds.Kind, between: relay.Relay
) -> None:
    """The worker hears of it while the gateway is silent; nothing is left."""
    image_id = remote_service.staged(running, remote_service.LARGE)
    with held(between):
        remote_service.begin(running, image_id)
        assert between.holding.wait(service.PATIENCE)
        assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
    service.wait_for(lambda: not kind.held(), "what was sent to be gone")
    service.wait_for(lambda: not list((running.state / "staging").iterdir()), "staging to be empty")
