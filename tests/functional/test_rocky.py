"""The Rocky release, item by item: what needs no process of its own (tests/system/long has the rest).

A test's name has the number of the release note's item; several items are tested where their subject is.
"""

import hashlib
import os
import pathlib
import subprocess

import pytest

from images import errors, options, store_options
from tests import service, web
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from workers import jobs

MIB = 1 << 20
DATA = os.urandom(MIB)
ROOT = service.ROOT
CONVERSION = (
    f"{web.LOOPBACK}"
    "[image_import_opts]\nimage_import_plugins = [image_conversion]\n"
    "[image_conversion]\noutput_format = {target}\n"
)
QCOW2 = {"disk_format": "qcow2"}


def qcow2(room: pathlib.Path, raw: bytes = DATA, *words: str) -> bytes:
    """A qcow2 with these data."""
    source, made = room / "source.raw", room / "made.qcow2"
    source.write_bytes(raw)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *words, str(source), str(made)]
    subprocess.run(command, check=True)
    return made.read_bytes()


def data_of(api: Api, image_id: str) -> bytes:
    data: bytes = api.ask("GET", f"/v2/images/{image_id}/file").data
    return data


def versions(api: Api) -> dict[str, str]:
    found = api.ask("GET", "/versions").get_json()["versions"]
    return {one["id"]: one["status"] for one in found}


def listed(api: Api, query: str = "") -> list[str]:
    return [one["id"] for one in api.ask("GET", f"/v2/images{query}").get_json()["images"]]


def uploaded(api: Api, data: bytes = DATA, **fields: str) -> str:
    image_id = api.create(**(importing.FORMATS | fields))
    assert api.put(image_id, data).status_code == 204
    return image_id


def refused(caller: Caller, lines: str) -> str:
    """The one line with which an impossible value stops the start."""
    with pytest.raises(SystemExit) as stopped:
        caller(options=lines)
    text = str(stopped.value)
    assert "\n" not in text
    caller()
    return text


def test_r07_version_2_7(api: Api) -> None:
    found = versions(api)
    older = [f"v2.{number}" for number in range(7, -1, -1)]
    assert [one for one in found if one in older] == older
    assert {found[one] for one in older} == {"SUPPORTED"}
    assert api.ask("GET", "/versions").status_code == 200


def test_r08_version_2_8_comes_with_several_stores(caller: Caller, several_stores: str) -> None:
    of_stores = {"v2.8", "v2.10", "v2.11", "v2.12", "v2.13"}
    api = caller()
    assert not of_stores & versions(api).keys()
    assert api.ask("GET", "/v2.8/images").status_code == 300
    api = caller(options=several_stores)
    assert of_stores <= versions(api).keys()
    assert api.ask("GET", "/v2.8/images").status_code == 200


@pytest.mark.parametrize("path", ["/v1", "/v1/images", "/v1/images/detail"])
def test_r09_version_1_is_gone(api: Api, path: str) -> None:
    answer = api.ask("GET", path)
    assert answer.status_code == 300
    assert not [one for one in answer.get_json()["versions"] if one["id"].startswith("v1")]
    api.ask("POST", path, {"name": "n"}, headers={"x-image-meta-name": "n"})
    assert listed(api) == []


def test_r10_hidden_images(api: Api) -> None:
    image_id = api.create(os_hidden=True)
    assert listed(api) == []
    assert listed(api, "?os_hidden=true") == [image_id]
    assert api.show(image_id)["os_hidden"] is True
    assert api.ask("GET", "/v2/images?os_hidden=x").status_code == 400
    api.patch(image_id, {"op": "replace", "path": "/os_hidden", "value": False})
    assert listed(api) == [image_id]


def test_r11_multihash_of_uploads_and_imports(api: Api) -> None:
    image_id = importing.staged(api, DATA)
    for record in (api.show(uploaded(api)), importing.imported(api, image_id)):
        made = hashlib.new(record["os_hash_algo"], data_of(api, record["id"])).hexdigest()
        assert record["os_hash_value"] == made


@pytest.mark.parametrize("name", ["os_hash_algo", "os_hash_value"])
@pytest.mark.parametrize("operation", ["add", "replace", "remove"])
def test_r12_multihash_is_read_only(api: Api, name: str, operation: str) -> None:
    image_id = uploaded(api)
    before = api.show(image_id)
    value = {} if operation == "remove" else {"value": "md5"}
    change = {"op": operation, "path": f"/{name}"} | value
    assert api.patch(image_id, change).status_code == 403
    assert api.show(image_id) == before


def test_r13_the_operator_chooses_the_algorithm(caller: Caller) -> None:
    older = uploaded(caller())
    api = caller(options="hashing_algorithm = sha256\n")
    record = api.show(uploaded(api))
    assert (record["os_hash_algo"], len(record["os_hash_value"])) == ("sha256", 64)
    assert api.show(older)["os_hash_algo"] == "sha512"


def test_r14_sha512_by_default(api: Api) -> None:
    record = api.show(uploaded(api))
    assert (record["os_hash_algo"], len(record["os_hash_value"])) == ("sha512", 128)


def test_r15_the_md5_checksum_stays(api: Api) -> None:
    image_id = uploaded(api)
    made = hashlib.md5(DATA).hexdigest()  # noqa: S324 - Glance's checksum
    assert api.show(image_id)["checksum"] == made
    assert api.ask("GET", f"/v2/images/{image_id}/file").headers["Content-MD5"] == made


def test_r16_a_hash_has_at_most_128_characters(caller: Caller) -> None:
    schema = caller().ask("GET", "/v2/schemas/image").get_json()
    assert schema["properties"]["os_hash_value"]["maxLength"] == 128
    for name in ("no-such-algorithm", "shake_256"):
        assert name in refused(caller, f"hashing_algorithm = {name}\n")


def test_r25_conversion_when_staged_data_are_imported(
    caller: Caller, tmp_path: pathlib.Path
) -> None:
    api = caller(options=CONVERSION.format(target="raw"))
    image_id = importing.staged(api, qcow2(tmp_path), **QCOW2)
    record = importing.imported(api, image_id)
    assert (record["disk_format"], record["size"], record["virtual_size"]) == ("raw", MIB, MIB)
    assert data_of(api, image_id) == DATA


def test_r25_conversion_when_a_url_is_imported(caller: Caller, tmp_path: pathlib.Path) -> None:
    api = caller(options=CONVERSION.format(target="raw"))
    with web.serving({"/q": web.whole(qcow2(tmp_path))}) as url:
        image_id = api.create(**(importing.FORMATS | QCOW2))
        record = importing.imported(api, image_id, {"name": "web-download", "uri": f"{url}/q"})
    assert (record["disk_format"], record["size"], record["virtual_size"]) == ("raw", MIB, MIB)
    assert data_of(api, image_id) == DATA


def test_r26_the_operator_chooses_the_target(caller: Caller) -> None:
    api = caller(options=CONVERSION.format(target="qcow2"))
    record = importing.imported(api, importing.staged(api, DATA))
    assert record["disk_format"] == "qcow2"
    assert data_of(api, record["id"])[:4] == b"QFI\xfb"
    assert "output_format" in refused(caller, CONVERSION.format(target="qed"))


def test_r27_a_failed_conversion_fails_the_image(caller: Caller, tmp_path: pathlib.Path) -> None:
    api = caller(options=CONVERSION.format(target="raw"))
    whole = qcow2(tmp_path)
    # The inspector finds a qcow2; qemu-img finds that its table of clusters begins in no cluster.
    broken = whole[:40] + (1).to_bytes(8) + whole[48:]
    image_id = importing.staged(api, broken, **QCOW2)
    importing.refused(api, image_id)
    record = api.show(image_id)
    assert record["status"] == "queued"
    assert "os_glance_import_task" not in record
    assert not [file for file in (tmp_path / "images").glob("*") if image_id in file.name]
    assert api.put(image_id, qcow2(tmp_path), "stage").status_code == 204
    assert importing.imported(api, image_id)["status"] == "active"


def test_r28_a_format_that_qemu_img_does_not_know(caller: Caller) -> None:
    api = caller(options=CONVERSION.format(target="raw"))
    image_id = importing.staged(api, DATA, disk_format="ploop")
    assert "ploop" in importing.refused(api, image_id)


def test_r28_a_backing_file_is_refused(caller: Caller, tmp_path: pathlib.Path) -> None:
    api = caller(options=CONVERSION.format(target="raw"))
    (tmp_path / "base.raw").write_bytes(DATA)
    made = tmp_path / "over.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b"]
    subprocess.run([*command, str(tmp_path / "base.raw"), str(made)], check=True)
    image_id = importing.staged(api, made.read_bytes(), **QCOW2)
    assert "backing" in importing.refused(api, image_id)


def test_r29_users_cannot_influence_the_conversion(caller: Caller, tmp_path: pathlib.Path) -> None:
    options_ = CONVERSION.format(target="raw")
    file = qcow2(tmp_path)
    seen = []
    for project in ("one", "two"):
        api = caller(project=project, options=options_)
        image_id = importing.staged(
            api, file, output_format="vmdk", conversion_format="vmdk", **QCOW2
        )
        method = {"name": "glance-direct", "output_format": "vmdk"}
        record = importing.imported(api, image_id, method, output_format="vmdk")
        seen.append((record["disk_format"], record["os_hash_value"]))
    assert seen == [("raw", hashlib.sha512(DATA).hexdigest())] * 2


def test_r30_the_checksum_is_of_the_converted_data(caller: Caller, tmp_path: pathlib.Path) -> None:
    api = caller(options=CONVERSION.format(target="raw"))
    file = qcow2(tmp_path)
    record = importing.imported(api, importing.staged(api, file, **QCOW2))
    got = hashlib.md5(data_of(api, record["id"])).hexdigest()  # noqa: S324
    assert record["checksum"] == got
    assert record["checksum"] != hashlib.md5(file).hexdigest()  # noqa: S324


def test_r31_several_stores(caller: Caller, several_stores: str) -> None:
    assert caller(options=several_stores).ask("GET", "/v2/images").status_code == 200
    nowhere = several_stores.replace("default_backend = fast", "")
    assert "default_backend" in refused(caller, nowhere)
    reserved = several_stores.replace("cheap:file", "os_glance_x:file").replace("cheap", "x")
    assert "os_glance_" in refused(caller, reserved)


@pytest.mark.parametrize(("store", "place"), [("cheap", "cheap"), (None, "fast")])
def test_r32_an_upload_into_a_chosen_store(
    caller: Caller, several_stores: str, tmp_path: pathlib.Path, store: str | None, place: str
) -> None:
    api = caller(options=several_stores)
    image_id = api.create(**importing.FORMATS)
    headers = {"X_Image_Meta_Store": store} if store else {}
    assert api.put(image_id, DATA, **headers).status_code == 204
    found = [one for one in ("fast", "cheap") if (tmp_path / one / image_id).exists()]
    assert found == [place]


def test_r32_an_unknown_store(caller: Caller, several_stores: str) -> None:
    api = caller(options=several_stores)
    image_id = api.create(**importing.FORMATS)
    assert api.put(image_id, DATA, X_Image_Meta_Store="nowhere").status_code == 400


def test_r33_an_import_into_a_chosen_store(
    caller: Caller, several_stores: str, tmp_path: pathlib.Path
) -> None:
    api = caller(options=several_stores)
    image_id = importing.staged(api, DATA)
    path, body = f"/v2/images/{image_id}/import", {"method": {"name": "glance-direct"}}
    headers = {"X-Image-Meta-Store": "nowhere"}
    assert api.ask("POST", path, body, headers=headers).status_code == 409
    answer = api.ask("POST", path, body, headers={"X-Image-Meta-Store": "cheap"})
    assert answer.status_code == 202
    assert jobs.run_import(importing.task_of(api, image_id)["id"]) == "active"
    assert (tmp_path / "cheap" / image_id).read_bytes() == DATA
    assert not (tmp_path / "fast" / image_id).exists()


def test_r34_stores_are_discovered(caller: Caller, several_stores: str) -> None:
    assert caller().ask("GET", "/v2/info/stores").status_code == 404
    api = caller(options=several_stores)
    found = {one["id"]: one for one in api.ask("GET", "/v2/info/stores").get_json()["stores"]}
    assert found["fast"] == {"id": "fast", "description": "SSD", "default": "true"}
    assert found["web"]["read-only"] == "true"
    made = api.ask("POST", "/v2/images", {})
    assert set(made.headers["OpenStack-image-store-ids"].split(",")) == {"fast", "cheap", "web"}


@pytest.mark.parametrize("kind", ["file", "http", "S3", "Swift", "RBD"])
def test_r35_the_documentation_says_what_drivers_were_tested_with(kind: str) -> None:
    text = (ROOT / "docs/stores.md").read_text()
    tested = text.partition("## What was tested with what")[2]
    assert f"| {kind} |" in tested


def test_r42_the_oldest_glance_store() -> None:
    pins = (ROOT / "requirements.txt").read_text()
    assert "glance-store==" in pins
    store_options.check_version("0.26.1")
    store_options.check_version("5.7.0")
    for old in ("0.26.0", "0.9", "0.26.0.dev3"):
        with pytest.raises(errors.Invalid, match="too old"):
            store_options.check_version(old)


def test_r46_the_end_of_owner_is_tenant_is_announced() -> None:
    (option,) = [one for one in options.GROUPS[None] if one.name == "owner_is_tenant"]
    assert "next major release" in str(option.deprecated_reason)
    assert "`owner_is_tenant = false` is honoured and deprecated; it goes with 1.0" in (
        ROOT / "CHANGELOG.md"
    ).read_text().replace("\n  ", " ")


@pytest.mark.parametrize(
    "languages",
    ["xx", "de-CH, de;q=0.9", "*;q=0", "; q=, ,", "de;q=nonsense", "\u00fc", "a" * 4000],
)
def test_r49_any_language_gets_the_same_answer(api: Api, languages: str) -> None:
    headers = {"Accept-Language": languages.encode().decode("latin-1")}
    for path in ("/v2/images", "/v2/images/00000000-0000-0000-0000-000000000000", "/versions"):
        plain, spoken = api.ask("GET", path), api.ask("GET", path, headers=headers)
        assert (spoken.status_code, spoken.data) == (plain.status_code, plain.data)
        assert spoken.status_code < 500


@pytest.mark.parametrize("kind", ["", "*/*", "text/html", "application/json", "nonsense", "a/b;q="])
def test_r49_any_accept_gets_the_data(api: Api, kind: str) -> None:
    image_id = uploaded(api)
    answer = api.ask("GET", f"/v2/images/{image_id}/file", headers={"Accept": kind})
    assert (answer.status_code, answer.data) == (200, DATA)


def test_r51_contributors_are_told_what_to_do() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    named = {word.strip("`") for word in text.split("make ")[1:] for word in word.split()[:1]}
    targets = {line.partition(":")[0] for line in makefile.splitlines() if ":.*" not in line}
    assert {"test", "run", "integration", "compat"} <= named
    assert named <= targets
