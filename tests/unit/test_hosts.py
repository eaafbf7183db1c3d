"""Hosts whose staging no other one sees: the names of their queues, and whose leftovers are whose."""

import datetime
import os
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from images import db, hosts, models, upkeep
from tests.conftest import Configure
from tests.unit import remains
from workers import hosts as own_queues

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def host(configure: Configure) -> Callable[[str], None]:
    """Become another host, whose staging is its own."""

    def become(name: str) -> None:
        configure(
            f"staging_is_shared = false\nhost = {name}\n"
            f"[DEFAULT]\nnode_staging_uri = file://${{gantry.state_path}}/staging-{name}"
        )

    become("a")
    return become


def mark(image_id: str) -> str:
    """Say that an image's bytes are on this host."""
    with db.transaction() as session:
        hosts.mark(session, image_id)
    return image_id


def marked(image_id: str) -> list[str | None]:
    row = models.ImageProperty
    with db.reading() as session:
        query = sa.select(row.value).where(row.image_id == image_id, row.name == hosts.MARK)
        return list(session.scalars(query))


def test_each_host_waits_for_its_own_bytes(host: Callable[[str], None]) -> None:
    """Bytes of an image that is another host's business are left over, however busy the image is."""
    ids = [mark(remains.image("uploading")), mark(remains.image("saving"))]
    ids += [
        remains.image("importing"),
        remains.image("importing"),
        remains.image("active"),
        remains.image("importing"),
    ]
    for one, queue in zip(ids[2:], ("convert@a", "fetch@a", "convert@a", "fetch"), strict=True):
        remains.new_task(one, "processing", queue=queue)
    here = [file for one in ids for file in remains.staged(one)]
    assert upkeep.empty_staging() == 0
    host("b")
    there = [file for one in ids for file in remains.staged(one)]
    assert remains.twice_at_once(upkeep.empty_staging) >= 5
    assert all(file.exists() for file in here)
    # An import in the common queue may be begun by any host, this one included.
    assert {file.name[:36] for file in there if file.exists()} == {ids[5]}
    assert upkeep.empty_staging() == 0
    host("a")
    assert upkeep.empty_staging() == 0
    assert all(file.exists() for file in here)


def test_an_import_that_has_moved_to_another_host(host: Callable[[str], None]) -> None:
    """It was begun here, the host was away for too long, and now it goes on elsewhere."""
    image_id = remains.image("importing")
    remains.new_task(image_id, "processing", queue="fetch@b")
    files = remains.staged(image_id, ".1.part")
    young = remains.staged(image_id, ".part", age=datetime.timedelta())
    assert upkeep.empty_staging() == 0
    for file in young:
        os.utime(file, (0, 0))
    assert upkeep.empty_staging() == 1
    assert not any(file.exists() for file in files + young)


@pytest.mark.parametrize("was", ["saving", "uploading"])
def test_an_upload_is_given_back_by_its_own_host(host: Callable[[str], None], was: str) -> None:
    """The others do not see whether bytes still arrive."""
    image_id = mark(remains.image(was))
    host("b")
    assert upkeep.give_back_uploads() == 0
    assert (remains.status(image_id), marked(image_id)) == (was, ["a"])
    host("a")
    assert upkeep.give_back_uploads() == 1
    assert (remains.status(image_id), marked(image_id)) == ("queued", [])


def test_an_upload_whose_host_never_comes_back(host: Callable[[str], None]) -> None:
    image_id = mark(remains.image("saving", age=datetime.timedelta(hours=25)))
    staged_whole = mark(remains.image("uploading", age=datetime.timedelta(hours=25), size=5))
    host("b")
    assert remains.twice_at_once(upkeep.give_back_uploads) == 1
    assert (remains.status(image_id), remains.status(staged_whole)) == ("queued", "uploading")


def test_names_of_queues(host: Callable[[str], None]) -> None:
    """A name is bound once, whoever binds it again."""
    assert (hosts.bind("fetch"), hosts.bind("fetch@b")) == ("fetch@a", "fetch@b")
    assert (hosts.unbind("fetch@a"), hosts.unbind("fetch")) == ("fetch", "fetch")
    assert [hosts.is_elsewhere(name) for name in ("fetch", "fetch@a", "fetch@b")] == [
        *(False, False),
        True,
    ]
    assert own_queues.upkeep_queue() == "upkeep@a"
    assert own_queues.own(["fetch", "convert@x", "upkeep"]) == ["fetch@a", "upkeep@a"]


def test_names_of_queues_where_staging_is_shared() -> None:
    assert hosts.bind("fetch") == "fetch"
    assert not hosts.is_elsewhere("fetch@b")
    assert own_queues.upkeep_queue() == "upkeep"
    assert own_queues.own(["fetch", "convert"]) == []


def test_who_fetches_fetches_for_the_cache_of_its_host(configure: Configure) -> None:
    configure("host = a\n[DEFAULT]\nimage_cache_dir = /var/cache/images\n")
    assert own_queues.own(["fetch", "convert"]) == ["cache@a"]
    assert own_queues.own(["convert", "upkeep"]) == []
    configure(
        "host = a\nstaging_is_shared = false\n[DEFAULT]\nimage_cache_dir = /var/cache/images\n"
    )
    assert own_queues.own(["fetch", "convert"]) == ["fetch@a", "convert@a", "cache@a"]


def test_a_long_name_of_a_host(host: Callable[[str], None]) -> None:
    """It fits the column, and another host's is another one."""
    names = set()
    for end in ("one", "two"):
        host(f"{'node-' * 12}{end}")
        names.add(hosts.name())
        assert len(hosts.bind("convert")) <= models.TaskRun.queue.type.length
    assert len(names) == 2
    host("a" * 50)
    assert hosts.name() == "a" * 50
