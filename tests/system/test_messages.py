"""Messages that somebody else has put into the broker (SECURITY.md): nothing in them is executed."""

import pathlib
import pickle
import stat
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import connection, exceptions, serialization

from deploy import broker
from images import queue
from tests import service


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, canary: pathlib.Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (pathlib.Path.touch, (self.canary,))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """An API and a worker on a Redis of their own."""
    with service.running(tmp_path_factory.mktemp("gantry"), "api", "worker") as running:
        yield running


def push(whole: service.Service, body: Any, **options: Any) -> None:
    """Put a message into the queue of imports, as whoever can reach the broker can."""
    url = f"redis+socket://{broker.socket_path(whole.state)}"
    with connection.Connection(url) as line:  # type: ignore[no-untyped-call]
        queues = [queue.declaration(queue.FETCH)]
        headers = {"task": queue.RUN_IMPORT, "id": "x", "lang": "py"}
        line.Producer().publish(
            body,
            exchange=queues[0].exchange,
            routing_key=queue.FETCH,
            declare=queues,
            headers=options.pop("headers", headers),
            **options,
        )


def works(whole: service.Service) -> None:
    """The next import goes well."""
    image_id = whole.create(disk_format="raw")
    whole.stage(image_id, b"x" * 1024)
    whole.begin_import(image_id)
    assert whole.wait_for_task(image_id)["status"] == "success"


def said(whole: service.Service, word: bytes) -> None:
    """The worker has said so."""
    service.wait_for(lambda: word in whole.log("worker"), word.decode())


def test_the_embedded_broker_is_for_one_user(whole: service.Service) -> None:
    """It has no port, and nobody else may enter its directory or open its socket."""
    path = broker.socket_path(whole.state)
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path)]
    assert modes == [0o700, 0o700]
    listening = [
        one for process in whole.family("broker") for one in process.net_connections("inet")
    ]
    assert listening == []


def test_a_pickled_message(whole: service.Service, tmp_path: pathlib.Path) -> None:
    """It is refused unread, and the worker goes on."""
    canary = tmp_path / "canary"
    raw = pickle.dumps(((Attack(canary),), {}, {}))
    serialized = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
    push(whole, raw, **serialized)
    said(whole, b"ContentDisallowed")
    assert not canary.exists()
    works(whole)
    assert not canary.exists()


@pytest.mark.parametrize(
    "kind", ["application/x-python-serialize", "application/x-yaml", "application/x-msgpack"]
)
def test_what_is_taken(kind: str, tmp_path: pathlib.Path) -> None:
    """JSON only, for jobs and for their results; where pickles are taken, the canary is made."""
    canary = tmp_path / "canary"
    raw = pickle.dumps(Attack(canary))
    queue.configure("memory://")
    load: Any = serialization.loads
    for accepted in (queue.app.conf.accept_content, queue.app.conf.result_accept_content):
        with pytest.raises(exceptions.ContentDisallowed):
            load(raw, kind, "binary", serialization.prepare_accept_content(accepted))  # type: ignore[no-untyped-call]
    assert not canary.exists()
    load(raw, "application/x-python-serialize", "binary", accept=None, force=True)
    assert canary.exists()


def test_a_job_that_is_none_of_ours(whole: service.Service) -> None:
    """A name that no module has registered is thrown away."""
    headers = {"task": "os.system", "id": "x", "lang": "py"}
    push(whole, [["true"], {}, {}], headers=headers, serializer="json")
    said(whole, b"Received unregistered task")
    works(whole)


@pytest.mark.parametrize("arguments", [[], ["../../etc/passwd"], [{"a": 1}], ["x", "y"], [None]])
def test_a_job_with_arguments_that_are_none(whole: service.Service, arguments: list[Any]) -> None:
    """Only the id of a task that there is leads to anything."""
    push(whole, [arguments, {}, {}], serializer="json")
    works(whole)
