"""Downloads that nginx sends: the whole and parts, for those who may have them, and nobody else."""

import contextlib
import getpass
import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest
import urllib3

from tests import service
from tests.integration import databases

DATA = os.urandom((3 << 20) + 5)
CONFIGURATION = """
daemon off; user {me}; pid {state}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off; client_body_temp_path {state}/body; proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/f; uwsgi_temp_path {state}/u; scgi_temp_path {state}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{api}; proxy_http_version 1.1; proxy_request_buffering off;
            client_max_body_size 0;
        }}
        location /stored{images}/ {{
            internal; alias {images}/;
            add_header Content-MD5 $upstream_http_content_md5;
            add_header x-openstack-request-id $upstream_http_x_openstack_request_id;
        }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(state: pathlib.Path, api: int) -> Iterator[str]:
    """Its URL."""
    port, images = service.free_port(), state / "images"
    file = state / "nginx.conf"
    me = getpass.getuser()
    file.write_text(CONFIGURATION.format(state=state, port=port, api=api, images=images, me=me))
    command = ["setpriv", "--pdeathsig", "KILL", "--", databases._program("nginx"), "-c", str(file)]
    server = subprocess.Popen([*command, "-e", "stderr"], start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        service.wait_for(lambda: answers(url), "nginx to answer")
        yield url
    finally:
        server.terminate()
        server.wait(service.PATIENCE)


def answers(url: str) -> bool:
    """Whether somebody is there."""
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        return urllib3.request("GET", f"{url}/healthcheck", retries=False).status == 200
    return False


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The service's directory."""
    return tmp_path_factory.mktemp("gantry")


@pytest.fixture(scope="module")
def url(state: pathlib.Path) -> Iterator[str]:
    """Of an image."""
    options = "[gantry]\nx_accel_redirect = /stored\n"
    with (
        service.running(state, "api", "worker", "beat", options=options) as running,
        nginx(state, running.port) as front,
    ):
        image_id = running.create(disk_format="raw")
        where = f"{front}/v2/images/{image_id}"
        kind = {"Content-Type": "application/octet-stream"}
        sent = urllib3.request("PUT", f"{where}/file", body=DATA, headers=kind)
        assert sent.status == 204
        yield where


def test_the_whole(url: str) -> None:
    answer = urllib3.request("GET", f"{url}/file")
    assert (answer.status, answer.data) == (200, DATA)
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    record = urllib3.request("GET", url).json()
    assert answer.headers["Content-MD5"] == record["checksum"]
    assert answer.headers["x-openstack-request-id"]
    assert "X-Accel-Redirect" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "first", "end"), [("0-0", 0, 1), ("5-", 5, None), ("-7", -7, None)]
)
def test_parts(url: str, asked: str, first: int, end: int | None) -> None:
    answer = urllib3.request("GET", f"{url}/file", headers={"Range": f"bytes={asked}"})
    assert (answer.status, answer.data) == (206, DATA[first:end])
    assert answer.headers["Content-Range"].endswith(f"/{len(DATA)}")


def test_a_part_as_it_was_asked_for_once(url: str) -> None:
    """By Content-Range, which nginx does not know."""
    headers = {"Content-Range": f"bytes 3-9/{len(DATA)}"}
    answer = urllib3.request("GET", f"{url}/file", headers=headers)
    assert (answer.status, answer.data) == (206, DATA[3:10])


def test_nobody_asks_for_a_file_by_its_place(url: str, state: pathlib.Path) -> None:
    front, _, image_id = url.replace("/v2/images/", " ").partition(" ")
    place = state / "images" / image_id
    assert place.read_bytes() == DATA
    assert urllib3.request("GET", f"{front}/stored{place}").status == 404
