"""The clients against a service with several stores, where versions 2.8 to 2.13 of the API are offered."""

import contextlib
import http.server
import json
import pathlib
import threading
from collections.abc import Iterator

import pytest

from tests import service
from tests.compat import clients
from tests.compat.conftest import Data

_ISO = ("--disk-format", "iso", "--container-format", "bare")


@pytest.fixture
def client(several_stores: service.Service, tmp_path: pathlib.Path) -> clients.Clients:
    """The clients of the service with two stores."""
    return clients.Clients(several_stores.url, tmp_path)


def stores_of(running: service.Service, image_id: str) -> set[str]:
    """Where an image's data are once its import has ended well."""
    task = running.wait_for_task(image_id)
    assert task["status"] == "success", task["message"]
    return set(running.image(image_id)["stores"].split(","))


def test_discovery(client: clients.Clients) -> None:
    told = client.glance("stores-info")
    assert all(word in told for word in ("fast", "cheap", "SSD"))
    listed = client.openstack_json("image", "stores", "list")
    assert {store["ID"]: store["Default"] for store in listed} == {"fast": True, "cheap": None}


@pytest.mark.parametrize(
    ("words", "stores"),
    [
        ((), {"fast"}),
        (("--store", "cheap"), {"cheap"}),
        (("--stores", "fast,cheap"), {"fast", "cheap"}),
        (("--all-stores", "true"), {"fast", "cheap"}),
    ],
)
def test_glance_chooses_stores(
    client: clients.Clients,
    several_stores: service.Service,
    iso: Data,
    words: tuple[str, ...],
    stores: set[str],
) -> None:
    said = client.glance("image-create-via-import", *_ISO, *words, "--file", str(iso.path))
    made = clients.table(said)["id"]
    assert stores_of(several_stores, made) == stores
    assert "success" in client.glance("image-tasks", made)
    client.glance("image-delete", made)


def test_glance_uploads_to_a_chosen_store(
    client: clients.Clients, several_stores: service.Service, iso: Data
) -> None:
    said = client.glance("image-create", *_ISO, "--store", "cheap", "--file", str(iso.path))
    made = clients.table(said)["id"]
    assert several_stores.image(made)["stores"] == "cheap"
    client.glance("image-delete", made)


def test_glance_tells_why_an_import_failed(
    client: clients.Clients, several_stores: service.Service
) -> None:
    uri = f"http://127.0.0.1:{service.free_port()}/x"
    words = ("--import-method", "web-download", "--uri", uri)
    made = clients.table(client.glance("image-create-via-import", *_ISO, *words))["id"]
    several_stores.wait_for_task(made)
    said = client.glance("image-tasks", made)
    assert "failure" in said
    assert "refused" in said
    client.glance("image-delete", made)


@pytest.mark.parametrize(
    ("words", "stores"),
    [
        ((), {"fast"}),
        (("--store", "cheap", "--"), {"cheap"}),
        (("--all-stores",), {"fast", "cheap"}),
    ],
)
def test_openstack_chooses_stores(
    client: clients.Clients,
    several_stores: service.Service,
    iso: Data,
    words: tuple[str, ...],
    stores: set[str],
) -> None:
    made = client.openstack_json("image", "create", "--disk-format", "iso", "chosen")["id"]
    client.openstack("image", "stage", "--file", str(iso.path), "chosen")
    client.openstack("image", "import", "--method", "glance-direct", *words, "chosen")
    assert stores_of(several_stores, made) == stores
    client.openstack("image", "delete", "chosen")


def test_r36_members_of_later_releases_break_no_client(
    several_stores: service.Service, tmp_path: pathlib.Path
) -> None:
    with later_release(several_stores) as url:
        client = clients.Clients(url, tmp_path)
        assert "fast" in client.glance("stores-info")
        listed = client.openstack_json("image", "stores", "list")
    assert {store["ID"] for store in listed} == {"fast", "cheap"}


@contextlib.contextmanager
def later_release(running: service.Service) -> Iterator[str]:
    """The service's GET requests, with one member more in each store's entry."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = running.ask("GET", self.path)
            data = answer.data.replace(
                running.url.encode(), f"http://{self.headers['Host']}".encode()
            )
            if self.path.endswith("/info/stores"):
                document = json.loads(data)
                for store in document["stores"]:
                    store["later-member"] = {"of": ["a", "later", "release"]}
                data = json.dumps(document).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
