"""A third party's plugins: a file and a line for each in a distribution that nobody here knows."""

import pathlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from flows import import_image
from images import db, errors, models, staging
from tests.functional import distributions, importing
from tests.functional.conftest import Caller

MODULE = '''
"""What Acme adds: images that are counted out, and a mark at their end."""

import io

from taskflow import task

from images import errors, methods, staging, task_secrets


class Count:
    """Brings as many bytes as the request says."""

    name = "acme-count"
    accepts = ("queued",)
    rule = "modify_image"
    queue = "fetch"

    def check(self, fields):
        if not isinstance(fields.get("size"), int):
            raise errors.Invalid("acme-count needs a size")

    def origin(self, asker, fields):
        return task_secrets.seal({"key": "of Acme's counter"})

    def fetch(self, image_id, fields, *, run, digest, on_bytes):
        size = fields["size"]
        assert task_secrets.of_task(run.task_id) == {"key": "of Acme's counter"}
        facts = staging.receive(
            image_id,
            io.BytesIO(b"7" * size),
            digest=digest,
            on_bytes=lambda done: on_bytes(done, size),
        )
        return methods.Fetched(facts)


class Sign(task.Task):
    """Writes a mark behind the data."""

    default_provides = "staged"

    def __init__(self):
        super().__init__("acme-sign")

    def execute(self, watch, staged):
        if staged["size"] > 1000:
            raise errors.ImportFailed("Acme signs no more than 1000 bytes")
        source = open(staged["path"], "rb")
        signed = staging.path(watch.plan.image_id, f".{watch.plan.lease.attempt}.signed")
        with source, open(signed, "wb") as target:
            target.write(source.read() + b"-acme")
            watch.report(self.name, staged["size"], staged["size"])
        properties = staged.get("properties", {}) | {"acme_signed": "yes"}
        size = staged["size"] + len(b"-acme")
        return staged | {"path": str(signed), "size": size, "properties": properties}
'''
ENTRY_POINTS = """
[gantry.import_methods]
acme-count = acme_images:Count

[gantry.import_steps]
acme_sign = acme_images:Sign
"""
OPTIONS = """
enabled_import_methods = [acme-count]
[image_import_opts]
image_import_plugins = [no_op,acme_sign,image_decompression]
"""


@pytest.fixture
def installed(tmp_path: pathlib.Path) -> Iterator[None]:
    with distributions.installed(tmp_path / "site", MODULE, ENTRY_POINTS):
        yield


@pytest.mark.usefixtures("installed")
def test_an_import_through_both(caller: Caller) -> None:
    """The record speaks of what the step has made, staging is empty, and nothing is kept that was secret."""
    api = caller(options=OPTIONS)
    assert "acme-count" in api.ask("GET", "/v2/info/import").text
    image_id = api.create(**importing.FORMATS)
    image = importing.imported(api, image_id, {"name": "acme-count", "size": 40})
    assert image["size"] == 45
    assert image["acme_signed"] == "yes"
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == b"7" * 40 + b"-acme"
    assert list(staging.path().iterdir()) == []
    with db.reading() as session:
        assert session.scalars(sa.select(models.TaskSecret)).all() == []


@pytest.mark.usefixtures("installed")
def test_their_refusals_are_told(caller: Caller) -> None:
    """The method's in the answer, the step's in the task; nothing is left over."""
    api = caller(options=OPTIONS)
    image_id = api.create(**importing.FORMATS)
    wrong = {"method": {"name": "acme-count", "size": "many"}}
    answer = api.ask("POST", f"/v2/images/{image_id}/import", wrong)
    assert answer.status_code == 400
    assert "needs a size" in answer.text
    said = importing.refused(api, image_id, {"name": "acme-count", "size": 1001})
    assert said == "Acme signs no more than 1000 bytes"
    assert api.show(image_id)["status"] == "queued"
    assert list(staging.path().iterdir()) == []


def test_what_is_not_installed_is_not_there(caller: Caller) -> None:
    """Requests are told so, and a worker that should use it does not start."""
    api = caller(options=OPTIONS)
    image_id = api.create(**importing.FORMATS)
    body = {"method": {"name": "acme-count", "size": 40}}
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 400
    with pytest.raises(errors.Invalid, match="there is no plugin acme_sign"):
        import_image.plugins()
