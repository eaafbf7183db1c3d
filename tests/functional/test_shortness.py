"""What a request and an import enter, counted: the one gauge of layering that size limits do not see."""

import collections
import io
import pathlib
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
import werkzeug.test

from api import app as api_app
from images import db, policy
from tests import service
from tests.conftest import Configure
from workers import jobs

ROOTS = tuple(str(service.ROOT / name) + "/" for name in ("api", "images", "flows", "workers"))
RAW = bytes(range(256)) * 4096


class Trace:
    """Files and functions of ours that were entered, and the statements that went to the database."""

    def __init__(self) -> None:
        self.functions: collections.Counter[tuple[str, str]] = collections.Counter()
        self.statements: list[str] = []

    @property
    def files(self) -> set[str]:
        """The files behind the functions."""
        return {file for file, _ in self.functions}

    def profile(self, frame: types.FrameType, event: str, _: object) -> None:
        """What `sys.setprofile` calls."""
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOTS):
            self.functions[code.co_filename, code.co_qualname] += 1

    def record(self, _: object, __: object, statement: str, *___: object) -> None:
        """What the engine calls before each statement; the borders of transactions do not count."""
        if not statement.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self.statements.append(statement)

    def check(self, files: int, functions: int, statements: int) -> None:
        """Fail with the lists where there is more than this."""
        entered = "\n".join(sorted(f"{pathlib.Path(f).name}:{name}" for f, name in self.functions))
        assert len(self.files) <= files, f"{len(self.files)}:\n{entered}"
        assert len(self.functions) <= functions, entered
        assert len(self.statements) <= statements, "\n".join(self.statements)


def traced(work: Callable[[], None]) -> Trace:
    """Do the work, and count."""
    trace = Trace()
    # Now and then a request looks for the policy's files; not in this one, however slow the machine is.
    policy._RULES._next_search = time.monotonic() + 60
    for engine in (db.engine(), db.reader()):
        sa.event.listen(engine, "before_cursor_execute", trace.record)
    threading.setprofile(trace.profile)
    sys.setprofile(trace.profile)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        for engine in (db.engine(), db.reader()):
            sa.event.remove(engine, "before_cursor_execute", trace.record)
    return trace


@pytest.fixture
def client(configure: Configure, tmp_path: pathlib.Path) -> Iterator[werkzeug.test.Client]:
    """The application with a real broker behind it; what is made once is made before anything counts."""
    with service.running(tmp_path):
        # On a busy machine an import may last until something is written down of it.
        patient = configure("heartbeat_seconds = 60\nremember_seconds = 60")
        client = werkzeug.test.Client(api_app.create_app(patient))
        first = staged(client)
        client.post(f"/v2/images/{first}/import", json={"method": {"name": "glance-direct"}})
        jobs.run_import(task_of(first))
        yield client


def staged(client: werkzeug.test.Client, disk_format: str = "raw", data: bytes = RAW) -> str:
    """An image with bytes in staging."""
    fields = {"disk_format": disk_format, "container_format": "bare"}
    made = client.post("/v2/images", json=fields).json
    assert made is not None
    image_id: str = made["id"]
    put(client, image_id, data)
    return image_id


def put(client: werkzeug.test.Client, image_id: str, data: bytes = RAW) -> None:
    """PUT /stage."""
    answer = client.put(
        f"/v2/images/{image_id}/stage",
        input_stream=io.BytesIO(data),
        content_length=len(data),
        content_type="application/octet-stream",
    )
    assert answer.status_code == 204, answer.text


def task_of(image_id: str) -> str:
    """The image's task."""
    with db.reading() as session:
        found = session.execute(
            sa.text("SELECT id FROM tasks WHERE image_id = :image"), {"image": image_id}
        )
        task_id: str = found.scalar_one()
        return task_id


def test_post_import(client: werkzeug.test.Client) -> None:
    """From the WSGI call to the 202, ringing included."""
    image_id = staged(client)

    def ask() -> None:
        body = {"method": {"name": "glance-direct"}}
        assert client.post(f"/v2/images/{image_id}/import", json=body).status_code == 202

    # One of the statements asks whether it is the project's turn (`images.turns`); one reads the properties,
    # once the image is locked (`images.statuses.hold_image`).
    traced(ask).check(files=14, functions=36, statements=8)


def test_put_stage(client: werkzeug.test.Client) -> None:
    """From the WSGI call to the 204."""
    fields = {"disk_format": "raw", "container_format": "bare"}
    made = client.post("/v2/images", json=fields).json
    assert made is not None
    # One of the statements reads the properties, which may ask for a digest; any number of digests is made.
    # Twenty of the functions tell one format each whether the bytes are of it.
    # The sixteenth file is the configuration's: which stores there are decides on the page cache.
    # Three of the functions are the upload's, which knows its own files.
    traced(lambda: put(client, made["id"])).check(files=16, functions=82, statements=7)


@pytest.mark.parametrize(
    ("disk_format", "files", "functions"),
    [
        # 20 and 60 before an import could be resumed, fenced, retried and take turns; 80 before its bytes
        # could be signed, be compared with a checksum and be unpacked, and several stores be written at once;
        # 92 before a staged file was looked at once more when it is stored, and plugins were judged; 98
        # before a store might be gone from the configuration.
        ("raw", 24, 99),
        # A conversion besides: qemu-img is run four times in its box, and its outcome is inspected. 167
        # before what it says was bounded (`flows.process`), and cancelling was heard while it reads.
        ("qcow2", 31, 187),
    ],
)
def test_the_import_of_one_store(
    client: werkzeug.test.Client,
    tmp_path: pathlib.Path,
    disk_format: str,
    files: int,
    functions: int,
) -> None:
    """From the job to the active image, its flow and its threads included."""
    source = tmp_path / "source"
    (tmp_path / "raw").write_bytes(RAW)
    command = ["qemu-img", "convert", "-f", "raw", "-O", disk_format, str(tmp_path / "raw")]
    subprocess.run([*command, str(source)], check=True)
    image_id = staged(client, disk_format, source.read_bytes())
    client.post(f"/v2/images/{image_id}/import", json={"method": {"name": "glance-direct"}})
    task_id = task_of(image_id)

    def work() -> None:
        assert jobs.run_import(task_id) == "active"

    traced(work).check(files=files, functions=functions, statements=15)
