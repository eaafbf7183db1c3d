"""The API's parsers: whatever a request holds, it is answered, and never with 500."""

import pathlib
from typing import Any

import atheris
from werkzeug import test as werkzeug_test

from api import app
from images import schema

#: Bytes of an input.
LONGEST = 4096
_IMAGE = "1a2b3c4d-0000-4000-8000-000000000001"
_PATCH = "application/openstack-images-v2.1-json-patch"
#: Method, path and content type of what reads a body or a query.
_DOORS = [
    ("POST", "/v2/images", "application/json"),
    ("PATCH", "/v2/images/{image}", _PATCH),
    ("POST", "/v2/images/{image}/import", "application/json"),
    ("POST", "/v2/images/{image}/members", "application/json"),
    ("POST", "/v2/images/{image}/locations", "application/json"),
    ("POST", "/v2/tasks", "application/json"),
    ("POST", "/v2/metadefs/namespaces", "application/json"),
    ("GET", "/v2/images", ""),
    ("GET", "/v2/metadefs/namespaces", ""),
    ("GET", "/v2/images/{image}/file", ""),
]
_SEEDS = [
    b'{"name": "x", "disk_format": "raw", "container_format": "bare", "tags": ["a"], "x": "y"}',
    b'[{"op": "replace", "path": "/name", "value": "n"}, {"op": "remove", "path": "/x"}]',
    b'{"method": {"name": "web-download", "uri": "http://a/b"}, "all_stores": true}',
    b'{"member": "other"}',
    b'{"url": "http://a/b", "validation_data": {"os_hash_algo": "sha512", "os_hash_value": "0"}}',
    b'{"type": "import", "input": {"import_from": "http://a", "image_properties": {}}}',
    b'{"namespace": "A::B", "properties": {"p": {"title": "t", "type": "string"}}}',
    b"limit=3&sort=name:asc,size:desc&name=in:a,b&created_at=gt:2026-01-01T00:00:00Z&tag=x",
    b"limit=1&sort_key=namespace&resource_types=a",
    b"bytes=1-2",
]
_client: werkzeug_test.Client
_image = _IMAGE


def prepare(room: pathlib.Path) -> None:
    """A service on an empty database, for an administrator, with one image."""
    global _client, _image  # noqa: PLW0603 - atheris calls a function with the input alone
    conf = room / "fuzz.conf"
    conf.write_text(
        f"[DEFAULT]\nshow_multiple_locations = true\nnode_staging_uri = file://{room}/staging\n"
        f"[noauth]\nroles = admin,member,reader\n"
        f"[glance_store]\nfilesystem_store_datadir = {room}/images\n"
        f"[database]\nconnection = sqlite:///{room}/gantry.sqlite\n"
        f"[gantry]\nstate_path = {room}\nbroker_url = memory://\n"
    )
    (room / "staging").mkdir()
    made = app.create_app([str(conf)])
    schema.sync()
    _client = werkzeug_test.Client(made)
    fields = {"disk_format": "raw", "container_format": "bare"}
    _image = _client.post("/v2/images", json=fields).get_json()["id"]
    _client.put(f"/v2/images/{_image}/file", data=b"data", content_type="application/octet-stream")


def seeds(_: pathlib.Path) -> list[bytes]:
    """What a door is asked well, behind the number of the door."""
    return [bytes([number]) + said for number, said in enumerate(_SEEDS)]


def test(data: bytes) -> None:
    """One input: the door's number, and what it is asked."""
    provider = atheris.FuzzedDataProvider(data[:1])
    method, path, kind = _DOORS[provider.ConsumeIntInRange(0, 255) % len(_DOORS)]
    said = data[1:]
    options: dict[str, Any] = {}
    if kind:
        options = {"data": said, "content_type": kind}
    elif path.endswith("/file"):
        text = said.decode("latin-1").translate({13: " ", 10: " ", 0: " "})
        options = {"headers": {"Range": text}}
    else:
        options = {"query_string": said.decode("latin-1")}
    answer = _client.open(path.format(image=_image), method=method, buffered=True, **options)
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
