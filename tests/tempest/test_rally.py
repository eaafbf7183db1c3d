"""Rally's scenarios for images that need no nova, unmodified: several users, everything cleaned up."""

import json
import os
import pathlib
import subprocess
import time
from typing import Any

import pytest

from tests import keystone, service
from tests.tempest import cloud, setups, suites

_RALLY = service.ROOT / ".venv-rally/bin/rally"
_LIMIT = 900
#: Scenario of GlanceImages, and its own arguments.
_SCENARIOS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("create_and_list_image", {}),
    ("create_and_get_image", {}),
    ("create_and_delete_image", {}),
    ("create_and_download_image", {}),
    ("create_and_update_image", {"update_min_disk": 1, "update_min_ram": 2}),
    ("create_and_deactivate_image", {}),
    ("import_and_delete_image", {"import_method": "glance-direct"}),
    ("import_and_delete_image", {"import_method": "web-download"}),
)


def test_rally(identity: keystone.Keystone, tmp_path: pathlib.Path) -> None:
    if not _RALLY.exists():
        pytest.fail("Rally is not installed: run `deploy/setup.sh rally`", pytrace=False)
    state = tmp_path / "s"
    state.mkdir()
    with cloud.running(identity, state, setups.DEFAULT.options(state)) as place:
        outcome = _run(place, tmp_path)
    suites.report(outcome)
    found = suites.complaints(outcome)
    assert not found, "\n".join([outcome.line, *found])


def _run(place: cloud.Cloud, room: pathlib.Path) -> suites.Outcome:
    (room / "rally.conf").write_text(f"[database]\nconnection = sqlite:///{room}/rally.sqlite\n")
    (room / "cloud.json").write_text(json.dumps(_cloud(place.identity)))
    (room / "task.json").write_text(json.dumps(_task(f"{place.files}/small.qcow2")))
    begun = time.monotonic()
    _rally(room, "db", "create")
    _rally(room, "env", "create", "--name", "gantry", "--spec", "cloud.json")
    said = _rally(room, "task", "start", "task.json", may_fail=True)  # the report tells what failed
    _rally(room, "task", "report", "--json", "--out", "report.json")
    report = json.loads((room / "report.json").read_text())
    tests = dict(map(_judged, report["tasks"][0]["subtasks"]))
    return suites.Outcome("rally", tests, time.monotonic() - begun, said[-2000:])


def _rally(room: pathlib.Path, *words: str, may_fail: bool = False) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    done = subprocess.run(
        [str(_RALLY), "--config-file", str(room / "rally.conf"), *words],
        cwd=room,
        env=kept | {"HOME": str(room), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    assert may_fail or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _cloud(identity: keystone.Keystone) -> dict[str, Any]:
    domain = {"user_domain_name": "Default", "project_domain_name": "Default"}
    admin = {"username": "admin", "password": keystone.PASSWORD, "project_name": "admin"} | domain
    where = {"region_name": keystone.REGION, "endpoint_type": "public", "auth_url": identity.url}
    return {"existing@openstack": where | {"admin": admin}}


def _task(image: str) -> dict[str, Any]:
    """Each scenario four times, two at a time, by the users of two projects."""
    contexts = {"users": {"tenants": 2, "users_per_tenant": 1}}
    common = {"image_location": image, "container_format": "bare", "disk_format": "qcow2"}
    load = {
        "runner": {"constant": {"times": 4, "concurrency": 2}},
        "sla": {"failure_rate": {"max": 0}},
    }
    made = [
        load
        | {
            "title": "_".join((name, *map(str, own.values()))),
            "scenario": {f"GlanceImages.{name}": common | own},
            "contexts": contexts,
        }
        for name, own in _SCENARIOS
    ]
    stored = {"image_url": image, "disk_format": "qcow2", "container_format": "bare"}
    listing = load | {
        "title": "list_images",
        "scenario": {"GlanceImages.list_images": {}},
        "contexts": contexts | {"images": stored | {"images_per_tenant": 2}},
    }
    return {"version": 2, "title": "images", "subtasks": [*made, listing]}


def _judged(subtask: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """One scenario: passed if all of its runs did, its contexts too."""
    load = subtask["workloads"][0]
    failed = [
        criterion["detail"] for criterion in load["sla_results"]["sla"] if not criterion["success"]
    ]
    errors = [run["error"] for run in load["data"] if run["error"]]
    good = load["pass_sla"] and not failed and not errors and len(load["data"]) == 4
    why = "\n".join(map(str, [*failed, *errors]))
    seconds = load.get("full_duration")
    return subtask["title"], {
        "status": "success" if good else "fail",
        "why": why,
        "seconds": seconds,
    }
