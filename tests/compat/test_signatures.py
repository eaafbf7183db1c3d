"""Signed images with a real Barbican behind a real Keystone (contract section 4.9)."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization

from tests import barbican, keystone, service, signing

DATA = os.urandom(3 << 20)
OTHER = DATA[:-1] + bytes([DATA[-1] ^ 1])
_IMAGE = {"container_format": "bare", "disk_format": "raw"}


class Cloud(NamedTuple):
    """An image service, and somebody whose certificate Barbican has."""

    images: service.Service
    token: str
    signer: signing.Signer
    #: Of a user of another project, who may not read it.
    stranger: str

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """One request."""
        return self.images.ask(method, path, body, X_Auth_Token=token or self.token)

    def create(self, token: str = "") -> str:
        """A signed image's id."""
        made = self.ask("POST", "/v2/images", _IMAGE | self.signer.properties(DATA), token)
        assert made.status == 201, made.data
        image_id: str = made.json()["id"]
        return image_id

    def status(self, image_id: str) -> str:
        """The image's."""
        status: str = self.ask("GET", f"/v2/images/{image_id}").json()["status"]
        return status


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """API and worker behind Keystone and Barbican."""
    with keystone.running(tmp_path_factory.mktemp("keystone")) as identity:
        tokens = []
        for project in ("ours", "theirs"):
            identity.user(f"member-{project}", project, "member")
            tokens.append(identity.token(f"member-{project}", project=project))
        with barbican.running(tmp_path_factory.mktemp("barbican"), identity) as keys:
            made = signing.signer("RSA-PSS")
            pem = made.certificate(serialization.Encoding.PEM)
            certificate_id = keys.keep_certificate(tokens[0], pem)
            signer = signing.Signer(made.kind, made.key, certificate_id)
            state = tmp_path_factory.mktemp("gantry")
            options = identity.options() + keys.options(identity)
            with service.running(state, "api", "worker", options=options) as images:
                yield Cloud(images, tokens[0], signer, tokens[1])


def test_an_upload(cloud: Cloud) -> None:
    """The certificate is read with the caller's token."""
    image_id = cloud.create()
    path = f"/v2/images/{image_id}/file"
    refused = cloud.ask("PUT", path, OTHER)
    assert refused.status == 400
    assert b"made of other data" in refused.data, refused.data
    assert (cloud.status(image_id), cloud.images.left_over()) == ("queued", [])
    answer = cloud.ask("PUT", path, DATA)
    assert answer.status == 204, answer.data
    assert cloud.status(image_id) == "active"
    assert cloud.ask("DELETE", f"/v2/images/{image_id}").status == 204


def test_an_import(cloud: Cloud) -> None:
    """The worker has no token, and needs none."""
    image_id = cloud.create()
    for data, status in ((OTHER, "queued"), (DATA, "active")):
        assert cloud.ask("PUT", f"/v2/images/{image_id}/stage", data).status == 204
        body = {"method": {"name": "glance-direct"}}
        assert cloud.ask("POST", f"/v2/images/{image_id}/import", body).status == 202

        def ended() -> str | None:
            now = cloud.status(image_id)
            return now if now in ("queued", "active") else None

        assert service.wait_for(ended, "the import to end") == status
    tasks = cloud.ask("GET", f"/v2/images/{image_id}/tasks").json()["tasks"]
    said = {task["status"]: task["message"] for task in tasks}
    assert "made of other data" in said["failure"]
    assert cloud.ask("DELETE", f"/v2/images/{image_id}").status == 204
    assert cloud.images.left_over() == []


def test_a_certificate_that_the_caller_may_not_read(cloud: Cloud) -> None:
    image_id = cloud.create(cloud.stranger)
    refused = cloud.ask("PUT", f"/v2/images/{image_id}/file", DATA, cloud.stranger)
    assert refused.status == 400
    assert cloud.signer.certificate_id.encode() in refused.data
    assert cloud.images.left_over() == []
