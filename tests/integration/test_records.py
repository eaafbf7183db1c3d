"""Records on PostgreSQL and MariaDB: what is compared as it is written, and members that race."""

import concurrent.futures
import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug import test

from api import app
from images import config, db, models, policy, schema, service, stores
from tests.integration import databases

_PATCH = "application/openstack-images-v2.1-json-patch"


class Api:
    """The application in this process, on the database."""

    def __init__(self, application: Any) -> None:
        self.client = test.Client(application)

    def ask(
        self, method: str, path: str, document: Any = None, kind: str = "application/json"
    ) -> test.TestResponse:
        data = None if document is None else json.dumps(document)
        return self.client.open(f"/v2{path}", method=method, data=data, content_type=kind)

    def create(self, **fields: Any) -> str:
        answer = self.ask("POST", "/images", fields)
        assert answer.status_code == 201, answer.text
        image_id: str = answer.get_json()["id"]
        return image_id

    def show(self, image_id: str) -> dict[str, Any]:
        record: dict[str, Any] = self.ask("GET", f"/images/{image_id}").get_json()
        return record

    def patch(self, image_id: str, *changes: dict[str, Any]) -> int:
        return self.ask("PATCH", f"/images/{image_id}", list(changes), _PATCH).status_code

    def found(self, **filters: str) -> set[str]:
        """Ids of the images that a list finds."""
        answer = self.client.get("/v2/images", query_string=filters)
        assert answer.status_code == 200, answer.text
        return {image["id"] for image in answer.get_json()["images"]}


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def application(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    state = tmp_path_factory.mktemp("records")
    file = state / "gantry.conf"
    with getattr(databases, request.param)() as url:
        file.write_text(
            f"[database]\nconnection = {url}\n[noauth]\nroles = admin,member,reader\n"
            f"[glance_store]\nfilesystem_store_datadir = {state}/images\n"
            f"[gantry]\nstate_path = {state}\nbroker_url = memory://\n"
        )
        _forget()
        service.start([str(file)])
        schema.sync()
        yield app.create_app([str(file)])
        _forget()
        config.CONF.reset()


def _forget() -> None:
    db.dispose()
    stores.reset()
    policy.reset()


@pytest.fixture
def api(application: Any) -> Api:
    return Api(application)


#: What MariaDB's general collation takes for the same text.
ALIKE = ("trait", "Trait", "TRAIT", "träit", "trait ")


def test_tags_of_one_image_that_differ_in_case(api: Api) -> None:
    image_id = api.create(tags=["a", "A"])
    path = f"/images/{image_id}/tags"
    assert api.show(image_id)["tags"] == ["A", "a"]
    assert api.ask("PUT", f"{path}/ä").status_code == 204
    assert api.ask("DELETE", f"{path}/a").status_code == 204
    assert api.ask("DELETE", f"{path}/a").status_code == 404
    assert api.show(image_id)["tags"] == ["A", "ä"]
    change = {"op": "replace", "path": "/tags", "value": ["a", "Ä"]}
    assert api.patch(image_id, change) == 200
    assert api.show(image_id)["tags"] == ["a", "Ä"]


def test_the_tag_filter_is_exact(api: Api) -> None:
    ids = {tag: api.create(tags=[tag]) for tag in ALIKE}
    for tag, image_id in ids.items():
        assert api.found(tag=tag) == {image_id}
    assert api.found(tag="tRAIT") == set()
    assert api.found(tag="trai") == set()


def test_names_of_properties_are_exact(api: Api) -> None:
    ids = {name: api.create(**{name: "1"}) for name in ALIKE}
    for name, image_id in ids.items():
        assert api.found(**{name: "1"}) == {image_id}
        assert api.found(**{name: "2"}) == set()
    assert api.found(tRAIT="1") == set()


def test_properties_of_one_image_that_differ_in_case(api: Api) -> None:
    fields = {name: name for name in ALIKE}
    image_id = api.create(**fields)
    assert fields.items() <= api.show(image_id).items()
    assert api.patch(image_id, {"op": "remove", "path": "/Trait"}) == 200
    assert "Trait" not in api.show(image_id)
    assert api.show(image_id)["trait"] == "trait"
    assert api.patch(image_id, {"op": "replace", "path": "/Trait", "value": "x"}) == 409
    assert api.patch(image_id, {"op": "add", "path": "/Trait", "value": "x"}) == 200
    assert api.patch(image_id, {"op": "add", "path": "/tRAIT", "value": "y"}) == 200
    shown = api.show(image_id)
    assert {name: shown[name] for name in (*ALIKE, "tRAIT")} == fields | {
        "Trait": "x",
        "tRAIT": "y",
    }


def test_values_are_compared_as_the_database_does(application: Any, api: Api) -> None:
    """The contract says nothing of case here, and with MariaDB Glance's clients find `A` by `a`."""
    image_id = api.create(name="Cased Name", value_of="Cased")
    alike = {image_id} if db.engine().dialect.name == "mysql" else set()
    assert api.found(name="Cased Name") == api.found(value_of="Cased") == {image_id}
    assert api.found(name="cased name") == api.found(value_of="cased") == alike
    assert api.found(name="in:cased name,x") == alike


def test_the_index_still_finds_the_rows(api: Api) -> None:
    """The comparison by the byte must not have every tag of the cloud looked at."""
    if db.engine().dialect.name != "mysql":
        return
    text = "EXPLAIN SELECT 1 FROM image_tags WHERE image_id = 'x' AND value = 'a'"
    exact = f"{text} AND CAST(CONVERT(value USING utf8mb4) AS BINARY) = CAST('a' AS BINARY)"
    with db.reading() as session:
        keys = [session.execute(sa.text(one)).mappings().one()["key"] for one in (text, exact)]
    assert keys[0] == keys[1] is not None


def test_of_those_that_add_the_same_member_at_once_one_wins(application: Any, api: Api) -> None:
    for _ in range(5):
        image_id = api.create()
        path = f"/images/{image_id}/members"

        def add(number: int, path: str = path) -> int:
            return Api(application).ask("POST", path, {"member": "m"}).status_code

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = sorted(pool.map(add, range(6)))
        assert answers == [200] + [409] * 5
        with db.reading() as session:
            query = sa.select(models.ImageMember.status).where(
                models.ImageMember.image_id == image_id
            )
            assert list(session.scalars(query)) == ["pending"]


def test_the_quota_holds_for_those_that_add_at_once(application: Any, api: Api) -> None:
    config.CONF.set_override("image_member_quota", 3)
    path = f"/images/{api.create()}/members"

    def add(number: int) -> int:
        return Api(application).ask("POST", path, {"member": f"m{number}"}).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(add, range(8)))
    config.CONF.clear_override("image_member_quota")
    assert answers == [200] * 3 + [413] * 5


def test_a_member_that_comes_and_goes_within_a_second(api: Api) -> None:
    """MariaDB keeps whole seconds, and the table is unique by the moment of removal too."""
    path = f"/images/{api.create()}/members"
    for _ in range(4):
        assert api.ask("POST", path, {"member": "m"}).status_code == 200
        assert api.ask("PUT", f"{path}/m", {"status": "accepted"}).status_code == 200
        assert api.ask("DELETE", f"{path}/m").status_code == 204
    assert api.ask("GET", path).get_json()["members"] == []


def test_members_that_differ_in_case(api: Api) -> None:
    path = f"/images/{api.create()}/members"
    for member in ("m", "M"):
        assert api.ask("POST", path, {"member": member}).status_code == 200
    assert api.ask("PUT", f"{path}/M", {"status": "accepted"}).status_code == 200
    assert api.ask("GET", f"{path}/m").get_json()["status"] == "pending"
    assert api.ask("DELETE", f"{path}/M").status_code == 204
    assert api.ask("DELETE", f"{path}/M").status_code == 404
    assert api.ask("GET", f"{path}/m").status_code == 200


def test_other_answers_while_the_member_is_removed(application: Any, api: Api) -> None:
    """Of PUT and DELETE at once, the one that is later finds what the other one has left."""
    for _ in range(5):
        path = f"/images/{api.create()}/members"
        assert api.ask("POST", path, {"member": "m"}).status_code == 200

        def ask(method: str, path: str = path) -> int:
            body = {"status": "accepted"} if method == "PUT" else None
            return Api(application).ask(method, f"{path}/m", body).status_code

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            put, *removed = pool.map(ask, ("PUT", "DELETE", "DELETE", "DELETE"))
        assert put in (200, 404)
        assert sorted(removed) == [204, 404, 404]
        assert api.ask("GET", path).get_json()["members"] == []
