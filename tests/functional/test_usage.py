"""GET /v2/info/usage (contract section 2.12)."""

from collections.abc import Iterator

import pytest

from tests import limit_server
from tests.functional.conftest import OWNER, STRANGER, Caller

FORMATS = {"disk_format": "raw", "container_format": "bare"}
MIB = 1 << 20

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
LIMITS = {
    "image_size_total": 10,
    "image_stage_total": 5,
    "image_count_total": 7,
    "image_count_uploading": -1,
}


@pytest.fixture
def server() -> Iterator[limit_server.LimitServer]:
    with limit_server.serving() as server:
        server.registered |= LIMITS
        yield server


def test_without_limits(caller: Caller) -> None:
    answer = caller(options="user_storage_quota = 5MB").ask("GET", "/v2/info/usage")
    assert (answer.status_code, answer.get_json()) == (200, {"usage": {}})


def test_what_counts(caller: Caller, server: limit_server.LimitServer) -> None:
    server.projects[OWNER] = {"image_size_total": 20}
    api = caller(options=server.options(), roles="member,reader")
    api.create()
    assert api.put(api.create(**FORMATS), b"x" * (2 * MIB + 5)).status_code == 204
    assert api.put(api.create(**FORMATS), b"x" * (3 * MIB - 5), "stage").status_code == 204
    assert api.ask("DELETE", f"/v2/images/{api.create()}").status_code == 204
    assert api.ask("GET", "/v2/info/usage").get_json()["usage"] == {
        "image_size_total": {"usage": 2, "limit": 20},
        "image_stage_total": {"usage": 2, "limit": 5},
        "image_count_total": {"usage": 3, "limit": 7},
        "image_count_uploading": {"usage": 1, "limit": -1},
    }
    stranger = caller(options=server.options(), project=STRANGER, roles="reader")
    usage = stranger.ask("GET", "/v2/info/usage").get_json()["usage"]
    assert usage == {name: {"usage": 0, "limit": most} for name, most in LIMITS.items()}


def test_what_is_not_registered_is_zero(caller: Caller, server: limit_server.LimitServer) -> None:
    del server.registered["image_count_total"]
    api = caller(options=server.options())
    usage = api.ask("GET", "/v2/info/usage").get_json()["usage"]
    assert usage["image_count_total"] == {"usage": 0, "limit": 0}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_another_method_is_not_found(caller: Caller, method: str) -> None:
    assert caller().ask(method, "/v2/info/usage").status_code == 404


def test_no_body(caller: Caller) -> None:
    assert caller().ask("GET", "/v2/info/usage", {}).status_code == 400
