"""The commands of operators (contract section 6): tables, purging, checks; each by every name it has."""

import argparse
import datetime
import pathlib
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import config, db, models, schema
from images.commands import main
from tests import commands
from tests.functional.conftest import Api, Caller, Command

Execute = Callable[[Any], None]
DATA = b"x" * 3000
FORMATS = {"disk_format": "raw", "container_format": "bare"}
PARTS = (models.ImageProperty, models.ImageTag, models.ImageMember, models.ImageLocation)


def deleted(api: Api, image_id: str) -> str:
    """An image that has had one of each part."""
    api.create(id=image_id, some="property", tags=["a"], **FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    answer = api.ask("POST", f"/v2/images/{image_id}/members", {"member": "friend"})
    assert answer.status_code == 200
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    return image_id


def rows(image_id: str) -> list[int]:
    """How many rows the image has in each table of parts."""
    count = sa.func.count()
    with db.reading() as session:
        return [
            session.scalars(sa.select(count).select_from(one).where(one.image_id == image_id)).one()
            for one in PARTS
        ]


# Tables


@pytest.fixture
def empty(tmp_path: pathlib.Path, command: Command) -> pathlib.Path:
    """The configuration of a service without any tables."""
    file = tmp_path / "empty.conf"
    url = f"sqlite:///{tmp_path}/none/empty.sqlite"
    file.write_text(f"[database]\nconnection = {url}\n[gantry]\nstate_path = {tmp_path}/none\n")
    db.dispose()
    return file


def test_a_rolling_upgrade(empty: pathlib.Path) -> None:
    """Each step says what is next, and refuses to be the first one where it is not."""
    assert commands.run(empty, "gantry db check").code == 3
    for step in ("migrate", "contract"):
        ended = commands.run(empty, f"glance-manage db {step}")
        assert (ended.code, "db expand" in ended.err) == (1, True)
    assert not (empty.parent / "none").exists(), "only looking makes no database"
    for step in ("expand", "migrate", "contract", "check", "sync", "expand"):
        assert commands.run(empty, f"gantry db {step}").code == 0
    assert commands.run(empty, "gantry db version").out.strip() == schema.revision()
    assert schema.is_current()


@pytest.mark.parametrize(
    "line",
    ["gantry db sync", "glance-manage db sync", "glance-manage db_sync", "gantry db upgrade"],
)
def test_sync_by_its_names(empty: pathlib.Path, line: str) -> None:
    assert commands.run(empty, line).code == 0
    assert schema.is_current()


def test_sync_to_a_revision(empty: pathlib.Path) -> None:
    assert commands.run(empty, "gantry db sync g0003").code == 0
    assert commands.run(empty, "gantry db version").out == "g0003\n"
    assert commands.run(empty, "gantry db check").code == 3
    ended = commands.run(empty, "glance-manage db sync --version no-such")
    assert (ended.code, "no-such" in ended.err) == (1, True)
    assert commands.run(empty, "glance-manage db_upgrade heads").code == 0
    assert commands.run(empty, "gantry db check").code == 0


def test_version_control(empty: pathlib.Path, command: Command) -> None:
    """It marks, and makes no table; one that is under control is left alone unless a revision is named."""
    assert commands.run(empty, "gantry db version_control").code == 0
    assert commands.run(empty, "gantry db version").out == "g0001\n"
    assert sa.inspect(db.engine()).get_table_names() == ["gantry_version"]
    db.dispose()


def test_version_control_of_tables_that_are_there(api: Api, command: Command) -> None:
    at = schema.revision()
    assert at in command("gantry db version_control").out
    assert schema.revision() == at
    assert command("gantry db version_control g0002").code == 0
    assert schema.revision() == "g0002"


def test_a_database_that_cannot_be_reached(tmp_path: pathlib.Path, caller: Caller) -> None:
    """One line behind what the driver has logged; no password, no trace."""
    file = tmp_path / "away.conf"
    url = f"postgresql://me:s%40cret@/gantry?host={tmp_path}/nowhere"
    file.write_text(f"[database]\nconnection = {url}\n[gantry]\nstate_path = {tmp_path}\n")
    db.dispose()
    for line in ("gantry db sync", "gantry db check", "gantry db purge"):
        ended = commands.run(file, line)
        assert (ended.code, ended.out) == (1, "")
        assert "The database does not answer" in ended.err.splitlines()[-1]
        assert "cret" not in ended.err
        assert "Traceback" not in ended.err


# Purging


def test_ossn_0075_r19_r20_a_purged_id_stays_taken(api: Api, command: Command) -> None:
    image_id = deleted(api, str(uuid.uuid4()))
    other = api.create(some="property", tags=["a"])
    assert all(rows(image_id))
    assert command("gantry db purge --age_in_days 1").code == 0
    assert all(rows(image_id)), "they are younger than that"
    assert command("gantry db purge_images_table --age_in_days 1").code == 0
    assert command("glance-manage db purge --age_in_days 0").code == 0
    assert rows(image_id) == [0, 0, 0, 0]
    assert api.ask("POST", "/v2/images", {"id": image_id}).status_code == 409
    ended = command("glance-manage db purge_images_table --age_in_days 0")
    assert (ended.code, ended.out) == (0, "images: 1 rows removed\n")
    assert api.ask("POST", "/v2/images", {"id": image_id}).status_code == 201
    assert api.show(other)["some"] == "property"


def test_an_image_s_row_takes_with_it_what_there_still_is(api: Api, command: Command) -> None:
    """Rows that refer to it would keep it, or be left without it."""
    image_id = deleted(api, str(uuid.uuid4()))
    assert command("gantry db purge_images_table --age_in_days 0 --max_rows -1").code == 0
    assert rows(image_id) == [0, 0, 0, 0]
    with db.reading() as session:
        assert session.get(models.Image, image_id) is None


@pytest.mark.parametrize("by_glance", [False, True])
@pytest.mark.parametrize("options", ["delayed_delete = true\nscrub_time = 1000", ""])
def test_where_the_data_are_is_not_forgotten(
    caller: Caller, command: Command, execute: Execute, options: str, by_glance: bool
) -> None:
    """Of an image that waits to be scrubbed, or whose store has not let go yet."""
    image_id = deleted(caller(options=options), str(uuid.uuid4()))
    marked = {"deleted": by_glance, "deleted_at": db.now() if by_glance else None}
    execute(sa.update(models.ImageLocation).values(status="pending_delete", **marked))
    assert command("gantry db purge --age_in_days 0 --max_rows -1").code == 0
    ended = command("gantry db purge_images_table --age_in_days 0 --max_rows -1")
    assert (ended.code, "1 rows stay" in ended.out) == (0, True)
    assert rows(image_id)[3] == 1
    with db.reading() as session:
        assert session.get(models.Image, image_id) is not None


def test_max_rows_and_age(api: Api, command: Command, execute: Execute) -> None:
    """The oldest ones go first."""
    ids = [deleted(api, str(uuid.uuid4())) for _ in range(5)]
    for age, image_id in enumerate(ids):
        then = db.now() - datetime.timedelta(days=10 * age)
        for table in PARTS:
            execute(sa.update(table).where(table.image_id == image_id).values(deleted_at=then))

    def left() -> list[bool]:
        return [bool(sum(rows(one))) for one in ids]

    command("gantry db purge --age_in_days 15 --max_rows 0")
    assert left() == [True] * 5
    command("gantry db purge --age_in_days 15 --max_rows 2")
    assert left() == [True, True, True, False, False]
    command("gantry db purge --age_in_days 15 --max_rows -1")
    assert left() == [True, True, False, False, False]


def test_tasks_go_with_what_is_kept_of_them(api: Api, command: Command, execute: Execute) -> None:
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA, "stage").status_code == 204
    body = {"method": {"name": "glance-direct"}}
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 202
    kept = (models.Task, models.TaskInfo, models.TaskRun)

    def count() -> list[int]:
        return [db.fetch(sa.select(sa.func.count()).select_from(one))[0][0] for one in kept]

    assert command("gantry db purge --age_in_days 0").code == 0
    assert count() == [1, 1, 1]
    execute(sa.update(models.Task).values(deleted=True, deleted_at=db.now()))
    assert "tasks: 1 rows removed" in command("gantry db purge --age_in_days 0").out
    assert count() == [0, 0, 0]


@pytest.mark.parametrize("what", ["purge", "purge_images_table"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--age_in_days -1", 1),
        ("--age_in_days 99999", 1),
        ("--max_rows -2", 1),
        ("--max_rows 9999999999", 1),
        ("--age_in_days x", 2),
        ("--max_rows x", 2),
    ],
)
def test_bad_ranges(api: Api, command: Command, what: str, words: str, code: int) -> None:
    ended = command(f"glance-manage db {what} {words}")
    assert (ended.code, bool(ended.err)) == (code, True)


def test_more_rows_than_one_transaction_takes(api: Api, command: Command, execute: Execute) -> None:
    image_id = api.create()
    gone = {"deleted": True, "deleted_at": db.now(), "image_id": image_id}
    execute(sa.insert(models.ImageTag).values([gone | {"value": str(n)} for n in range(1200)]))
    assert "image_tags: 700 rows" in command("gantry db purge --age_in_days 0 --max_rows 700").out
    assert "image_tags: 500 rows" in command("gantry db purge --age_in_days 0 --max_rows -1").out


# Checks and help


def test_r05_upgrade_check(caller: Caller, command: Command, tmp_path: pathlib.Path) -> None:
    """0 all is well, 1 warnings, 2 failures."""
    caller()
    assert command("glance-status upgrade check").code == 0
    caller(options="owner_is_tenant = false")
    ended = command("gantry upgrade check")
    assert (ended.code, "owner_is_tenant" in ended.out) == (1, True)
    caller()
    (tmp_path / "staging").rmdir()
    (tmp_path / "staging").write_text("no directory")
    ended = command("gantry upgrade check")
    assert (ended.code, "staging area cannot be used" in ended.out) == (2, True)


def test_upgrade_check_without_tables(empty: pathlib.Path) -> None:
    ended = commands.run(empty, "gantry upgrade check")
    assert (ended.code, "gantry db sync" in ended.out) == (2, True)


def lines(parser: argparse.ArgumentParser, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command that a parser knows, by its words."""
    found = [before]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, one in action.choices.items():
                found += lines(one, (*before, word))
    return found


PARSERS = {
    "gantry": main.gantry_parser,
    "glance-manage": main.manage_parser,
    "glance-scrubber": main.scrubber_parser,
    "glance-status": main.status_parser,
}


@pytest.mark.parametrize("name", PARSERS)
def test_r50_every_command_has_help(name: str) -> None:
    for words in lines(PARSERS[name]()):
        ended = commands.run(None, " ".join((name, *words, "--help")))
        assert (ended.code, ended.err) == (0, "")
        assert "usage:" in ended.out


@pytest.mark.parametrize("line", ["gantry", "gantry db", "glance-manage", "glance-manage db"])
def test_no_command_is_usage(line: str) -> None:
    ended = commands.run(None, line)
    assert (ended.code, "usage:" in ended.err) == (2, True)


def test_the_configuration_may_be_a_directory(caller: Caller, tmp_path: pathlib.Path) -> None:
    caller()
    place = tmp_path / "conf.d"
    place.mkdir()
    (place / "1.conf").write_text((tmp_path / "gantry.conf").read_text())
    (place / "2.conf").write_text("[DEFAULT]\nscrub_time = 77\n")
    ended = commands.run(None, f"gantry --config-dir {place} db check")
    assert (ended.code, config.CONF.scrub_time) == (0, 77)
