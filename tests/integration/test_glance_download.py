"""glance-download from a real Glance, behind a real Keystone that has both image services in its catalog."""

import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import urllib3

from tests import glance, keystone, service

DATA = hashlib.shake_128(b"the other region's").digest((3 << 20) + 5)
#: The region of the real Glance; only its public endpoint leads there.
THERE = "RegionTwo"
#: Seconds that a caller's token is good for, where it shall expire.
SHORT = 10
_QUICK = """[gantry]
lease_seconds = 3
heartbeat_seconds = 0.2
sweep_seconds = 1
retry_pause = 0.1
tries = 2
"""


class Regions(NamedTuple):
    """A Keystone, the Glance of one region, and our API in the other one; workers come and go."""

    keystone: keystone.Keystone
    glance_url: str
    here: service.Service

    def there(
        self, method: str, path: str, body: Any = None, *, token: str
    ) -> urllib3.BaseHTTPResponse:
        """One request to the Glance; bytes go as they are, anything else as JSON."""
        headers, url = {"X-Auth-Token": token}, self.glance_url + path
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/octet-stream"
            return urllib3.request(method, url, body=body, headers=headers, retries=False)
        return urllib3.request(method, url, json=body, headers=headers, retries=False)

    def source(self, token: str, **fields: str) -> dict[str, Any]:
        """The record of a new active image of the Glance."""
        kind = {"disk_format": "raw", "container_format": "bare"}
        made = self.there("POST", "/v2/images", kind | fields, token=token)
        assert made.status == 201, made.data
        path = f"/v2/images/{made.json()['id']}"
        answer = self.there("PUT", f"{path}/file", DATA, token=token)
        assert answer.status == 204, answer.data
        record: dict[str, Any] = self.there("GET", path, token=token).json()
        return record

    def ask_for(self, image_id: str, token: str, **method: str) -> tuple[str, int]:
        """Ask for an import of a Glance's image into both stores; the image's id, and the status."""
        mine = self.here.create(disk_format="iso", name="mine", hw_cpu_cores="1", own="kept")
        wanted = {"name": "glance-download", "glance_image_id": image_id, "glance_region": THERE}
        body = {"method": wanted | method, "stores": ["fast", "cheap"]}
        path = f"/v2/images/{mine}/import"
        return mine, self.here.ask("POST", path, body, X_Auth_Token=token).status

    def fetch(self, image_id: str, **method: str) -> tuple[str, dict[str, Any]]:
        """The same with our own token and a worker, until it has ended; the image's id, and the task."""
        mine, status = self.ask_for(image_id, self.here.token, **method)
        assert status == 202
        return mine, self.here.wait_for_task(mine)

    def start_worker(self, *, service_token: bool) -> None:
        """A worker that uses [service_user], or does not."""
        name = "OS_SERVICE_USER__SEND_SERVICE_USER_TOKEN"
        self.here.environment[name] = str(service_token)
        self.here.start("worker")


def stores(state: pathlib.Path) -> str:
    """Two file stores, and what belongs to them."""
    names = {"fast": "fast", "cheap": "cheap"}
    names |= {f"os_glance_{room}_store": room for room in ("staging", "tasks")}
    for name in names.values():
        (state / name).mkdir()
    places = [f"[{name}]\nfilesystem_store_datadir = {state}/{names[name]}" for name in names]
    return "\n".join([*places, "[glance_store]\ndefault_backend = fast\n"])


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[keystone.Keystone]:
    """Members of the projects `ours` and `theirs`."""
    glance.require()
    with keystone.running(tmp_path_factory.mktemp("keystone")) as running:
        for project in ("ours", "theirs"):
            running.user(f"member-{project}", project, "member")
        yield running


@pytest.fixture(scope="module")
def regions(
    identity: keystone.Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Regions]:
    """Both services; ours logs everything, and has a login of its own that it does not use."""
    there, state = tmp_path_factory.mktemp("glance"), tmp_path_factory.mktemp("gantry")
    backends = "enabled_backends = fast:file,cheap:file"
    database = f"[database]\nconnection = sqlite:///{there}/glance.sqlite\n"
    with glance.running(there, identity.options(backends) + database + stores(there)) as (url, _):
        methods = "enabled_import_methods = [glance-download]"
        ours = identity.options(backends, methods, "debug = true") + login(identity)
        with service.running(state, "api", options=ours + stores(state) + _QUICK) as here:
            identity.serve_images(here.url)
            add_region(identity, url)
            here.token = identity.token("member-ours", project="ours")
            yield Regions(identity, url, here)


def login(identity: keystone.Keystone) -> str:
    """The section that docs/keystone.md shows."""
    return f"""[service_user]
auth_type = password
auth_url = {identity.url}
username = glance
password = {keystone.PASSWORD}
user_domain_id = default
project_name = service
project_domain_id = default
"""


def add_region(identity: keystone.Keystone, url: str) -> None:
    """Put the Glance into the catalog: nobody listens at its internal endpoint."""
    identity.do("POST", "/regions", {"region": {"id": THERE}})
    gone = f"http://127.0.0.1:{service.free_port()}"
    for interface, place in (("public", url), ("internal", gone)):
        where = {"interface": interface, "region_id": THERE, "url": place}
        body = {"endpoint": where | {"service_id": identity.service_id}}
        identity.do("POST", "/endpoints", body)


@pytest.fixture
def worker(regions: Regions) -> Iterator[None]:
    """A worker that uses [service_user]."""
    regions.start_worker(service_token=True)
    yield
    regions.here.kill("worker")


def staged(regions: Regions) -> list[str]:
    """What is left in staging."""
    return [file.name for file in (regions.here.state / "staging").iterdir()]


@pytest.mark.usefixtures("worker")
def test_an_image_of_a_real_glance(regions: Regions) -> None:
    """Formats and the configured properties come along, the digests are the same, both stores have it."""
    properties = {"hw_cpu_cores": "5", "trait:SSD": "required", "os_distro": "rhel", "speed": "88"}
    theirs = regions.source(regions.here.token, name="theirs", **properties)
    mine, task = regions.fetch(theirs["id"])
    assert task["status"] == "success", task["message"]
    record = regions.here.image(mine)
    for name in ("disk_format", "size", "checksum", "os_hash_algo", "os_hash_value"):
        assert record[name] == theirs[name]
    copied = {"hw_cpu_cores": "5", "trait:SSD": "required", "os_distro": "rhel"}
    for name, value in (copied | {"name": "mine", "own": "kept", "status": "active"}).items():
        assert record[name] == value
    assert "speed" not in record
    assert sorted(record["stores"].split(",")) == ["cheap", "fast"]
    for store in ("fast", "cheap"):
        assert (regions.here.state / store / mine).read_bytes() == DATA
    assert regions.here.ask("GET", f"/v2/images/{mine}/file").data == DATA
    assert staged(regions) == []


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("method", "says"),
    [
        ({"glance_service_interface": "internal"}, "cannot be reached"),
        ({"glance_service_interface": "admin"}, "no image service in region"),
        ({"glance_region": "RegionThree"}, "no image service in region RegionThree"),
    ],
)
def test_an_endpoint_that_is_not_there(regions: Regions, method: dict[str, str], says: str) -> None:
    """Region and interface decide which endpoint of the catalog is asked."""
    theirs = regions.source(regions.here.token)
    mine, task = regions.fetch(theirs["id"], **method)
    assert (task["status"], says in task["message"]) == ("failure", True), task["message"]
    assert regions.here.image(mine)["status"] == "queued"


@pytest.mark.usefixtures("worker")
def test_an_image_that_the_caller_may_not_see(regions: Regions) -> None:
    """Not by the service's token either, whose user is an administrator there."""
    other = regions.keystone.token("member-theirs", project="theirs")
    theirs = regions.source(other, visibility="private")
    mine, task = regions.fetch(theirs["id"])
    assert (task["status"], "404" in task["message"]) == ("failure", True), task["message"]
    record = regions.here.image(mine)
    assert (record["status"], record["disk_format"], record["hw_cpu_cores"]) == (
        "queued",
        "iso",
        "1",
    )
    assert staged(regions) == []


@pytest.mark.parametrize("service_token", [True, False])
def test_a_token_that_expires_in_the_queue(regions: Regions, service_token: bool) -> None:
    """With a service token the import ends well; without one the task says what has happened."""
    theirs = regions.source(regions.here.token)
    mine, token = asked_in_time(regions, theirs["id"])
    service.wait_for(
        lambda: regions.there("GET", "/v2/images", token=token).status == 401,
        "the caller's token to be refused",
    )
    regions.start_worker(service_token=service_token)
    try:
        task = regions.here.wait_for_task(mine)
        log = regions.here.log("worker").decode()
    finally:
        regions.here.kill("worker")
    record = regions.here.image(mine)
    if service_token:
        assert task["status"] == "success", task["message"]
        assert (record["status"], record["checksum"]) == ("active", theirs["checksum"])
    else:
        assert task["status"] == "failure"
        for words in ("has expired", "new token", "[service_user]"):
            assert words in task["message"]
        assert record["status"] == "queued"
    assert staged(regions) == []
    for secret in (keystone.PASSWORD, "gAAAA"):  # how every token begins
        assert secret not in log + str(task)


def asked_in_time(regions: Regions, image_id: str) -> tuple[str, str]:
    """An image whose import was asked for with a token that is soon to expire, and the token."""
    with keystone.hasty(regions.keystone, SHORT) as hasty:

        def ask() -> tuple[str, str] | None:  # a busy machine may take longer than the token lasts
            token = hasty.token("member-ours", project="ours")
            mine, status = regions.ask_for(image_id, token)
            return (mine, token) if status == 202 else None

        return service.wait_for(ask, "an import to be asked for in time")
