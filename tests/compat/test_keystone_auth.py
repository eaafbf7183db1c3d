"""Contract section 5 end to end: Gantry behind a real Keystone, under both web servers."""

import contextlib
import http.client
import json
import pathlib
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import urllib3

from tests import keystone, service

_IMAGE = {"container_format": "bare", "disk_format": "raw"}


class Cloud(NamedTuple):
    """A Keystone with people in it, and the image service behind it."""

    keystone: keystone.Keystone
    images: service.Service
    #: Names of people, and their tokens.
    tokens: dict[str, str]

    def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request by somebody."""
        if who:
            headers["X_Auth_Token"] = self.tokens[who]
        return self.images.ask(method, path, body, **headers)

    def create(self, who: str, **fields: Any) -> str:
        """A new image's id."""
        made = self.ask(who, "POST", "/v2/images", _IMAGE | fields)
        assert made.status == 201, made.data
        image_id: str = made.json()["id"]
        return image_id


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[keystone.Keystone]:
    """Projects `ours` and `theirs`, each with an admin, a member and a reader, and some services."""
    with keystone.running(tmp_path_factory.mktemp("keystone")) as running:
        for project in ("ours", "theirs"):
            for role in ("admin", "member", "reader"):
                running.user(f"{role}-{project}", project, role)
        running.user("nobody", "ours", "auditor")
        running.user("nova", "service", "service")
        running.user("shouting", "ours", "MEMBER-and-more")
        director = running.user("director", "ours", "admin")
        running.grant_on_system(director, "admin")
        running.grant_on_domain(director, "admin")
        yield running


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def cloud(
    request: pytest.FixtureRequest,
    identity: keystone.Keystone,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cloud]:
    """The image service with two stores, as it is configured by default."""
    state = tmp_path_factory.mktemp("gantry")
    stores = (
        "enabled_backends = fast:file",
        "show_multiple_locations = false",
        f"[fast]\nfilesystem_store_datadir = {state}/fast",
        "[glance_store]\ndefault_backend = fast",
        f"[os_glance_staging_store]\nfilesystem_store_datadir = {state}/staging",
    )
    options = identity.options(*stores)
    with service.running(state, "api", server=request.param, options=options) as images:
        identity.serve_images(images.url)
        people = [f"{r}-{p}" for r in ("admin", "member", "reader") for p in ("ours", "theirs")]
        tokens = {one: identity.token(one, project=one.split("-")[1]) for one in people}
        tokens["nobody"] = identity.token("nobody", project="ours")
        tokens["nova"] = identity.token("nova", project="service")
        yield Cloud(identity, images, tokens)


@pytest.fixture(scope="module")
def ids(cloud: Cloud) -> dict[str, str]:
    """Images of `ours` by their visibility; they have data."""
    made = {}
    for visibility in ("public", "community", "shared", "private"):
        made[visibility] = cloud.create("admin-ours", visibility=visibility, name=visibility)
        data = cloud.ask("member-ours", "PUT", f"/v2/images/{made[visibility]}/file", b"data")
        assert data.status == 204, data.data
    return made


@pytest.mark.parametrize(
    ("who", "create", "publish", "index", "tasks"),
    [
        ("admin-ours", 201, 201, 200, 200),
        ("member-ours", 201, 403, 200, 403),
        ("reader-ours", 403, 403, 200, 403),
        ("nobody", 403, 403, 403, 403),
        ("nova", 403, 403, 403, 403),
        ("", 401, 401, 401, 401),
    ],
)
def test_personas(
    cloud: Cloud, who: str, create: int, publish: int, index: int, tasks: int
) -> None:
    answers = [
        cloud.ask(who, "POST", "/v2/images", _IMAGE),
        cloud.ask(who, "POST", "/v2/images", {"visibility": "public"}),
        cloud.ask(who, "GET", "/v2/images"),
        cloud.ask(who, "GET", "/v2/tasks"),
    ]
    assert [answer.status for answer in answers] == [create, publish, index, tasks]
    if create == 201:
        assert answers[0].json()["owner"] == cloud.keystone.project("ours")


@pytest.mark.parametrize(
    ("who", "visibility", "statuses"),
    [  # show, download, change, delete
        ("member-theirs", "private", [404, 404, 404, 404]),
        ("reader-theirs", "private", [404, 404, 404, 404]),
        ("member-theirs", "shared", [404, 404, 404, 404]),
        ("member-theirs", "public", [200, 200, 403, 403]),
        ("reader-theirs", "public", [200, 403, 403, 403]),
        ("member-theirs", "community", [200, 200, 403, 403]),
        ("admin-theirs", "private", [200, 200, 200]),
        ("reader-ours", "private", [200, 403, 403, 403]),
        ("member-ours", "private", [200, 200, 200]),
        ("nobody", "public", [404, 404, 404, 404]),
        ("nobody", "private", [404, 404, 404, 404]),
        ("", "public", [401, 401, 401, 401]),
    ],
)
def test_images_of_other_people(
    cloud: Cloud, ids: dict[str, str], who: str, visibility: str, statuses: list[int]
) -> None:
    path = f"/v2/images/{ids[visibility]}"
    kind = "application/openstack-images-v2.1-json-patch"
    patch = json.dumps([{"op": "add", "path": "/touched", "value": "x"}]).encode()
    answers = [
        cloud.ask(who, "GET", path),
        cloud.ask(who, "GET", f"{path}/file"),
        cloud.ask(who, "PATCH", path, patch, Content_Type=kind),
    ]
    if len(statuses) > len(answers):
        answers.append(cloud.ask(who, "DELETE", path))
    assert [answer.status for answer in answers] == statuses


@pytest.mark.parametrize(
    ("path", "with_token", "without"),
    [
        ("/v2/", 404, 401),
        ("/v2/nothing", 404, 401),
        ("/v2/schemas/image", 200, 401),
        ("/v2/info/import", 200, 401),
        ("/", 300, 300),
        ("/versions", 200, 200),
        ("/healthcheck", 200, 200),
        ("/v2", 302, 302),
    ],
)
def test_what_needs_a_token(cloud: Cloud, path: str, with_token: int, without: int) -> None:
    ask = urllib3.PoolManager().request
    for token, status in ((cloud.tokens["reader-ours"], with_token), ("", without)):
        headers = {"X-Auth-Token": token} if token else {}
        answer = ask("GET", cloud.images.url + path, headers=headers, redirect=False)
        assert answer.status == status


# Tokens that are not valid


def malformed() -> list[str]:
    """Tokens that nobody could have been given."""
    return ["bad", "", " ", "ä", "gAAAAA", "x" * 4000, "a b", '"', "%00", "null", "../..", "\x7f"]


@pytest.mark.parametrize("number", range(len(malformed())))
def test_malformed_tokens(cloud: Cloud, number: int) -> None:
    token = malformed()[number].encode("latin-1")
    connection = http.client.HTTPConnection("127.0.0.1", cloud.images.port, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest("GET", "/v2/images")
        connection.putheader("X-Auth-Token", token)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status in (400, 401)
        if answer.status == 401:
            known = f'Keystone uri="{cloud.keystone.url}"'
            assert answer.headers.get_all("WWW-Authenticate") == [known]
            assert re.fullmatch("req-[0-9a-f-]{36}", answer.headers["x-openstack-request-id"])
            assert "requires authentication" in json.load(answer)["error"]["message"]


def test_a_token_that_was_revoked(cloud: Cloud) -> None:
    token = cloud.keystone.token("member-ours", project="ours")
    cloud.keystone.revoke(token)
    answer = cloud.images.ask("GET", "/v2/images", X_Auth_Token=token)
    assert answer.status == 401


def test_a_token_that_has_expired_and_a_service_that_vouches_for_it(cloud: Cloud) -> None:
    with keystone.hasty(cloud.keystone, 1) as hasty:
        token = hasty.token("member-ours", project="ours")
    time.sleep(2)
    ask = cloud.images.ask
    assert ask("GET", "/v2/images", X_Auth_Token=token).status == 401
    nova, member = cloud.tokens["nova"], cloud.tokens["member-theirs"]
    assert ask("GET", "/v2/images", X_Auth_Token=token, X_Service_Token=nova).status == 200
    assert ask("GET", "/v2/images", X_Auth_Token=token, X_Service_Token=member).status == 401


def test_a_token_that_expires_while_it_is_used(cloud: Cloud) -> None:
    """What is remembered of it does not outlive it."""
    with keystone.hasty(cloud.keystone, 4) as hasty:
        token = hasty.token("member-ours", project="ours")
        issued = time.monotonic()
    statuses = []
    while time.monotonic() < issued + 5:
        statuses.append(cloud.images.ask("GET", "/v2/images", X_Auth_Token=token).status)
    assert statuses[0] == 200
    assert statuses[-1] == 401


def test_access_rules_are_about_each_request(
    identity: keystone.Keystone, tmp_path: pathlib.Path
) -> None:
    """What is found out about such a token at one request says nothing about the next one."""
    with configured(identity, tmp_path, "[keystone_authtoken]", "service_type = image") as images:
        rules = [{"service": "image", "method": "GET", "path": "/v2/images"}]
        images.token = identity.restricted_token("member-ours", "ours", rules)
        for _ in range(4):
            assert images.ask("GET", "/v2/images").status == 200
            assert images.ask("GET", "/v2/schemas/images").status == 401


# Tokens of services


def test_what_a_service_token_is_good_for(cloud: Cloud, ids: dict[str, str]) -> None:
    path, nova = f"/v2/images/{ids['private']}/locations", cloud.tokens["nova"]
    for who, service_token, status in [
        ("member-ours", None, 403),
        ("member-ours", nova, 200),
        ("reader-ours", nova, 200),
        ("member-theirs", nova, 404),
        ("admin-theirs", None, 200),
        ("nova", None, 404),
    ]:
        headers = {"X_Service_Token": service_token} if service_token else {}
        assert cloud.ask(who, "GET", path, **headers).status == status, (who, status)
    # It adds nothing elsewhere: what its user may not do remains so.
    for method, what, body in [("DELETE", "", None), ("PUT", "/tags/x", None)]:
        answer = cloud.ask(
            "reader-ours", method, f"/v2/images/{ids['private']}{what}", body, X_Service_Token=nova
        )
        assert answer.status == 403


def test_a_service_token_alone_is_nobody(cloud: Cloud, ids: dict[str, str]) -> None:
    nova = cloud.tokens["nova"]
    for path in ("/v2/images", f"/v2/images/{ids['public']}"):
        assert cloud.ask("", "GET", path, X_Service_Token=nova).status == 401


@pytest.mark.parametrize("token", ["bad", "member-theirs"])
def test_a_service_token_that_is_none(cloud: Cloud, token: str) -> None:
    token = cloud.tokens.get(token, token)
    assert cloud.ask("admin-ours", "GET", "/v2/images", X_Service_Token=token).status == 401


def test_stores_in_detail_are_for_services_and_administrators(cloud: Cloud) -> None:
    path = "/v2/info/stores/detail"
    assert cloud.ask("nova", "GET", path).status == 200
    assert cloud.ask("admin-ours", "GET", path).status == 200
    assert cloud.ask("member-ours", "GET", path).status == 403
    nova = cloud.tokens["nova"]
    assert cloud.ask("member-ours", "GET", path, X_Service_Token=nova).status == 200


# Tokens that are not for a project


@pytest.mark.parametrize("scope", [{"system": True}, {"domain": "default"}, {}], ids=str)
@pytest.mark.parametrize("with_service", [False, True])
def test_tokens_for_something_else_than_a_project(
    cloud: Cloud, ids: dict[str, str], scope: dict[str, Any], with_service: bool
) -> None:
    headers = {"X_Auth_Token": cloud.keystone.token("director", **scope)}
    if with_service:
        headers["X_Service_Token"] = cloud.tokens["nova"]
    private = f"/v2/images/{ids['private']}"
    for method, path, body, status in [
        ("GET", "/v2/images", None, 403),
        ("POST", "/v2/images", _IMAGE, 403),
        ("GET", f"/v2/images/{ids['public']}", None, 404),
        ("GET", private, None, 404),
        ("DELETE", f"/v2/images/{ids['public']}", None, 404),
        ("DELETE", private, None, 404),
        ("GET", "/v2/tasks", None, 403),
        ("GET", "/v2/schemas/image", None, 200),
    ]:
        answer = cloud.images.ask(method, path, body, **headers)
        assert answer.status == status, (method, path)


# Identity headers of a client


CLAIMS = {
    "X-Identity-Status": "Confirmed",
    "X-Service-Identity-Status": "Confirmed",
    "X-Roles": "admin,service",
    "X-Role": "admin",
    "X-Service-Roles": "service,admin",
    "X-User-Id": "root",
    "X-Project-Id": "theirs",
    "X-Tenant-Id": "theirs",
    "X-Tenant": "theirs",
    "X-Is-Admin-Project": "True",
    "X-Domain-Id": "default",
    "OpenStack-System-Scope": "all",
    "X-Service-Catalog": "no JSON",
    "X-Service-User-Id": "root",
    "X-Service-Project-Id": "service",
}


@pytest.mark.parametrize("token", ["member-ours", "bad", None])
@pytest.mark.parametrize(
    "spell",
    [str, str.lower, str.upper, lambda name: name.replace("-", "_")],
    ids=["as it is", "lower", "upper", "underscores"],
)
def test_r01_claims_do_not_count(cloud: Cloud, token: str | None, spell: Any) -> None:
    for claims in ([name] for name in CLAIMS), [list(CLAIMS)]:
        for names in claims:
            sent = [(spell(name), CLAIMS[name]) for name in names]
            if token:
                sent.append(("X-Auth-Token", cloud.tokens.get(token, token)))
            answers = [
                raw(cloud, "POST", sent, {"visibility": "public"}),
                raw(cloud, "POST", sent, {"visibility": "private"}),
            ]
            if token == "member-ours":
                assert [status for status, _ in answers] == [403, 201], names
                owner = json.loads(answers[1][1])["owner"]
                assert owner == cloud.keystone.project("ours"), names
            else:
                assert [status for status, _ in answers] == [401, 401], names


def raw(cloud: Cloud, method: str, headers: list[tuple[str, str]], body: Any) -> tuple[int, bytes]:
    """A request whose header names nobody tidies up."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.images.port, timeout=60)
    with contextlib.closing(connection):
        data = json.dumps(body).encode()
        connection.putrequest(method, "/v2/images")
        for name, value in (*headers, ("Content-Length", str(len(data)))):
            connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        return answer.status, answer.read()


# Bodies, through one layer more


@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
@pytest.mark.parametrize("what", ["file", "stage"])
def test_bodies_come_through(cloud: Cloud, tmp_path: pathlib.Path, length: bool, what: str) -> None:
    image_id = cloud.create("member-ours")
    data = bytes(range(256)) * 8192
    connection = http.client.HTTPConnection("127.0.0.1", cloud.images.port, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest("PUT", f"/v2/images/{image_id}/{what}")
        connection.putheader("X-Auth-Token", cloud.tokens["member-ours"])
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Expect", "100-continue")
        kind = ("Content-Length", str(len(data))) if length else ("Transfer-Encoding", "chunked")
        connection.putheader(*kind)
        connection.endheaders()
        for start in range(0, len(data), 65536):
            piece = data[start : start + 65536]
            connection.send(piece if length else b"%x\r\n%b\r\n" % (len(piece), piece))
        if not length:
            connection.send(b"0\r\n\r\n")
        assert connection.getresponse().status == 204
    if what == "file":
        assert cloud.ask("member-ours", "GET", f"/v2/images/{image_id}/file").data == data


def test_a_large_body_without_a_token_is_refused_and_not_read(cloud: Cloud) -> None:
    image_id = cloud.create("member-ours")
    answer = cloud.ask("", "PUT", f"/v2/images/{image_id}/file", b"x" * (8 << 20))
    assert answer.status == 401
    assert cloud.ask("member-ours", "GET", f"/v2/images/{image_id}").json()["status"] == "queued"


# Other configurations


@contextlib.contextmanager
def configured(
    identity: keystone.Keystone, state: pathlib.Path, *lines: str
) -> Iterator[service.Service]:
    """The API alone with other options, behind the same Keystone."""
    with service.running(state, "api", options=identity.options(*lines)) as images:
        yield images


def test_anonymous_access(identity: keystone.Keystone, tmp_path: pathlib.Path) -> None:
    with configured(identity, tmp_path, "allow_anonymous_access = true") as images:
        images.token = identity.token("admin-ours", project="ours")
        ids = {
            name: images.create(disk_format="raw", visibility=name)
            for name in ("public", "community", "private")
        }
        images.token = ""
        for token in ({}, {"X_Auth_Token": "bad"}):
            for name, status in {"public": 200, "community": 200, "private": 404}.items():
                answer = images.ask("GET", f"/v2/images/{ids[name]}", **token)
                assert answer.status == status, name
            listed = images.ask("GET", "/v2/images?visibility=all", **token).json()["images"]
            assert {one["visibility"] for one in listed} == {"public", "community"}
            assert images.ask("POST", "/v2/images", {}, **token).status == 403
            assert images.ask("DELETE", f"/v2/images/{ids['public']}", **token).status == 403
        member = identity.token("member-ours", project="ours")
        private = f"/v2/images/{ids['private']}"
        assert images.ask("GET", private, X_Auth_Token=member).status == 200
        wrong = {"X_Auth_Token": member, "X_Service_Token": "bad"}
        assert images.ask("GET", private, **wrong).status == 401
        nova = identity.token("nova", project="service")
        assert images.ask("GET", private, X_Service_Token=nova).status == 404


def test_r45_images_of_users(identity: keystone.Keystone, tmp_path: pathlib.Path) -> None:
    member = identity.user("member-ours")
    with configured(identity, tmp_path, "owner_is_tenant = false") as images:
        images.token = identity.token("member-ours", project="ours")
        image_id = images.create(disk_format="raw")
        assert images.image(image_id)["owner"] == member.id
        assert images.ask("PUT", f"/v2/images/{image_id}/file", b"x").status == 204
        reader = identity.token("reader-ours", project="ours")
        other = images.ask("GET", f"/v2/images/{image_id}", X_Auth_Token=reader)
        assert other.status == 404
        assert images.ask("DELETE", f"/v2/images/{image_id}").status == 204
        # One line from each of the two processes, in the form that the log has.
        service.wait_for(lambda: _deprecations(images) == 2, "both processes to have said it")


def _deprecations(images: service.Service) -> int:
    line = rb'^\d{4}-\d\d-\d\d .* WARNING .*"owner_is_tenant".* deprecated for removal'
    return len(re.findall(line, images.log("api"), re.MULTILINE))
