"""Two APIs on one database and one staging directory, and two services that are each other's region."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests import service

DATA = bytes(range(256)) * 4096  # 1 MiB
QUICK = "lease_seconds = 3\nheartbeat_seconds = 0.2\nsweep_seconds = 1\n"
METHODS = "[DEFAULT]\nenabled_import_methods = [glance-direct,web-download,glance-download]\n"
ABSENT = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"
PATCH = "application/openstack-images-v2.1-json-patch"


def test_stage_here_import_there_delete_anywhere(
    tmp_path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The staging directory is shared, so no request is ever handed on from one API to the other."""
    with service.running(tmp_path, "api", "worker", options=f"[gantry]\n{QUICK}") as first:
        second = service.Service(tmp_path_factory.mktemp("second"), "gunicorn")
        second.environment["OS_GANTRY__STATE_PATH"] = str(first.state)
        try:
            second.start("api")
            image_id = first.create(disk_format="raw")
            first.stage(image_id, DATA)
            assert "os_glance_stage_host" not in first.image(image_id)
            second.begin_import(image_id)
            assert first.wait_for_task(image_id)["status"] == "success"
            assert second.ask("GET", f"/v2/images/{image_id}/file").data == DATA
            assert second.ask("DELETE", f"/v2/images/{image_id}").status == 204
            staged = first.create(disk_format="raw")
            first.stage(staged, DATA)
            assert second.ask("DELETE", f"/v2/images/{staged}").status == 204
            assert first.ask("GET", f"/v2/images/{staged}").status == 404
            assert first.left_over() == []
        finally:
            second.stop_all()


@pytest.fixture(scope="module")
def regions(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[service.Service, service.Service]]:
    """This region and another one; nobody has a token, so an option names the other one's endpoint."""
    with service.running(tmp_path_factory.mktemp("two"), "api") as remote:
        options = (
            f"{METHODS}[gantry]\n{QUICK}"
            f"remote_regions = two:{remote.url}/v2,gone:http://127.0.0.1:{service.free_port()}\n"
        )
        here = tmp_path_factory.mktemp("one")
        with service.running(here, "api", "worker", "beat", options=options) as local:
            yield local, remote


def source(remote: service.Service, **fields: Any) -> str:
    """An active image of the other region."""
    image_id = remote.create(disk_format="raw", **fields)
    assert remote.ask("PUT", f"/v2/images/{image_id}/file", DATA).status == 204
    return image_id


def fetch(local: service.Service, image_id: str, region: str = "two") -> tuple[str, dict[str, Any]]:
    """Download an image from there into one of here; its id, and its task when it has ended."""
    mine = local.create(
        container_format="ovf",
        disk_format="iso",
        name="mine",
        hw_cpu_cores="1",
        os_distro="windows",
        mine="kept",
    )
    local.begin_import(mine, "glance-download", glance_image_id=image_id, glance_region=region)
    return mine, local.wait_for_task(mine)


def secrets(local: service.Service) -> int:
    """Rows of what workers must know and nobody may see."""
    engine = sa.create_engine(f"sqlite:///{local.state}/gantry.sqlite")
    with engine.connect() as connection:
        found: int = connection.execute(
            sa.text("SELECT count(*) FROM gantry_task_secrets")
        ).scalar_one()
    engine.dispose()
    return found


def test_an_image_of_another_region(regions: tuple[service.Service, service.Service]) -> None:
    """Its formats and the configured properties come along; the rest stays what it was."""
    local, remote = regions
    properties = {"hw_cpu_cores": "5", "trait:SSD": "required", "os_distro": "rhel", "speed": "88"}
    theirs = source(remote, name="theirs", **properties)
    mine, task = fetch(local, theirs)
    assert task["status"] == "success", task["message"]
    record, original = local.image(mine), remote.image(theirs)
    for name in ("disk_format", "container_format", "size", "checksum", "os_hash_value"):
        assert record[name] == original[name]
    for name, value in {
        "name": "mine",
        "mine": "kept",
        "hw_cpu_cores": "5",
        "trait:SSD": "required",
        "os_distro": "rhel",
        "status": "active",
    }.items():
        assert record[name] == value
    assert "speed" not in record
    assert local.ask("GET", f"/v2/images/{mine}/file").data == DATA
    assert remote.url not in str(local.task(mine))
    assert secrets(local) == 0


@pytest.mark.parametrize(
    ("image", "region", "says"),
    [
        ("absent", "two", "404"),
        ("queued", "two", "must be active"),
        ("active", "nowhere", "no image service"),
        ("active", "gone", "refused"),
    ],
)
def test_an_image_that_cannot_be_had(
    regions: tuple[service.Service, service.Service], image: str, region: str, says: str
) -> None:
    """The task tells why; the image is as it was, properties and all."""
    local, remote = regions
    ids = {"absent": ABSENT, "queued": remote.create(disk_format="raw"), "active": source(remote)}
    mine, task = fetch(local, ids[image], region)
    assert (task["status"], says in task["message"]) == ("failure", True), task["message"]
    record = local.image(mine)
    for name, value in {
        "status": "queued",
        "container_format": "ovf",
        "disk_format": "iso",
        "hw_cpu_cores": "1",
        "os_distro": "windows",
        "size": None,
    }.items():
        assert record[name] == value
    assert "os_glance_import_task" not in record
    assert secrets(local) == 0
    assert not [name for name in local.left_over() if mine in name]


def test_data_that_are_not_what_the_other_region_says(
    regions: tuple[service.Service, service.Service],
) -> None:
    """Its store has lost bits: what arrives is not the record's."""
    local, remote = regions
    theirs = source(remote)
    (remote.state / "images" / theirs).write_bytes(b"\1" + DATA[1:])
    _, task = fetch(local, theirs)
    assert (task["status"], "checksum" in task["message"]) == ("failure", True), task["message"]
    (remote.state / "images" / theirs).write_bytes(DATA[:-1])
    _, task = fetch(local, theirs)
    assert task["status"] == "failure"
