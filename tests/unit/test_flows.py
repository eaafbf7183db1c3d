"""The flows as contracts: what they need, in what order, and what each step gives; no engine runs."""

import dataclasses
from collections.abc import Callable

import pytest
from taskflow.patterns import linear_flow

from flows import copy_image, import_image, import_task
from images import errors, imports, leases
from tests.conftest import Configure
from workers import engine

Build = Callable[[imports.Plan], linear_flow.Flow]


def plan(*stores: str) -> imports.Plan:
    """A plan for an import into these stores."""
    return imports.Plan(
        lease=leases.Lease("task", 1, "worker"),
        kind="api_image_import",
        image_id="image",
        method="glance-direct",
        fields={"name": "glance-direct"},
        stores=list(stores),
        must_succeed=True,
        owner="project",
        refusal="",
        disk_format="qcow2",
        container_format="bare",
    )


def names(*stores: str, build: Build = import_image.build) -> list[str]:
    """The steps in their order; those of the stores have none and stand as one."""
    return [node.name for node, _ in build(plan(*stores)).iter_nodes()]


@pytest.mark.usefixtures("configure")
def test_the_order() -> None:
    """The embedded default: one store, and the conversion between inspecting and digesting."""
    before = ["claim", "fetch", "inspect", "convert", "digest"]
    assert names("file") == [*before, "stores", "activate", "tidy"]


@pytest.mark.usefixtures("configure")
def test_the_order_of_a_legacy_task() -> None:
    """It makes its image first; the rest is any import's, the filter of URLs included."""
    before = ["claim", "create", "fetch", "inspect", "convert", "digest"]
    assert names("file", build=import_task.build) == [*before, "stores", "activate", "tidy"]


@pytest.mark.usefixtures("configure")
def test_the_order_of_a_copy() -> None:
    """No plugin touches an active image's data."""
    assert names("a", "b", build=copy_image.build) == ["claim", "stores", "finish", "tidy"]


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize(
    ("build", "provided"),
    [
        (import_image.build, {"formats", "staged", "digest"}),
        (import_task.build, {"formats", "staged", "digest"}),
        (copy_image.build, {"formats"}),
    ],
)
def test_nothing_but_the_watch_comes_from_outside(build: Build, provided: set[str]) -> None:
    """Every other symbol is made by a step before it is needed."""
    flow = build(plan("a", "b"))
    assert flow.requires == {"watch"}
    assert flow.provides == provided | {"stored:a", "stored:b"}


def test_plugins_are_the_operator_s(configure: Configure) -> None:
    """In the configured order, and only those that there are."""
    configure("[image_import_opts]\nimage_import_plugins = [no_op,image_conversion]")
    assert names("file")[3:5] == ["no-op", "convert"]
    configure("[image_import_opts]\nimage_import_plugins = []")
    assert names("file")[3] == "digest"
    configure("[image_import_opts]\nimage_import_plugins = [no_such]")
    with pytest.raises(errors.Invalid, match="no_such"):
        names("file")


def test_the_names_that_no_plugin_s_step_may_have(configure: Configure) -> None:
    """They are those of the longest flow that there is."""
    quota = "[DEFAULT]\nuser_storage_quota = 1GB\n"
    configure(f"{quota}[image_import_opts]\nimage_import_plugins = []\n")
    longest = import_task.build(dataclasses.replace(plan("a"), expected={"sha512": "0"}))
    assert {node.name for node, _ in longest.iter_nodes()} - {"stores"} == set(import_image._OURS)


def test_every_kind_of_work_has_a_flow() -> None:
    """A task of a type that nobody can run would wait for ever."""
    assert engine.FLOWS.keys() >= {"api_image_import", imports.COPY, "import"}
