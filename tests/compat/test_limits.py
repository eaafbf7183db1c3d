"""Unified limits of a real Keystone (contract section 3.7), and GET /v2/info/usage."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from tests import keystone, service, web

MIB = 1 << 20
ONE = b"x" * MIB
LIMITS = {
    "image_size_total": 5,
    "image_stage_total": 5,
    "image_count_total": 10,
    "image_count_uploading": 5,
}
_QUICK = (
    "[gantry]\nlease_seconds = 3\nheartbeat_seconds = 0.2\nsweep_seconds = 1\nretry_pause = 0.1\n"
)
_WEB = web.LOOPBACK


class Cloud:
    """A Keystone, and the image service behind it, as one project's user sees them."""

    def __init__(self, running: service.Service, identity: keystone.Keystone) -> None:
        self.service, self.keystone = running, identity
        self._count = 0
        self.project = ""

    def new_project(self) -> None:
        """Go on as the user of a project that has nothing."""
        self._count += 1
        self.project = f"project-{self._count}"
        user = f"user-{self._count}"
        self.keystone.user(user, self.project, "member")
        self.service.token = self.keystone.token(user, project=self.project)

    def limit(self, **limits: int) -> None:
        """Give the project limits of its own."""
        for name, most in limits.items():
            self.keystone.project_limit(self.project, name, most)

    def put(self, data: Any, what: str = "file") -> tuple[str, urllib3.BaseHTTPResponse]:
        """A new image, and the answer to its data."""
        image_id = self.service.create(disk_format="raw")
        return image_id, self.service.ask("PUT", f"/v2/images/{image_id}/{what}", data)

    def usage(self) -> dict[str, tuple[int, int]]:
        """Usage and limit by name."""
        answer = self.service.ask("GET", "/v2/info/usage").json()["usage"]
        return {name: (told["usage"], told["limit"]) for name, told in answer.items()}


@pytest.fixture(scope="module")
def behind_keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    state = tmp_path_factory.mktemp("keystone")
    with keystone.running(state) as identity:
        for name, most in LIMITS.items():
            identity.registered_limit(name, most)
        options = identity.options("use_keystone_limits = true") + _QUICK + _WEB
        names = ("api", "worker", "beat")
        state = tmp_path_factory.mktemp("gantry")
        with service.running(state, *names, options=options) as running:
            identity.serve_images(running.url)
            yield Cloud(running, identity)


@pytest.fixture
def cloud(behind_keystone: Cloud) -> Cloud:
    """A project without images, under the registered limits."""
    behind_keystone.new_project()
    return behind_keystone


def test_usage(cloud: Cloud) -> None:
    assert cloud.usage() == {name: (0, most) for name, most in LIMITS.items()}
    assert cloud.put(ONE * 2)[1].status == 204
    assert cloud.put(ONE, "stage")[1].status == 204
    cloud.limit(image_size_total=3)
    assert cloud.usage() == {
        "image_size_total": (2, 3),
        "image_stage_total": (1, 5),
        "image_count_total": (2, 10),
        "image_count_uploading": (1, 5),
    }


def test_images(cloud: Cloud) -> None:
    """A project's own limit replaces the registered one, and a changed one holds at once."""
    cloud.limit(image_count_total=1)
    first = cloud.service.create()
    refused = cloud.service.ask("POST", "/v2/images", {"name": "second"})
    assert refused.status == 413
    assert (
        b"image_count_total is over limit of 1 due to current usage 1 and delta 1" in refused.data
    )
    cloud.limit(image_count_total=2)
    cloud.service.create()
    assert cloud.service.ask("POST", "/v2/images", {}).status == 413
    assert cloud.service.ask("DELETE", f"/v2/images/{first}").status == 204
    cloud.service.create()
    cloud.limit(image_count_total=-1)
    for _ in range(12):
        cloud.service.create()


def test_another_project_has_its_own(cloud: Cloud) -> None:
    assert cloud.put(ONE * 5)[1].status == 204
    assert cloud.put(ONE)[1].status == 413
    cloud.new_project()
    assert cloud.put(ONE * 5)[1].status == 204


@pytest.mark.parametrize(
    ("what", "name"), [("file", "image_size_total"), ("stage", "image_stage_total")]
)
def test_bytes(cloud: Cloud, what: str, name: str) -> None:
    image_id, answer = cloud.put(ONE * 6, what)
    assert answer.status == 413
    assert f"{name} is over limit of 5 due to current usage 0 and delta 6".encode() in answer.data
    image = cloud.service.image(image_id)
    assert (image["status"], image["size"]) == ("queued", None)
    assert cloud.usage()[name] == (0, 5)
    assert cloud.put(ONE * 5, what)[1].status == 204
    assert cloud.put(ONE, what)[1].status == 413


def test_under_way(cloud: Cloud) -> None:
    cloud.limit(image_count_uploading=1)
    staged, answer = cloud.put(ONE, "stage")
    assert answer.status == 204
    assert cloud.put(ONE, "stage")[1].status == 413
    assert cloud.put(ONE)[1].status == 413
    cloud.service.begin_import(staged)
    assert cloud.service.wait_for_task(staged)["status"] == "success"
    assert cloud.put(ONE)[1].status == 204


def test_an_import_that_is_too_much(cloud: Cloud) -> None:
    """The worker finds out: task failed, image queued, lock gone."""
    assert cloud.put(ONE * 4)[1].status == 204
    staged, _ = cloud.put(ONE * 2, "stage")
    cloud.service.begin_import(staged)
    task = cloud.service.wait_for_task(staged)
    assert task["status"] == "failure"
    assert (
        "image_size_total is over limit of 5 due to current usage 4 and delta 2" in task["message"]
    )
    image = cloud.service.image(staged)
    assert image["status"] == "queued"
    assert "os_glance_import_task" not in image
    assert cloud.usage()["image_stage_total"] == (0, 5)


def test_a_download_that_is_too_much(cloud: Cloud) -> None:
    image_id = cloud.service.create(disk_format="raw")
    with web.serving({"/image": web.whole(ONE * 6)}) as url:
        cloud.service.begin_import(image_id, "web-download", uri=f"{url}/image")
        task = cloud.service.wait_for_task(image_id)
    assert task["status"] == "failure"
    assert "is over limit of 5 due to current usage 0 and delta 6" in task["message"]
    assert cloud.service.image(image_id)["status"] == "queued"


def test_an_import_where_too_much_is_there_already(cloud: Cloud) -> None:
    assert cloud.put(ONE * 3)[1].status == 204
    staged, _ = cloud.put(ONE, "stage")
    cloud.limit(image_size_total=2)
    body = {"method": {"name": "glance-direct"}}
    answer = cloud.service.ask("POST", f"/v2/images/{staged}/import", body)
    assert answer.status == 413
    assert b"image_size_total is over limit of 2 due to current usage 3 and delta 0" in answer.data
    cloud.limit(image_size_total=4)
    assert cloud.service.ask("POST", f"/v2/images/{staged}/import", body).status == 202
    assert cloud.service.wait_for_task(staged)["status"] == "success"


def test_softness_as_tempest_wants_it(cloud: Cloud) -> None:
    """tempest.scenario.test_unified_limits: at its limit, a project gets in one MiB of unsaid length."""
    cloud.limit(image_size_total=1)
    first, answer = cloud.put(iter([ONE]))
    assert answer.status == 204
    assert cloud.put(iter([ONE]))[1].status == 204
    assert cloud.put(iter([ONE]))[1].status == 413
    cloud.limit(image_size_total=2)
    assert cloud.put(iter([ONE]))[1].status == 204
    assert cloud.put(iter([ONE]))[1].status == 413
    assert cloud.service.ask("DELETE", f"/v2/images/{first}").status == 204
    assert cloud.put(iter([ONE]))[1].status == 204


def test_the_answer_is_glances(cloud: Cloud) -> None:
    """Word for word what Glance 33 was seen to say."""
    cloud.limit(image_count_total=0)
    answer = cloud.service.ask("POST", "/v2/images", {}, Accept="application/json")
    said = json.loads(answer.data)
    project = cloud.keystone.project(cloud.project)
    assert said["code"] == "413 Request Entity Too Large"
    assert (
        said["message"]
        .removesuffix("<br /><br />\n\n\n")
        .endswith(
            f"Project {project} is over a limit for [Resource image_count_total is over limit of 0 due to "
            "current usage 0 and delta 1]"
        )
    )
