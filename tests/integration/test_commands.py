"""The commands of operators on every database; what they say is tested in tests/functional."""

import contextlib
import json
import pathlib
import uuid
from collections.abc import Iterator

import pytest

from api import app
from images import db, policy
from tests import commands
from tests.conftest import Configure
from tests.functional.conftest import Api
from tests.integration import databases, glance_definitions

DATA = b"the data" * 500
FORMATS = {"disk_format": "raw", "container_format": "bare"}
BASE = "/v2/metadefs/namespaces"


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def file(
    request: pytest.FixtureRequest, configure: Configure, tmp_path: pathlib.Path
) -> Iterator[pathlib.Path]:
    """A configuration with a database that has its tables."""
    with contextlib.ExitStack() as stack:
        made = tmp_path / "whole.conf"
        lines = "[DEFAULT]\ndelayed_delete = true\n[database]\n"
        if request.param == "sqlite":
            lines += f"connection = sqlite:///{tmp_path}/gantry.sqlite\n"
        else:
            lines += f"connection = {stack.enter_context(getattr(databases, request.param)())}\n"
        lines += f"[glance_store]\nfilesystem_store_datadir = {tmp_path}/images\n"
        made.write_text(f"{lines}[gantry]\nstate_path = {tmp_path}\nbroker_url = memory://\n")
        db.dispose()
        policy.reset()
        assert commands.run(made, "gantry db sync").code == 0
        assert commands.run(made, "glance-manage db check").code == 0
        yield made
        db.dispose()
        policy.reset()


@pytest.fixture
def api(file: pathlib.Path) -> Api:
    return Api(app.create_app([str(file)]))


def deleted(api: Api) -> str:
    """An image with one of each part that waits to be scrubbed."""
    image_id = str(uuid.uuid4())
    api.create(id=image_id, some="property", tags=["a"], **FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    member = api.ask("POST", f"/v2/images/{image_id}/members", {"member": "friend"})
    assert member.status_code == 200
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    return image_id


def test_ossn_0075_r19_r20_r21(file: pathlib.Path, api: Api) -> None:
    """Deleted, restored, deleted, scrubbed, purged; the id stays taken until the last row is gone."""
    image_id = deleted(api)
    assert commands.run(file, "gantry scrubber --restore", image_id).code == 0
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert api.show(image_id)["some"] == "property"
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert commands.run(file, "glance-manage db purge --age_in_days 0").code == 0
    ended = commands.run(file, "glance-manage db purge_images_table --age_in_days 0")
    assert "1 rows stay" in ended.out
    assert commands.run(file, "glance-scrubber").out == "1 images scrubbed\n"
    purged = commands.run(file, "glance-manage db purge --age_in_days 0")
    assert "image_locations: 1 rows" in purged.out
    assert api.ask("POST", "/v2/images", {"id": image_id}).status_code == 409
    gone = commands.run(file, "glance-manage db purge_images_table --age_in_days 0 --max_rows -1")
    assert gone.out == "images: 1 rows removed\n"
    assert api.ask("POST", "/v2/images", {"id": image_id}).status_code == 201


def test_glance_s_definitions_load_unchanged(
    file: pathlib.Path, api: Api, tmp_path: pathlib.Path
) -> None:
    """Every file of its directory; and the API shows what stands in it."""
    place = glance_definitions.directory(tmp_path)
    documents = [json.loads(one.read_text()) for one in sorted(place.glob("*.json"))]
    ended = commands.run(file, "glance-manage db load_metadefs --path", str(place))
    assert (ended.code, ended.err, ended.out.count(" loaded\n")) == (0, "", len(documents))
    assert len(documents) > 30
    for one in documents:
        shown = api.ask("GET", f"{BASE}/{one['namespace']}").get_json()
        assert shown.get("properties", {}) == one.get("properties", {})
        groups = {one["name"] for one in shown.get("objects", [])}
        assert groups == {group["name"] for group in one.get("objects", [])}
        types = {kind["name"]: kind for kind in shown.get("resource_type_associations", [])}
        for wanted in one["resource_type_associations"]:
            assert types[wanted["name"]].items() >= wanted.items()
    again = commands.run(
        file, "glance-manage db load_metadefs --merge --prefer_new --path", str(place)
    )
    assert again.out.count(" merged\n") == len(documents)
    out = tmp_path / "out"
    assert commands.run(file, "gantry db export_metadefs --path", str(out)).code == 0
    assert len(list(out.iterdir())) == len(documents)
    anew = commands.run(file, "gantry db load_metadefs --merge --overwrite --path", str(out))
    assert anew.out.count(" overwritten\n") == len(documents)
    assert f"{len(documents)} namespaces" in commands.run(file, "gantry db unload_metadefs").out
