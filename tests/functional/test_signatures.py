"""Signed images (contract section 4.9): what is verified, and what becomes of data that were not signed.

The certificates come from a server that answers as Vault does, through castellan's own driver. A real
Barbican is asked in tests/compat/test_signatures.py.
"""

import base64
import hashlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import exceptions
from cryptography.hazmat.primitives import serialization
from cursive import signature_utils

from images import errors, imports, models, signatures, staging
from tests import service, signing, web
from tests.functional.conftest import Api, Caller
from workers import jobs

FORMATS = {"disk_format": "raw", "container_format": "bare"}
DATA = os.urandom(3 << 20)
OTHER = DATA[:-1] + bytes([DATA[-1] ^ 1])
PORTS = web.LOOPBACK
CONVERT = "[image_import_opts]\nimage_import_plugins = [image_conversion]\n"


@pytest.fixture(scope="module")
def signers() -> dict[str, signing.Signer]:
    """One with a key of each kind."""
    return {kind: signing.signer(kind) for kind in signing.KINDS}


@pytest.fixture(scope="module")
def key_manager(signers: dict[str, signing.Signer]) -> Iterator[str]:
    """Options of a service whose key manager has their certificates."""
    with signing.vault(*signers.values()) as options:
        yield options


@pytest.fixture
def api(caller: Caller, key_manager: str) -> Api:
    """A service with that key manager, which may download from any port."""
    return caller(options=PORTS + key_manager)


@pytest.fixture
def signer(signers: dict[str, signing.Signer]) -> signing.Signer:
    """One of them."""
    return signers["ECC_SECP384R1"]


def start(api: Api, image_id: str, **method: str) -> int:
    path = f"/v2/images/{image_id}/import"
    status: int = api.ask("POST", path, {"method": method or {"name": "glance-direct"}}).status_code
    return status


def work(api: Api, image_id: str) -> str:
    """How the image's import ended, with the cause where it failed."""
    task_id = api.show(image_id)["os_glance_import_task"]
    try:
        return str(jobs.run_import(task_id))
    except errors.ImportFailed:
        tasks = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"]
        message: str = next(task["message"] for task in tasks if task["id"] == task_id)
        return message


def assert_undone(api: Api, image_id: str, room: pathlib.Path) -> None:
    image = api.show(image_id)
    known = (image["status"], image["size"], image["checksum"], image["os_hash_value"])
    assert known == ("queued", None, None, None)
    assert "os_glance_import_task" not in image
    assert not list(room.glob(f"*/{image_id}*"))


@pytest.mark.parametrize("method", signing.METHODS)
@pytest.mark.parametrize("kind", signing.KINDS)
def test_an_upload(
    api: Api, tmp_path: pathlib.Path, signers: dict[str, signing.Signer], kind: str, method: str
) -> None:
    """What was not signed is refused with 400, as Glance does, and leaves nothing; what was may follow."""
    image_id = api.create(**FORMATS, **signers[kind].properties(DATA, method))
    answer = api.put(image_id, OTHER)
    assert answer.status_code == 400
    assert "made of other data" in answer.text
    assert_undone(api, image_id, tmp_path)
    assert api.put(image_id, DATA).status_code == 204
    assert api.show(image_id)["status"] == "active"


@pytest.mark.parametrize("way", ["glance-direct", "web-download"])
@pytest.mark.parametrize("method", ["SHA-256", "SHA-512"])
def test_an_import(
    api: Api, tmp_path: pathlib.Path, signer: signing.Signer, way: str, method: str
) -> None:
    """The task fails, the image is queued again; the right data may follow."""
    answers = {"/other": web.whole(OTHER), "/image": web.whole(DATA)}
    with web.serving(answers) as url:
        image_id = api.create(**FORMATS, **signer.properties(DATA, method))
        for data, path in ((OTHER, "/other"), (DATA, "/image")):
            if way == "glance-direct":
                assert api.put(image_id, data, "stage").status_code == 204
                assert start(api, image_id) == 202
            else:
                assert start(api, image_id, name=way, uri=url + path) == 202
            said = work(api, image_id)
            if data == OTHER:
                assert "made of other data" in said
                assert_undone(api, image_id, tmp_path)
    assert api.show(image_id)["status"] == "active"


def test_its_digest_is_made_on_the_way(api: Api, signer: signing.Signer) -> None:
    image_id = api.create(**FORMATS, **signer.properties(DATA))
    assert api.put(image_id, DATA, "stage").status_code == 204
    known = staging.facts(staging.path(image_id))
    assert known is not None
    assert known.made["sha256"] == hashlib.sha256(DATA).hexdigest()


def test_the_bytes_that_are_stored_must_be_signed(
    caller: Caller, key_manager: str, tmp_path: pathlib.Path, signer: signing.Signer
) -> None:
    """Who downloads the image verifies these, so a conversion's outcome counts."""
    api = caller(options=CONVERT + key_manager)
    file = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(file), "1M"], check=True)
    for signed, fits in ((file.read_bytes(), False), (bytes(1 << 20), True)):
        fields = {"disk_format": "qcow2", "container_format": "bare"}
        image_id = api.create(**fields, **signer.properties(signed))
        assert api.put(image_id, file.read_bytes(), "stage").status_code == 204
        assert start(api, image_id) == 202
        said = work(api, image_id)
        assert (said == "active") is fits
        if not fits:
            assert "made of other data" in said
            assert_undone(api, image_id, tmp_path)


WRONG = [
    {"img_signature": "?"},
    {"img_signature": ""},
    {"img_signature": "QUJD" * 2000},
    {"img_signature_hash_method": "SHA-1"},
    {"img_signature_hash_method": "sha256"},
    {"img_signature_key_type": "RSA"},
    {"img_signature_key_type": "RSA-PSS"},  # the certificate's key is another one
    {"img_signature_certificate_uuid": "6b1a2a4c-5c92-4b35-a6f0-5d1b1c0a0c5e"},  # not there
    {"img_signature_certificate_uuid": "../../sys/seal"},
    {"img_signature_certificate_uuid": ""},
    {"img_signature_certificate_uuid": signing.NO_CERTIFICATE},
    {"img_signature_certificate_uuid": signing.BROKEN},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_properties_that_cannot_be(
    api: Api, tmp_path: pathlib.Path, signer: signing.Signer, wrong: dict[str, str]
) -> None:
    """400, before a byte is stored or an import begun; what is staged waits for better ones."""
    image_id = api.create(**FORMATS, **signer.properties(DATA) | wrong)
    answer = api.put(image_id, DATA)
    assert (answer.status_code, "Signature verification failed" in answer.text) == (400, True)
    assert answer.text.lower().count("signature verification") == 1
    assert_undone(api, image_id, tmp_path)
    assert api.put(image_id, DATA, "stage").status_code == 204
    assert start(api, image_id) == 400
    assert api.show(image_id)["status"] == "uploading"
    assert "os_glance_import_task" not in api.show(image_id)
    changes = signer.properties(DATA).items()
    api.patch(image_id, *({"op": "replace", "path": f"/{n}", "value": v} for n, v in changes))
    assert start(api, image_id) == 202
    assert work(api, image_id) == "active"


@pytest.mark.parametrize("missing", signatures.PROPERTIES)
def test_fewer_than_four_are_passed_over(api: Api, signer: signing.Signer, missing: str) -> None:
    fields = signer.properties(DATA)
    del fields[missing]
    assert api.put(api.create(**FORMATS, **fields), OTHER).status_code == 204


def test_a_key_manager_that_is_away(caller: Caller, signer: signing.Signer) -> None:
    """As Glance: 400, and the image may be tried again."""
    port = service.free_port()
    nobody = f"[key_manager]\nbackend = vault\n[vault]\nvault_url = http://127.0.0.1:{port}\n"
    api = caller(options=f"{nobody}root_token_id = token\n")
    image_id = api.create(**FORMATS, **signer.properties(DATA))
    answer = api.put(image_id, DATA)
    assert (answer.status_code, api.show(image_id)["status"]) == (400, "queued")
    assert signer.certificate_id in answer.text
    assert str(port) not in answer.text


def test_another_worker_verifies_too(
    api: Api, tmp_path: pathlib.Path, execute: Any, signer: signing.Signer
) -> None:
    """By what the task says, whatever has become of the properties since."""
    image_id = api.create(**FORMATS, **signer.properties(DATA))
    assert api.put(image_id, OTHER, "stage").status_code == 204
    assert start(api, image_id) == 202
    change = {"op": "remove", "path": "/img_signature"}
    assert api.patch(image_id, change).status_code == 200
    plan = imports.begin(api.show(image_id)["os_glance_import_task"], "first")
    assert plan is not None
    execute(sa.update(models.TaskRun).values(expires=0))
    assert "made of other data" in work(api, image_id)
    assert_undone(api, image_id, tmp_path)


def test_a_legacy_task_is_refused(caller: Caller, key_manager: str, signer: signing.Signer) -> None:
    """Rather than not verified."""
    api = caller(options=key_manager, roles="admin")
    document = {"import_from": "http://192.0.2.1/", "import_from_format": "raw"}
    document["image_properties"] = FORMATS | signer.properties(DATA)  # type: ignore[assignment]
    assert api.ask("POST", "/v2/tasks", {"type": "import", "input": document}).status_code == 400


@pytest.mark.parametrize("data", [DATA, OTHER])
@pytest.mark.parametrize("method", signing.METHODS)
@pytest.mark.parametrize("kind", signing.KINDS)
def test_the_verdict_is_cursive_s(
    signers: dict[str, signing.Signer], kind: str, method: str, data: bytes
) -> None:
    """Of a digest that was made elsewhere, as of the data themselves."""
    one = signers[kind]
    value = one.signature(DATA, method)
    algorithm = method.replace("-", "").lower()
    pem = one.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claim = one.properties(DATA, method)
    ours = signatures.Signature(claim, algorithm, base64.b64encode(value).decode(), pem.decode())
    theirs = signature_utils.SignatureKeyType.lookup(kind).create_verifier(
        value, signature_utils.get_hash_method(method), one.key.public_key()
    )
    theirs.update(data)
    made = {algorithm: hashlib.new(algorithm, data).hexdigest()}
    if data == DATA:
        theirs.verify()
        signatures.verify(ours, made)
    else:
        with pytest.raises(exceptions.InvalidSignature):
            theirs.verify()
        with pytest.raises(errors.WrongData):
            signatures.verify(ours, made)


def test_what_signatures_need_is_not_loaded_without_one() -> None:
    """Neither by the API nor by a worker."""
    look = "import sys, api.app, workers.app; print({'cursive', 'castellan'} & set(sys.modules))"
    command = [sys.executable, "-W", "ignore", "-c", look]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=service.ROOT)
    assert done.stdout.strip() == "set()"
