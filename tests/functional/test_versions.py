"""Contract section 1: the versions documents, and what a path's first part means."""

import pathlib

import pytest

from tests.functional.conftest import Api, Caller

ONE_STORE = ["2.15", "2.9", "2.17", "2.7", "2.6", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0"]
SEVERAL = ["2.15", "2.13", "2.12", "2.11", "2.10", "2.9", "2.8", *ONE_STORE[2:]]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 300),
        ("", 300),
        ("/v1", 300),
        ("/v1/images", 300),
        ("/v3", 300),
        ("/foo", 300),
        ("/v2.99/images", 300),
        ("/v2.14/images", 300),
        ("/v2.10/images", 300),
        ("/versions", 200),
        ("/versions/", 200),
        ("/versions/x", 200),
    ],
)
def test_documents(api: Api, path: str, status: int) -> None:
    answer = api.ask("GET", path)
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    entries = answer.get_json()["versions"]
    assert [entry["id"] for entry in entries] == [f"v{number}" for number in ONE_STORE]
    assert [e["id"] for e in entries if e["status"] == "CURRENT"] == ["v2.17"]
    assert entries[0]["links"] == [{"rel": "self", "href": "http://localhost/v2/"}]


def test_several_stores_have_more_versions(caller: Caller, several_stores: str) -> None:
    entries = caller(options=several_stores).ask("GET", "/versions").get_json()["versions"]
    assert [entry["id"] for entry in entries] == [f"v{number}" for number in SEVERAL]


def test_several_stores_with_a_cache(
    caller: Caller, several_stores: str, tmp_path: pathlib.Path
) -> None:
    options = f"image_cache_dir = {tmp_path}/cache\n{several_stores}"
    entries = caller(options=options).ask("GET", "/versions").get_json()["versions"]
    wanted = ["2.18", "2.17", "2.16", "2.15", "2.14", *SEVERAL[1:7], *ONE_STORE[3:]]
    assert [entry["id"] for entry in entries] == [f"v{number}" for number in wanted]
    assert [e["id"] for e in entries if e["status"] == "CURRENT"] == ["v2.18"]


def test_links_begin_with_the_public_endpoint(caller: Caller) -> None:
    api = caller(options="public_endpoint = https://images.example.org/glance/")
    link = api.ask("GET", "/versions").get_json()["versions"][0]["links"][0]["href"]
    assert link == "https://images.example.org/glance/v2/"


@pytest.mark.parametrize("path", ["/v2", "/v2.7"])
def test_without_its_slash(api: Api, path: str) -> None:
    answer = api.ask("GET", path)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"http://localhost{path}/")


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/v2/images", "", 200),
        ("/v2/images/", "", 404),
        ("/v2/images/3f6ba9b2-6e0f-4b3c-9a3c-000000000000/", "", 404),
        ("/v2///images", "", 200),
        ("/v2.0/images", "", 200),
        ("/v2.17/images", "", 200),
        ("/images", "application/vnd.openstack.images-v2", 200),
        ("/images", "application/vnd.openstack.images-v2.7", 200),
        ("/images", "application/vnd.openstack.images-v9", 300),
        ("/v2/", "", 404),
        ("/v2/nothing", "", 404),
    ],
)
def test_ways_to_a_resource(api: Api, path: str, accept: str, status: int) -> None:
    assert api.ask("GET", path, headers={"Accept": accept}).status_code == status


def test_health_is_plain_text(api: Api) -> None:
    answer = api.ask("GET", "/healthcheck")
    assert (answer.status_code, answer.text, answer.mimetype) == (200, "OK", "text/plain")
