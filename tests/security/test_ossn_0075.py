"""OSSN-0075: the id of an image that was purged is free, and somebody else's image comes under it.

Scripts and templates name images by their ids: whoever takes the id of one that is gone has them boot other
bytes. How the rows are removed is tested in `tests/functional/test_commands.py`.
"""

import pytest

from images import models, purging
from tests.functional.conftest import STRANGER, Api, Caller, Command
from tests.functional.importing import FORMATS

IMAGE = "1a2b3c4d-0000-4000-8000-000000000001"
DATA, OTHER = b"the reviewed bytes", b"the replaced bytes"
PARTS = ("owner", "name", "tags", "x", "min_disk", "visibility")


def deleted(api: Api) -> None:
    """An image that others knew and trusted, and that is gone."""
    api.create(id=IMAGE, **FORMATS, name="trusted", tags=["t"], x="y", min_disk=7)
    assert api.put(IMAGE, DATA).status_code == 204
    api.ask("POST", f"/v2/images/{IMAGE}/members", {"member": "friend"})
    assert api.ask("DELETE", f"/v2/images/{IMAGE}").status_code == 204


def take(caller: Caller) -> bool:
    """Somebody of another project comes under the id, for everybody; whether somebody else boots that."""
    thief = caller(project=STRANGER)
    thief.ask("POST", "/v2/images", FORMATS | {"id": IMAGE, "visibility": "community"})
    thief.put(IMAGE, OTHER)
    return bool(caller().ask("GET", f"/v2/images/{IMAGE}/file").data == OTHER)


def test_ossn_0075(caller: Caller, command: Command) -> None:
    """What operators run every night leaves the id taken."""
    deleted(caller())
    assert command("gantry db purge --age_in_days 0 --max_rows -1").code == 0
    assert not take(caller)


def test_ossn_0075_sings(caller: Caller, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the purge takes the image's row too."""
    deleted(caller())
    monkeypatch.setattr(purging, "_PARTS", (*purging._PARTS, models.Image))
    assert command("gantry db purge --age_in_days 0 --max_rows -1").code == 0
    assert take(caller)


def test_ossn_0075_nothing_comes_back(caller: Caller, command: Command) -> None:
    """Where the operator has freed the ids: neither the members of the earlier image nor anything it had."""
    deleted(caller())
    for what in ("purge", "purge_images_table"):
        assert command(f"gantry db {what} --age_in_days 0 --max_rows -1").code == 0
    thief = caller(project=STRANGER)
    thief.create(id=IMAGE)
    record = thief.show(IMAGE)
    assert [record.get(name) for name in PARTS] == [STRANGER, None, [], None, 0, "shared"]
    assert thief.ask("GET", f"/v2/images/{IMAGE}/members").get_json()["members"] == []
    assert thief.ask("GET", f"/v2/images/{IMAGE}/file").data == b""
    for project in ("friend", "owner-project"):
        assert caller(project=project).ask("GET", f"/v2/images/{IMAGE}").status_code == 404
