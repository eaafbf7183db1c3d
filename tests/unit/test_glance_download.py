"""Which endpoint another region has, in both forms of Keystone's catalog, and what of its image is copied."""

from typing import Any

import pytest

from images import context, errors, task_secrets
from images.methods import glance_download
from tests.conftest import Configure

FIELDS = {
    "glance_region": "Two",
    "glance_image_id": "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c",
    "glance_service_interface": "public",
}
OLD: dict[str, object] = {
    "type": "image",
    "endpoints": [
        {"region": "one", "publicURL": "http://one.example.org"},
        {"region": "two", "publicURL": "http://two.example.org/v2/", "adminURL": "http://x:22/"},
    ],
}
NEW: dict[str, object] = {
    "type": "image",
    "endpoints": [
        {"region_id": "two", "interface": "internal", "url": "http://inside.example.org"},
        {"region_id": "two", "interface": "public", "url": "http://two.example.org"},
    ],
}
OTHER: dict[str, object] = {
    "type": "compute",
    "endpoints": [{"region": "two", "publicURL": "http://compute.example.org"}],
}


def asker(*catalog: dict[str, object]) -> context.Context:
    """Somebody with a token and this catalog."""
    return context.Context(
        user_id="u",
        project_id="p",
        owner="p",
        roles=("member",),
        is_admin=False,
        request_id="req-1",
        auth_token="very-secret",
        service_catalog=catalog,
    )


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("catalog", "changes", "endpoint"),
    [
        ((OLD,), {}, "http://two.example.org"),
        ((NEW,), {}, "http://two.example.org"),
        ((OTHER, NEW), {"glance_service_interface": "internal"}, "http://inside.example.org"),
        ((OTHER,), {}, None),
        ((), {}, None),
        ((OLD,), {"glance_region": "three"}, None),
        ((OLD,), {"glance_service_interface": "no interface"}, None),
        (({"type": "image"}, {}), {}, None),
    ],
)
def test_the_endpoint(
    catalog: tuple[dict[str, object], ...], changes: dict[str, str], endpoint: str | None
) -> None:
    """A region that is not there is found missing by the worker, as in Glance."""
    sealed = glance_download.GlanceDownload().origin(asker(*catalog), FIELDS | changes)
    assert "secret" not in sealed
    assert "example" not in sealed
    assert task_secrets.unseal(sealed) == {"endpoint": endpoint, "token": "very-secret"}


@pytest.mark.usefixtures("configure")
def test_an_endpoint_that_the_lists_refuse() -> None:
    fields = FIELDS | {"glance_service_interface": "admin"}
    with pytest.raises(errors.Invalid, match="port 22"):
        glance_download.GlanceDownload().origin(asker(OLD), fields)


def test_what_is_copied(configure: Configure) -> None:
    """By the beginnings of names; never a column, a member or a mark of ours, whatever the operator says."""
    source: dict[str, Any] = {
        "disk_format": "raw",
        "container_format": "bare",
        "owner": "x",
        "os_hidden": "x",
        "os_distro": "a",
        "os_glance_x": "b",
        "hw_disk_bus": "c",
        "hw_n": 5,
        "speed": "d",
    }
    found = glance_download._described(source)
    assert found["properties"] == {"os_distro": "a", "hw_disk_bus": "c"}
    configure("[glance_download_properties]\nextra_properties = [o,s]")
    assert glance_download._described(source)["properties"] == {"os_distro": "a", "speed": "d"}
    with pytest.raises(errors.ImportFailed, match="disk_format"):
        glance_download._described(source | {"disk_format": "floppy"})
