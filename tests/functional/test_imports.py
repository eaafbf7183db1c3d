"""POST /import (contract section 2.5): what is written down, and each check, in the order they are made.

What workers do then is tested elsewhere.
"""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, errors, import_requests, models
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

Execute = Callable[[Any], None]
FORMATS = {"disk_format": "raw", "container_format": "bare"}
DIRECT = {"method": {"name": "glance-direct"}}
WEB = {"method": {"name": "web-download", "uri": "http://example.org/image"}}
COPY = {"method": {"name": "copy-image"}}
UUID = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"
REMOTE = {"method": {"name": "glance-download", "glance_region": "two", "glance_image_id": UUID}}
ALL_METHODS = "enabled_import_methods = [glance-direct,web-download,copy-image,glance-download]"
REGIONS = "[gantry]\nremote_regions = two:https://two.example.org\n"


def without(body: dict[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    """A body whose method lacks these members, or has others."""
    method = {name: value for name, value in body["method"].items() if name not in names}
    return {"method": method | more}


def start(api: Api, image_id: str, body: Any, **headers: str) -> Any:
    return api.ask("POST", f"/v2/images/{image_id}/import", body, headers=headers)


def staged(api: Api, **fields: str) -> str:
    image_id = api.create(**(FORMATS | fields))
    assert api.put(image_id, b"data", "stage").status_code == 204
    return image_id


def tasks_of(api: Api, image_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"]
    return found


@pytest.fixture
def any_status(caller: Caller, execute: Execute, several_stores: str) -> Callable[[str], str]:
    """Makes an image that is in a status; where it has data, these are in the store `fast`."""

    def make(status: str) -> str:
        image_id = caller(options=several_stores).create(**FORMATS)
        execute(sa.update(models.Image).where(models.Image.id == image_id).values(status=status))
        if status == "active":
            place = {"image_id": image_id, "value": "file:///x", "meta_data": {"store": "fast"}}
            execute(sa.insert(models.ImageLocation).values(**place))
        return image_id

    return make


def test_an_import_is_written_down(api: Api) -> None:
    image_id = staged(api)
    answer = start(api, image_id, DIRECT)
    assert (answer.status_code, answer.data) == (202, b"")
    image = api.show(image_id)
    tasks = tasks_of(api, image_id)
    assert (image["status"], len(tasks)) == ("importing", 1)
    assert image["os_glance_import_task"] == tasks[0]["id"]
    dates = {name: tasks[0].pop(name) for name in ("created_at", "updated_at")}
    assert all(len(date) == len("2026-01-01T00:00:00.000000") for date in dates.values())
    assert tasks[0] == {
        "id": image["os_glance_import_task"],
        "type": "api_image_import",
        "status": "pending",
        "owner": OWNER,
        "expires_at": None,
        "deleted": False,
        "deleted_at": None,
        "image_id": image_id,
        "request_id": answer.headers["x-openstack-request-id"],
        "user_id": "demo",
        "input": {"image_id": image_id, "import_req": DIRECT, "backend": [None]},
        "result": None,
        "message": "",
        "progress": None,
    }
    assert start(api, image_id, DIRECT).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        [],
        [DIRECT],
        "x",
        5,
        None,
        {},
        {"method": None},
        {"method": []},
        {"method": "glance-direct"},
        {"method": {}},
        {"method": {"name": None}},
        {"method": {"name": ["glance-direct"]}},
        {"method": {"name": {"a": "b"}}},
        {"method": {"name": "teleport"}},
        {"method": {"name": "Glance-Direct"}},
        REMOTE,  # not enabled by default
        DIRECT | {"all_stores": "yes"},
        DIRECT | {"all_stores": None},
        DIRECT | {"all_stores_must_succeed": 1},
        DIRECT | {"all_stores_must_succeed": []},
    ],
)
def test_rows_1_to_3_the_shape_of_the_body(api: Api, body: Any) -> None:
    """They come before the image is looked for."""
    image_id = staged(api)
    assert start(api, image_id, body).status_code == 400
    assert start(api, "no-such-image", body).status_code == 400
    assert api.show(image_id)["status"] == "uploading"
    assert tasks_of(api, image_id) == []


def test_row_2_names_the_method(api: Api) -> None:
    answer = start(api, staged(api), {"method": {"name": "teleport"}})
    assert "teleport" in answer.text


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b"NaN", b"[" * 100000, b'{"a":' * 50 + b"1" + b"}" * 50]
)
def test_bodies_that_are_no_json(api: Api, raw: bytes) -> None:
    answer = api.ask("POST", f"/v2/images/{api.create()}/import", data=raw)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "image_id", ["no-such-image", UUID, "x" * 300, "%00", "%F0%9F%98%80", "a%2Fb"]
)
@pytest.mark.parametrize("body", [DIRECT, WEB])
def test_row_5_an_image_that_is_not_there(api: Api, image_id: str, body: dict[str, Any]) -> None:
    assert start(api, image_id, body).status_code == 404


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("active", DIRECT),  # row 6
        ("active", WEB),
        ("active", REMOTE),
        ("queued", COPY),  # row 7
        ("uploading", COPY),
        ("importing", COPY),
        ("deactivated", COPY),
        ("uploading", WEB),  # row 8
        ("importing", WEB),
        ("deactivated", WEB),
        ("uploading", REMOTE),
        ("importing", REMOTE),
        ("queued", DIRECT),  # row 9
        ("importing", DIRECT),
        ("saving", DIRECT),
    ],
)
def test_rows_6_to_9_the_status(
    caller: Caller,
    any_status: Callable[[str], str],
    several_stores: str,
    status: str,
    body: dict[str, Any],
) -> None:
    """They come before the permission, before the stores, and before the URL."""
    image_id = any_status(status)
    api = caller(options=ALL_METHODS + several_stores)
    assert start(api, image_id, body).status_code == 409
    assert start(api, image_id, body | {"stores": []}).status_code == 409
    worse = without(body, "uri", uri="file:///etc/passwd")
    assert start(api, image_id, worse).status_code == 409
    assert api.show(image_id)["status"] == status


@pytest.mark.parametrize("body", [DIRECT, WEB, COPY, REMOTE])
def test_row_10_the_formats(
    caller: Caller,
    execute: Execute,
    any_status: Callable[[str], str],
    several_stores: str,
    body: dict[str, Any],
) -> None:
    """container_format is judged first."""
    wanted = {"glance-direct": "uploading", "copy-image": "active"}
    image_id = any_status(wanted.get(body["method"]["name"], "queued"))
    api = caller(options=ALL_METHODS + several_stores)
    missing: dict[str, None] = {}
    for column in ("disk_format", "container_format"):
        missing[column] = None
        execute(sa.update(models.Image).values(missing))
        answer = start(api, image_id, body)
        assert answer.status_code == 409
        assert column in answer.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (without(REMOTE, "glance_region"), "glance_region"),
        (without(REMOTE, "glance_image_id"), "glance_image_id"),
        (without(REMOTE, glance_image_id="foo"), "image id does not look like a UUID"),
        (without(REMOTE, glance_image_id=5), "glance_image_id"),
        (without(REMOTE, glance_region=["two"]), "glance_region"),
        (without(REMOTE, glance_service_interface=5), "glance_service_interface"),
    ],
)
def test_row_11_another_region_s_image(caller: Caller, body: dict[str, Any], said: str) -> None:
    """It comes before the permission."""
    image_id = caller().create(**FORMATS)
    for roles in ("member,reader", "reader"):
        answer = start(caller(roles=roles, options=ALL_METHODS), image_id, body)
        assert answer.status_code == 400
        assert said in answer.text


def test_row_12_who_may_import(caller: Caller, execute: Execute) -> None:
    image_id = staged(caller())
    assert start(caller(roles="reader"), image_id, DIRECT).status_code == 403
    assert start(caller(project=STRANGER), image_id, DIRECT).status_code == 404
    assert caller(project=STRANGER).ask("GET", f"/v2/images/{image_id}/tasks").status_code == 404
    execute(sa.update(models.Image).values(visibility="public"))
    assert start(caller(project=STRANGER), image_id, DIRECT).status_code == 403
    assert start(caller(project=STRANGER, roles="admin"), image_id, DIRECT).status_code == 202


def test_row_12_who_may_copy(
    caller: Caller, any_status: Callable[[str], str], several_stores: str
) -> None:
    """An administrator, whatever project the image is of; not even its owner, unless policy says so."""
    image_id = any_status("active")
    body = COPY | {"stores": ["cheap"]}
    assert start(caller(options=several_stores), image_id, body).status_code == 403
    stranger = caller(project=STRANGER, options=several_stores)
    assert start(stranger, image_id, body).status_code == 404
    admin = caller(project="support", roles="admin", options=several_stores)
    assert start(admin, image_id, body).status_code == 202
    assert tasks_of(admin, image_id)[0]["owner"] == "support"


def test_policy_may_let_owners_copy(
    caller: Caller, any_status: Callable[[str], str], several_stores: str, tmp_path: Any
) -> None:
    image_id = any_status("active")
    rules = tmp_path / "policy.yaml"
    rules.write_text('copy_image: "role:member"\n')
    options = f"{several_stores}[oslo_policy]\npolicy_file = {rules}\n"
    assert start(caller(options=options), image_id, COPY | {"stores": ["cheap"]}).status_code == 202


@pytest.mark.parametrize("body", [{"stores": ["cheap"]}, {"stores": []}, {"all_stores": True}])
def test_row_13_the_lock(
    caller: Caller, any_status: Callable[[str], str], several_stores: str, body: dict[str, Any]
) -> None:
    """Of two copies the second is refused, before its stores are looked at."""
    image_id = any_status("active")
    admin = caller(roles="admin", options=several_stores)
    assert start(admin, image_id, COPY | {"stores": ["cheap"]}).status_code == 202
    first = admin.show(image_id)
    assert (first["status"], first["os_glance_importing_to_stores"]) == ("active", "cheap")
    assert start(admin, image_id, COPY | body).status_code == 409
    assert admin.show(image_id) == first
    assert len(tasks_of(admin, image_id)) == 1


@pytest.mark.parametrize("state", ["success", "failure", "missing"])
def test_row_13_a_lock_that_nobody_holds_any_more(
    caller: Caller,
    execute: Execute,
    any_status: Callable[[str], str],
    several_stores: str,
    state: str,
) -> None:
    """What a task that has ended has left behind, or one that was purged, keeps nobody out."""
    image_id = any_status("active")
    admin = caller(roles="admin", options=several_stores)
    execute(
        sa.insert(models.ImageProperty).values(
            image_id=image_id, name="os_glance_import_task", value=UUID
        )
    )
    if state != "missing":
        execute(
            sa.insert(models.Task).values(id=UUID, type="api_image_import", status=state, owner="p")
        )
    assert start(admin, image_id, COPY | {"stores": ["cheap"]}).status_code == 202
    assert admin.show(image_id)["os_glance_import_task"] == tasks_of(admin, image_id)[0]["id"]


def test_of_two_locks_one_is_taken(
    caller: Caller, any_status: Callable[[str], str], several_stores: str
) -> None:
    """Two requests that have both seen no lock: the table has room for one."""
    image_id = any_status("active")
    caller(roles="admin", options=several_stores)
    lock = {"os_glance_import_task": UUID}
    with db.transaction() as session:
        image = session.get_one(
            models.Image, image_id, options=[sa.orm.selectinload(models.Image.property_rows)]
        )
        session.execute(
            sa.insert(models.ImageProperty),
            [{"image_id": image_id, "name": n, "value": v} for n, v in lock.items()],
        )
        with pytest.raises(errors.Conflict):
            import_requests.mark(session, image, {"os_glance_import_task": "other"})
        session.rollback()


@pytest.mark.parametrize(
    ("more", "store", "code", "chosen"),
    [
        ({}, None, 202, ["fast"]),
        ({}, "cheap", 202, ["cheap"]),
        ({"stores": ["cheap", "fast"]}, None, 202, ["cheap", "fast"]),
        ({"stores": ["cheap", "cheap"]}, None, 202, ["cheap"]),
        ({"all_stores": True}, None, 202, ["fast", "cheap"]),
        ({"all_stores": False}, None, 202, ["fast"]),
        ({"all_stores": True, "all_stores_must_succeed": False}, None, 202, ["fast", "cheap"]),
        ({}, "unknown", 409, None),  # row 14
        ({"stores": ["unknown"]}, None, 409, None),
        ({"stores": ["fast", "unknown"]}, None, 409, None),
        ({"stores": ["web"]}, None, 409, None),
        ({"stores": ["os_glance_staging_store"]}, None, 409, None),
        ({"stores": ["fast"]}, "cheap", 400, None),  # row 15
        ({"all_stores": True}, "cheap", 400, None),
        ({"all_stores": True, "stores": ["fast"]}, None, 400, None),
        ({"stores": []}, None, 400, None),  # the last of the unnumbered rows
        ({"stores": "fast"}, None, 400, None),
        ({"stores": {"fast": 1}}, None, 400, None),
        ({"stores": [5]}, None, 400, None),
        ({"stores": [["fast"]]}, None, 400, None),
        ({"stores": [None]}, None, 400, None),
    ],
)
def test_rows_14_and_15_the_stores(
    caller: Caller,
    several_stores: str,
    more: dict[str, Any],
    store: str | None,
    code: int,
    chosen: list[str] | None,
) -> None:
    api = caller(options=several_stores)
    image_id = staged(api)
    headers = {"X-Image-Meta-Store": store} if store else {}
    answer = start(api, image_id, DIRECT | more, **headers)
    assert answer.status_code == code, answer.text
    if chosen:
        assert tasks_of(api, image_id)[0]["input"]["backend"] == chosen
        marks = api.show(image_id)["os_glance_importing_to_stores"]
        assert marks == ",".join(sorted(chosen))
    else:
        assert api.show(image_id)["status"] == "uploading"


def test_row_16_a_single_store_need_not_succeed(api: Api) -> None:
    """What `openstack image import` says by itself, and Glance refuses; with one store it changes nothing."""
    image_id = staged(api)
    more = {"all_stores": False, "all_stores_must_succeed": False}
    assert start(api, image_id, DIRECT | more).status_code == 202
    assert api.show(image_id)["status"] == "importing"


def test_a_list_of_stores_where_there_is_one(api: Api) -> None:
    """It is not looked at."""
    assert start(api, staged(api), DIRECT | {"stores": ["anything"]}).status_code == 202


@pytest.mark.parametrize(
    ("more", "store", "code", "chosen"),
    [
        ({"stores": ["fast"]}, None, 400, None),  # row 17
        ({"stores": ["cheap", "fast"]}, None, 400, None),
        ({}, "fast", 400, None),
        ({}, None, 400, None),  # the default store has it
        ({"stores": ["cheap"]}, None, 202, ["cheap"]),
        ({}, "cheap", 202, ["cheap"]),
        ({"all_stores": True}, None, 202, ["cheap"]),  # row 18
    ],
)
def test_rows_17_and_18_stores_that_hold_it(
    caller: Caller,
    any_status: Callable[[str], str],
    several_stores: str,
    more: dict[str, Any],
    store: str | None,
    code: int,
    chosen: list[str] | None,
) -> None:
    image_id = any_status("active")
    admin = caller(roles="admin", options=several_stores)
    headers = {"X-Image-Meta-Store": store} if store else {}
    answer = start(admin, image_id, COPY | more, **headers)
    assert answer.status_code == code, answer.text
    found = [task["input"]["backend"] for task in tasks_of(admin, image_id)]
    assert found == ([chosen] if chosen else [])
    assert admin.show(image_id)["status"] == "active"


def test_row_18_nothing_is_left_to_do(
    caller: Caller, any_status: Callable[[str], str], several_stores: str, execute: Execute
) -> None:
    image_id = any_status("active")
    place = {"image_id": image_id, "value": "file:///y", "meta_data": {"store": "cheap"}}
    execute(sa.insert(models.ImageLocation).values(**place))
    admin = caller(roles="admin", options=several_stores)
    before = admin.show(image_id)
    assert start(admin, image_id, COPY | {"all_stores": True}).status_code == 202
    assert (tasks_of(admin, image_id), admin.show(image_id)) == ([], before)


def test_copying_where_there_is_one_store(caller: Caller, any_status: Callable[[str], str]) -> None:
    """It holds the image already."""
    image_id = any_status("active")
    admin = caller(roles="admin")
    assert start(admin, image_id, COPY).status_code == 400
    assert start(admin, image_id, COPY | {"all_stores": True}).status_code == 202
    assert tasks_of(admin, image_id) == []


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "",
        5,
        ["http://example.org/"],
        "example.org/image",
        "file:///etc/passwd",
        "ftp://example.org/image",
        "http://[broken",
        "http://",
        "http://example.org:22/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://exa mple.org/",
    ],
)
def test_row_19_the_url(api: Api, uri: Any) -> None:
    """It comes last, behind the choice of stores."""
    image_id = api.create(**FORMATS)
    answer = start(api, image_id, without(WEB, "uri", **({} if uri is None else {"uri": uri})))
    assert answer.status_code == 400, answer.text
    assert (api.show(image_id)["status"], tasks_of(api, image_id)) == ("queued", [])
    assert start(api, image_id, WEB).status_code == 202


def test_row_19_the_endpoint_of_another_region(caller: Caller) -> None:
    """It passes the same lists; where nobody has a catalog, the operator's option names it."""
    image_id = caller().create(**FORMATS)
    answer = start(caller(options=ALL_METHODS), image_id, REMOTE)
    assert answer.status_code == 400
    assert "remote_regions" in answer.text
    inside = ALL_METHODS + "\n[gantry]\nremote_regions = two:http://example.org:9292\n"
    assert start(caller(options=inside), image_id, REMOTE).status_code == 400
    api = caller(options=f"{ALL_METHODS}\n{REGIONS}")
    assert start(api, image_id, REMOTE).status_code == 202
    assert api.show(image_id)["status"] == "importing"
    assert "example.org" not in str(tasks_of(api, image_id))


def test_the_mark_of_a_host_is_never_shown(api: Api, execute: Execute) -> None:
    """Row 20 is for services whose hosts do not share their staging; another Glance may have left marks."""
    image_id = staged(api)
    for name in ("os_glance_stage_host", "os_glance_hash_op_host"):
        mark = {"image_id": image_id, "name": name, "value": "http://other:9292"}
        execute(sa.insert(models.ImageProperty).values(**mark))
    assert "other:9292" not in str(api.show(image_id))
    assert "other:9292" not in api.ask("GET", "/v2/images").text
    assert start(api, image_id, DIRECT).status_code == 202
