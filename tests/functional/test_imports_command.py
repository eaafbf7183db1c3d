"""`gantry imports`: an operator looks for imports, ends one, has one done again."""

import os
import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, errors, imports, interventions, leases, models, queue, staging, upkeep
from images.commands import bars
from tests import web
from tests.functional import importing
from tests.functional.conftest import OWNER, STRANGER, Api, Caller, Command
from workers import jobs

Execute = Callable[[Any], None]
DATA = b"d" * (1 << 20)
OPTIONS = (
    f"{web.LOOPBACK}"
    "[gantry]\nheartbeat_seconds = 0.1\nlease_seconds = 4\nretry_pause = 0.01\ntries = 1\n"
)


@pytest.fixture
def api(caller: Caller) -> Api:
    return caller(options=OPTIONS)


def kept(task_id: str) -> list[object]:
    """What workers keep of a task."""
    with db.reading() as session:
        rows = (models.TaskSecret, models.FlowState)
        return [one for row in rows if (one := session.get(row, task_id))]


def files(room: pathlib.Path) -> list[str]:
    return sorted(one.name for one in room.glob("*/*") if one.is_file())


def bells() -> list[str]:
    """The tasks that were rung for, in the broker of this process."""
    found = []
    with queue.app.connection_for_read() as connection:
        for name in queue.CLASSES:
            with connection.SimpleQueue(queue.declaration(name)) as waiting:
                while len(waiting):
                    message = waiting.get(block=False)
                    found.append(message.payload[0][0])
                    message.ack()
    return found


# Looking


def test_list_and_show(api: Api, caller: Caller, command: Command) -> None:
    waits, ended = (importing.staged(api, DATA) for _ in range(2))
    waiting = importing.asked(api, waits)
    importing.imported(api, ended)
    listed = command("gantry imports list").out
    assert (waits in listed, ended in listed) == (True, False)
    assert "waits for a worker" in listed
    whole = command("gantry imports list --all").out.splitlines()
    assert [waits in whole[0], ended in whole[1]] == [True, True]
    assert "Copied 1 MiB" in whole[1]
    assert ended in command("gantry imports list --status success").out
    assert command(f"gantry imports list --image {ended}").out == ""
    assert command(f"gantry imports list --project {OWNER}").out == listed
    assert command(f"gantry imports list --project {STRANGER}").out == ""
    assert len(command("gantry imports list --all --limit 1").out.splitlines()) == 1
    shown = command(f"gantry imports show {waiting}").out
    for text in (waiting, waits, "glance-direct", "no worker", OWNER):
        assert text in shown
    for line in ("show", "cancel", "retry"):
        assert command(f"gantry imports {line} {uuid.uuid4()}").code == 1
    assert command("gantry imports list --limit 0").code == 1


def test_a_url_s_secrets_are_not_shown(api: Api, command: Command) -> None:
    image_id = api.create(**importing.FORMATS)
    method = {"name": "web-download", "uri": "http://me:secret@example.org/x?token=secret"}
    shown = command(f"gantry imports show {importing.asked(api, image_id, method)}").out
    assert "from example.org" in shown
    assert "secret" not in shown


def test_progress(api: Api, command: Command, execute: Execute) -> None:
    """A bar where it is drawn in place, else words."""
    task_id = importing.asked(api, importing.staged(api, DATA))
    columns = {"step": "fetch", "bytes_done": 50 << 20, "bytes_total": 200 << 20, "rate": 5 << 20}
    execute(sa.update(models.TaskRun).values(columns))
    assert "fetch  25% 50 of 200 MiB, 5.0 MiB/s\n" in command("gantry imports list").out
    task = interventions.get(task_id)
    assert bars.describe(task, bar=True).startswith(f"fetch {'█' * 6}{'░' * 18}  25%")
    execute(sa.update(models.TaskRun).values(bytes_total=None, rate=None, retries=2))
    assert "fetch 50 MiB, try 3\n" in command("gantry imports list").out


def test_a_terminal_has_room_for_what_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "5")
    drawn = bars.fitted(["x" * 50] * 9)
    assert drawn == ["x" * 19] * 3 + ["… and 6 more"]
    assert bars.fitted(["y"]) == ["y"]
    assert "\x1b[4A" in bars.rewind(4)


def test_watch_ends_with_the_import(api: Api, command: Command) -> None:
    good, bad = (importing.asked(api, importing.staged(api, DATA)) for _ in range(2))
    worker = threading.Timer(0.3, lambda: jobs.run_import(good))
    worker.start()
    ended = command(f"gantry imports show {good} --watch")
    worker.join()
    assert (ended.code, "Copied 1 MiB" in ended.out) == (0, True)
    interventions.cancel(bad)
    assert command(f"gantry imports show {bad} --watch").code == 1
    assert command("gantry imports list --all --watch").code == 0


# Cancelling


def test_cancel_what_nobody_has_begun(api: Api, command: Command, tmp_path: pathlib.Path) -> None:
    """The image is queued, without its bytes, and may be imported again."""
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    assert command(f"gantry imports cancel {task_id}").code == 0
    task = importing.task_of(api, image_id)
    assert (task["status"], task["message"]) == ("failure", "It was cancelled by an operator")
    shown = api.show(image_id)
    assert (shown["status"], shown.get("os_glance_import_task")) == ("queued", None)
    assert (kept(task_id), files(tmp_path)) == ([], [])
    assert jobs.run_import(task_id) == "nothing to do"
    assert command(f"gantry imports cancel {task_id}").code == 1
    api.put(image_id, DATA, "stage")
    importing.imported(api, image_id)
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA


@pytest.fixture
def slow() -> Iterator[str]:
    """Data that take longer than the test waits for anything."""
    with web.serving({"/raw": web.whole(DATA, seconds=60)}) as base:
        yield f"{base}/raw"


def test_cancel_what_a_worker_does(
    api: Api, command: Command, tmp_path: pathlib.Path, slow: str
) -> None:
    """The worker leaves, and writes nothing any more."""
    image_id = api.create(**importing.FORMATS)
    task_id = importing.asked(api, image_id, {"name": "web-download", "uri": slow})
    said: list[str] = []
    worker = threading.Thread(target=lambda: said.append(jobs.run_import(task_id)))
    worker.start()
    end = time.monotonic() + 60
    while not (run := interventions.get(task_id).run) or not run.bytes_done:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert command(f"gantry imports cancel {task_id}").code == 0
    worker.join(30)
    assert said == ["left to another worker"]
    task = importing.task_of(api, image_id)
    assert (task["status"], task["message"]) == ("failure", "It was cancelled by an operator")
    assert api.show(image_id)["status"] == "queued"
    assert kept(task_id) == []
    # A worker that is slow to leave leaves its part behind; upkeep takes what has grown old.
    for file in staging.path().glob(f"{image_id}*"):
        os.utime(file, (0, 0))
    upkeep.empty_staging()
    assert [one for one in files(tmp_path) if image_id in one] == []


def test_cancel_a_copy(
    caller: Caller, command: Command, several_stores: str, tmp_path: pathlib.Path
) -> None:
    """The image stays as it is, with the stores that it has."""
    api = caller(options=f"{several_stores.strip()}\n{OPTIONS}", roles="admin")
    image_id = api.create(**importing.FORMATS)
    api.put(image_id, DATA)
    copied = {"name": "copy-image"}
    task_id = importing.asked(api, image_id, copied, stores=["cheap"])
    assert command(f"gantry imports cancel {task_id}").code == 0
    shown = api.show(image_id)
    assert (shown["status"], shown["stores"]) == ("active", "fast")
    assert shown["os_glance_failed_import"] == "cheap"
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    again = command(f"gantry imports retry {task_id}")
    assert again.code == 0
    assert jobs.run_import(importing.task_of(api, image_id)["id"]) == "active"
    assert api.show(image_id)["stores"] == "cheap,fast"


def test_cancel_a_location(caller: Caller, command: Command, slow: str) -> None:
    api = caller(options=f"[glance_store]\nstores = file,http\n{OPTIONS}", roles="admin")
    image_id = api.create(**importing.FORMATS)
    answer = api.ask("POST", f"/v2/images/{image_id}/locations", {"url": slow})
    assert answer.status_code == 202, answer.text
    task_id = importing.task_of(api, image_id)["id"]
    assert command(f"gantry imports cancel {task_id}").code == 0
    assert importing.task_of(api, image_id)["status"] == "failure"
    assert api.show(image_id)["status"] == "queued"
    assert command(f"gantry imports retry {task_id}").code == 0
    assert importing.task_of(api, image_id)["status"] == "pending"


def test_cancel_of_two_at_once_is_one(api: Api) -> None:
    task_id = importing.asked(api, importing.staged(api, DATA))
    seen: list[str] = []

    def cancel() -> None:
        try:
            interventions.cancel(task_id)
            seen.append("done")
        except errors.Conflict:
            seen.append("too late")

    both = [threading.Thread(target=cancel) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(seen) == ["done", "too late"]
    assert interventions.get(task_id).status == "failure"


# Retrying


def test_retry_a_download_that_failed(api: Api, command: Command) -> None:
    """By the same user, with the same request; as soon as its source gives it."""
    with web.serving({"/raw": web.whole(DATA)}) as base:
        image_id = api.create(**importing.FORMATS)
        method = {"name": "web-download", "uri": f"{base}/none"}
        importing.refused(api, image_id, method)
        failed = importing.task_of(api, image_id)
        bells()
        ended = command(f"gantry imports retry {failed['id']}")
        again = importing.task_of(api, image_id)
        assert (ended.code, again["id"] in ended.out, again["id"] != failed["id"]) == (
            0,
            True,
            True,
        )
        assert bells() == [again["id"]]
        for same in ("owner", "user_id", "type"):
            assert again[same] == failed[same]
        assert again["input"] == failed["input"]
        with pytest.raises(errors.ImportFailed):
            jobs.run_import(again["id"])


def test_retry_what_waits(api: Api, command: Command) -> None:
    """Its bell may have been lost: it is rung for again, and no second task is made."""
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    assert bells() == [task_id]
    ended = command(f"gantry imports retry {task_id}")
    assert (ended.code, bells()) == (0, [task_id])
    assert jobs.run_import(task_id) == "active"
    ended = command(f"gantry imports retry {task_id}")
    assert (ended.code, "ended well" in ended.err) == (1, True)


def test_no_retry_of_what_is_worked_on(api: Api, command: Command) -> None:
    task_id = importing.asked(api, importing.staged(api, DATA))
    plan = imports.begin(task_id, "worker@here:1")
    assert plan
    ended = command(f"gantry imports retry {task_id}")
    assert (ended.code, "worker@here:1" in ended.err) == (1, True)
    leases.hand_back(plan.lease)
    assert command(f"gantry imports retry {task_id}").code == 0


def test_no_retry_without_the_bytes(api: Api, command: Command) -> None:
    """Staged bytes go with a failed import; the text says what the method needs."""
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    interventions.cancel(task_id)
    ended = command(f"gantry imports retry {task_id}")
    assert (ended.code, "uploading" in ended.err) == (1, True)
    api.put(image_id, DATA, "stage")
    assert command(f"gantry imports retry {task_id}").code == 0
    assert staging.path(image_id).exists()


def test_no_retry_for_a_deleted_image(api: Api, command: Command) -> None:
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    api.ask("DELETE", f"/v2/images/{image_id}")
    ended = command(f"gantry imports retry {task_id}")
    assert (ended.code, image_id in ended.err) == (1, True)


def test_retry_a_legacy_task(caller: Caller, command: Command) -> None:
    api = caller(options=OPTIONS, roles="admin")
    source = {"import_from": "http://127.0.0.1:9/x", "import_from_format": "raw"}
    properties = {"disk_format": "raw", "container_format": "bare"}
    body = {"type": "import", "input": source | {"image_properties": properties}}
    task_id = api.ask("POST", "/v2/tasks", body).get_json()["id"]
    assert command(f"gantry imports cancel {task_id}").code == 0
    ended = command(f"gantry imports retry {task_id}")
    assert ended.code == 0
    made = ended.out.split()[1]
    assert api.ask("GET", f"/v2/tasks/{made}").get_json()["input"] == body["input"]


def test_another_service_s_task_is_left_alone(api: Api, command: Command, execute: Execute) -> None:
    """Glance has begun it, and may be at work."""
    task_id = importing.asked(api, importing.staged(api, DATA))
    execute(sa.delete(models.TaskRun))
    for line in ("cancel", "retry"):
        ended = command(f"gantry imports {line} {task_id}")
        assert (ended.code, "another image service" in ended.err) == (1, True)
    assert interventions.get(task_id).status == "pending"
