"""schemathesis asks the service whatever its own OpenAPI document allows, and much that it does not."""

import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

from tests import service

#: Each request is answered, by a status, a type, headers and a body that the document names for it.
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance", "use_after_free"),
    "allow_header_conformance",
)
OPTIONS = """
[DEFAULT]
enabled_import_methods = [glance-direct,web-download,copy-image,glance-download]
enabled_backends = fast:file,cheap:file
show_multiple_locations = true
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {state}/fast
[cheap]
filesystem_store_datadir = {state}/cheap
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[noauth]
roles = {roles}
"""
#: How schemathesis writes the bodies of a PATCH.
HOOKS = """
import schemathesis
for version in ("v2.0", "v2.1"):
    schemathesis.serializer.alias(f"application/openstack-images-{version}-json-patch", "application/json")
"""


def ask(api: service.Service, room: pathlib.Path, config: str, *arguments: str) -> str:
    """Run schemathesis with a configuration; what it says, which must be good."""
    (room / "hooks.py").write_text(HOOKS)
    (room / "schemathesis.toml").write_text(f'hooks = "hooks"\n{config}\n')
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    url = f"{api.url}/v2/schemas/openapi"
    done = subprocess.run(
        [
            *(
                program,
                "run",
                url,
                "--checks",
                ",".join(CHECKS),
                "--no-color",
                "--max-redirects",
                "0",
            ),
            *("--generation-deterministic", "--no-shrink", "--continue-on-failure"),
            *("--suppress-health-check", "all", "--warnings", "off", *arguments),
        ],
        cwd=room,
        env=os.environ | {"PYTHONPATH": str(room)},
        capture_output=True,
        text=True,
        check=False,
    )
    (room / "said").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr
    assert "Tested: " in done.stdout
    return done.stdout


def things(api: service.Service) -> dict[str, Any]:
    """One thing of each kind that the requests can be about, by the names of the paths' parameters."""
    image_id = api.create(disk_format="raw", protected=True, visibility="shared")
    assert api.ask("PUT", f"/v2/images/{image_id}/file", b"data").status == 204
    assert api.ask("PUT", f"/v2/images/{image_id}/tags/known").status == 204
    assert api.ask("POST", f"/v2/images/{image_id}/members", {"member": "known"}).status == 200
    return {"image_id": image_id, "tag": "known", "member_id": "known", "store_id": "cheap"}


def metadefs(api: service.Service) -> None:
    """A namespace that holds one of each."""
    fields = {"namespace": "known", "visibility": "public", "protected": True}
    assert api.ask("POST", "/v2/metadefs/namespaces", fields).status == 201
    path = "/v2/metadefs/namespaces/known"
    named = {"name": "known"}
    for kind, more in (("objects", {}), ("properties", {"type": "string", "title": "x"})):
        assert api.ask("POST", f"{path}/{kind}", named | more).status == 201
    assert api.ask("POST", f"{path}/resource_types", named).status == 201
    assert api.ask("POST", f"{path}/tags/known").status == 201


@pytest.mark.slow
@pytest.mark.parametrize("roles", ["admin,member,reader", "member,reader"])
def test_everything_is_answered_as_the_document_says(tmp_path: pathlib.Path, roles: str) -> None:
    """About things that there are, about those that it makes itself, and about what it invents."""
    options = OPTIONS.format(state=tmp_path, roles=roles)
    with service.running(tmp_path, "api", options=options) as api:
        named = things(api)
        if "admin" in roles:
            metadefs(api)
            named |= {"space": "known", "name": "known"}
        known = "".join(f'"path.{name}" = "{value}"\n' for name, value in named.items())
        ask(api, tmp_path, f"[parameters]\n{known}", "--phases", "fuzzing", "--max-examples", "5")
        images = ("--include-path-regex", "^/v2/images", "--max-examples", "50")
        said = ask(api, tmp_path, "", "--phases", "stateful", *images)
        assert re.search("API Links: +[1-9][0-9]* covered", said), said
        if "admin" in roles:
            ask(api, tmp_path, "", "--phases", "coverage")
        log = api.log("api").decode(errors="replace")
    assert "Traceback" not in log, log[-10000:]
