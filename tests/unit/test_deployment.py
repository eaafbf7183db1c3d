"""What is shipped to be deployed: brokers have passwords, Flower is on loopback, no secret stands in a file.

The rules hold for every file of `deploy` and for the Procfile, those that come later too.
"""

import pathlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from deploy import broker

ROOT = pathlib.Path(__file__).parent.parent.parent
UNITS = ROOT / "deploy/systemd"
NAMES = ["api", "worker", "beat", "flower"]
#: The only word that may stand where a password does.
PLACEHOLDER = "PASSWORD"
_URL = re.compile(r"\b(rediss?|amqps?|postgresql|mysql)(?:\+\w+)?://([^\s,;`'\"]*)")
_SECRET = re.compile(
    r"\b(FLOWER_BASIC_AUTH|requirepass|\w*_(?:password|secret|key))\s*[= ]\s*(\S+)"
)
_FLOWER = re.compile(r"(?:FLOWER_ADDRESS|--address)\s*[= ]\s*\"?([\w.:]+)")


def faults(text: str) -> list[str]:
    """What a file that deploys something says that none may say."""
    return [*_of_urls(text), *_of_secrets(text), *_of_flower(text)]


def _of_urls(text: str) -> Iterator[str]:
    for scheme, rest in _URL.findall(text):
        if rest.startswith(("$", "...", "…")) or not rest:
            continue
        login, at, _ = rest.partition("@")
        user, _, password = login.partition(":")
        if not at or not password:
            yield f"{scheme} without a password"
        elif password.upper() != PLACEHOLDER:
            yield f"{scheme} with a password that stands in the file"
        if scheme.startswith("amqp") and user in ("", "guest"):
            yield "amqp without a user of its own"


def _of_secrets(text: str) -> Iterator[str]:
    for name, value in _SECRET.findall(text):
        if PLACEHOLDER not in value.upper() and not value.startswith("$"):
            yield f"{name} stands in the file"


def _of_flower(text: str) -> Iterator[str]:
    for address in _FLOWER.findall(text):
        if address not in ("127.0.0.1", "::1", "localhost"):
            yield f"Flower at {address}"


def files() -> list[pathlib.Path]:
    """All that deploys something; programs have tests of their own."""
    found = [ROOT / "Procfile", *(ROOT / "deploy").rglob("*")]
    return sorted(file for file in found if file.is_file() and file.suffix not in (".py", ".pyc"))


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_obeys(file: pathlib.Path) -> None:
    assert faults(file.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "broker_url = redis://localhost:6379/0",
        "broker_url = rediss://@redis/0",
        "OS_GANTRY__BROKER_URL: redis://user@redis:6379/0",
        "broker_url = redis://:hunter2@redis:6379/0",
        "broker_url = amqp://guest:PASSWORD@rabbit/",
        "broker_url = amqp://rabbit:5672/gantry",
        "connection = mysql+pymysql://gantry@db/gantry",
        "FLOWER_BASIC_AUTH=watcher:hunter2",
        "requirepass hunter2",
        "s3_store_secret_key = abc",
        "FLOWER_ADDRESS=0.0.0.0",
        "celery flower --address=0.0.0.0",
    ],
)
def test_a_file_that_does_not_is_found(line: str) -> None:
    assert faults(f"[x]\n{line}\n") != []


def test_the_embedded_redis_has_no_port(tmp_path: pathlib.Path) -> None:
    """Only a socket, which nobody else may reach."""
    words = broker.command(tmp_path)
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert (options["--port"], options["--unixsocketperm"]) == ("0", "700")
    assert broker.socket_path(tmp_path).parent.stat().st_mode & 0o777 == 0o700


# systemd


def settings(name: str) -> dict[str, list[str]]:
    """What a unit says, with what all have in common."""
    found: dict[str, list[str]] = {}
    for file in (UNITS / "gantry-.service.d/common.conf", UNITS / f"gantry-{name}.service"):
        for line in file.read_text().splitlines():
            if "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_runs_what_the_procfile_runs(name: str) -> None:
    """Which the system tests run."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    procfile = dict(line.split(": ", 1) for line in lines)[name]
    procfile = procfile.replace("${OS_GANTRY__STATE_PATH:-var}", "/var/lib/gantry")
    procfile = re.sub(r"\$\{GANTRY_LOG_LEVEL:-(\w+)\}", r"\1", procfile)
    procfile = procfile.replace("${GANTRY_WORKER_CONCURRENCY:-2}", "${GANTRY_WORKER_CONCURRENCY}")
    wanted = shlex.split(procfile.removeprefix("nice -n ${GANTRY_WORKER_NICE:-10} "))
    (line,) = settings(name)["ExecStart"]
    program, *words = shlex.split(line.replace("%%", "%"))
    assert [program.removeprefix("/opt/gantry/.venv/bin/"), *words] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_may_do_little(name: str) -> None:
    """As a user of its own that cannot become another one, write the system, or open the secrets' file."""
    unit = settings(name)
    assert unit["User"] == ["gantry"]
    assert "/etc/gantry/gantry.env" in unit["EnvironmentFile"]
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome"):
        assert unit[key] == ["yes"]
    assert (unit["ProtectSystem"], unit["CapabilityBoundingSet"]) == (["strict"], [""])
    # The worker makes namespaces for qemu-img.
    assert ("RestrictNamespaces" in unit) == ("SystemCallFilter" in unit) == (name != "worker")


def test_flower_has_its_password_from_a_file_of_its_own() -> None:
    unit = settings("flower")
    assert "FLOWER_ADDRESS=127.0.0.1" in unit["Environment"]
    assert "/etc/gantry/flower.env" in unit["EnvironmentFile"]
    assert "/etc/gantry/flower.env" not in settings("worker")["EnvironmentFile"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_takes_the_units(tmp_path: pathlib.Path) -> None:
    """Each word of them, in a place where the programs are."""
    here = tmp_path / "units"
    shutil.copytree(UNITS, here)
    for file in here.glob("*.service"):
        file.write_text(re.sub(r"/opt/gantry/\.venv/bin/\w+", "/bin/true", file.read_text()))
    units = [str(here / f"gantry-{name}.service") for name in NAMES]
    command = ["systemd-analyze", "verify", "--man=no", *units, str(here / "gantry.target")]
    ended = subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{here}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in ended.stderr.splitlines() if "gantry" in line]
    assert (ended.returncode, ours) == (0, [])
