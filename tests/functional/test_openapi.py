"""The OpenAPI document: it names every route and no other, and describes itself well."""

import re
from typing import Any

import pytest

from api import app
from tests.functional.conftest import Api

#: What is answered in front of the application's routes.
IN_FRONT = {("GET", "/"), ("GET", "/versions"), ("GET", "/healthcheck")}


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    answer = api.ask("GET", "/v2/schemas/openapi")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    found: dict[str, Any] = answer.get_json()
    return found


def test_every_route_is_described_and_none_is_invented(document: dict[str, Any]) -> None:
    def unnamed(path: str) -> str:
        return re.sub("[<{].+?[>}]", "{}", path)

    routes = {
        (method, unnamed(rule.rule))
        for rule in app.routes(asks_keystone=False).url_map.iter_rules()
        for method in rule.methods or ()
    }
    described = {
        (method.upper(), unnamed(path))
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert described - routes == IN_FRONT
    assert routes - described == set()


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    used = set(re.findall(r"'#/components/schemas/(\w+)'", str(document)))
    assert used - components.keys() == set()
    # What a definition holds is not always used by the schema that it belongs to.
    assert {name for name in components.keys() - used if not name.startswith("Metadef_")} == set()


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(set(ids)) == len(ids)
    links = re.findall(r"'operationId': '(\w+)', 'parameters': {", str(document))
    assert links
    assert set(links) <= set(ids)


def test_the_images_schema_is_the_one_that_is_served(api: Api, document: dict[str, Any]) -> None:
    served = api.ask("GET", "/v2/schemas/image").get_json()
    assert document["components"]["schemas"]["Image"]["properties"] == served["properties"]
    shown = api.show(api.create())
    assert set(document["components"]["schemas"]["Image"]["required"]) == shown.keys()
