"""gophercloud's own acceptance tests of the image service, in Go, out of Debian's packages."""

import os
import pathlib
import re
import shutil
import subprocess
import time
from typing import Any

import pytest

from tests import keystone, web
from tests.tempest import cloud, suites

_SOURCES = pathlib.Path("/usr/share/gocode/src/github.com/gophercloud/gophercloud")
_TESTS = _SOURCES / "acceptance/openstack/imageservice/v2"
#: What one of the tests downloads to upload it; it is given another image, by a proxy.
_CIRROS = "http://download.cirros-cloud.net/0.4.0/cirros-0.4.0-x86_64-disk.img"
#: Things of nova and neutron that the tests' common part wants named, though nothing here uses them.
_NAMED = (
    *("OS_IMAGE_ID", "OS_FLAVOR_ID", "OS_FLAVOR_ID_RESIZE"),
    *("OS_NETWORK_NAME", "OS_EXTGW_ID", "OS_POOL_NAME"),
)
_LIMIT = 600
_ENDED = re.compile(r"^--- (PASS|FAIL|SKIP): (\S+) \(([0-9.]+)s\)$", re.MULTILINE)
_STATUSES = {"PASS": "success", "FAIL": "fail", "SKIP": "skip"}


def test_gophercloud(devstack: cloud.Cloud, tmp_path: pathlib.Path) -> None:
    if not (shutil.which("go") and _TESTS.is_dir()):
        pytest.fail("gophercloud is not installed: run `deploy/setup.sh clients`", pytrace=False)
    disk = tmp_path / "small.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "64M"], check=True)
    with web.serving({_CIRROS: web.whole(disk.read_bytes())}) as proxy:
        outcome = _run(devstack.identity, tmp_path, proxy)
    suites.report(outcome)
    found = suites.complaints(outcome)
    assert not found, "\n".join([outcome.line, *found])


def _run(identity: keystone.Keystone, room: pathlib.Path, proxy: str) -> suites.Outcome:
    program = room / "image.test"
    go = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "CGO_ENABLED": "0"}
    caches = {"HOME": str(room), "GOCACHE": str(room / "cache"), "PATH": os.environ["PATH"]}
    build = ["go", "test", "-tags", "acceptance imageservice", "-c", "-o", str(program), "."]
    made = subprocess.run(build, cwd=_TESTS, env=go | caches, capture_output=True, check=False)
    assert made.returncode == 0, made.stderr.decode()
    admin = {
        "OS_AUTH_URL": identity.url,
        "OS_REGION_NAME": keystone.REGION,
        "OS_USERNAME": "admin",
        "OS_PASSWORD": keystone.PASSWORD,
        "OS_DOMAIN_ID": "default",
        "OS_PROJECT_NAME": "admin",
        "OS_TENANT_NAME": "admin",
    }
    begun = time.monotonic()
    ended = subprocess.run(
        [str(program), "-test.v"],
        cwd=_TESTS,
        env=caches | admin | dict.fromkeys(_NAMED, "1") | {"HTTP_PROXY": proxy},
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    said = ended.stdout + ended.stderr
    tests = {f"imageservice.{name}": _judged(*rest) for name, *rest in _found(said)}
    return suites.Outcome("gophercloud", tests, time.monotonic() - begun, said[-2000:])


def _found(said: str) -> list[tuple[str, str, str, str]]:
    """Name, verdict, seconds and own words of each test."""
    found, begun = [], 0
    for match in _ENDED.finditer(said):
        verdict, name, seconds = match.groups()
        found.append((name, verdict, seconds, said[begun : match.start()][-2000:]))
        begun = match.end()
    return found


def _judged(verdict: str, seconds: str, why: str) -> dict[str, Any]:
    status = _STATUSES[verdict]
    return {"status": status, "why": why if status != "success" else "", "seconds": float(seconds)}
