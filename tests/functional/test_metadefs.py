"""Metadata definitions (contract section 2.15), a row each."""

from typing import Any

import pytest

from tests.functional.conftest import STRANGER, Api, Caller

BASE = "/v2/metadefs/namespaces"
PROPERTY = {"title": "Cores", "type": "integer", "minimum": 1}
ABOUT = {
    "namespace": "OS::Test",
    "display_name": "Test",
    "description": "For a test",
    "visibility": "public",
    "protected": False,
    "resource_type_associations": [{"name": "OS::Nova::Server", "prefix": "hw:"}],
    "properties": {"cores": PROPERTY},
    "objects": [{"name": "cpu", "required": ["n"], "properties": {"n": PROPERTY}}],
    "tags": [{"name": "red"}, {"name": "green"}],
}


@pytest.fixture
def admin(caller: Caller) -> Api:
    return caller(roles="admin,member,reader")


@pytest.fixture
def space(admin: Api) -> Api:
    answer = admin.ask("POST", BASE, ABOUT)
    assert answer.status_code == 201, answer.text
    return admin


def held(api: Api, query: str = "") -> dict[str, Any]:
    document: dict[str, Any] = api.ask("GET", f"{BASE}/OS::Test{query}").get_json()
    return document


def test_create_makes_all_at_once(admin: Api) -> None:
    answer = admin.ask("POST", BASE, ABOUT)
    assert answer.status_code == 201
    assert answer.headers["Location"] == "http://localhost/v2/metadefs/namespaces/OS::Test"
    shown = held(admin)
    assert answer.get_json() == shown
    assert shown["owner"] == "owner-project"
    assert shown["self"] == f"{BASE}/OS::Test"
    assert shown["schema"] == "/v2/schemas/metadefs/namespace"
    assert shown["properties"] == {"cores": PROPERTY}
    assert shown["objects"][0]["self"] == f"{BASE}/OS::Test/objects/cpu"
    assert {one["name"] for one in shown["tags"]} == {"red", "green"}
    assert shown["resource_type_associations"][0]["prefix"] == "hw:"


def test_a_namespace_of_little_says_little(admin: Api) -> None:
    shown = admin.ask("POST", BASE, {"namespace": "n"}).get_json()
    assert shown.pop("created_at") == shown.pop("updated_at")
    assert shown == {
        "namespace": "n",
        "visibility": "private",
        "protected": False,
        "owner": "owner-project",
        "self": f"{BASE}/n",
        "schema": "/v2/schemas/metadefs/namespace",
    }


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"namespace": "x" * 81}, 400),
        ({"namespace": "x", "display_name": "x" * 81}, 400),
        ({"namespace": "x", "description": "x" * 501}, 400),
        ({"namespace": "x", "visibility": "shared"}, 400),
        ({"namespace": "x", "unknown": 1}, 400),
        ({"namespace": "x", "objects": [{}]}, 400),
        ({"namespace": "x", "tags": ["red"]}, 400),
        ({"namespace": "x", "properties": {"p": {"type": "string"}}}, 400),
        ({"namespace": "x", "self": "y"}, 403),
        ({"namespace": "x", "schema": "y"}, 403),
        ({"namespace": "x", "created_at": "y"}, 403),
        ({"namespace": "OS::Test"}, 409),
        ({"namespace": "x", "tags": [{"name": "a"}, {"name": "a"}]}, 409),
    ],
)
def test_create_refuses(space: Api, fields: Any, status: int) -> None:
    assert space.ask("POST", BASE, fields).status_code == status
    assert space.ask("GET", f"{BASE}/x").status_code == 404  # nothing of it was made


def test_the_prefix_of_a_resource_type(space: Api) -> None:
    shown = held(space, "?resource_type=OS::Nova::Server")
    assert list(shown["properties"]) == ["hw:cores"]
    assert shown["objects"][0]["required"] == ["hw:n"]
    assert list(shown["objects"][0]["properties"]) == ["hw:n"]
    path = f"{BASE}/OS::Test/properties"
    wanted = "?resource_type=OS::Nova::Server"
    assert space.ask("GET", f"{path}/hw:cores{wanted}").get_json()["name"] == "cores"
    assert space.ask("GET", f"{path}/cores{wanted}").status_code == 404
    assert space.ask("GET", f"{path}/cores?other=1").status_code == 400


def test_replacing_resets_what_is_not_said(space: Api) -> None:
    answer = space.ask("PUT", f"{BASE}/OS::Test", {"namespace": "New"})
    assert answer.status_code == 200
    assert answer.get_json()["visibility"] == "private"
    assert "display_name" not in answer.get_json()
    assert space.ask("GET", f"{BASE}/OS::Test").status_code == 404
    assert space.ask("GET", f"{BASE}/New").get_json()["properties"] == {"cores": PROPERTY}
    space.ask("POST", BASE, {"namespace": "taken"})
    assert space.ask("PUT", f"{BASE}/New", {"namespace": "taken"}).status_code == 409


def test_deleting_takes_everything(space: Api) -> None:
    assert space.ask("DELETE", f"{BASE}/OS::Test").status_code == 204
    assert space.ask("GET", f"{BASE}/OS::Test").status_code == 404
    assert space.ask("POST", BASE, {"namespace": "OS::Test"}).status_code == 201
    assert "properties" not in held(space)
    types = space.ask("GET", "/v2/metadefs/resource_types").get_json()["resource_types"]
    assert [one["name"] for one in types] == ["OS::Nova::Server"]


@pytest.mark.parametrize(
    "path",
    [
        *("", "/objects", "/objects/cpu", "/properties", "/properties/cores", "/tags"),
        *("/tags/red", "/resource_types/OS::Nova::Server"),
    ],
)
def test_a_protected_namespace_keeps_what_it_holds(admin: Api, path: str) -> None:
    admin.ask("POST", BASE, ABOUT | {"protected": True})
    before = held(admin)
    assert admin.ask("DELETE", f"{BASE}/OS::Test{path}").status_code == 403
    assert held(admin) == before


@pytest.mark.parametrize(
    ("part", "new", "renamed"),
    [
        ("objects", {"name": "mem", "description": "Memory"}, {"name": "ram"}),
        ("properties", {"name": "mem", "title": "Memory", "type": "string"}, None),
    ],
)
def test_entries(space: Api, part: str, new: dict[str, Any], renamed: Any) -> None:
    path = f"{BASE}/OS::Test/{part}"
    made = space.ask("POST", path, new)
    assert made.status_code == 201
    assert "Location" not in made.headers
    assert space.ask("POST", path, new).status_code == 409
    assert space.ask("GET", f"{path}/mem").get_json().items() >= new.items()
    renamed = new | {"name": "ram"}
    answer = space.ask("PUT", f"{path}/mem", renamed)
    assert answer.status_code == 200
    assert answer.get_json()["name"] == "ram"
    assert space.ask("GET", f"{path}/mem").status_code == 404
    assert space.ask("DELETE", f"{path}/ram").status_code == 204
    assert space.ask("DELETE", f"{path}/ram").status_code == 404
    assert len(space.ask("GET", path).get_json()[part]) == 1
    assert space.ask("DELETE", path).status_code == 204
    assert not space.ask("GET", path).get_json()[part]


def test_lists_of_objects_and_properties(space: Api) -> None:
    objects = space.ask("GET", f"{BASE}/OS::Test/objects").get_json()
    assert objects["schema"] == "v2/schemas/metadefs/objects"
    assert space.ask("GET", f"{BASE}/OS::Test/objects?limit=0").status_code == 400
    properties = space.ask("GET", f"{BASE}/OS::Test/properties").get_json()
    assert properties == {"properties": {"cores": PROPERTY}}


def names(api: Api, query: str = "") -> list[str]:
    answer = api.ask("GET", f"{BASE}/OS::Test/tags{query}")
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.get_json()["tags"]]


def test_tags(space: Api) -> None:
    path = f"{BASE}/OS::Test/tags"
    made = space.ask("POST", f"{path}/blue")
    assert made.status_code == 201
    assert made.get_json().keys() == {"name", "created_at", "updated_at"}
    assert space.ask("POST", f"{path}/blue").status_code == 409
    assert space.ask("POST", f"{path}/{'x' * 81}").status_code == 400
    assert names(space, "?sort_key=name&sort_dir=asc") == ["blue", "green", "red"]
    assert names(space, "?sort_key=name&sort_dir=asc&limit=1&marker=blue") == ["green"]
    assert space.ask("GET", f"{path}?marker=none").status_code == 404
    assert space.ask("GET", f"{path}?sort_dir=up").status_code == 400
    assert space.ask("PUT", f"{path}/blue", {"name": "red"}).status_code == 409
    assert space.ask("PUT", f"{path}/blue", {"name": "black"}).get_json()["name"] == "black"
    assert space.ask("GET", f"{path}/black").status_code == 200
    assert space.ask("DELETE", f"{path}/black").status_code == 204
    assert space.ask("DELETE", f"{path}/black").status_code == 404


def test_several_tags_replace_or_are_added(space: Api) -> None:
    path = f"{BASE}/OS::Test/tags"
    wanted = {"tags": [{"name": "a"}, {"name": "b"}]}
    assert space.ask("POST", path, wanted).status_code == 201
    assert sorted(names(space)) == ["a", "b"]
    more = {"X-Openstack-Append": "True"}
    assert space.ask("POST", path, {"tags": [{"name": "c"}]}, headers=more).status_code == 201
    assert sorted(names(space)) == ["a", "b", "c"]
    assert space.ask("POST", path, {"tags": [{"name": "c"}]}, headers=more).status_code == 409
    assert space.ask("POST", path, {"tags": [{"name": "c"}] * 2}).status_code == 409
    assert space.ask("POST", path, {"tags": [{}]}).status_code == 400
    assert sorted(names(space)) == ["a", "b", "c"]


def test_resource_types(space: Api) -> None:
    path = f"{BASE}/OS::Test/resource_types"
    new = {"name": "OS::Cinder::Volume", "properties_target": "image"}
    made = space.ask("POST", path, new)
    assert made.status_code == 201
    assert made.get_json().keys() == {"name", "properties_target", "created_at", "updated_at"}
    assert space.ask("POST", path, new).status_code == 409
    assert len(space.ask("GET", path).get_json()["resource_type_associations"]) == 2
    assert space.ask("DELETE", f"{path}/OS::Cinder::Volume").status_code == 204
    assert space.ask("DELETE", f"{path}/OS::Cinder::Volume").status_code == 404


def listed(api: Api, query: str = "") -> list[str]:
    answer = api.ask("GET", f"{BASE}{query}")
    assert answer.status_code == 200, answer.text
    return [one["namespace"] for one in answer.get_json()["namespaces"]]


@pytest.mark.parametrize("key", ["namespace", "display_name", "created_at", "updated_at"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_paging_holds_every_namespace_once(space: Api, key: str, direction: str) -> None:
    for number in range(4):
        space.ask("POST", BASE, {"namespace": f"n{number}"})
    query = f"?limit=2&sort_key={key}&sort_dir={direction}"
    seen: list[str] = []
    path: str | None = BASE + query
    while path:
        page = space.ask("GET", path).get_json()
        assert page["first"] == BASE + query
        assert page["schema"] == "/v2/schemas/metadefs/namespaces"
        seen += [one["namespace"] for one in page["namespaces"]]
        path = page.get("next")
    assert sorted(seen) == ["OS::Test", "n0", "n1", "n2", "n3"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?visibility=public", 200),
        ("?visibility=shared", 400),
        ("?limit=0", 200),
        ("?limit=-1", 400),
        ("?limit=x", 400),
        ("?sort_key=x", 400),
        ("?sort_dir=x", 400),
        ("?marker=none", 404),
    ],
)
def test_queries(space: Api, query: str, status: int) -> None:
    assert space.ask("GET", BASE + query).status_code == status


def test_filters(space: Api) -> None:
    space.ask("POST", BASE, {"namespace": "own"})
    assert listed(space, "?visibility=public") == ["OS::Test"]
    assert listed(space, "?visibility=private") == ["own"]
    assert listed(space, "?resource_types=OS::Nova::Server,X") == ["OS::Test"]
    assert listed(space, "?resource_types=X") == []


READS = ["", "/objects", "/objects/cpu", "/properties", "/properties/cores", "/tags", "/tags/red"]
READS += ["/resource_types"]
WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "", {"namespace": "z"}),
    ("DELETE", "", None),
    ("POST", "/objects", {"name": "o"}),
    ("PUT", "/objects/cpu", {"name": "o"}),
    ("DELETE", "/objects/cpu", None),
    ("DELETE", "/objects", None),
    ("POST", "/properties", {"name": "p"} | PROPERTY),
    ("PUT", "/properties/cores", {"name": "p"} | PROPERTY),
    ("DELETE", "/properties/cores", None),
    ("DELETE", "/properties", None),
    ("POST", "/tags/t", None),
    ("POST", "/tags", {"tags": []}),
    ("PUT", "/tags/red", {"name": "t"}),
    ("DELETE", "/tags/red", None),
    ("DELETE", "/tags", None),
    ("POST", "/resource_types", {"name": "R"}),
    ("DELETE", "/resource_types/OS::Nova::Server", None),
]


@pytest.mark.parametrize("visibility", ["public", "private"])
@pytest.mark.parametrize(
    ("persona", "options"),
    [
        ("reader", {"roles": "reader"}),
        ("stranger", {"project": STRANGER, "roles": "member,reader"}),
        ("roleless", {"roles": "none"}),
    ],
)
def test_who_reads_and_who_writes(
    caller: Caller, visibility: str, persona: str, options: dict[str, str]
) -> None:
    caller(roles="admin").ask("POST", BASE, ABOUT | {"visibility": visibility})
    api = caller(**options)
    seen = persona == "reader" or (persona == "stranger" and visibility == "public")
    for path in READS:
        assert api.ask("GET", f"{BASE}/OS::Test{path}").status_code == (200 if seen else 404), path
    there = persona != "stranger" or visibility == "public"
    for method, path, fields in WRITES:
        answer = api.ask(method, f"{BASE}/OS::Test{path}", fields)
        assert answer.status_code == (403 if there else 404), (method, path)
    assert api.ask("POST", BASE, {"namespace": "mine"}).status_code == 403
    status = 404 if persona == "roleless" else 200
    assert api.ask("GET", BASE).status_code == status
    assert api.ask("GET", "/v2/metadefs/resource_types").status_code == status
    if persona != "roleless":
        assert listed(api) == (["OS::Test"] if seen else [])


@pytest.mark.parametrize(
    "name",
    [
        *("namespace", "namespaces", "resource_type", "resource_types", "property"),
        *("properties", "object", "objects", "tag", "tags"),
    ],
)
def test_schemas_are_schemas(admin: Api, name: str) -> None:
    document = admin.ask("GET", f"/v2/schemas/metadefs/{name}").get_json()
    assert document["properties"]
    assert document["name"] in (name, "resource_type_association", "resource_type_associations")
    assert admin.ask("GET", f"/v2/schemas/metadefs/{name}x").status_code == 404


@pytest.mark.parametrize(
    "path", ["/\0", "/%ff", "/🙂", "/a/objects/🙂", "/a/tags/🙂", "?marker=🙂"]
)
def test_odd_names_are_not_there(admin: Api, path: str) -> None:
    admin.ask("POST", BASE, {"namespace": "a"})
    assert admin.ask("GET", BASE + path).status_code in (400, 404)
    if not path.startswith("?"):
        assert admin.ask("DELETE", BASE + path).status_code in (400, 404)
