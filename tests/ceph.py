"""A private Ceph for one test: a monitor, an OSD in memory, and a RADOS gateway that speaks S3 and Swift.

One copy of everything, on ports of the loopback interface, in a directory of its own. Clients have to know a
key (cephx): wrong credentials are refused as they are in a real cluster.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import uuid
from typing import Any

import pytest
import urllib3

from tests import service, token_server

_LOCAL = "127.0.0.1"
_PROGRAMS = (
    "ceph-mon",
    "ceph-osd",
    "radosgw",
    "radosgw-admin",
    "ceph",
    "ceph-authtool",
    "monmaptool",
)
#: Users of Ceph itself, and what each may do.
_USERS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "client.rgw": {"mon": "allow rw", "osd": "allow rwx"},
    "client.glance": {"mon": "profile rbd", "osd": "profile rbd pool=images"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
}
#: Users of the gateway: the second one may fill each of its buckets up to `QUOTA` bytes only.
USER, POOR = "glance", "poor"
ACCESS, SECRET = "access", "secret-key"
QUOTA = 8 << 20
POOL = "images"


def missing() -> str:
    """Why there can be no Ceph here; nothing where there can."""
    absent = [name for name in _PROGRAMS if not shutil.which(name)]
    if not absent:
        return ""
    cure = "`deploy/setup.sh ceph`, which `make integration` runs, installs it"
    return f"not installed: {', '.join(absent)}; {cure}"


class Ceph:
    """A cluster on a directory of its own; `start` begins with an empty one."""

    def __init__(self, room: pathlib.Path) -> None:
        self.room, self.fsid = room, str(uuid.uuid4())
        self.conf = room / "ceph.conf"
        self._monitor, self._gateway = service.free_port(), service.free_port()
        #: Where the gateway answers.
        self.host = f"{_LOCAL}:{self._gateway}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._servers = contextlib.ExitStack()
        self._tokens = ""

    def start(self) -> None:
        """Start monitor, OSD and gateway, and make the pool and the users."""
        if reason := missing():
            pytest.skip(reason)
        for name in ("mon", "osd", "run"):
            (self.room / name).mkdir(parents=True)
        self.conf.write_text(self._options())
        self._make_keys()
        self._start_monitor()
        self._start_osd()
        self.run("ceph", "osd", "pool", "create", POOL, "4")
        self.run("ceph", "osd", "pool", "application", "enable", POOL, "rbd")
        self.start_gateway()
        self._make_users()

    def stop(self) -> None:
        """End everything; what the cluster held is gone."""
        self._servers.close()
        for name in ("radosgw", "ceph-osd", "ceph-mon"):
            self.kill(name)

    def start_gateway(self) -> None:
        """Start the gateway, at first or again, and wait until it answers."""
        self._spawn("radosgw", "-n", "client.rgw")
        service.wait_for(self._gateway_answers, "the gateway to answer")

    def kill_gateway(self) -> None:
        """kill -9: what it was being sent is lost."""
        self.kill("radosgw")

    def tokens(self) -> str:
        """Where a client of Swift fetches tokens, as it does from Keystone (`token_server`)."""
        if not self._tokens:
            self._tokens = self._servers.enter_context(token_server.serving())
        return self._tokens

    def signal(self, name: str, what: signal.Signals) -> None:
        """Send a signal to one of the programs."""
        self._processes[name].send_signal(what)

    def kill(self, name: str) -> None:
        """kill -9 of one of the programs."""
        if process := self._processes.pop(name, None):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(service.PATIENCE)

    def run(self, *command: str) -> str:
        """What a program says that talks to the cluster as its administrator."""
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr[-2000:])
        return done.stdout

    def admin(self, *words: str) -> Any:
        """What `radosgw-admin` says, parsed."""
        said = self.run("radosgw-admin", *words)
        return json.loads(said) if said.strip() else None

    def keyring(self, user: str) -> pathlib.Path:
        """A file with the key of one user of Ceph alone, which it keeps."""
        file = self.room / f"ceph.client.{user}.keyring"
        if not file.exists():
            self.run("ceph", "auth", "get", f"client.{user}", "-o", str(file))
        return file

    def _options(self) -> str:
        room = self.room
        return f"""[global]
fsid = {self.fsid}
mon host = [v2:{_LOCAL}:{self._monitor}]
public addr = {_LOCAL}
cluster addr = {_LOCAL}
keyring = {room}/keyring
run dir = {room}/run
admin socket = {room}/run/$name.$pid.asok
log file =
log to stderr = true
crash dir = {room}/run
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
mon data avail crit = 1
auth allow insecure global id reclaim = false
[mon]
mon data = {room}/mon
mon cluster log file = /dev/null
[osd]
osd data = {room}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd journal size = 64
[client.rgw]
rgw data = {room}/run
rgw frontends = beast endpoint={self.host}
rgw s3 auth use keystone = false
rgw enable usage log = false
rgw enable gc threads = true
rgw gc obj min wait = 1
rgw gc processor period = 2
# What a user holds is looked up for each request, not remembered for ten minutes.
rgw bucket quota ttl = 0
rgw thread pool size = 32
"""

    def _make_keys(self) -> None:
        keyring = str(self.room / "keyring")
        self.run("ceph-authtool", "--create-keyring", keyring)
        for user, rights in _USERS.items():
            caps = [word for kind, right in rights.items() for word in ("--cap", kind, right)]
            self.run("ceph-authtool", keyring, "--gen-key", "-n", user, *caps)

    def _start_monitor(self) -> None:
        chart, keyring = str(self.room / "monmap"), str(self.room / "keyring")
        place = f"[v2:{_LOCAL}:{self._monitor}]"
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", place, chart)
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", chart, "--keyring", keyring)
        self._spawn("ceph-mon", "-i", "a")

    def _start_osd(self) -> None:
        name = str(uuid.uuid4())
        self.run("ceph", "--connect-timeout", "60", "osd", "new", name, "0")
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", name)
        self._spawn("ceph-osd", "-i", "0")

        def is_up() -> bool:
            return bool(json.loads(self.run("ceph", "osd", "stat", "-f", "json"))["num_up_osds"])

        service.wait_for(is_up, "the OSD to be up")

    def _make_users(self) -> None:
        for user in (USER, POOR):
            keys = (f"--access-key={user}-{ACCESS}", f"--secret-key={user}-{SECRET}")
            self.admin("user", "create", f"--uid={user}", f"--display-name={user}", *keys)
            swift = (f"--subuser={user}:swift", "--access=full", "--key-type=swift")
            secret = f"--secret-key={user}-{SECRET}"
            self.admin("subuser", "create", f"--uid={user}", *swift, secret)
        quota = ("--quota-scope=bucket", f"--uid={POOR}")
        self.admin("quota", "set", *quota, f"--max-size={QUOTA}")
        self.admin("quota", "enable", *quota)

    def _gateway_answers(self) -> bool:
        assert self._processes["radosgw"].poll() is None, self.log("radosgw")
        try:
            return urllib3.request("GET", f"http://{self.host}/", retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def log(self, name: str) -> str:
        """The end of what a program has said."""
        return (self.room / f"{name}.log").read_text(errors="replace")[-4000:]

    def _environment(self) -> dict[str, str]:
        return os.environ | {"CEPH_CONF": str(self.conf)}

    def _spawn(self, name: str, *options: str) -> None:
        with (self.room / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                # Tests that are killed themselves must not leave a cluster running.
                ["setpriv", "--pdeathsig", "KILL", "--", name, "-f", *options],
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@contextlib.contextmanager
def running(room: pathlib.Path) -> Any:
    """A cluster with its gateway; nothing of it is left when the block ends."""
    cluster = Ceph(room)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
