"""The flows as contracts: what they need, in what order, and what each step gives; no engine runs."""

import pytest

from flows import import_image
from images import errors, imports, leases
from tests.conftest import Configure


def plan(*stores: str) -> imports.Plan:
    """A plan for an import into these stores."""
    return imports.Plan(
        lease=leases.Lease("task", 1, "worker"),
        image_id="image",
        method="glance-direct",
        fields={"name": "glance-direct"},
        stores=list(stores),
        must_succeed=True,
        disk_format="qcow2",
        container_format="bare",
    )


def names(*stores: str) -> list[str]:
    """The steps in their order; those of the stores have none and stand as one."""
    return [node.name for node, _ in import_image.build(plan(*stores)).iter_nodes()]


@pytest.mark.usefixtures("configure")
def test_the_order() -> None:
    """The embedded default: one store, and the conversion between inspecting and digesting."""
    before = ["claim", "fetch", "inspect", "convert", "digest"]
    assert names("file") == [*before, "stores", "activate", "tidy"]


@pytest.mark.usefixtures("configure")
def test_nothing_but_the_watch_comes_from_outside() -> None:
    """Every other symbol is made by a step before it is needed."""
    flow = import_image.build(plan("a", "b"))
    assert flow.requires == {"watch"}
    assert flow.provides == {"staged", "digest", "location:a", "location:b"}


def test_plugins_are_the_operator_s(configure: Configure) -> None:
    """In the configured order, and only those that there are."""
    configure("[image_import_opts]\nimage_import_plugins = [no_op,image_conversion]")
    assert names("file")[3:5] == ["no-op", "convert"]
    configure("[image_import_opts]\nimage_import_plugins = []")
    assert names("file")[3] == "digest"
    configure("[image_import_opts]\nimage_import_plugins = [no_such]")
    with pytest.raises(errors.Invalid, match="no_such"):
        names("file")
