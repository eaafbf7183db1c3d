"""A cloud of two services for other people's suites: a real Keystone, and a Gantry in its catalog."""

import contextlib
import functools
import http.server
import json
import pathlib
import random
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests import keystone, service, web
from tests.tempest import suites

_SMALL = 1 << 20


@dataclass(frozen=True)
class Cloud:
    """A running Gantry, and who knows it."""

    identity: keystone.Keystone
    gantry: service.Service
    #: Base URL of small.raw and small.qcow2.
    files: str


@contextlib.contextmanager
def running(
    identity: keystone.Keystone,
    state: pathlib.Path,
    options: str,
    *,
    twice: bool = False,
    caches: bool = False,
) -> Iterator[Cloud]:
    """A Gantry with these options, in the catalog as `image`; `twice`: a second API as `image_remote`.

    With `caches` that one is as if on another host, which has a cache and a worker of its own.
    """
    identity.serve_images("http://127.0.0.1:1")  # the options name the endpoint
    whole = service.running(state, "api", "worker", "beat", options=identity.options() + options)
    with serving(state / "web") as files, whole as gantry:
        identity.serve_images(gantry.url)
        if twice:
            _serve(identity, "image_remote", _second_api(gantry, caches=caches))
        _define(identity, gantry)
        yield Cloud(identity, gantry, files)


def _define(identity: keystone.Keystone, gantry: service.Service) -> None:
    """A resource type, of which every cloud has some: Tempest takes the first one for its own namespaces."""
    kind = {"name": "OS::Glance::Image", "prefix": "hw_"}
    body = {"namespace": "Gantry::Compat", "resource_type_associations": [kind]}
    headers = {"X_Auth_Token": identity.admin_token}
    made = gantry.ask("POST", "/v2/metadefs/namespaces", body, **headers)
    assert made.status == 201, made.data


def _second_api(gantry: service.Service, *, caches: bool) -> str:
    """Another API on the same database and staging directory; returns its URL."""
    port, own = service.free_port(), ""
    if caches:
        own = f"OS_GANTRY__HOST=second OS_DEFAULT__IMAGE_CACHE_DIR={gantry.state}/second-cache"
        line = gantry.command("worker").replace("worker@%h", "second@%h")
        gantry._spawn("second", ["sh", "-c", f"{own} exec {line}"])
    words = f"{own} GANTRY_API_PORT={port} exec {gantry.command('api')}"
    gantry._spawn("second-api", ["sh", "-c", words])
    service.wait_for(functools.partial(_listens, port), "the second API to answer")
    return f"http://127.0.0.1:{port}"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _serve(identity: keystone.Keystone, kind: str, url: str) -> None:
    """Make `url` the only endpoint of a type of service."""
    for old in identity.do("GET", f"/services?type={kind}")["services"]:
        identity.do("DELETE", f"/services/{old['id']}")
    made = identity.do("POST", "/services", {"service": {"type": kind, "name": kind}})
    endpoint = {
        "service_id": made["service"]["id"],
        "interface": "public",
        "region_id": keystone.REGION,
        "url": url,
    }
    identity.do("POST", "/endpoints", {"endpoint": endpoint})


@contextlib.contextmanager
def serving(room: pathlib.Path) -> Iterator[str]:
    """The URL of a web server with small.raw and small.qcow2."""
    room.mkdir()
    (room / "small.raw").write_bytes(random.Random(1).randbytes(_SMALL))  # noqa: S311
    made = ["qemu-img", "create", "-q", "-f", "qcow2", "small.qcow2", "64M"]
    subprocess.run(made, cwd=room, check=True)

    class Files(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    files = functools.partial(Files, directory=str(room))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), files)
    with web.running(server):
        yield f"http://127.0.0.1:{server.server_port}"


def own_address() -> str | None:
    """This machine's address towards others, which is not loopback; None where it has none.

    One of Tempest's tests lets the service fetch from there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("1.1.1.1", 80))  # datagrams: nothing is sent
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return None if address.startswith(("127.", "169.254.")) else address


def clouds(identity: keystone.Keystone, room: pathlib.Path) -> None:
    """Write clouds.yaml as devstack does; the clients look for it where they are started."""
    admin = {"username": "admin", "password": keystone.PASSWORD}
    demo, other = (
        {"username": name, "password": keystone.PASSWORD, "project_name": name}
        for name in ("demo", "alt_demo")
    )
    clouds = {
        "devstack": demo,
        "devstack-alt": other,
        "devstack-admin": admin | {"project_name": "admin"},
        "devstack-system-admin": admin | {"system_scope": "all"},
    }
    text = {
        "clouds": {
            name: {
                "auth": auth
                | {"auth_url": identity.url, "user_domain_id": "default"}
                | ({} if "system_scope" in auth else {"project_domain_id": "default"}),
                "region_name": keystone.REGION,
                "identity_api_version": "3",
            }
            for name, auth in clouds.items()
        }
    }
    (room / "clouds.yaml").write_text(json.dumps(text))  # JSON is YAML too


def openstack(room: pathlib.Path, *words: str) -> None:
    """Call `openstack` as the administrator of the cloud in `room`'s clouds.yaml."""
    command = [str(suites.PROGRAMS / "openstack"), "--os-cloud", "devstack-admin", *words]
    done = subprocess.run(command, cwd=room, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
