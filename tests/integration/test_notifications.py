"""Notifications on a real RabbitMQ: from the API's processes and from the workers'."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests import rabbitmq, service

DATA = bytes(1 << 20)
_PATCH = "application/openstack-images-v2.1-json-patch"
#: Every event of contract section 8, but for task.delete: no request deletes a task.
EVENTS = {
    *("image.create", "image.update", "image.delete", "image.prepare", "image.upload"),
    *("image.activate", "image.send", "task.create", "task.processing", "task.run"),
    *("task.success", "task.failure"),
    *(f"image.member.{what}" for what in ("create", "update", "delete")),
    *(f"metadef_namespace.{what}" for what in ("create", "update", "delete")),
    *(f"metadef_namespace.delete_{what}" for what in ("objects", "properties", "tags")),
    *(
        f"metadef_{kind}.{what}"
        for kind in ("object", "property", "tag")
        for what in ("create", "update", "delete")
    ),
    *("metadef_resource_type.create", "metadef_resource_type.delete"),
}


class Bus:
    """A RabbitMQ that is not running yet, and what has been told on it."""

    def __init__(self, room: pathlib.Path) -> None:
        self.server = rabbitmq.RabbitMQ(room)
        self.url = self.server.url.replace("amqp://", "rabbit://")
        self.heard: list[dict[str, Any]] = []

    def start(self, whole: service.Service) -> None:
        whole._spawn("bus", self.server.command())
        service.wait_for(self.server.answers, "RabbitMQ to answer")

    def listen(self) -> list[dict[str, Any]]:
        """Take what has come meanwhile."""
        with self.server.connection() as connection, connection.channel() as channel:
            for queue in ("notifications.info", "notifications.error"):
                # As the library declares it.
                channel.queue_declare(queue, durable=False, auto_delete=False)
                while message := channel.basic_get(queue, no_ack=True):
                    self.heard.append(json.loads(json.loads(message.body)["oslo.message"]))
        return self.heard

    def events(self) -> list[str]:
        return [one["event_type"] for one in self.listen()]

    def wait_for(self, event: str, about: str = "") -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            for one in self.listen():
                if one["event_type"] == event and about in json.dumps(one["payload"]):
                    return one
            return None

        return service.wait_for(look, f"{event} of {about}")


@pytest.fixture
def bus(tmp_path: pathlib.Path) -> Bus:
    return Bus(tmp_path / "bus")


@pytest.fixture
def whole(bus: Bus, tmp_path: pathlib.Path) -> Iterator[service.Service]:
    """API and worker; the bus is not there yet."""
    options = (
        f"[oslo_messaging_notifications]\ndriver = messagingv2\ntransport_url = {bus.url}\n"
        "[DEFAULT]\ndefault_publisher_id = image.test\n"
    )
    state = tmp_path / "state"
    state.mkdir()
    with service.running(state, "api", "worker", options=options) as made:
        yield made


def test_each_event(whole: service.Service, bus: Bus) -> None:
    # Nobody waits for a bus that is away, and nothing fails: what is told waits.
    early = whole.create(disk_format="raw")
    bus.start(whole)
    assert bus.wait_for("image.create", early)["publisher_id"] == "image.test"

    use_images(whole, early)
    imported = use_imports(whole)
    use_definitions(whole)
    bus.wait_for("metadef_namespace.delete")
    bus.wait_for("task.success", "api_image_import")
    bus.wait_for("task.failure")
    service.wait_for(lambda: set(bus.events()) >= EVENTS, "every event")
    assert set(bus.events()) == EVENTS
    active = bus.wait_for("image.activate", imported)
    assert (active["payload"]["size"], active["priority"]) == (len(DATA), "INFO")
    assert bus.wait_for("image.send", early)["payload"]["bytes_sent"] == len(DATA)


def use_images(whole: service.Service, image_id: str) -> None:
    path = f"/v2/images/{image_id}"
    change = [{"op": "replace", "path": "/name", "value": "new"}]
    assert whole.ask("PATCH", path, change, Content_Type=_PATCH).status == 200
    assert whole.ask("PUT", f"{path}/file", DATA).status == 204
    assert whole.ask("GET", f"{path}/file").data == DATA
    assert whole.ask("POST", f"{path}/members", {"member": "friend"}).status == 200
    answer = whole.ask("PUT", f"{path}/members/friend", {"status": "accepted"})
    assert answer.status == 200
    assert whole.ask("DELETE", f"{path}/members/friend").status == 204
    assert whole.ask("DELETE", path).status == 204


def use_imports(whole: service.Service) -> str:
    """One that goes well, and one that does not; the id of the first one's image."""
    good, bad = whole.create(disk_format="raw"), whole.create(disk_format="qcow2")
    for image_id in (good, bad):
        whole.stage(image_id, DATA)
        whole.begin_import(image_id)
    assert whole.wait_for_task(good)["status"] == "success"
    assert whole.wait_for_task(bad)["status"] == "failure"
    return good


def use_definitions(whole: service.Service) -> None:
    space = "/v2/metadefs/namespaces/N"

    def ask(method: str, path: str, document: Any = None) -> None:
        answer = whole.ask(method, path, document)
        assert answer.status < 300, answer.data

    ask("POST", "/v2/metadefs/namespaces", {"namespace": "N"})
    ask("PUT", space, {"namespace": "N", "display_name": "N"})
    text = {"name": "p", "title": "P", "type": "string"}
    for kind, document in (("objects", {"name": "o"}), ("properties", text), ("tags", None)):
        name = document["name"] if document else "t"
        ask("POST", f"{space}/{kind}" if document else f"{space}/tags/t", document)
        ask("PUT", f"{space}/{kind}/{name}", document or {"name": "t"})
        ask("DELETE", f"{space}/{kind}/{name}")
        ask("DELETE", f"{space}/{kind}")
    ask("POST", f"{space}/resource_types", {"name": "r"})
    ask("DELETE", f"{space}/resource_types/r")
    ask("DELETE", space)
