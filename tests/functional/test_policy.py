"""Contract sections 5.2 and 5.3: the rules, the operator's files, and what is 403 and what 404."""

import os
import pathlib
from typing import Any

import pytest
import sqlalchemy as sa

from images import context, models, policy, rules
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

_IMAGE = {"container_format": "bare", "disk_format": "raw"}
ADMIN = "admin,member,reader"

#: Contract section 5.2: what it allows to whom. A: administrators, M: members of the owning project too,
#: R: its readers too, S: readers who see it (whose membership they see `images.sharing` says), s: members
#: who see it, m: members of the member project, V: services, *: everybody.
TABLE = {
    "A": "context_is_admin publicize_image copy_image delete_image_location tasks_api_access"
    " manage_image_cache cache_image cache_list cache_delete cache_clean cache_prune list_cached_nodes"
    " metadef_admin add_metadef_namespace modify_metadef_namespace delete_metadef_namespace"
    " add_metadef_object modify_metadef_object delete_metadef_object add_metadef_property"
    " modify_metadef_property remove_metadef_property add_metadef_resource_type_association"
    " remove_metadef_resource_type_association add_metadef_tag add_metadef_tags modify_metadef_tag"
    " delete_metadef_tag delete_metadef_tags",
    "M": "add_image modify_image delete_image upload_image communitize_image deactivate reactivate"
    " set_image_location add_member delete_member",
    "R": "get_images get_image_location get_metadef_namespaces"
    " get_metadef_namespace get_metadef_object get_metadef_objects get_metadef_property"
    " get_metadef_properties get_metadef_tag get_metadef_tags get_metadef_resource_type"
    " list_metadef_resource_types",
    "S": "get_image get_member get_members",
    "s": "download_image download_from_store",
    "V": "service_api fetch_image_location stores_info_detail",
    "MV": "add_image_location",
    "m": "modify_member",
    "*": "default metadef_default get_task get_tasks add_task modify_task",
}
RULES = {rule: kind for kind, names in TABLE.items() for rule in names.split()}

PERSONAS = {
    "admin": ("elsewhere", ("admin", "member", "reader"), "AMRSsVm*"),
    "member": (OWNER, ("member", "reader"), "MRSs*"),
    "reader": (OWNER, ("reader",), "RS*"),
    "no role": (OWNER, (), "*"),
    "stranger": (STRANGER, ("member", "reader"), "Ssm*"),
    "strange reader": (STRANGER, ("reader",), "S*"),
    "service": (STRANGER, ("service",), "V*"),
}


def asker(project: str | None, roles: tuple[str, ...], **fields: Any) -> context.Context:
    """A caller with a token for a project, or for none."""
    return context.Context(
        "u", project, project, roles, is_admin=False, request_id="req-1", **fields
    )


def image(**fields: object) -> models.Image:
    """An image that the stranger may see because it is shared."""
    return models.Image(id="i", owner=OWNER, visibility="shared", status="active", **fields)


def test_the_table_has_every_rule() -> None:
    assert RULES.keys() == rules.DEFAULTS.keys()


@pytest.mark.parametrize("persona", PERSONAS)
def test_who_may_do_what(api: Api, persona: str) -> None:
    project, roles, kinds = PERSONAS[persona]
    who = asker(project, roles)
    allowed = {rule for rule in RULES if policy.allowed(who, rule, image())}
    assert allowed == {rule for rule, kind in RULES.items() if set(kind) & set(kinds)}


@pytest.mark.parametrize(
    "fields",
    [{"system_scope": "all"}, {"domain_id": "default"}, {}],
    ids=["system", "domain", "none"],
)
def test_tokens_that_are_for_no_project_allow_nothing(api: Api, fields: dict[str, str]) -> None:
    who = asker(None, ("admin", "member", "reader", "service"), **fields)
    assert [rule for rule in RULES if policy.allowed(who, rule, image())] == []


@pytest.mark.parametrize(
    ("service_roles", "gained"),
    [
        (
            ("service",),
            {"service_api", "fetch_image_location", "stores_info_detail", "add_image_location"},
        ),
        (
            ("admin",),
            {"service_api", "fetch_image_location", "stores_info_detail", "add_image_location"},
        ),
        (("member",), set()),
        ((), set()),
    ],
)
def test_what_a_service_token_adds(
    api: Api, service_roles: tuple[str, ...], gained: set[str]
) -> None:
    def all_of(who: context.Context) -> set[str]:
        return {rule for rule in RULES if policy.allowed(who, rule, image())}

    alone = asker(OWNER, ("reader",))
    both = asker(OWNER, ("reader",), service_roles=service_roles)
    assert all_of(both) - all_of(alone) == gained


# 403 or 404 (section 5.3)


@pytest.fixture
def seen(caller: Caller) -> dict[str, str]:
    """Ids of OWNER's images with data by their visibility."""
    owner = caller(roles=ADMIN)
    made = {
        one: owner.create(visibility=one, **_IMAGE) for one in ("public", "community", "private")
    }
    for image_id in made.values():
        assert owner.put(image_id, b"data").status_code == 204
    return made


#: Method, path; the answers to a stranger for an image that he sees, and for one that he does not see.
REQUESTS = [
    ("GET", "", 200, 404),
    ("GET", "/file", 200, 404),
    ("GET", "/members", 403, 404),
    ("PATCH", "", 403, 404),
    ("DELETE", "", 403, 404),
    ("PUT", "/file", 403, 404),
    ("PUT", "/stage", 403, 404),
    ("POST", "/import", 409, 404),  # its state is looked at first (section 2.5)
    ("PUT", "/tags/x", 403, 404),
    ("POST", "/members", 403, 404),
    ("POST", "/actions/deactivate", 403, 404),
    ("POST", "/actions/reactivate", 403, 404),
    ("POST", "/locations", 409, 404),  # so here
]
_BODIES = {
    "PATCH": [{"op": "replace", "path": "/name", "value": "x"}],
    "/import": {"method": {"name": "glance-direct"}},
    "/members": {"member": STRANGER},
    "/locations": {"url": "http://images.example.org/x"},
}


def ask(api: Api, method: str, image_id: str, what: str) -> int:
    """The status of a request that is well-formed."""
    kind = {
        "PATCH": "application/openstack-images-v2.1-json-patch",
        "PUT": "application/octet-stream",
    }.get(method, "application/json")
    if method == "GET" or "tags" in what or "actions" in what:
        return api.ask(method, f"/v2/images/{image_id}{what}").status_code
    if method == "DELETE":
        return api.ask(method, f"/v2/images/{image_id}").status_code
    body = _BODIES.get(method, _BODIES.get(what))
    if body is None:
        options = {"data": b"data"}
        return api.ask(
            method, f"/v2/images/{image_id}{what}", content_type=kind, **options
        ).status_code
    return api.ask(method, f"/v2/images/{image_id}{what}", body, content_type=kind).status_code


def test_403_or_404(caller: Caller, seen: dict[str, str]) -> None:
    stranger = caller(project=STRANGER)
    found = [
        (
            method,
            what,
            ask(stranger, method, seen["public"], what),
            ask(stranger, method, seen["private"], what),
        )
        for method, what, *_ in REQUESTS
    ]
    assert found == REQUESTS


def test_403_or_404_where_a_role_is_missing(caller: Caller, seen: dict[str, str]) -> None:
    nobody = caller(project=STRANGER, roles="auditor")
    assert ask(nobody, "GET", seen["public"], "") == 404
    assert {ask(nobody, method, seen["public"], what) for method, what, *_ in REQUESTS} <= {
        404,
        409,
    }
    assert nobody.ask("GET", "/v2/images").status_code == 403
    assert nobody.ask("GET", "/v2/tasks").status_code == 403
    reader = caller(project=STRANGER, roles="reader")
    assert ask(reader, "GET", seen["public"], "") == 200
    assert ask(reader, "GET", seen["public"], "/file") == 403
    assert reader.ask("POST", "/v2/images", _IMAGE).status_code == 403


# The operator's files


class Operator:
    """Somebody who writes policy files while the service runs."""

    def __init__(self, caller: Caller, directory: pathlib.Path, name: str = "policy.yaml") -> None:
        self.file = directory / name
        self.directory = directory / "policy.d"
        self._caller = caller
        self._now = 0

    def start(self, **who: str) -> Api:
        """The service, of which the files are those of this operator."""
        options = f"[oslo_policy]\npolicy_file = {self.file}\npolicy_dirs = {self.directory}\n"
        return self._caller(options=options, **who)

    def write(self, text: str, name: str = "") -> None:
        """A file as it is from now on; not even its time of change need differ by more than a tick."""
        file = self.directory / name if name else self.file
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        self._now += 1
        os.utime(file, ns=(self._now, self._now))


@pytest.fixture
def operator(caller: Caller, tmp_path: pathlib.Path) -> Operator:
    """Nothing has been written yet."""
    return Operator(caller, tmp_path)


def publish(api: Api) -> int:
    """The status of the creation of a public image."""
    return api.ask("POST", "/v2/images", {"visibility": "public"}).status_code


def look_for_files() -> None:
    """Let the second pass after which it is looked for files that were not there before."""
    policy._RULES._next_search = 0


def test_a_file_is_read_again_when_it_has_changed(operator: Operator) -> None:
    operator.write('"publicize_image": "role:member"\n')
    api = operator.start()
    assert publish(api) == 201
    operator.write('"publicize_image": "role:nobody"\n')
    assert publish(api) == 403
    operator.write('"publicize_image": "role:member"\n')
    assert publish(api) == 201
    operator.file.unlink()
    assert publish(api) == 403


def test_a_file_may_come_later(operator: Operator) -> None:
    api = operator.start()
    assert publish(api) == 403
    operator.write('"publicize_image": "role:member"\n')
    look_for_files()
    assert publish(api) == 201


def test_directories_are_read_after_the_file_in_the_order_of_names(operator: Operator) -> None:
    operator.write('"publicize_image": "role:nobody"\n')
    operator.write('"publicize_image": "role:nobody"\n', "10-first.yaml")
    operator.write('"publicize_image": "role:member"\n', "20-second.yaml")
    api = operator.start()
    assert publish(api) == 201
    operator.write('"publicize_image": "role:nobody"\n', "20-second.yaml")
    assert publish(api) == 403
    operator.write('"publicize_image": "role:reader"\n', "30-third.yaml")
    look_for_files()
    assert publish(api) == 201


@pytest.mark.parametrize(
    "text",
    [
        '"publicize_image: x',
        "- a\n- b\n",
        "5",
        '"publicize_image": 5',
        '"publicize_image": true',
        '"a": "rule:b"\n"b": "rule:a"\n',
        "\tx: y",
    ],
)
def test_a_broken_file(operator: Operator, caplog: pytest.LogCaptureFixture, text: str) -> None:
    operator.write('"publicize_image": "role:member"\n')
    api = operator.start()
    operator.write(text)
    assert [publish(api) for _ in range(3)] == [201] * 3  # the rules from before
    said = [one.message for one in caplog.records if "policy files cannot be used" in one.message]
    assert len(said) == 1
    operator.write('"publicize_image": "!"\n')
    assert publish(api) == 403
    operator.write(text)
    with pytest.raises(SystemExit, match="policy files cannot be used"):
        operator.start()


@pytest.mark.parametrize(
    "check", ["role:", "rule:not_there", "(role:member", "member", "rule:not_there or role:nobody"]
)
def test_a_rule_that_makes_no_sense_allows_nothing(operator: Operator, check: str) -> None:
    operator.write(f'"publicize_image": "{check}"\n')
    assert publish(operator.start()) == 403


def test_rules_that_nobody_knows_are_ignored(operator: Operator) -> None:
    operator.write('"launch_rocket": "role:member"\n"get_rocket": "rule:no_such_rule"\n')
    api = operator.start()
    api.create(**_IMAGE)
    assert publish(api) == 403


@pytest.mark.parametrize(
    ("check", "allowed"),
    [
        ("'secret':%(classification)s", True),
        ("'other':%(classification)s", False),
        ("user_id:demo", True),
        ("user:demo and tenant:%(owner)s", True),
        ("'raw':%(disk_format)s and 'queued':%(status)s", True),
        ("'vhd':%(disk_format)s", False),
        ("not 'shared':%(visibility)s", False),
        ("project_id:%(no_such_thing)s", False),
    ],
)
def test_what_a_rule_may_look_at(operator: Operator, check: str, allowed: bool) -> None:
    operator.write(f'"modify_image": "{check}"\n')
    api = operator.start()
    image_id = api.create(classification="secret", **_IMAGE)
    answer = api.patch(image_id, {"op": "add", "path": "/name", "value": "x"})
    assert answer.status_code == (200 if allowed else 403)


#: Glance 17's policy.json.
_OPEN = """
    add_image delete_image get_image get_images modify_image communitize_image download_image upload_image
    delete_image_location get_image_location set_image_location add_member delete_member get_member
    get_members modify_member get_task get_tasks add_task modify_task deactivate reactivate
"""
ROCKY = (
    '{"context_is_admin": "role:admin", "default": "role:admin", "publicize_image": "role:admin",'
    ' "manage_image_cache": "role:admin", "copy_from": "", "tasks_api_access": "role:admin",'
    + ",".join(f'"{rule}": ""' for rule in _OPEN.split())
    + "}"
)


def test_rockys_policy_json(caller: Caller, tmp_path: pathlib.Path) -> None:
    operator = Operator(caller, tmp_path, "policy.json")
    operator.write(ROCKY)
    admin = operator.start(roles="admin")
    public = admin.create(visibility="public", **_IMAGE)
    owner = operator.start(roles="anything")
    assert publish(owner) == 403
    own = owner.create(**_IMAGE)
    assert ask(owner, "PUT", own, "/file") == 204
    assert ask(owner, "GET", own, "/file") == 200
    assert ask(owner, "PATCH", own, "") == 200
    stranger = operator.start(project=STRANGER, roles="anything")
    assert ask(stranger, "GET", public, "") == 200
    changes = [row for row in REQUESTS if row[0] != "GET" and row[2] == 403]
    assert {ask(stranger, method, public, what) for method, what, *_ in changes} == {403}
    assert {ask(stranger, method, own, what) for method, what, *_ in changes} == {404}


def test_an_image_of_nobody_is_nobodys_to_change(caller: Caller, execute: object) -> None:
    api = caller()
    image_id = api.create(**_IMAGE)
    assert callable(execute)
    execute(sa.update(models.Image).values(owner=None, visibility="public"))
    assert ask(api, "GET", image_id, "") == 200
    assert ask(api, "PATCH", image_id, "") == 403
    assert ask(api, "DELETE", image_id, "") == 403
