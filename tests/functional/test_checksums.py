"""What an image's bytes are expected to digest to: asked for, compared, and refused (docs/publishers.md)."""

import hashlib
import pathlib
import random
import subprocess
from typing import Any

import pytest
import sqlalchemy as sa

from images import checksums, config, errors, imports, models, staging
from tests import web
from tests.functional.conftest import Api, Caller
from workers import jobs

FORMATS = {"disk_format": "raw", "container_format": "bare"}
DATA = random.Random(3).randbytes(3 << 20)  # noqa: S311 - the tests are named by its digest, in each process
OTHER = DATA[:-1] + bytes([DATA[-1] ^ 1])
ALGORITHMS = ["md5", "sha256", "sha384", "sha512"]
METHODS = ["glance-direct", "web-download"]
OPTIONS = "[import_filtering_opts]\nallowed_ports = []\n"
CONVERT = "[image_import_opts]\nimage_import_plugins = [image_conversion]\n"


def value_of(data: bytes, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, data).hexdigest()


def member(data: bytes, algorithm: str = "sha256") -> dict[str, Any]:
    return {"expected_checksum": {"algorithm": algorithm, "value": value_of(data, algorithm)}}


def begin(api: Api, image_id: str, **method: Any) -> str:
    """POST /import; the task's id."""
    answer = api.ask("POST", f"/v2/images/{image_id}/import", {"method": method})
    assert answer.status_code == 202, answer.text
    task_id: str = api.show(image_id)["os_glance_import_task"]
    return task_id


def brought(
    api: Api, method: str, data: bytes, url: str, **fields: str
) -> tuple[str, dict[str, str]]:
    """An image whose import by this method would bring the data: its id, and the method's members."""
    image_id = api.create(**FORMATS | fields)
    if method == "web-download":
        return image_id, {"name": method, "uri": f"{url}/image"}
    assert api.put(image_id, data, "stage").status_code == 204
    return image_id, {"name": method}


def message_of(api: Api, image_id: str) -> str:
    task = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"][0]
    assert task["status"] == "failure"
    message: str = task["message"]
    return message


def assert_undone(api: Api, image_id: str, room: pathlib.Path) -> None:
    """As any failed import leaves it (contract section 4.4)."""
    image = api.show(image_id)
    known = (image["status"], image["size"], image["checksum"], image["os_hash_value"])
    assert known == ("queued", None, None, None)
    assert "os_glance_import_task" not in image
    assert not list(room.glob(f"*/{image_id}*"))


@pytest.fixture
def api(caller: Caller) -> Api:
    """A service that may download from any port."""
    return caller(options=OPTIONS)


@pytest.mark.parametrize("way", ["member", "property"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_expected_is_imported(api: Api, method: str, algorithm: str, way: str) -> None:
    fields = {checksums.PROPERTY: f"{algorithm}:{value_of(DATA, algorithm)}"}
    with web.serving({"/image": web.whole(DATA)}) as url:
        image_id, named = brought(api, method, DATA, url, **fields if way == "property" else {})
        task_id = begin(
            api, image_id, **named | (member(DATA, algorithm) if way == "member" else {})
        )
        jobs.run_import(task_id)
    image = api.show(image_id)
    assert (image["status"], image["os_hash_value"]) == ("active", value_of(DATA, "sha512"))
    assert image["checksum"] == value_of(DATA, "md5")


@pytest.mark.parametrize("way", ["member", "property"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_other_data_are_refused(
    api: Api, tmp_path: pathlib.Path, method: str, algorithm: str, way: str
) -> None:
    """The task says both values, and the image may be imported again."""
    fields = {checksums.PROPERTY: f"{algorithm}:{value_of(DATA, algorithm)}"}
    with web.serving({"/image": web.whole(OTHER)}) as url:
        image_id, named = brought(api, method, OTHER, url, **fields if way == "property" else {})
        task_id = begin(
            api, image_id, **named | (member(DATA, algorithm) if way == "member" else {})
        )
        with pytest.raises(errors.ImportFailed):
            jobs.run_import(task_id)
    said = message_of(api, image_id)
    assert f"{algorithm} is {value_of(OTHER, algorithm)}" in said
    assert f"expected was {value_of(DATA, algorithm)}" in said
    assert_undone(api, image_id, tmp_path)
    assert api.put(image_id, DATA, "stage").status_code == 204


def test_both_ways_at_once(api: Api, tmp_path: pathlib.Path) -> None:
    """Each must hold; two that cannot both hold are refused at once."""
    image_id = api.create(**FORMATS, **{checksums.PROPERTY: f"sha256:{value_of(DATA)}"})
    assert api.put(image_id, DATA, "stage").status_code == 204
    path = f"/v2/images/{image_id}/import"
    answer = api.ask("POST", path, {"method": {"name": "glance-direct"} | member(OTHER)})
    assert (answer.status_code, api.show(image_id)["status"]) == (400, "uploading")
    assert value_of(OTHER) in answer.text
    task_id = begin(api, image_id, name="glance-direct", **member(OTHER, "sha512"))
    with pytest.raises(errors.ImportFailed, match="sha512"):
        jobs.run_import(task_id)
    assert_undone(api, image_id, tmp_path)


SOME = value_of(DATA)
IMPOSSIBLE = [
    ("sha1", "0" * 40),
    ("crc32", "0" * 8),
    ("", SOME),
    ("sha256", ""),
    ("sha256", SOME[:-1]),
    ("sha256", SOME + "0"),
    ("sha256", SOME[:-1] + "g"),
    ("sha256", SOME + "\n"),
    ("sha256", f" {SOME}"),
    ("sha512", SOME),
    ("sha256", "\u0660" * 64),
]


@pytest.mark.parametrize(("algorithm", "value"), IMPOSSIBLE)
def test_what_is_no_checksum_is_refused_at_the_request(
    api: Api, algorithm: str, value: str
) -> None:
    """Of an import as of an upload, before a byte is read."""
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA, "stage").status_code == 204
    said = {"expected_checksum": {"algorithm": algorithm, "value": value}}
    path = f"/v2/images/{image_id}/import"
    answer = api.ask("POST", path, {"method": {"name": "glance-direct"} | said})
    assert (answer.status_code, api.show(image_id)["status"]) == (400, "uploading")
    change = {"op": "add", "path": f"/{checksums.PROPERTY}", "value": f"{algorithm}:{value}"}
    assert api.patch(image_id, change).status_code == 200
    answer = api.ask("POST", path, {"method": {"name": "glance-direct"}})
    assert (answer.status_code, api.show(image_id)["status"]) == (400, "uploading")
    other = api.create(**FORMATS, **{checksums.PROPERTY: f"{algorithm}:{value}"})
    for what in ("stage", "file"):
        assert api.put(other, DATA, what).status_code == 400
        assert api.show(other)["status"] == "queued"


@pytest.mark.parametrize(
    "said",
    [
        None,
        SOME,
        [],
        {},
        {"algorithm": "sha256"},
        {"value": SOME},
        {"algorithm": ["sha256"], "value": SOME},
        {"algorithm": "sha256", "value": 5},
        {"algorithm": "sha256", "value": SOME, "salt": "x"},
    ],
)
def test_a_member_of_another_shape(api: Api, said: Any) -> None:
    image_id = api.create(**FORMATS)
    body = {
        "method": {"name": "web-download", "uri": "http://192.0.2.1/", "expected_checksum": said}
    }
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 400
    assert api.show(image_id)["status"] == "queued"


def test_capital_letters(api: Api) -> None:
    """As some publishers write them."""
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA, "stage").status_code == 204
    said = {"algorithm": "SHA256", "value": value_of(DATA).upper()}
    jobs.run_import(begin(api, image_id, name="glance-direct", expected_checksum=said))
    assert api.show(image_id)["status"] == "active"


def test_a_copy_brings_no_data(caller: Caller, several_stores: str) -> None:
    """The member is refused; the property was for the import, and means nothing to a copy."""
    api = caller(options=several_stores, roles="admin")
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    change = {"op": "add", "path": f"/{checksums.PROPERTY}", "value": f"sha256:{value_of(OTHER)}"}
    assert api.patch(image_id, change).status_code == 200
    body = {"method": {"name": "copy-image"} | member(DATA), "stores": ["cheap"]}
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 400
    body["method"] = {"name": "copy-image"}
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 202
    jobs.run_import(api.show(image_id)["os_glance_import_task"])
    assert api.show(image_id)["stores"] == "cheap,fast"


@pytest.mark.parametrize("data", [DATA, OTHER])
def test_an_upload(api: Api, tmp_path: pathlib.Path, data: bytes) -> None:
    """`openstack image create --file` asks by the property, too."""
    image_id = api.create(**FORMATS, **{checksums.PROPERTY: f"sha256:{value_of(DATA)}"})
    answer = api.put(image_id, data)
    if data == DATA:
        assert (answer.status_code, api.show(image_id)["status"]) == (204, "active")
        return
    assert answer.status_code == 400
    assert value_of(DATA) in answer.text
    assert value_of(OTHER) in answer.text
    assert_undone(api, image_id, tmp_path)
    assert api.put(image_id, DATA).status_code == 204


@pytest.mark.parametrize("fits", [True, False])
def test_it_is_of_the_bytes_that_came(caller: Caller, tmp_path: pathlib.Path, fits: bool) -> None:
    """Not of what a conversion makes of them."""
    api = caller(options=CONVERT)
    file = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(file), "1M"], check=True)
    image_id = api.create(disk_format="qcow2", container_format="bare")
    assert api.put(image_id, file.read_bytes(), "stage").status_code == 204
    expected = file.read_bytes() if fits else bytes(1 << 20)
    task_id = begin(api, image_id, name="glance-direct", **member(expected))
    if fits:
        jobs.run_import(task_id)
        image = api.show(image_id)
        assert (image["disk_format"], image["size"]) == ("raw", 1 << 20)
    else:
        with pytest.raises(errors.ImportFailed, match="sha256"):
            jobs.run_import(task_id)
        assert_undone(api, image_id, tmp_path)


@pytest.mark.parametrize("fits", [True, False])
def test_a_legacy_task(caller: Caller, fits: bool) -> None:
    """The properties are in its input; one that is no checksum is refused with it."""
    api = caller(roles="admin", options=OPTIONS)
    with web.serving({"/image": web.whole(DATA if fits else OTHER)}) as url:
        properties = FORMATS | {checksums.PROPERTY: "sha256:5"}
        document = {"import_from": f"{url}/image", "import_from_format": "raw"}
        body = {"type": "import", "input": document | {"image_properties": properties}}
        assert api.ask("POST", "/v2/tasks", body).status_code == 400
        properties[checksums.PROPERTY] = f"sha256:{value_of(DATA)}"
        task_id = api.ask("POST", "/v2/tasks", body).get_json()["id"]
        if fits:
            jobs.run_import(task_id)
        else:
            with pytest.raises(errors.ImportFailed, match=value_of(OTHER)):
                jobs.run_import(task_id)
    assert len(api.ask("GET", "/v2/images").get_json()["images"]) == fits


def test_another_worker_compares_too(api: Api, tmp_path: pathlib.Path, execute: Any) -> None:
    """What is expected is in the task, whatever has become of its first worker, and of the property."""
    with web.serving({"/image": web.whole(OTHER)}) as url:
        image_id, named = brought(api, "web-download", OTHER, url)
        task_id = begin(api, image_id, **named, **member(DATA))
        plan = imports.begin(task_id, "first")
        assert plan is not None
        assert plan.expected == {"sha256": value_of(DATA)}
        execute(sa.update(models.TaskRun).values(expires=0))
        with pytest.raises(errors.ImportFailed, match=value_of(OTHER)):
            jobs.run_import(task_id)
    assert_undone(api, image_id, tmp_path)


def test_the_bytes_are_read_once(api: Api) -> None:
    """All the digests are known when the last byte has been staged."""
    image_id = api.create(**FORMATS, **{checksums.PROPERTY: f"sha256:{value_of(DATA)}"})
    assert api.put(image_id, DATA, "stage").status_code == 204
    known = staging.facts(staging.path(image_id))
    assert known is not None
    assert known.made == {name: value_of(DATA, name) for name in ("md5", "sha256", "sha512")}
    assert config.CONF.hashing_algorithm == "sha512"
