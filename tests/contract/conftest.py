"""One application for the rows of a module; who asks, and the options, are set for each request."""

import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug import test

from api import app
from images import config, db, models, policy, stores
from tests.contract.table import DATA, OCTETS, PERSONAS, RAW, Row


class World:
    """The service that the rows of a module are asked of."""

    def __init__(self, application: Any) -> None:
        self.client = test.Client(application)
        self._overridden: set[tuple[str, str | None]] = set()

    def be(self, who: str) -> None:
        """The next requests are this one's."""
        project, roles = PERSONAS[who]
        self.set({"noauth.project_id": project, "noauth.roles": roles})

    def set(self, options: dict[str, Any]) -> None:
        """Options that hold until `reset`."""
        for name, value in options.items():
            group, _, option = name.rpartition(".")
            config.CONF.set_override(option, value, group=group or None)
            self._overridden.add((option, group or None))

    def reset(self) -> None:
        """The options are again those of the module."""
        for option, group in self._overridden:
            config.CONF.clear_override(option, group=group)
        self._overridden.clear()

    def ask(
        self, who: str, method: str, path: str, document: Any = None, **more: Any
    ) -> test.TestResponse:
        """One request."""
        self.be(who)
        if document is not None:
            more |= {"data": json.dumps(document)}
            more.setdefault("content_type", "application/json")
        return self.client.open(path, method=method, buffered=True, **more)

    def make(self, row: Row) -> str:
        """The image that a row wants; its id."""
        needs_formats = row.status in ("stored", "staged", "active", "deactivated")
        fields = (RAW if needs_formats else {}) | row.image
        made = self.ask("admin", "POST", "/v2/images", {"owner": PERSONAS[row.of][0]} | fields)
        assert made.status_code == 201, made.text
        image_id: str = made.get_json()["id"]
        if row.status in ("stored", "staged"):
            where = "file" if row.status == "stored" else "stage"
            path = f"/v2/images/{image_id}/{where}"
            sent = self.ask("admin", "PUT", path, data=DATA, content_type=OCTETS)
            assert sent.status_code == 204, sent.text
        elif row.status != "queued":
            self._set_status(image_id, row.status)
        for project, status in row.members.items():
            self._share(image_id, project, status)
        return image_id

    def _set_status(self, image_id: str, status: str) -> None:
        change = sa.update(models.Image).where(models.Image.id == image_id)
        with db.transaction() as session:
            session.execute(change.values(status=status))

    def _share(self, image_id: str, project: str, status: str) -> None:
        path = f"/v2/images/{image_id}/members"
        assert self.ask("admin", "POST", path, {"member": project}).status_code == 200
        asked = self.ask("admin", "PUT", f"{path}/{project}", {"status": status})
        assert asked.status_code == 200, asked.text

    def record(self, image_id: str) -> Any:
        """An image's record as an administrator sees it; None where there is none."""
        return self.ask("admin", "GET", f"/v2/images/{image_id}").get_json(silent=True)

    def check(self, row: Row) -> None:
        """Ask what the row asks, and hold the answer against it."""
        try:
            self._check(row)
        finally:
            self.reset()

    def _check(self, row: Row) -> None:
        method, path = row.ask.split(" ", 1)
        image_id = self.make(row) if "{id}" in str((row.ask, row.json, row.equals)) else ""
        self.set(row.options)
        before = self.record(image_id) if image_id else None
        answer = self._send(row, method, path.replace("{id}", image_id), image_id)
        assert answer.status_code == row.code, answer.text
        _check_answer(row, answer, image_id)
        self.set(row.options)
        if image_id and row.code >= 400:
            now = self.record(image_id)
            if row.raw is not None and before:  # what was begun and taken back has moved the date
                now["updated_at"] = before["updated_at"]
            assert now == before
        if row.after:
            record = self.record(image_id) or {}
            assert {name: record.get(name, "absent") for name in row.after} == row.after

    def _send(self, row: Row, method: str, path: str, image_id: str) -> test.TestResponse:
        more: dict[str, Any] = {"headers": row.headers}
        if row.raw is not None:
            more["data"] = row.raw
        kind = {name.lower(): value for name, value in row.headers.items()}.get("content-type")
        if kind is not None:
            more["content_type"] = kind
        document = row.json
        if document is not None:
            document = json.loads(json.dumps(document).replace("{id}", image_id))
        return self.ask(row.who, method, path, document, **more)


def _check_answer(row: Row, answer: test.TestResponse, image_id: str) -> None:
    if row.holds or row.lacks:
        document = answer.get_json()
        found = {name: document.get(name, "absent") for name in row.holds}
        assert found == _named(row.holds, image_id)
        assert not [name for name in row.lacks if name in document]
    if row.equals is not None:
        assert answer.get_json() == _named(row.equals, image_id)
    if row.says:
        assert row.says in answer.text
    for name, value in row.gives.items():
        assert answer.headers.get(name) == _named(value, image_id)
    if row.code in (202, 204):
        assert answer.data == b""
    if row.code >= 400 and "Accept" not in row.headers and row.ask.partition(" ")[0] != "HEAD":
        assert answer.mimetype == "text/html"


def _named(value: Any, image_id: str) -> Any:
    return json.loads(json.dumps(value).replace("{id}", image_id))


#: What a module's OPTIONS may be, where its rows need several stores; `{state}` is a directory.
SEVERAL_STORES = """
enabled_backends = fast:file,cheap:file,web:http
[fast]
filesystem_store_datadir = {state}/fast
store_description = SSD
weight = 1
[cheap]
filesystem_store_datadir = {state}/cheap
weight = 9
[glance_store]
default_backend = fast
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
"""


@pytest.fixture(scope="module")
def world(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    empty_database: pathlib.Path,
) -> Iterator[World]:
    """The service with the module's OPTIONS, and the FILES that these name."""
    state = tmp_path_factory.mktemp("contract")
    for name, text in getattr(request.module, "FILES", {}).items():
        (state / name).write_text(text)
    shutil.copy(empty_database, state / "gantry.sqlite")
    options = getattr(request.module, "OPTIONS", "").replace("{state}", str(state))
    file = state / "gantry.conf"
    file.write_text(
        f"[DEFAULT]\nnode_staging_uri = file://{state}/staging\n{options}\n"
        f"[glance_store]\nfilesystem_store_datadir = {state}/images\n"
        f"[database]\nconnection = sqlite:///{state}/gantry.sqlite\n"
        f"[gantry]\nstate_path = {state}\nbroker_url = memory://\n"
    )
    _stop()
    made = World(app.create_app([str(file)]))
    yield made
    made.reset()
    _stop()


def _stop() -> None:
    db.dispose()
    stores.reset()
    policy.reset()
