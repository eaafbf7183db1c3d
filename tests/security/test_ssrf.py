"""URLs that lead to where their author has no business (OSSA-2026-004, OSSN-0105, docs/urls.md).

Each goes in by every way that a URL comes in, and no way may reach the canary on loopback, or the address of
a cloud's metadata. That the canary sings where a defence is off is tested too.
"""

import contextlib
import pathlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from images import connections, errors, networks, urls
from tests import web
from tests.functional.conftest import Api, Caller
from tests.functional.importing import FORMATS
from tests.security.canary import TREASURE, Canary
from workers import jobs

#: All ports, so that nothing but the address protects the canary.
OPTIONS = """
show_multiple_locations = true
enabled_backends = fast:file,web:http
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {room}/fast
[os_glance_staging_store]
filesystem_store_datadir = {room}/staging
[gantry]
tries = 1
[web_download]
private_answer_timeout = 0
[import_filtering_opts]
allowed_ports = []
"""
#: Where a server may be that is not the canary's.
NEAR = "127.0.0.2"

#: {} is the canary's port.
LITERALS = [
    "http://127.0.0.1:{}/",
    "http://127.255.255.254:{}/",
    "http://[::1]:{}/",
    "http://[::ffff:127.0.0.1]:{}/",
    "http://[::ffff:7f00:1]:{}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{}/",
    "http://[::127.0.0.1]:{}/",
    "http://[64:ff9b::127.0.0.1]:{}/",
    "http://[2002:7f00:1::]:{}/",
    "http://0.0.0.0:{}/",
    "http://[::]:{}/",
    "http://169.254.169.254/",
    "http://169.254.169.254:{}/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1%25lo]:{}/",
    "http://user@127.0.0.1:{}/",
    "http://allowed.example:80@127.0.0.1:{}/",
    "http://allowed.example%40127.0.0.1:{}/",
    "HTTP://127.0.0.1:{}/",
]
SPELLINGS = [
    "http://2130706433:{}/",
    "http://0x7f000001:{}/",
    "http://0X7F.1:{}/",
    "http://0177.0.0.1:{}/",
    "http://017700000001:{}/",
    "http://127.1:{}/",
    "http://127.0.1:{}/",
    "http://0:{}/",
    "http://127.0.0.1.:{}/",
    "http://127.000.000.001:{}/",
    "http://\uff11\uff12\uff17.0.0.1:{}/",
    "http://\u2460\u2461\u2466.0.0.1:{}/",
]
SCHEMES = [
    "file:///etc/passwd",
    "filesystem:///etc/passwd",
    "swift+config://ref/container/object",
    "ftp://127.0.0.1:{}/",
    "gopher://127.0.0.1:{}/_INFO",
    "data:,x",
    "jar:http://127.0.0.1:{}/!/x",
    "unix:/run/redis.sock",
    "//127.0.0.1:{}/",
    "http:127.0.0.1:{}",
    "http:///127.0.0.1:{}/",
    "http://\\127.0.0.1:{}/",
    "http://allowed.example\\@127.0.0.1:{}/",
    "http://allowed.example/\r\n@127.0.0.1:{}/",
    "http://127.0.0.1:{}\t/",
]
#: Names that this machine's own resolver takes for loopback, or does not know.
NAMES = [
    "http://localhost:{}/",
    "http://LOCALHOST.:{}/",
    "http://user:pw@localhost:{}/",
    "http://allowed.example#@127.0.0.1:{}/",
]

#: Has a URL asked by one of the ways in; the statuses that the API gave.
Way = Callable[[Api, str], list[int]]


def run(task_id: str) -> None:
    """What a worker does; a task that fails says so in its record."""
    with contextlib.suppress(errors.ImportFailed):
        jobs.run_import(task_id)


def newest_task(api: Api) -> str:
    """The id of the only task."""
    return str(api.ask("GET", "/v2/tasks?limit=1").get_json()["tasks"][0]["id"])


def by_import(api: Api, url: str) -> list[int]:
    image_id = api.create(**FORMATS)
    body = {"method": {"name": "web-download", "uri": url}}
    answer = api.ask("POST", f"/v2/images/{image_id}/import", body)
    if answer.status_code == 202:
        run(newest_task(api))
    assert api.show(image_id)["status"] in ("queued", "active")
    return [answer.status_code]


def by_task(api: Api, url: str) -> list[int]:
    made = {"import_from": url, "import_from_format": "raw", "image_properties": FORMATS}
    answer = api.ask("POST", "/v2/tasks", {"type": "import", "input": made})
    if answer.status_code == 201:
        run(newest_task(api))
    return [answer.status_code]


def by_location(api: Api, url: str) -> list[int]:
    image_id = api.create(**FORMATS)
    answer = api.ask("POST", f"/v2/images/{image_id}/locations", {"url": url})
    if answer.status_code == 202:
        run(newest_task(api))
    return [answer.status_code]


def by_patch(api: Api, url: str) -> list[int]:
    image_id = api.create(**FORMATS)
    value = {"url": url, "metadata": {}}
    added = api.patch(image_id, {"op": "add", "path": "/locations/-", "value": value})
    read = api.ask("GET", f"/v2/images/{image_id}/file")
    return [added.status_code, read.status_code]


WAYS: list[Way] = [by_import, by_task, by_location, by_patch]


#: Starts the service with more lines in [import_filtering_opts], for somebody who may use every way.
Start = Callable[..., Api]


@pytest.fixture
def start(caller: Caller, tmp_path: pathlib.Path) -> Start:
    def again(lists: str = "") -> Api:
        options = OPTIONS.format(room=tmp_path) + lists + "\n"
        return caller(roles="admin,member,reader", options=options)

    return again


@pytest.fixture
def admin(start: Start) -> Api:
    """With the default: nothing is allowed that is not public."""
    return start()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Addresses that anything in this process has connected to."""
    found: list[Any] = []

    class Listened(socket.socket):
        def connect(self, address: Any, /) -> None:
            found.append(address)
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Listened)
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("group", [LITERALS, SPELLINGS, SCHEMES])
def test_ossa_2026_004_and_ossn_0105_what_is_refused_at_once(
    admin: Api, bird: Canary, connected: list[Any], way: Way, group: list[str]
) -> None:
    """400 or, for schemes of no store, 403; no socket is connected."""
    for url in group:
        said = way(admin, url.format(bird.port))
        assert said[0] in (400, 403), url
        assert (bird.heard, connected) == ([], []), url


@pytest.mark.parametrize("way", WAYS)
def test_ossa_2026_004_names(
    admin: Api, bird: Canary, connected: list[Any], monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    """Whatever the resolver says, and whoever runs it."""
    for url in NAMES:
        assert way(admin, url.format(bird.port))[-1] != 200, url
    monkeypatch.setattr(networks, "resolve", lambda *_: ["127.0.0.1", "::1", "10.0.0.1"])
    assert way(admin, f"http://inside.example:{bird.port}/")[-1] != 200
    assert (bird.heard, connected) == ([], [])


# Redirects

TARGETS = [
    *("http://127.0.0.1:{}/", "http://[::ffff:127.0.0.1]:{}/", "//127.0.0.1:{}/"),
    *("http://2130706433:{}/", "http://localhost:{}/", "file:///etc/passwd"),
    *("http://user@127.0.0.1:{}/", "http://169.254.169.254/", "gopher://127.0.0.1:{}/"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_ossa_2026_004_redirects(start: Start, bird: Canary, way: Way, code: int) -> None:
    """Each hop passes the gate, whatever the status that leads there."""
    api = start(f"allowed_networks = [{NEAR}]")
    answers = {
        f"/{number}": web.status(code, Location=url.format(bird.port))
        for number, url in enumerate(TARGETS)
    }
    with web.serving(answers, address=NEAR) as server:
        for path in answers:
            assert way(api, f"{server}{path}")[-1] != 200
    assert bird.heard == []


@pytest.mark.parametrize("way", WAYS)
def test_ossa_2026_004_a_redirect_to_a_port_that_is_denied(
    start: Start, bird: Canary, way: Way
) -> None:
    """Of a host that is allowed."""
    answers = {"/x": web.redirect(f"http://127.0.0.1:{bird.port}/")}
    with web.serving(answers, address=NEAR) as server:
        port = server.rpartition(":")[2]
        api = start(f"allowed_ports = [{port}]\nallowed_networks = [127.0.0.0/8]")
        assert way(api, f"{server}/x")[-1] != 200
    assert bird.heard == []


@pytest.mark.parametrize("way", WAYS)
def test_ossa_2026_004_a_redirect_that_never_ends(start: Start, way: Way) -> None:
    """A chain of 50 is left after the sixth."""
    asked: list[str] = []

    def on(number: int) -> web.Answer:
        def answer(handler: Any) -> None:
            asked.append(handler.path)
            web.redirect(f"/{number + 1}")(handler)

        return answer

    api = start(f"allowed_networks = [{NEAR}]")
    with web.serving({f"/{n}": on(n) for n in range(50)}, address=NEAR) as server:
        assert way(api, f"{server}/0")[-1] != 200
    assert set(asked) <= {f"/{n}" for n in range(6)}


# A name that changes its mind


class Flipping:
    """A name service that is asked twice about one name, and says something else the second time."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return [NEAR] if self.asked % 2 else ["127.0.0.1"]


@pytest.fixture
def flipping(monkeypatch: pytest.MonkeyPatch) -> Flipping:
    service = Flipping()
    monkeypatch.setattr(networks, "resolve", service)
    return service


@pytest.mark.parametrize("way", [by_import, by_task, by_location])
def test_ossa_2026_004_rebinding(start: Start, bird: Canary, flipping: Flipping, way: Way) -> None:
    """What was judged is what is connected to: the server beside the canary, at the same port, is asked."""
    asked: list[str] = []

    def answer(handler: Any) -> None:
        asked.append(handler.path)
        web.whole(b"harmless")(handler)

    api = start(f"allowed_networks = [{NEAR}]")
    with web.serving({"/x": answer}, address=NEAR, port=bird.port):
        way(api, f"http://rebinding.example:{bird.port}/x")
    assert asked or way is by_location  # which asks for the size first, and of a new connection
    assert bird.heard == []


# The canary sings


def sings(api: Api, bird: Canary, url: str) -> None:
    """An attack goes well by each way."""
    for way in WAYS:
        bird.heard.clear()
        way(api, url.format(bird.port))
        assert bird.heard, way.__name__


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "http://[::ffff:127.0.0.1]:{}/"])
def test_ossa_2026_004_and_ossn_0105_sings_without_judging_addresses(
    admin: Api, bird: Canary, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(networks, "is_allowed", lambda _: True)
    sings(admin, bird, url)
    image_id = admin.create(**FORMATS)
    admin.ask("POST", f"/v2/images/{image_id}/locations", {"url": url.format(bird.port)})
    run(newest_task(admin))
    assert admin.ask("GET", f"/v2/images/{image_id}/file").data == TREASURE


def test_ossa_2026_004_sings_without_judging_names(
    admin: Api, bird: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "is_allowed", lambda _: True)
    sings(admin, bird, "http://localhost:{}/")


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_ossa_2026_004_sings_without_refusing_spellings(
    admin: Api, bird: Canary, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Resolvers take them for 127.0.0.1; judging what they resolve to is a second line."""
    monkeypatch.setattr(urls, "host_of", lambda _: host)
    by_import(admin, f"http://{host}:{bird.port}/")
    assert bird.heard == []
    monkeypatch.setattr(networks, "is_allowed", lambda _: True)
    sings(admin, bird, f"http://{host}:{{}}/")


def test_ossa_2026_004_sings_without_the_gate_at_each_hop(
    start: Start, bird: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first hop is judged, the next one is not."""
    api = start(f"allowed_networks = [{NEAR}]")
    answers = {"/x": web.redirect(f"http://127.0.0.1:{bird.port}/")}
    judged = connections.Gate.__init__

    def unjudged(gate: connections.Gate, *_: Any, **options: Any) -> None:
        judged(gate, **options | {"judges": False})

    check = urls.check
    with web.serving(answers, address=NEAR) as server:
        monkeypatch.setattr(connections.Gate, "__init__", unjudged)
        monkeypatch.setattr(
            urls, "check", lambda url, **more: check(url, **more) if NEAR in url else url
        )
        sings(api, bird, f"{server}/x")


def test_ossa_2026_004_sings_without_connecting_to_what_was_judged(
    start: Start, bird: Canary, flipping: Flipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking the name service again, as a client that is given the name does."""

    def again(connection: Any, _: Any) -> socket.socket:
        address = networks.resolve(connection.host, connection.port)[0]
        return socket.create_connection((address, connection.port), timeout=5)

    monkeypatch.setattr(connections._Judged, "_connect_to_one", again)
    api = start(f"allowed_networks = [{NEAR}]")
    by_import(api, f"http://rebinding.example:{bird.port}/x")
    assert bird.heard
