"""An image in several stores: which one serves it, and how it leaves one (contract sections 2.3 and 2.12)."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, models
from tests import web
from tests.functional.conftest import STRANGER, Api, Caller

Execute = Callable[[Any], None]
DATA = bytes(range(256)) * 40
FORMATS = {"disk_format": "raw", "container_format": "bare"}
ALLOW = web.LOOPBACK + "allowed_hosts = [127.0.0.1]\n"
STORES = ("fast", "cheap", "web")


@pytest.fixture
def server() -> Iterator[str]:
    answers = {
        "/data": web.whole(DATA),
        "/cut": web.cut(DATA[:-1], len(DATA)),
        "/evil": web.redirect("http://169.254.169.254/latest"),
        "/round": web.redirect("/round"),
    }
    with web.serving(answers) as url:
        yield url


@pytest.fixture
def options(several_stores: str) -> str:
    return f"show_multiple_locations = true\n{several_stores}{ALLOW}"


@pytest.fixture
def stored(caller: Caller, options: str, tmp_path: pathlib.Path, execute: Execute) -> str:
    """An image in the stores `fast` and `cheap`."""
    api = caller(options=options)
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    (tmp_path / "cheap" / image_id).write_bytes(DATA)
    url = f"file://{tmp_path}/cheap/{image_id}"
    execute(
        sa.insert(models.ImageLocation).values(
            image_id=image_id, value=url, meta_data={"store": "cheap"}
        )
    )
    return image_id


def file(api: Api, image_id: str, query: str = "", **headers: str) -> Any:
    return api.ask("GET", f"/v2/images/{image_id}/file{query}", headers=headers)


def test_the_heaviest_store_is_first(caller: Caller, options: str, stored: str) -> None:
    image = caller(options=f"show_image_direct_url = true\n{options}").show(stored)
    assert image["stores"] == "cheap,fast"
    assert [one["metadata"]["store"] for one in image["locations"]] == ["cheap", "fast"]
    assert "/cheap/" in image["direct_url"]


@pytest.mark.parametrize(
    ("query", "served"),
    [
        ("", "cheap"),
        ("?prefer=", "cheap"),
        ("?prefer=fast", "fast"),
        ("?prefer=fast,cheap", "fast"),
        ("?prefer=cheap,fast", "cheap"),
        ("?prefer=%20fast%20,", "fast"),
        ("?prefer=web,fast", "fast"),
        ("?prefer=web", "cheap"),
        ("?other=x", "cheap"),
    ],
)
def test_preferred_stores(
    caller: Caller, options: str, stored: str, tmp_path: pathlib.Path, query: str, served: str
) -> None:
    """The bytes differ here, so that it is seen where they come from."""
    for store in ("fast", "cheap"):
        (tmp_path / store / stored).write_bytes(store.encode())
    answer = file(caller(options=options), stored, query)
    assert (answer.status_code, answer.data) == (200, served.encode())


@pytest.mark.parametrize(("query", "code"), [("?prefer=absent", 400), ("?prefer=fast,absent", 400)])
def test_unknown_preferred_stores(
    caller: Caller, options: str, stored: str, query: str, code: int
) -> None:
    assert file(caller(options=options), stored, query).status_code == code


def test_one_store_has_no_preferred_ones(api: Api) -> None:
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    assert file(api, image_id, "?prefer=file").status_code == 400
    assert file(api, image_id, "?prefer=").status_code == 200


def test_preferring_is_a_matter_of_policy(
    caller: Caller, options: str, stored: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "policy.yaml").write_text('"download_from_store": "role:admin"\n')
    ruled = f"{options}[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml\n"
    assert file(caller(options=ruled), stored, "?prefer=fast").status_code == 403
    assert file(caller(options=ruled), stored, "?prefer=absent").status_code == 403
    assert file(caller(options=ruled), stored).status_code == 200
    assert file(caller(options=ruled, roles="admin"), stored, "?prefer=fast").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=5-"}])
def test_another_location_stands_in(
    caller: Caller, options: str, stored: str, tmp_path: pathlib.Path, headers: dict[str, str]
) -> None:
    (tmp_path / "cheap" / stored).unlink()
    api = caller(options=options)
    for query in ("", "?prefer=cheap"):
        assert file(api, stored, query, **headers).data == DATA[5:] if headers else DATA
    (tmp_path / "fast" / stored).unlink()
    answer = file(api, stored, **headers)
    assert answer.status_code == 404
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize(
    ("path", "code"),
    [("/absent", 404), ("/evil", 503), ("/round", 503), ("", 503)],
)
def test_a_server_that_does_not_give(
    caller: Caller, options: str, server: str, execute: Execute, path: str, code: int
) -> None:
    """Never a 500, and never what another server has; the bytes of another location where there is one."""
    api = caller(options=options)
    image_id = api.create(**FORMATS)
    change = {
        "op": "add",
        "path": "/locations/-",
        "value": {"url": f"{server}/data", "metadata": {}},
    }
    assert api.patch(image_id, change).status_code == 200
    assert file(api, image_id).data == DATA
    url = server + path if path else "http://127.0.0.1:1/"
    execute(sa.update(models.ImageLocation).values(value=url))
    for headers in ({}, {"Range": "bytes=1-2"}):
        answer = file(api, image_id, **headers)
        assert answer.status_code == code
        assert "127.0.0.1" not in answer.text
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204


def test_a_server_that_gives_less_than_it_promised(
    caller: Caller, options: str, server: str, execute: Execute
) -> None:
    """The length was sent already: the client must not take a part for the whole."""
    api = caller(options=options)
    image_id = api.create(**FORMATS)
    change = {
        "op": "add",
        "path": "/locations/-",
        "value": {"url": f"{server}/data", "metadata": {}},
    }
    assert api.patch(image_id, change).status_code == 200
    execute(sa.update(models.ImageLocation).values(value=f"{server}/cut"))
    with pytest.raises(Exception, match=r"lost|fewer"):
        file(api, image_id)


def leave(api: Api, store: str, image_id: str, **options: Any) -> int:
    answer = api.ask("DELETE", f"/v2/stores/{store}/{image_id}", **options)
    assert (answer.status_code == 204) == (answer.data == b"")
    status: int = answer.status_code
    return status


def test_an_image_leaves_a_store(
    caller: Caller, options: str, stored: str, tmp_path: pathlib.Path
) -> None:
    admin = caller(roles="admin", options=options)
    assert leave(admin, "cheap", stored) == 204
    assert not (tmp_path / "cheap" / stored).exists()
    assert (tmp_path / "fast" / stored).read_bytes() == DATA
    assert admin.show(stored)["stores"] == "fast"
    assert file(admin, stored).data == DATA
    assert leave(admin, "cheap", stored) == 403
    assert leave(admin, "fast", stored) == 403
    with db.reading() as session:
        rows = session.execute(sa.select(models.ImageLocation.status, models.ImageLocation.deleted))
        assert sorted(map(tuple, rows)) == [("active", False), ("deleted", True)]


@pytest.mark.parametrize(
    ("store", "image", "roles", "code"),
    [
        ("absent", "unknown", "admin", 409),
        ("absent", None, "admin", 409),
        ("os_glance_staging_store", None, "admin", 409),
        ("cheap", "unknown", "admin", 404),
        ("cheap", None, "member,reader", 403),
        ("cheap", None, "reader", 403),
        ("web", None, "admin", 404),
        ("cheap", None, "admin", 204),
    ],
)
def test_who_may_take_what_from_which_store(
    caller: Caller, options: str, stored: str, store: str, image: str | None, roles: str, code: int
) -> None:
    assert leave(caller(roles=roles, options=options), store, image or stored) == code


def test_taking_from_stores_in_order(
    caller: Caller, options: str, stored: str, execute: Execute
) -> None:
    """Not visible before not allowed, the status before the number of locations."""
    assert leave(caller(project=STRANGER, options=options), "cheap", stored) == 404
    admin = caller(roles="admin", options=options)
    execute(sa.update(models.Image).values(status="deactivated"))
    assert leave(admin, "cheap", stored) == 409
    assert leave(admin, "web", stored) == 409
    queued = admin.create()
    assert leave(admin, "cheap", queued) == 409
    assert leave(admin, "cheap", queued, data=b"x") == 400
    assert leave(caller(roles="admin"), "cheap", stored) == 404


def test_data_that_were_lost_leave_too(
    caller: Caller, options: str, stored: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "cheap" / stored).unlink()
    assert leave(caller(roles="admin", options=options), "cheap", stored) == 204


def test_a_store_that_does_not_let_go(
    caller: Caller, options: str, stored: str, tmp_path: pathlib.Path
) -> None:
    """The image stays where it was; a second try works."""
    (tmp_path / "cheap" / stored).unlink()
    (tmp_path / "cheap" / stored).mkdir()
    admin = caller(roles="admin", options=options)
    assert leave(admin, "cheap", stored) == 503
    assert admin.show(stored)["stores"] == "cheap,fast"
    (tmp_path / "cheap" / stored).rmdir()
    assert leave(admin, "cheap", stored) == 204


def test_locations_of_the_web_leave_their_server_alone(
    caller: Caller, options: str, stored: str, server: str
) -> None:
    admin = caller(roles="admin", options=options)
    change = {
        "op": "add",
        "path": "/locations/-",
        "value": {"url": f"{server}/data", "metadata": {}},
    }
    assert admin.patch(stored, change).get_json()["stores"] == "cheap,fast,web"
    assert leave(admin, "web", stored) == 204
    assert admin.show(stored)["stores"] == "cheap,fast"


def test_no_last_location_leaves_by_patch(caller: Caller, options: str, stored: str) -> None:
    admin = caller(roles="admin", options=options)
    remove = {"op": "remove", "path": "/locations/0"}
    assert admin.patch(stored, remove, remove).status_code == 403
    assert admin.show(stored)["stores"] == "cheap,fast"
    assert admin.patch(stored, remove).get_json()["stores"] == "fast"
