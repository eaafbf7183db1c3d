"""Notifications (contract section 8): what is told of each change, and in which order.

oslo.messaging's own driver `test` keeps them in this process; tests/integration has a bus.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from oslo_messaging.notify import _impl_test

from images import notifications
from tests.functional import importing
from tests.functional.conftest import OWNER, Api, Caller
from workers import jobs

DRIVER = "[oslo_messaging_notifications]\ndriver = test\n"
#: What an image's payload has, and nothing else.
OF_IMAGES = {
    *("id", "name", "status", "created_at", "updated_at", "min_disk", "min_ram", "protected"),
    *("checksum", "owner", "disk_format", "container_format", "size", "virtual_size", "is_public"),
    *("visibility", "properties", "tags", "deleted", "deleted_at"),
}


class Heard:
    """What was told since the last look."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def all(self) -> list[dict[str, Any]]:
        notifications.flush(60)
        heard = [message for _, message, _, _ in _impl_test.NOTIFICATIONS]
        _impl_test.reset()
        return heard

    def events(self) -> list[str]:
        return [message["event_type"] for message in self.all()]

    def one(self, event: str) -> dict[str, Any]:
        """The payload of the only event of this kind."""
        found = [message for message in self.all() if message["event_type"] == event]
        assert len(found) == 1, found
        payload: dict[str, Any] = found[0]["payload"]
        return payload


@pytest.fixture
def heard(caller: Caller) -> Iterator[Heard]:
    """A service whose changes are heard."""
    yield Heard(caller(roles="admin,member,reader", options=DRIVER))
    notifications.flush(60)
    _impl_test.reset()
    caller()
    assert not notifications.enabled


def test_nothing_is_told_by_default(api: Api) -> None:
    api.create()
    notifications.flush(60)
    assert not notifications.enabled
    assert not _impl_test.NOTIFICATIONS


def test_the_envelope(heard: Heard) -> None:
    heard.api.create()
    (message,) = heard.all()
    assert message.keys() >= {"message_id", "timestamp"}
    assert message["publisher_id"] == "image.localhost"
    assert (message["event_type"], message["priority"]) == ("image.create", "INFO")


def test_an_image(heard: Heard) -> None:
    image_id = heard.api.create(name="n", visibility="public", tags=["b", "a"], color="red")
    payload = heard.one("image.create")
    assert payload.keys() == OF_IMAGES
    record = heard.api.show(image_id)
    assert payload == {name: record.get(name) for name in OF_IMAGES} | {
        "is_public": True,
        "properties": {"color": "red"},
        "deleted": False,
        "deleted_at": None,
    }


def test_changes_of_an_image(heard: Heard) -> None:
    image_id = heard.api.create(color="red")
    heard.all()
    heard.api.patch(image_id, {"op": "replace", "path": "/name", "value": "new"})
    assert heard.one("image.update")["name"] == "new"
    heard.api.ask("PUT", f"/v2/images/{image_id}/tags/t")
    assert heard.one("image.update")["tags"] == ["t"]
    heard.api.ask("DELETE", f"/v2/images/{image_id}/tags/t")
    assert heard.one("image.update")["tags"] == []
    heard.api.ask("DELETE", f"/v2/images/{image_id}")
    payload = heard.one("image.delete")
    assert (payload["deleted"], payload["status"]) == (True, "deleted")
    assert payload["deleted_at"]
    assert payload["properties"] == {"color": "red"}


def test_what_fails_is_not_told(heard: Heard) -> None:
    image_id = heard.api.create()
    heard.all()
    assert heard.api.ask("POST", "/v2/images", {"id": image_id}).status_code == 409
    assert heard.api.ask("GET", f"/v2/images/{image_id}").status_code == 200
    change = {"op": "remove", "path": "/absent"}
    assert heard.api.patch(image_id, change).status_code == 409
    assert heard.events() == []


def test_an_upload(heard: Heard) -> None:
    image_id = heard.api.create(**importing.FORMATS)
    assert heard.api.put(image_id, b"12345").status_code == 204
    told = heard.all()
    events = [one["event_type"] for one in told if one["event_type"] != "image.update"]
    assert events == ["image.create", "image.prepare", "image.upload", "image.activate"]
    payloads = {one["event_type"]: one["payload"] for one in told}
    assert payloads["image.prepare"]["os_glance_importing_to_stores"] == []
    assert payloads["image.prepare"]["status"] == "saving"
    assert payloads["image.upload"]["os_glance_failed_import"] == []
    assert (payloads["image.activate"]["status"], payloads["image.activate"]["size"]) == (
        "active",
        5,
    )
    assert payloads["image.activate"].keys() == OF_IMAGES


def test_an_upload_that_fails(caller: Caller, heard: Heard) -> None:
    heard.api = caller(roles="admin,member,reader", options=f"image_size_cap = 3\n{DRIVER}")
    image_id = heard.api.create(**importing.FORMATS)
    assert heard.api.put(image_id, b"12345").status_code == 413
    failures = [one for one in heard.all() if one["priority"] == "ERROR"]
    assert [one["event_type"] for one in failures] == ["image.upload"]
    assert image_id in failures[0]["payload"]


def test_a_download(heard: Heard) -> None:
    image_id = heard.api.create(**importing.FORMATS)
    heard.api.put(image_id, b"12345")
    heard.all()
    path = f"/v2/images/{image_id}/file"
    assert heard.api.ask("GET", path).data == b"12345"
    assert heard.one("image.send") == {
        "bytes_sent": 5,
        "image_id": image_id,
        "owner_id": OWNER,
        "receiver_tenant_id": OWNER,
        "receiver_user_id": "demo",
    }
    assert heard.api.ask("GET", path, headers={"Range": "bytes=1-2"}).data == b"23"
    assert heard.one("image.send")["bytes_sent"] == 2


def test_a_download_that_is_cut(heard: Heard) -> None:
    image_id = heard.api.create(**importing.FORMATS)
    heard.api.put(image_id, b"x" * (3 << 20))
    heard.all()
    answer = heard.api.client.open(f"/v2/images/{image_id}/file", buffered=False)
    next(iter(answer.response))
    answer.close()
    (message,) = heard.all()
    assert (message["event_type"], message["priority"]) == ("image.send", "ERROR")
    assert message["payload"]["bytes_sent"] < 3 << 20


def test_activation_by_an_administrator(heard: Heard) -> None:
    image_id = heard.api.create(**importing.FORMATS)
    heard.api.put(image_id, b"12345")
    heard.all()
    heard.api.ask("POST", f"/v2/images/{image_id}/actions/deactivate")
    heard.api.ask("POST", f"/v2/images/{image_id}/actions/reactivate")
    assert heard.events() == ["image.update", "image.update"]


def test_an_import(heard: Heard) -> None:
    image_id = importing.staged(heard.api, bytes(1024))
    heard.all()
    task_id = importing.asked(heard.api, image_id)
    assert heard.events() == ["image.update", "task.create"]
    assert jobs.run_import(task_id) == "active"
    told = heard.all()
    assert [one["event_type"] for one in told] == [
        *("task.processing", "task.run", "image.prepare", "image.upload"),
        *("image.activate", "image.update", "task.success"),
    ]
    payloads = {one["event_type"]: one["payload"] for one in told}
    assert (payloads["image.activate"]["status"], payloads["image.activate"]["size"]) == (
        "active",
        1024,
    )
    task = payloads["task.success"]
    assert task.keys() == {
        *("id", "type", "status", "owner", "expires_at", "created_at", "updated_at"),
        *("deleted", "deleted_at", "result", "message"),
    }
    assert (task["id"], task["type"], task["status"]) == (task_id, "api_image_import", "success")
    assert (task["result"], task["message"], task["owner"]) == (None, None, OWNER)


def test_an_import_that_fails(heard: Heard) -> None:
    image_id = importing.staged(heard.api, b"QFI\xfb" + bytes(1024), disk_format="raw")
    heard.all()
    importing.refused(heard.api, image_id)
    events = heard.events()
    assert "task.failure" in events
    assert "image.activate" not in events


def test_members(heard: Heard) -> None:
    image_id = heard.api.create()
    path = f"/v2/images/{image_id}/members"
    heard.all()
    heard.api.ask("POST", path, {"member": "friend"})
    payload = heard.one("image.member.create")
    assert payload.keys() == {
        *("image_id", "member_id", "status", "created_at", "updated_at", "deleted", "deleted_at")
    }
    assert (payload["image_id"], payload["member_id"]) == (image_id, "friend")
    heard.api.ask("PUT", f"{path}/friend", {"status": "accepted"})
    assert heard.one("image.member.update")["status"] == "accepted"
    heard.api.ask("DELETE", f"{path}/friend")
    payload = heard.one("image.member.delete")
    assert payload["deleted"]
    assert payload["deleted_at"]


NAMES = {
    "namespaces": ("metadef_namespace", {"namespace": "N", "visibility": "public"}),
    "namespaces/N/objects": ("metadef_object", {"name": "o"}),
    "namespaces/N/properties": (
        "metadef_property",
        {"name": "p", "title": "P", "type": "string"},
    ),
    "namespaces/N/resource_types": ("metadef_resource_type", {"name": "r", "prefix": "x_"}),
    "namespaces/N/tags/t": ("metadef_tag", None),
}


def test_metadata_definitions(heard: Heard) -> None:
    def ask(method: str, path: str, document: Any = None) -> None:
        answer = heard.api.ask(method, f"/v2/metadefs/{path}", document)
        assert answer.status_code < 300, answer.text

    payload: dict[str, Any] = {}
    for path, (kind, document) in NAMES.items():
        ask("POST", path, document)
        payload = heard.one(f"{kind}.create")
        assert payload["namespace"] == "N"
        assert (payload["deleted"], payload["deleted_at"]) == (False, None)
    assert payload["name"] == "t"
    ask("PUT", "namespaces/N/tags/t", {"name": "u"})
    payload = heard.one("metadef_tag.update")
    assert (payload["name"], payload["name_old"]) == ("u", "t")
    ask("PUT", "namespaces/N/objects/o", {"name": "o", "description": "d", "required": ["a"]})
    payload = heard.one("metadef_object.update")
    assert (payload["description"], payload["required"]) == ("d", ["a"])
    ask("PUT", "namespaces/N/properties/p", {"name": "p", "title": "Q", "type": "string"})
    assert heard.one("metadef_property.update")["title"] == "Q"
    ask("PUT", "namespaces/N", {"namespace": "M", "visibility": "public"})
    payload = heard.one("metadef_namespace.update")
    assert (payload["namespace"], payload["namespace_old"]) == ("M", "N")
    for path, kind in (
        ("tags/u", "metadef_tag"),
        ("objects/o", "metadef_object"),
        ("properties/p", "metadef_property"),
        ("resource_types/r", "metadef_resource_type"),
    ):
        ask("DELETE", f"namespaces/M/{path}")
        payload = heard.one(f"{kind}.delete")
        assert (payload["namespace"], payload["deleted"]) == ("M", True)
    for part in ("objects", "properties", "tags"):
        ask("DELETE", f"namespaces/M/{part}")
        assert heard.one(f"metadef_namespace.delete_{part}")["namespace"] == "M"
    ask("DELETE", "namespaces/M")
    assert heard.one("metadef_namespace.delete")["deleted"]


@pytest.mark.parametrize(
    ("disabled", "left"),
    [
        ("image.create", ["image.member.create", "metadef_namespace.create"]),
        ("image", ["metadef_namespace.create"]),
        ("image.member", ["image.create", "image.member.create", "metadef_namespace.create"]),
        ("metadef_namespace,image.create", ["image.member.create"]),
    ],
)
def test_events_and_groups_can_be_disabled(
    caller: Caller, heard: Heard, disabled: str, left: list[str]
) -> None:
    options = f"disabled_notifications = {disabled}\n{DRIVER}"
    heard.api = caller(roles="admin,member,reader", options=options)
    image_id = heard.api.create()
    heard.api.ask("POST", f"/v2/images/{image_id}/members", {"member": "friend"})
    heard.api.ask("POST", "/v2/metadefs/namespaces", {"namespace": "N"})
    assert heard.events() == left


def test_secrets_are_not_told(heard: Heard) -> None:
    uri = "http://user:password@127.0.0.1/image?token=secret"
    heard.api.ask("POST", "/v2/tasks", {"type": "import", "input": {"import_from": uri}})
    image_id = heard.api.create(**importing.FORMATS)
    heard.api.put(image_id, b"12345")
    text = json.dumps(heard.all())
    assert "secret" not in text
    assert "file://" not in text


def test_a_bus_that_cannot_be_used_stops_the_start(caller: Caller) -> None:
    with pytest.raises(SystemExit) as stopped:
        caller(options=f"transport_url = nonsense://\n{DRIVER}")
    assert "oslo_messaging_notifications" in str(stopped.value)
    caller()
