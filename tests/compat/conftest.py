"""Running services, and the unmodified clients pointed at them."""

import hashlib
import pathlib
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests import service, web
from tests.compat import clients

_QUICK = (
    "[gantry]\nlease_seconds = 3\nheartbeat_seconds = 0.2\nsweep_seconds = 1\nretry_pause = 0.1\n"
)


class Data(NamedTuple):
    """A file, and what tells its bytes from any others."""

    path: pathlib.Path
    md5: str
    sha512: str


def data_of(path: pathlib.Path) -> Data:
    """A file with its digests, computed here."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
        file.seek(0)
        return Data(path, md5, hashlib.file_digest(file, "sha512").hexdigest())


@pytest.fixture(scope="session", params=["uwsgi", "gunicorn"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """API, worker and beat under one of the two web servers, with one store."""
    clients.require()
    state = tmp_path_factory.mktemp("gantry")
    names = ("api", "worker", "beat")
    with service.running(state, *names, server=request.param, options=_QUICK) as whole:
        yield whole


@pytest.fixture(scope="module")
def several_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """API, worker and beat with two file stores."""
    clients.require()
    state = tmp_path_factory.mktemp("gantry")
    options = f"""
[DEFAULT]
enabled_backends = fast:file,cheap:file
[fast]
filesystem_store_datadir = {state}/fast
store_description = SSD
[cheap]
filesystem_store_datadir = {state}/cheap
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks
[glance_store]
default_backend = fast
{_QUICK}"""
    with service.running(state, "api", "worker", "beat", options=options) as whole:
        yield whole


@pytest.fixture
def client(running: service.Service, tmp_path: pathlib.Path) -> clients.Clients:
    """The clients of the service with one store."""
    return clients.Clients(running.url, tmp_path)


@pytest.fixture(scope="session")
def iso(iso: pathlib.Path) -> Data:
    """The real ISO with its digests."""
    return data_of(iso)


@pytest.fixture(scope="session")
def iso_url(iso: Data) -> Iterator[str]:
    """Where the ISO can be downloaded from."""
    with web.serving({"/memtest.iso": web.whole(iso.path.read_bytes())}) as url:
        yield f"{url}/memtest.iso"


@pytest.fixture(scope="session")
def qcow2(qcow2: pathlib.Path) -> Data:
    """The real qcow2 with its digests."""
    return data_of(qcow2)


@pytest.fixture(scope="session")
def raw(qcow2: Data, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """What this machine's own qemu-img makes of the qcow2; an import converts it too."""
    made = tmp_path_factory.mktemp("raw") / "alpine.raw"
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(qcow2.path), str(made)]
    subprocess.run(command, check=True)
    return data_of(made)
