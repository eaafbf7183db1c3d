"""What is Ceph's own: images that Nova clones, a full pool, a worker that dies while all is silent."""

import contextlib
import json
import signal
from collections.abc import Iterator

import pytest

from tests import ceph, service
from tests.integration import remote_kinds, remote_service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kind(cluster: ceph.Ceph, tmp_path_factory: pytest.TempPathFactory) -> remote_kinds.Kind:
    """The type of store."""
    return remote_kinds.Rbd(cluster, tmp_path_factory.mktemp("rbd"))


@pytest.fixture(scope="module")
def running(
    kind: remote_kinds.Kind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """A service with a store that works."""
    with remote_service.running(tmp_path_factory.mktemp("gantry"), kind, "", ("works",)) as whole:
        yield whole


def test_nova_clones_the_image(
    running: service.Service, kind: remote_kinds.Kind, cluster: ceph.Ceph
) -> None:
    """The URL names cluster, pool, image and a protected snapshot; a cloned image is not deleted."""
    image_id = remote_service.staged(running, remote_service.SMALL)
    remote_service.begin(running, image_id)
    assert running.wait_for_task(image_id)["status"] == "success"
    url = f"rbd://{cluster.fsid}/{ceph.POOL}/{image_id}/snap"
    assert running.image(image_id)["direct_url"] == url
    cluster.run("rbd", "clone", f"{ceph.POOL}/{image_id}@snap", f"{ceph.POOL}/disk")
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 409
    remote_service.check(running, image_id, remote_service.SMALL)
    cluster.run("rbd", "rm", f"{ceph.POOL}/disk", "--no-progress")
    remote_service.remove(running, kind, image_id)


def test_a_full_cluster(
    running: service.Service, kind: remote_kinds.Kind, cluster: ceph.Ceph
) -> None:
    """Ceph lets writers wait until there is room; whoever imports is told instead."""
    image_id = remote_service.staged(running, remote_service.LARGE)
    cluster.run("ceph", "tell", "osd.0", "injectfull", "full")
    try:
        service.wait_for(lambda: _is_full(cluster), "the cluster to be full")
        remote_service.begin(running, image_id)
        task = running.wait_for_task(image_id)
        assert (task["status"], "works is full" in task["message"]) == ("failure", True), task
        answer = running.ask("PUT", f"/v2/images/{image_id}/file", remote_service.SMALL)
        assert (answer.status, "works is full" in answer.data.decode()) == (413, True)
    finally:
        cluster.run("ceph", "tell", "osd.0", "injectfull", "none")
    service.wait_for(lambda: not _is_full(cluster), "the cluster to have room")
    service.wait_for(lambda: not kind.held(), "what was begun to be gone")
    answer = running.ask("PUT", f"/v2/images/{image_id}/file", remote_service.SMALL)
    assert answer.status == 204, answer.data
    remote_service.remove(running, kind, image_id)


def test_a_worker_that_is_killed_while_the_cluster_is_silent(
    running: service.Service, kind: remote_kinds.Kind, cluster: ceph.Ceph
) -> None:
    image_id = remote_service.staged(running, remote_service.LARGE)
    with _silent(cluster):
        remote_service.begin(running, image_id)
        service.wait_for(
            lambda: "store" in str(running.task(image_id)["message"]), "the store to be waited for"
        )
        running.kill("worker")
    running.start("worker")
    task = running.wait_for_task(image_id, 120)
    assert task["status"] == "success", task["message"]
    remote_service.check(running, image_id, remote_service.LARGE)
    assert kind.finished(image_id)
    remote_service.remove(running, kind, image_id)


def _is_full(cluster: ceph.Ceph) -> bool:
    """Whether Ceph lets its clients wait until there is room."""
    known = json.loads(cluster.run("ceph", "osd", "dump", "--format=json"))
    [pool] = [one for one in known["pools"] if one["pool_name"] == ceph.POOL]
    return "full" in [*known["flags_set"], *pool["flags_names"].split(",")]


@contextlib.contextmanager
def _silent(cluster: ceph.Ceph) -> Iterator[None]:
    """What happens while the OSD does not answer."""
    cluster.signal("ceph-osd", signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.signal("ceph-osd", signal.SIGCONT)
