"""Metadata definitions from files and into files (contract section 6.1)."""

import json
import pathlib
from typing import Any

import pytest
import sqlalchemy as sa

from images import db
from images.metadefs import files, models
from tests.functional.conftest import Api, Caller, Command

BASE = "/v2/metadefs/namespaces"
CORES = {"title": "Cores", "type": "integer", "minimum": 1}
DOCUMENT: dict[str, Any] = {
    "namespace": "OS::Test::Cores",
    "display_name": "Test",
    "description": "For a test: größer",
    "visibility": "public",
    "protected": True,
    "resource_type_associations": [
        {"name": "OS::Nova::Server", "properties_target": "scheduler_hints"},
        {"name": "OS::Glance::Image", "prefix": "hw_"},
    ],
    "properties": {"cores": CORES},
    "objects": [
        {"name": "cpu", "description": "d", "required": ["n"], "properties": {"n": CORES}},
        {"name": "bare"},
    ],
    "tags": [{"name": "red"}],
}


@pytest.fixture
def api(caller: Caller) -> Api:
    return caller(roles="admin,member,reader")


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory with one definition."""
    made = tmp_path / "metadefs"
    made.mkdir()
    put(made, DOCUMENT)
    (made / "README").write_text("no definition")
    return made


def put(place: pathlib.Path, document: Any, name: str = "a") -> None:
    (place / f"{name}.json").write_text(json.dumps(document))


def changed(**fields: Any) -> dict[str, Any]:
    return DOCUMENT | fields


def shown(api: Api, name: str = "OS::Test::Cores") -> dict[str, Any]:
    answer = api.ask("GET", f"{BASE}/{name}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.get_json()
    return document


def names(api: Api) -> set[str]:
    found = api.ask("GET", BASE).get_json()["namespaces"]
    return {one["namespace"] for one in found}


def test_a_file_is_shown_as_it_was_written(api: Api, command: Command, place: pathlib.Path) -> None:
    ended = command("gantry db load_metadefs --path", str(place))
    assert (ended.code, "OS::Test::Cores loaded" in ended.out) == (0, True)
    found = shown(api)
    for member in ("display_name", "description", "visibility", "protected", "properties"):
        assert found[member] == DOCUMENT[member]
    assert found["owner"] == "admin"
    types = {one["name"]: one for one in found["resource_type_associations"]}
    assert types["OS::Nova::Server"]["properties_target"] == "scheduler_hints"
    assert types["OS::Glance::Image"]["prefix"] == "hw_"
    groups = {one["name"]: one for one in found["objects"]}
    assert (groups["cpu"]["required"], groups["cpu"]["properties"]) == (["n"], {"n": CORES})
    assert [one["name"] for one in found["tags"]] == ["red"]


@pytest.mark.parametrize(
    "line",
    ["gantry db load_metadefs", "glance-manage db load_metadefs", "glance-manage db_load_metadefs"],
)
def test_r43_what_is_brought_along(api: Api, command: Command, line: str) -> None:
    """The hints of a server have their place; and each file is one that the API would take."""
    assert command(line).code == 0
    found = shown(api, "CIM::ProcessorAllocationSettingData")
    types = {one["name"]: one for one in found["resource_type_associations"]}
    assert types["OS::Nova::Server"]["properties_target"] == "scheduler_hints"
    ours = [json.loads(file.read_text()) for file in files.OURS.glob("*.json")]
    assert names(api) == {one["namespace"] for one in ours}
    assert len(ours) >= 5
    assert command("gantry db unload_metadefs").code == 0
    assert names(api) == set()
    for one in ours:
        assert api.ask("POST", BASE, one).status_code == 201


def test_r44_a_second_time_changes_nothing(api: Api, command: Command, place: pathlib.Path) -> None:
    command("gantry db load_metadefs --path", str(place))
    before = shown(api)
    put(place, changed(description="other"))
    ended = command("gantry db load_metadefs --path", str(place))
    assert (ended.code, "skipped" in ended.out) == (0, True)
    assert shown(api) == before


def edited(place: pathlib.Path) -> None:
    put(
        place,
        changed(
            description="other",
            properties={"cores": CORES | {"minimum": 2}, "new": CORES},
            objects=[{"name": "cpu", "description": "e"}, {"name": "gpu"}],
            tags=[{"name": "green"}],
            resource_type_associations=[
                {"name": "OS::Glance::Image", "prefix": "other_"},
                {"name": "OS::Nova::Flavor"},
            ],
        ),
    )


def said(api: Api) -> tuple[Any, ...]:
    """What the namespace says of what was edited, and what there is."""
    found = shown(api)
    types = {one["name"]: one.get("prefix") for one in found["resource_type_associations"]}
    groups = {one["name"]: one.get("description") for one in found["objects"]}
    tags = {one["name"] for one in found["tags"]}
    minimums = {name: one["minimum"] for name, one in found["properties"].items()}
    return found["description"], minimums, groups, tags, types


def test_r44_merge_adds_and_keeps(api: Api, command: Command, place: pathlib.Path) -> None:
    command("gantry db load_metadefs --path", str(place))
    edited(place)
    assert command("gantry db load_metadefs --merge --path", str(place)).code == 0
    assert said(api) == (
        DOCUMENT["description"],
        {"cores": 1, "new": 1},
        {"cpu": "d", "bare": None, "gpu": None},
        {"red", "green"},
        {"OS::Nova::Server": None, "OS::Glance::Image": "hw_", "OS::Nova::Flavor": None},
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gantry db load_metadefs --merge --prefer_new --path", ()),
        ("glance-manage db_load_metadefs", ("true", "true")),
    ],
)
def test_r44_prefer_new_replaces(
    api: Api, command: Command, place: pathlib.Path, line: str, words: tuple[str, ...]
) -> None:
    command("gantry db load_metadefs --path", str(place))
    edited(place)
    assert command(line, str(place), *words).code == 0
    assert said(api) == (
        "other",
        {"cores": 2, "new": 1},
        {"cpu": "e", "bare": None, "gpu": None},
        {"red", "green"},
        {"OS::Nova::Server": None, "OS::Glance::Image": "other_", "OS::Nova::Flavor": None},
    )


def test_r44_overwrite_forgets_the_old(api: Api, command: Command, place: pathlib.Path) -> None:
    """Be it protected or not."""
    command("gantry db load_metadefs --path", str(place))
    edited(place)
    ended = command("gantry db load_metadefs --merge --overwrite --path", str(place))
    assert (ended.code, "overwritten" in ended.out) == (0, True)
    assert said(api) == (
        "other",
        {"cores": 2, "new": 1},
        {"cpu": "e", "gpu": None},
        {"green"},
        {"OS::Glance::Image": "other_", "OS::Nova::Flavor": None},
    )


@pytest.mark.parametrize(
    "flags", ["--prefer_new", "--overwrite", "--merge --prefer_new --overwrite"]
)
def test_r44_flags_that_contradict_each_other(
    api: Api, command: Command, place: pathlib.Path, flags: str
) -> None:
    ended = command(f"gantry db load_metadefs {flags} --path", str(place))
    assert (ended.code, ended.out, "--prefer_new" in ended.err) == (0, "", True)
    assert names(api) == set()


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"namespace": "x" * 81},
        {"namespace": "n", "properties": []},
        {"namespace": "n", "properties": {"x" * 81: CORES}},
        {"namespace": "n", "objects": [{"description": "no name"}]},
        {"namespace": "n", "tags": ["red"]},
        {"namespace": "n", "visibility": "everybody"},
        {"namespace": "n", "objects": [{"name": "o", "required": [1]}]},
        {"namespace": "n", "tags": [{"name": "same"}, {"name": "same"}], "properties": None},
    ],
)
def test_a_bad_file_holds_up_no_other(
    api: Api, command: Command, place: pathlib.Path, document: Any
) -> None:
    put(place, document, "0")
    ended = command("gantry db load_metadefs --path", str(place))
    assert (ended.code, "0.json" in ended.err) == (0, True)
    assert "Traceback" not in ended.err
    assert names(api) == {"OS::Test::Cores"}


def test_a_file_that_is_no_json(api: Api, command: Command, place: pathlib.Path) -> None:
    (place / "0.json").write_bytes(b"\xff{")
    ended = command("gantry db load_metadefs --path", str(place))
    assert (ended.code, "0.json" in ended.err) == (0, True)
    assert names(api) == {"OS::Test::Cores"}


def test_nothing_to_load(api: Api, command: Command, tmp_path: pathlib.Path) -> None:
    for where in ("no-such", "."):
        ended = command("gantry db load_metadefs --path", str(tmp_path / where))
        assert (ended.code, "not found" in ended.err) == (0, True)


def test_one_file(api: Api, command: Command, place: pathlib.Path) -> None:
    put(place, changed(namespace="other"), "b")
    command("gantry db load_metadefs --path", str(place / "b.json"))
    assert names(api) == {"other"}


def test_the_usual_directory(caller: Caller, command: Command, place: pathlib.Path) -> None:
    """That of `metadata_source_path`, where there is one."""
    api = caller(roles="admin,member,reader", options=f"metadata_source_path = {place}")
    command("gantry db load_metadefs")
    assert names(api) == {"OS::Test::Cores"}
    assert command("gantry db export_metadefs").code == 0
    assert (place / "OS-Test-Cores.json").exists()


def test_there_and_back(
    api: Api, command: Command, place: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """What is exported is what was loaded: nothing is lost, and names that look alike stay apart."""
    put(place, changed(namespace="OS-Test:Cores", owner="somebody", visibility="private"), "b")
    put(place, {"namespace": "../../x"}, "c")
    command("gantry db load_metadefs --path", str(place))
    before = {one: said_of(api, one) for one in sorted(names(api))}
    out = tmp_path / "new/out"
    assert command("gantry db export_metadefs --path", str(out)).code == 0
    assert len(list(out.iterdir())) == 3
    assert "3 namespaces" in command("gantry db unload_metadefs").out
    with db.reading() as session:
        kinds = (models.Namespace, models.Property, models.Object, models.Tag, models.ResourceType)
        assert not any(session.scalars(sa.select(kind)).all() for kind in kinds)
    command("glance-manage db_load_metadefs", str(out))
    assert {one: said_of(api, one) for one in sorted(names(api))} == before


def said_of(api: Api, name: str) -> Any:
    """A namespace without its dates."""
    with db.reading() as session:
        space = session.scalars(sa.select(models.Namespace).filter_by(namespace=name)).one()
        return files._document(session, space)


def test_an_export_that_cannot_be_written(
    api: Api, command: Command, place: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    command("gantry db load_metadefs --path", str(place))
    ended = command("gantry db export_metadefs --path", str(tmp_path / "gantry.conf"))
    assert (ended.code, "cannot be written" in ended.err) == (1, True)
