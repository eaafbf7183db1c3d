"""Contract section 5.1 without a Keystone: who is let in, and that nobody says himself who he is.

What a real Keystone has to say about tokens is in tests/compat/test_keystone_auth.py.
"""

import itertools
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import pytest
from werkzeug import exceptions

from api import identity
from images import errors
from tests import service
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

#: Nobody answers at this address; whatever has no token must not need anybody to.
KEYSTONE = """
[paste_deploy]
flavor = keystone
[keystone_authtoken]
auth_url = http://127.0.0.1:1/v3
www_authenticate_uri = https://keystone.example.org/v3
auth_type = password
username = glance
password = secret
http_request_max_retries = 0
"""
ANONYMOUS = f"allow_anonymous_access = true\n{KEYSTONE}"

#: What keystonemiddleware tells the application, and older or newer names of it.
CLAIMS = {
    "X-Identity-Status": "Confirmed",
    "X-Service-Identity-Status": "Confirmed",
    "X-Roles": "admin,service",
    "X-Role": "admin",
    "X-Service-Roles": "service,admin",
    "X-User-Id": STRANGER,
    "X-User": STRANGER,
    "X-User-Name": STRANGER,
    "X-User-Domain-Id": "default",
    "X-User-Domain-Name": "Default",
    "X-Project-Id": STRANGER,
    "X-Project-Name": STRANGER,
    "X-Project-Domain-Id": "default",
    "X-Project-Domain-Name": "Default",
    "X-Tenant-Id": STRANGER,
    "X-Tenant-Name": STRANGER,
    "X-Tenant": STRANGER,
    "X-Domain-Id": "default",
    "X-Domain-Name": "Default",
    "X-Is-Admin-Project": "True",
    "OpenStack-System-Scope": "all",
    "X-Service-Catalog": "no JSON",
    "X-Service-User-Id": STRANGER,
    "X-Service-User-Name": STRANGER,
    "X-Service-Project-Id": STRANGER,
    "X-Service-Project-Name": STRANGER,
}
SPELLINGS = (str, str.lower, str.upper, lambda name: name.replace("-", "_"))


def spellings(name: str) -> dict[str, str]:
    """The ways to write a header's name that WSGI takes for one."""
    return {spell(name): CLAIMS[name] for spell in SPELLINGS}


@pytest.fixture
def images(caller: Caller) -> dict[str, str]:
    """Ids of OWNER's images with data, one of each visibility."""
    owner = caller(roles="admin,member,reader")
    made = {}
    for visibility in ("public", "community", "shared", "private"):
        fields = {"container_format": "bare", "disk_format": "raw", "visibility": visibility}
        made[visibility] = owner.create(name=visibility, **fields)
        assert owner.put(made[visibility], b"data").status_code == 204
    return made


# Without authentication


def test_r01_claims_do_not_count_without_authentication(api: Api) -> None:
    for name in CLAIMS:
        for headers in (spellings(name), CLAIMS):
            made = api.ask("POST", "/v2/images", {}, headers=headers)
            assert made.get_json()["owner"] == OWNER, name
            public = api.ask("POST", "/v2/images", {"visibility": "public"}, headers=headers)
            assert public.status_code == 403, name


@pytest.mark.parametrize(
    ("roles", "project", "create", "publish", "index"),
    [
        ("admin", "p", 201, 201, 200),
        ("member,reader", "p", 201, 403, 200),
        ("MEMBER,Reader", "p", 201, 403, 200),
        ("reader", "p", 403, 403, 200),
        ("", "p", 403, 403, 403),
    ],
)
def test_the_one_caller_is_the_operators_to_choose(
    caller: Caller, roles: str, project: str, create: int, publish: int, index: int
) -> None:
    api = caller(roles=roles, project=project)
    answers = [
        api.ask("POST", "/v2/images", {}),
        api.ask("POST", "/v2/images", {"visibility": "public"}),
        api.ask("GET", "/v2/images"),
    ]
    assert [answer.status_code for answer in answers] == [create, publish, index]
    if create == 201:
        assert answers[0].get_json()["owner"] == project


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_proxys_headers_do_not_make_a_caller_local(caller: Caller, header: str) -> None:
    api = caller(options="[oslo_middleware]\nenable_proxy_headers_parsing = true")
    claim = "127.0.0.1" if header.startswith("X") else "for=127.0.0.1"
    answer = api.ask(
        "GET",
        "/v2/images",
        headers={header: claim},
        environ_overrides={"REMOTE_ADDR": "192.0.2.1"},
    )
    assert answer.status_code == 403


def test_r45_images_of_users_instead_of_projects(caller: Caller) -> None:
    api = caller(options="owner_is_tenant = false\n[noauth]\nuser_id = somebody")
    image_id = api.create(container_format="bare", disk_format="raw")
    assert api.show(image_id)["owner"] == "somebody"
    assert api.put(image_id, b"x").status_code == 204
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == b"x"
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204


@pytest.mark.parametrize("to_file", [True, False])
def test_r45_r01_what_is_deprecated_says_so_once(tmp_path: pathlib.Path, to_file: bool) -> None:
    file, logged = tmp_path / "gantry.conf", tmp_path / "api.log"
    where = f"log_file = {logged}\n" if to_file else ""
    file.write_text(
        f"[DEFAULT]\n{where}owner_is_tenant = false\nshow_multiple_locations = true\n"
        f"show_image_direct_url = true\n[gantry]\nstate_path = {tmp_path}\n"
    )
    code = "from api import wsgi\nfrom werkzeug import test\n"
    code += "[test.Client(wsgi.application).get('/v2/schemas/image') for _ in range(2)]\n"
    code += "import sys\nassert 'keystonemiddleware' not in sys.modules"  # nobody has asked for it
    output = run_python(code, OS_GLANCE_CONFIG_FILES=str(file))
    written = logged.read_text() if to_file else output
    lines = [line for line in written.splitlines() if "deprecated for removal" in line]
    assert len(lines) == 2, written
    assert "owner_is_tenant" in lines[0]
    assert "show_multiple_locations" in lines[1]
    assert not to_file or not output


def run_python(code: str, **environment: str) -> str:
    """What a Python of its own prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=service.ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


# With Keystone's flavor, and no token


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 300),
        ("/v1", 300),
        ("/versions", 200),
        ("/healthcheck", 200),
        ("/v2", 302),
        ("/v2/", 401),
        ("/v2/images", 401),
        ("/v2.7/images", 401),
        ("/v2/nothing", 401),
        ("/v2/schemas/image", 401),
        ("/v2/info/import", 401),
    ],
)
def test_what_needs_a_token(caller: Caller, path: str, status: int) -> None:
    answer = caller(options=KEYSTONE).ask("GET", path)
    assert answer.status_code == status
    if status == 401:
        known = 'Keystone uri="https://keystone.example.org/v3"'
        assert answer.headers.getlist("WWW-Authenticate") == [known]
        assert re.fullmatch("req-[0-9a-f-]{36}", answer.headers["x-openstack-request-id"])


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("mine", "req-mine"), ("req-mine", "req-mine"), ("x" * 99, None), ("a b", None)],
)
def test_the_id_of_a_request_that_is_refused(
    caller: Caller, asked: str, answered: str | None
) -> None:
    api = caller(options=KEYSTONE)
    answer = api.ask("GET", "/v2/images", headers={"X-OpenStack-Request-ID": asked})
    assert answer.status_code == 401
    given = answer.headers.getlist("x-openstack-request-id")
    assert len(given) == 1
    assert given[0] == answered or (
        answered is None and re.fullmatch("req-[0-9a-f-]{36}", given[0])
    )


def test_r01_claims_do_not_count_without_a_token(caller: Caller) -> None:
    api = caller(options=KEYSTONE)
    for name in CLAIMS:
        for headers in (spellings(name), CLAIMS):
            for method in ("GET", "POST"):
                answer = api.ask(method, "/v2/images", {}, headers=headers)
                assert answer.status_code == 401, name


def test_bodies_of_refused_requests_do_no_harm(caller: Caller) -> None:
    api = caller(options=KEYSTONE)
    answer = api.ask("POST", "/v2/images", data=b"x" * 100_000)
    assert answer.status_code == 401


# While Keystone cannot be asked


@pytest.mark.parametrize("options", [KEYSTONE, ANONYMOUS], ids=["token", "anonymous"])
@pytest.mark.parametrize("header", ["X-Auth-Token", "X-Service-Token"])
def test_nobody_is_let_in_while_keystone_is_down(caller: Caller, options: str, header: str) -> None:
    api = caller(options=options)
    answer = api.ask("GET", "/v2/images", headers={header: "token"})
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text
    assert answer.headers["x-openstack-request-id"]


def test_a_keystone_that_is_silent_costs_bounded_time(caller: Caller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        options = KEYSTONE.replace("127.0.0.1:1/", f"127.0.0.1:{port}/")
        api = caller(options=f"{options}http_connect_timeout = 1\n")
        start = time.monotonic()
        answer = api.ask("GET", "/v2/images", headers={"X-Auth-Token": "token"})
    assert answer.status_code == 503
    assert time.monotonic() - start < 15


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["auth_type = password"], "auth_type"),
        (["auth_type = password", "auth_type = magic"], "magic"),
        (
            ["auth_type = password", "auth_type = password\nmemcache_security_strategy = MAC"],
            "memcache",
        ),
    ],
)
def test_options_by_which_no_token_could_be_checked_stop_the_start(
    caller: Caller, lines: list[str], named: str
) -> None:
    options = KEYSTONE.replace(lines[0], lines[1] if len(lines) > 1 else "")
    with pytest.raises(SystemExit, match=named):
        caller(options=options)


# Without a token where that is allowed


def test_anonymous_callers_read_what_is_open_to_everybody(
    caller: Caller, images: dict[str, str]
) -> None:
    api = caller(options=ANONYMOUS)
    found = {
        name: [
            api.ask("GET", f"/v2/images/{images[name]}{part}").status_code for part in ("", "/file")
        ]
        for name in images
    }
    assert found == {
        "public": [200, 200],
        "community": [200, 200],
        "shared": [404, 404],
        "private": [404, 404],
    }
    listed = {
        query: {one["name"] for one in api.ask("GET", f"/v2/images{query}").get_json()["images"]}
        for query in ("", "?visibility=all", "?visibility=community", "?visibility=private")
    }
    assert listed == {
        "": {"public"},
        "?visibility=all": {"public", "community"},
        "?visibility=community": {"community"},
        "?visibility=private": set(),
    }
    assert api.ask("GET", "/v2/schemas/image").status_code == 200
    assert api.ask("GET", "/v2/info/import").status_code == 200
    assert api.ask("GET", "/v2/").status_code == 404


CHANGES = [
    ("POST", ""),
    ("PATCH", "/{id}"),
    ("DELETE", "/{id}"),
    ("PUT", "/{id}/file"),
    ("PUT", "/{id}/stage"),
    ("POST", "/{id}/import"),
    ("POST", "/{id}/actions/deactivate"),
    ("POST", "/{id}/actions/reactivate"),
    ("PUT", "/{id}/tags/x"),
    ("DELETE", "/{id}/tags/x"),
    ("POST", "/{id}/members"),
    ("PUT", "/{id}/members/x"),
    ("POST", "/{id}/locations"),
]


def test_anonymous_callers_change_nothing(
    caller: Caller, images: dict[str, str], tmp_path: pathlib.Path
) -> None:
    before = caller().show(images["public"])
    lax = tmp_path / "policy.yaml"
    changing = ("add_image", "modify_image", "delete_image", "upload_image", "default")
    lax.write_text("".join(f'"{rule}": ""\n' for rule in changing))
    for policies in ("", f"[oslo_policy]\npolicy_file = {lax}\n"):
        api = caller(options=f"{ANONYMOUS}{policies}")
        for method, path in CHANGES:
            answer = api.ask(method, f"/v2/images{path.format(id=images['public'])}", {})
            assert answer.status_code == 403, (method, path)
    assert caller().show(images["public"]) == before


@pytest.mark.parametrize("path", ["/v2/tasks", "/v2/images/{id}/members", "/v2/info/stores/detail"])
def test_anonymous_callers_see_nothing_that_is_not_for_everybody(
    caller: Caller, images: dict[str, str], several_stores: str, path: str
) -> None:
    api = caller(options=f"allow_anonymous_access = true\n{several_stores}{KEYSTONE}")
    answer = api.ask("GET", path.format(id=images["public"]))
    assert answer.status_code in (403, 404)


def test_r01_claims_do_not_count_for_anonymous_callers(
    caller: Caller, images: dict[str, str]
) -> None:
    api = caller(options=ANONYMOUS)
    for name in CLAIMS:
        for headers, (visibility, status) in itertools.product(
            (spellings(name), CLAIMS), {"public": 200, "private": 404}.items()
        ):
            answer = api.ask("GET", f"/v2/images/{images[visibility]}", headers=headers)
            assert answer.status_code == status, name
        assert api.ask("POST", "/v2/images", {}, headers=headers).status_code == 403, name


def test_an_operators_rule_decides_for_anonymous_callers_too(
    caller: Caller, images: dict[str, str], tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"download_image": "role:member"\n"get_images": ""\n')
    api = caller(options=f"{ANONYMOUS}[oslo_policy]\npolicy_file = {file}")
    assert api.ask("GET", f"/v2/images/{images['public']}").status_code == 200
    assert api.ask("GET", f"/v2/images/{images['public']}/file").status_code == 403
    assert api.ask("GET", "/v2/images").status_code == 200


# What keystonemiddleware's headers mean

CONFIRMED = {
    "HTTP_X_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_USER_ID": "user",
    "HTTP_X_PROJECT_ID": "project",
    "HTTP_X_ROLES": "Admin,MEMBER, reader ,",
    "HTTP_X_SERVICE_ROLES": "Service",
    "HTTP_X_DOMAIN_ID": None,
    "HTTP_OPENSTACK_SYSTEM_SCOPE": None,
    "HTTP_X_USER_DOMAIN_ID": "users",
    "HTTP_X_PROJECT_DOMAIN_ID": "projects",
    "HTTP_X_AUTH_TOKEN": "gAAAAA",
    "HTTP_X_SERVICE_CATALOG": '[{"type": "image"}]',
}


def test_a_context_is_read_from_the_headers(api: Api) -> None:
    asker = identity.read(CONFIRMED, "req-1")
    assert (asker.user_id, asker.project_id, asker.owner) == ("user", "project", "project")
    assert (asker.roles, asker.service_roles) == (("admin", "member", "reader"), ("service",))
    assert (asker.user_domain_id, asker.project_domain_id) == ("users", "projects")
    assert (asker.domain_id, asker.system_scope, asker.read_only) == (None, None, False)
    assert asker.is_admin
    assert asker.service_catalog == ({"type": "image"},)
    assert asker.auth_token == "gAAAAA"
    assert "gAAAAA" not in repr(asker)


def test_the_project_has_an_old_name(api: Api) -> None:
    old = {key: value for key, value in CONFIRMED.items() if key != "HTTP_X_PROJECT_ID"}
    assert identity.read(old | {"HTTP_X_TENANT_ID": "project"}, "req-1").project_id == "project"


@pytest.mark.parametrize("catalog", ["", "x", "{", "5", "null", "[5]"])
def test_a_catalog_that_is_none(api: Api, catalog: str) -> None:
    with pytest.raises(errors.Invalid, match="catalog"):
        identity.read(CONFIRMED | {"HTTP_X_SERVICE_CATALOG": catalog}, "req-1")


@pytest.mark.parametrize("status", ["Invalid", "confirmed", ""])
@pytest.mark.parametrize("name", ["HTTP_X_IDENTITY_STATUS", "HTTP_X_SERVICE_IDENTITY_STATUS"])
def test_a_status_that_confirms_nothing(api: Api, name: str, status: str) -> None:
    with pytest.raises(exceptions.Unauthorized):
        identity.read(CONFIRMED | {name: status}, "req-1")
