"""The plugin inject_image_metadata: the operator's properties, for callers without certain roles."""

import os
from typing import Any

import pytest

from tests.conftest import Configure
from tests.functional import importing
from tests.functional.conftest import Caller
from workers import jobs

DATA = os.urandom(5000)


def options(inject: str, *more: str, plugins: str = "inject_image_metadata") -> str:
    """What an operator writes."""
    return (
        f"[image_import_opts]\nimage_import_plugins = [{plugins}]\n"
        f"[inject_metadata_properties]\ninject = {inject}\n" + "\n".join(more)
    )


def test_properties_are_set_when_the_image_is_active(caller: Caller) -> None:
    """They win over the image's own, and nobody makes the service's own marks with them."""
    lines = options('hw_disk_bus:scsi,origin:"a,b",os_glance_x:1,os_glance_import_task:2')
    api = caller(options=lines)
    image_id = importing.staged(api, DATA, origin="mine", other="mine")
    task_id = importing.asked(api, image_id)
    before = api.show(image_id)
    assert (before["origin"], before.get("hw_disk_bus")) == ("mine", None)
    assert jobs.run_import(task_id) == "active"
    image = api.show(image_id)
    shown = {name: image.get(name) for name in ("hw_disk_bus", "origin", "other")}
    assert shown == {"hw_disk_bus": "scsi", "origin": "a,b", "other": "mine"}
    assert not [name for name in image if name.startswith("os_glance_import_task")]
    assert "os_glance_x" not in image


@pytest.mark.parametrize(
    ("roles", "ignored", "injected"),
    [
        ("member,reader", "", True),
        ("admin,member", "", False),
        ("member,reader", "ignore_user_roles = operator,reader", False),
        ("admin", "ignore_user_roles = operator,reader", True),
        ("admin", "ignore_user_roles =", True),
    ],
)
def test_some_roles_are_left_alone(
    caller: Caller, roles: str, ignored: str, injected: bool
) -> None:
    """The roles are those of whoever asked for the import, not the worker's."""
    api = caller(options=options("a:b", ignored), roles=roles)
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    caller(options=options("a:b", ignored), roles="worker")
    assert jobs.run_import(task_id) == "active"
    assert ("a" in caller(roles="admin").show(image_id)) is injected


def test_an_import_that_fails_has_set_nothing(caller: Caller) -> None:
    lines = options("a:b", plugins="inject_image_metadata,image_conversion")
    api = caller(options=lines)
    image_id = importing.staged(api, DATA, disk_format="aki")
    assert importing.refused(api, image_id)
    assert "a" not in api.show(image_id)


@pytest.mark.parametrize("must_succeed", [True, False])
def test_properties_that_would_be_too_many(
    caller: Caller, several_stores: str, must_succeed: bool
) -> None:
    """As if the image's owner had set them (`image_property_quota`)."""
    quota = f"image_property_quota = 2\n{several_stores}"
    api = caller(options=f"{quota}{options('a:1,b:2')}")
    image_id = importing.staged(api, DATA, b="mine")
    importing.imported(api, image_id, all_stores=True, all_stores_must_succeed=must_succeed)
    image_id = importing.staged(api, DATA, c="mine")
    chosen: dict[str, Any] = {"all_stores": True, "all_stores_must_succeed": must_succeed}
    assert "image properties: 2" in importing.refused(api, image_id, **chosen)
    image = api.show(image_id)
    assert (image["status"], image.get("stores"), image.get("a")) == ("queued", None, None)


def test_properties_that_are_there_already_are_not_too_many(caller: Caller) -> None:
    """Where the quota was made lower than what the image has, an import that adds none is let be."""
    wide = caller(options=options("a:1"))
    image_id = importing.staged(wide, DATA, a="0", b="mine")
    narrow = caller(options=f"image_property_quota = 1\n{options('a:1')}")
    assert importing.imported(narrow, image_id)["a"] == "1"


@pytest.mark.parametrize("plugins", ["no_op", ""])
def test_only_where_the_plugin_is_named(caller: Caller, plugins: str) -> None:
    api = caller(options=options("a:b", plugins=plugins))
    assert "a" not in importing.imported(api, importing.staged(api, DATA))


def test_an_upload_is_no_import(caller: Caller) -> None:
    api = caller(options=options("a:b"))
    image_id = api.create(**importing.FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    assert "a" not in api.show(image_id)


def test_every_store_needs_to_succeed_or_not(caller: Caller, several_stores: str) -> None:
    """With the first store the image is active, and has them."""
    api = caller(options=several_stores + options("a:b"))
    image_id = importing.staged(api, DATA)
    image = importing.imported(api, image_id, all_stores=True, all_stores_must_succeed=False)
    assert image["a"] == "b"


@pytest.mark.parametrize("name", ["status", "id", "tags", "owner", "x" * 256, "stores"])
def test_names_that_no_property_can_have(configure: Configure, name: str) -> None:
    """They would hide what every record has; the service says so when it starts."""
    with pytest.raises(SystemExit, match="inject"):
        configure(f"[inject_metadata_properties]\ninject = {name}:x")
