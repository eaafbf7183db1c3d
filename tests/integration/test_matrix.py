"""Every method with every plugin into every type of store, with every end that an import can come to.

One process plays API and worker; the stores are real ones. What each cell must come to says `matrix`.
"""

import hashlib
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import sqlalchemy as sa

from images import config, db, errors, imports, models, staging
from tests import ceph, web
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from tests.integration import matrix, remote_kinds
from workers import engine, jobs

#: Swift's library calls Keystone's as it was done of old.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

MARKS = ("os_glance_importing_to_stores", "os_glance_failed_import")


class Files:
    """What `remote_kinds.Kind` is for stores over the network, for file stores."""

    def __init__(self, room: pathlib.Path) -> None:
        self._room = room

    def options(self, store: str, _: str) -> str:
        return f"filesystem_store_datadir = {self._room}/{store}\n"

    def held(self) -> list[str]:
        return [file.name for file in (self._room / "works").iterdir()]

    def spoil(self) -> None:
        """The disk of the store `wrong` is away: where its directory was there is a file."""
        shutil.rmtree(self._room / "wrong", ignore_errors=True)
        (self._room / "wrong").touch()

    def empty(self) -> None:
        """Each test has a directory of its own."""


@pytest.fixture
def kind(
    cell: matrix.Cell, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """The cell's type of store, empty."""
    if cell.kind == "file":
        yield Files(tmp_path)
        return
    cluster: ceph.Ceph = request.getfixturevalue("cluster")
    made = remote_kinds.KINDS[cell.kind](cluster, tmp_path)
    made.empty()
    yield made
    made.empty()


@pytest.fixture
def api(
    cell: matrix.Cell,
    kind: Any,
    caller: Caller,
    tmp_path: pathlib.Path,
    request: pytest.FixtureRequest,
) -> Api:
    """An administrator of a service with the stores `works` and `wrong` of that type, and a local one."""
    host = "" if cell.kind == "file" else request.getfixturevalue("cluster").host
    sections = "".join(f"[{name}]\n{kind.options(name, host)}\n" for name in ("works", "wrong"))
    injected = ",".join(f"{name}:{value}" for name, value in matrix.INJECTED.items())
    made = caller(
        roles="admin",
        options=f"""
enabled_backends = local:file,works:{cell.kind},wrong:{cell.kind}
enabled_import_methods = [{",".join((*matrix.METHODS, "copy-image"))}]
{sections}
[local]
filesystem_store_datadir = {tmp_path}/local
[os_glance_staging_store]
filesystem_store_datadir = {tmp_path}/staging
[glance_store]
default_backend = local
[import_filtering_opts]
allowed_ports = []
[image_import_opts]
image_import_plugins = [{",".join(matrix.PLUGINS[cell.plugins])}]
[image_conversion]
output_format = raw
[inject_metadata_properties]
inject = {injected}
ignore_user_roles =
[gantry]
heartbeat_seconds = 0.1
remember_seconds = 0
retry_pause = 0.01
tries = 2
""",
    )
    if cell.kind == "file":
        kind.spoil()
    return made


@pytest.fixture
def source(cell: matrix.Cell, tmp_path: pathlib.Path) -> Iterator[tuple[bytes, str, str]]:
    """The bytes, the format that is declared, and the URL of a server that has them, or has lost them."""
    data, disk_format = matrix.packed(cell, tmp_path)
    is_gone = cell.outcome == "source gone"
    with web.serving({} if is_gone else matrix.answers(data, disk_format)) as url:
        yield data, disk_format, url


def begin(cell: matrix.Cell, api: Api, source: tuple[bytes, str, str]) -> str:
    """An image whose import, or copy, may begin; its id."""
    data, disk_format, url = source
    if cell.is_copy:
        image_id = api.create(**importing.FORMATS)
        assert api.put(image_id, matrix.RAW).status_code == 204
    elif cell.method == "glance-direct":
        image_id = importing.staged(api, data, disk_format=disk_format)
    else:
        image_id = api.create(**(importing.FORMATS | {"disk_format": disk_format}))
    config.CONF.set_override("remote_regions", {"two": url}, "gantry")
    method: dict[str, Any] = {"name": cell.method}
    if cell.method == "web-download":
        method["uri"] = f"{url}/image"
    if cell.method == "glance-download":
        method |= {"glance_region": "two", "glance_image_id": matrix.REMOTE}
    importing.asked(
        api,
        image_id,
        method,
        stores=list(cell.expected.stores),
        all_stores_must_succeed=cell.expected.must_succeed,
    )
    return image_id


class Deletes(importing.Watch):
    """The image is deleted when its first store begins."""

    delete: Callable[[], object]

    def report(self, step: str, done: int, total: int | None) -> None:
        is_first = step.startswith(("store:", "copy:")) and step not in self.steps
        super().report(step, done, total)
        if is_first:
            self.delete()
            self.pause(step, 60)  # the heartbeat sees it


def play(cell: matrix.Cell, api: Api, image_id: str, room: pathlib.Path) -> None:
    """The worker's part, and what befalls it."""
    task_id = str(importing.task_of(api, image_id)["id"])
    if cell.outcome == "source gone":
        staging.remove(image_id)
        (room / "local" / image_id).unlink(missing_ok=True)
    if cell.outcome.startswith("worker killed"):
        first = "convert" if cell.plugins in ("conversion", "all") else "fetch"
        at = "store" if cell.outcome.endswith("store") else first
        importing.attempt(task_id, "first", "copy" if cell.is_copy else at)
        importing.attempt(task_id, "second")
    elif cell.outcome == "image deleted":
        plan = imports.begin(task_id, "worker")
        assert plan is not None
        with Deletes(plan) as watch:
            watch.delete = lambda: api.ask("DELETE", f"/v2/images/{image_id}")
            with pytest.raises(errors.ImportFailed):
                engine.run(plan, watch)
    elif cell.expected.task == "success":
        assert jobs.run_import(task_id) == "active"
    else:
        with pytest.raises(errors.ImportFailed):
            jobs.run_import(task_id)


def check_task(cell: matrix.Cell, image_id: str) -> None:
    """It has ended, a failure says why, and nothing is kept of it."""
    with db.reading() as session:
        task = session.scalars(sa.select(models.Task).where(models.Task.image_id == image_id)).one()
        message = session.get_one(models.TaskInfo, task.id).message or ""
        run = session.get_one(models.TaskRun, task.id)
        assert (task.status, run.worker) == (cell.expected.task, None), message
        for kept in (models.FlowState, models.TaskSecret):
            assert session.scalars(sa.select(kept)).all() == []
    assert message
    assert str(staging.path().parent) not in message


def check_image(cell: matrix.Cell, api: Api, image_id: str) -> None:
    """Status, lists, lock, and what the data are said to be."""
    expected = cell.expected
    image = api.show(image_id)
    assert image["status"] == ("active" if cell.is_copy else expected.image)
    assert "os_glance_import_task" not in image
    assert [image[name] for name in MARKS] == ["", ",".join(expected.failed)]
    holders = [*(["local"] if cell.is_copy else []), *expected.holds]
    assert image.get("stores", "") == ",".join(holders)
    if image["status"] == "active":
        check_data(cell, api, image)


def check_data(cell: matrix.Cell, api: Api, image: dict[str, Any]) -> None:
    """What the record says is what is given out."""
    data, disk_format = matrix.stored(cell)
    said = {name: image[name] for name in ("disk_format", "size", "os_hash_value")}
    digest = hashlib.sha512(data).hexdigest()
    assert said == {"disk_format": disk_format, "size": len(data), "os_hash_value": digest}
    if cell.outcome != "source gone":  # of a copy: that was the only one
        assert api.ask("GET", f"/v2/images/{image['id']}/file").data == data
    is_injected = cell.plugins in ("injection", "all") and not cell.is_copy
    assert matrix.INJECTED.items() <= image.items() or not is_injected


@pytest.mark.parametrize("cell", list(matrix.cells()), ids=str)
def test_a_cell(
    cell: matrix.Cell,
    api: Api,
    kind: Any,
    source: tuple[bytes, str, str],
    tmp_path: pathlib.Path,
) -> None:
    image_id = begin(cell, api, source)
    play(cell, api, image_id, tmp_path)
    check_task(cell, image_id)
    is_deleted = cell.outcome == "image deleted"
    if is_deleted:
        assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404
    else:
        check_image(cell, api, image_id)
    assert list(staging.path().iterdir()) == []
    assert kind.held() == ([image_id] if cell.expected.holds else [])
    has_source = cell.is_copy and not is_deleted and cell.outcome != "source gone"
    local = [file.name for file in cast(Any, tmp_path / "local").iterdir()]
    assert local == ([image_id] if has_source else [])
