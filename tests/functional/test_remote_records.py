"""What the image service of another region may answer for a record (glance-download)."""

import pytest

from tests import web
from tests.functional import importing
from tests.functional.conftest import Caller

UUID = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (rb'{"size": 5, "status": "a\u0000\ud800\ud83d\ude00"}', r"'a\x00\ud800\U0001f600'"),
        (b'{"size": 5, "status": "%s"}' % (b"x" * 100_000), "xxx"),
        (b'{"size": 5, "status": ["active"]}', "the image is none"),
        (rb'{"size": 5, "status": "active", "disk_format": "\u0000"}', r"disk_format '\x00'"),
        (b'{"size": %d, "status": "active"}' % 10**30, "does not answer as"),
        (b'{"size": -5, "status": "active"}', "does not answer as"),
        (b"[" * 100_000, "does not answer as"),
    ],
    ids=["characters", "long", "list", "format", "huge", "negative", "deep"],
)
def test_a_record_that_no_database_takes(caller: Caller, record: bytes, says: str) -> None:
    """The import ends, and its cause is text that every database holds."""
    with web.serving({f"/v2/images/{UUID}": web.whole(record)}) as url:
        methods = "enabled_import_methods = [glance-download]\n"
        api = caller(options=f"{methods}{web.LOOPBACK}[gantry]\nremote_regions = two:{url}\n")
        image_id = api.create(**importing.FORMATS)
        method = {"name": "glance-download", "glance_region": "two", "glance_image_id": UUID}
        message = importing.refused(api, image_id, method)
    assert says in message
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 300
