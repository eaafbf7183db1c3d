"""Tags and actions (contract sections 2.9 and 2.10)."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import models
from tests.functional.conftest import STRANGER, Api, Caller

Execute = Callable[[Any], None]


def test_tags_are_a_set(api: Api) -> None:
    path = f"/v2/images/{(image_id := api.create(tags=['a']))}/tags"
    assert [api.ask("PUT", f"{path}/{tag}").status_code for tag in ("b", "b", "A")] == [204] * 3
    assert api.show(image_id)["tags"] == ["A", "a", "b"]
    assert api.ask("DELETE", f"{path}/b").status_code == 204
    assert api.ask("DELETE", f"{path}/b").status_code == 404
    assert api.show(image_id)["tags"] == ["A", "a"]


@pytest.mark.parametrize(
    ("method", "tag", "options", "status"),
    [
        ("PUT", "x" * 255, {}, 204),
        ("PUT", "x" * 256, {}, 400),
        ("PUT", "%00", {}, 400),
        ("PUT", "%F0%9F%98%80", {}, 400),
        ("PUT", "a", {"data": b"body"}, 400),
        ("DELETE", "a", {"data": b"body"}, 400),
        ("GET", "a", {}, 405),
    ],
)
def test_tag_rows(api: Api, method: str, tag: str, options: dict[str, Any], status: int) -> None:
    answer = api.ask(method, f"/v2/images/{api.create(tags=['a'])}/tags/{tag}", **options)
    assert answer.status_code == status
    if status == 405:
        assert answer.headers["Allow"] == "PUT, DELETE"


def test_the_tag_quota(caller: Caller) -> None:
    api = caller(options="image_tag_quota = 1")
    path = f"/v2/images/{api.create()}/tags"
    assert [api.ask("PUT", f"{path}/{tag}").status_code for tag in "aab"] == [204, 204, 413]


def test_deactivated_and_back(api: Api, execute: Execute) -> None:
    path = f"/v2/images/{(image_id := api.create())}/actions"
    assert api.ask("POST", f"{path}/deactivate").status_code == 403
    execute(sa.update(models.Image).values(status="active"))
    for action, status in [("deactivate", "deactivated"), ("reactivate", "active")]:
        for _ in range(2):
            assert api.ask("POST", f"{path}/{action}").status_code == 204
            assert api.show(image_id)["status"] == status
    assert api.ask("POST", f"{path}/deactivate", {}).status_code == 400
    assert api.ask("GET", f"{path}/deactivate").status_code == 405
    assert api.ask("POST", f"{path}/explode").status_code == 404


@pytest.mark.parametrize(("visibility", "status"), [("community", 403), ("private", 404)])
def test_another_ones_image(caller: Caller, visibility: str, status: int) -> None:
    path = f"/v2/images/{caller(project=STRANGER).create(visibility=visibility)}"
    api = caller()
    assert api.ask("PUT", f"{path}/tags/a").status_code == status
    assert api.ask("DELETE", f"{path}/tags/a").status_code == status
    assert api.ask("POST", f"{path}/actions/deactivate").status_code == status
