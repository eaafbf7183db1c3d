"""The bell: Celery's app object, and the job that says "look at this task" (both brokers: docs/brokers.md).

The row decides, the broker rings (design section 4): a job holds a task's id and nothing else, it is
sent after the row is committed, and one that is lost is sent again by the sweep.
"""

import contextlib
import functools
import logging
import os
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import TypeVar

import celery
from celery.app import amqp
from kombu import connection as kombu_connections
from kombu import entity
from kombu import exceptions as kombu_errors

from images import errors

T = TypeVar("T")

LOG = logging.getLogger(__name__)

#: Names of the jobs; they are part of what lies in the broker, so they outlive any module's name.
RUN_IMPORT = "run-import"
SWEEP = "sweep"
TIDY_UP = "tidy-up"
ALIVE = "alive"
PREFETCH = "prefetch-images"
TEND_CACHE = "tend-cache"

#: Queues by class of work, each to be scaled on its own: `fetch` waits for the network, `convert` works
#: on bytes that are here (an import's method says which of the two it is), `upkeep` is housekeeping.
FETCH = "fetch"
CONVERT = "convert"
UPKEEP = "upkeep"
#: The classes of imports.
CLASSES = (FETCH, CONVERT)

#: Seconds that connecting, and each word of a broker, may take before it counts as away. A request
#: whose row is committed waits for two tries at most.
_BROKER_WAIT = 1.0
#: Seconds for which a broker that was found away is not tried again.
_BROKER_PAUSE = 5.0
#: Seconds between two signs of life on a connection to RabbitMQ; one that missed two of them is closed.
_HEARTBEAT = 30
#: Deliveries after which RabbitMQ drops a message. Its own 20 (since 4.0) would be reached by a job that
#: busy workers hand back (`workers.intake`); one that a worker takes is acknowledged, so none comes near.
_DELIVERIES = 1_000_000

#: How a job is sent: once, and with RabbitMQ's word that it has it.
_SENDING = {"retry": False, "ignore_result": True, "confirm_timeout": _BROKER_WAIT}

#: What a worker's connections may wait for: reads are waited for by its event loop.
_REDIS = {
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
_RABBITMQ = {"confirm_publish": True}


def declaration(name: str) -> entity.Queue:
    """A queue of ours as everybody declares it; RabbitMQ refuses to have one declared in two ways."""
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": _DELIVERIES}
    return _queue(name, entity.Exchange(name), arguments)  # type: ignore[no-untyped-call]


def _queue(name: str, exchange: entity.Exchange, arguments: dict[str, object]) -> entity.Queue:
    return entity.Queue(name, exchange, name, queue_arguments=arguments)  # type: ignore[no-untyped-call]


class _Queues(amqp.Queues):  # type: ignore[misc]
    """The app's queues; whatever name is asked for, be it a host's own, is declared in our way."""

    def new_missing(self, name: str) -> entity.Queue:
        """A queue that is not listed."""
        return declaration(name)


class _Messages(amqp.AMQP):  # type: ignore[misc]
    queues_cls = _Queues


app = celery.Celery("gantry", amqp=_Messages, set_as_current=True)


def is_rabbitmq() -> bool:
    """Whether the broker is RabbitMQ; else it is Redis or Valkey."""
    return urllib.parse.urlsplit(app.conf.broker_url).scheme in ("amqp", "amqps", "pyamqp")


def configure(broker_url: str) -> None:
    """Point the app at its broker; nothing but JSON goes in or out."""
    app.conf.update(broker_url=broker_url)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker outlives any outage
        broker_connection_timeout=2 * _BROKER_WAIT,
        broker_heartbeat=_HEARTBEAT,
        broker_transport_options=_RABBITMQ if is_rabbitmq() else _REDIS,
        accept_content=["json"],
        task_serializer="json",
        result_accept_content=["json"],
        result_serializer="json",
        task_ignore_result=True,
        task_default_queue=CONVERT,
        task_queues=[declaration(name) for name in (*CLASSES, UPKEEP)],
        # Celery's own queues: RabbitMQ 4 is to refuse those that are neither durable nor exclusive.
        control_queue_durable=True,
        control_queue_exclusive=False,
        event_queue_durable=True,
        event_queue_exclusive=False,
        enable_utc=True,
    )


def load() -> None:
    """Read the code that the first job would be sent with; a request would take twenty times as long."""
    app.finalize()
    _ = app.amqp.send_task_message, _connection().transport


class _Line:
    """This process' line to the broker, for one caller at a time; one found dead is left alone a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: kombu_connections.Connection | None = None
        self._process = 0
        self._away_until = 0.0

    def call(self, what: Callable[..., T]) -> T:
        """Do `what`, which takes a `connection`; on a new one again, where an old one is broken.

        Raises:
            OperationalError: the broker is away, or was a moment ago.
            Exception: whatever else the transport makes of a broker that is away.
        """
        with self._lock:
            begun = time.monotonic()
            if begun < self._away_until:
                raise kombu_errors.OperationalError("the broker was away a moment ago")
            if self._process != os.getpid():  # a fork must not speak on its parent's socket
                self._connection, self._process = None, os.getpid()
            while True:
                is_new = self._connection is None
                self._connection = self._connection or _connection()
                try:
                    return what(connection=self._connection)
                except Exception:
                    broken, self._connection = self._connection, None
                    with contextlib.suppress(Exception):
                        # No goodbye, which would wait for an answer.
                        broken.collect(_BROKER_WAIT)  # type: ignore[no-untyped-call]
                    # The broker may have been restarted since this process last spoke to it, which shows at
                    # once. One that does not answer is not asked again.
                    if is_new or time.monotonic() - begun > _BROKER_WAIT / 2:
                        self._away_until = time.monotonic() + _BROKER_PAUSE
                        raise


def _connection() -> kombu_connections.Connection:
    """A connection on which nothing is waited for in vain; it is made when it is first used."""
    url = app.conf.broker_url
    waits = {"read_timeout": _BROKER_WAIT, "write_timeout": _BROKER_WAIT}
    if not is_rabbitmq():
        waits = {"socket_connect_timeout": _BROKER_WAIT, "socket_timeout": _BROKER_WAIT}
    # Several brokers may be named, separated by `;`: each is tried once, without a pause.
    tries = {"max_retries": url.count(";"), "interval_start": 0, "interval_step": 0}
    options = app.conf.broker_transport_options | waits | tries
    return kombu_connections.Connection(  # type: ignore[no-untyped-call]
        url, connect_timeout=_BROKER_WAIT, heartbeat=0, transport_options=options
    )


_line = _Line()


def ring(one: str, queue_name: str, job: str = RUN_IMPORT) -> bool:
    """Send the job for a task whose row is committed, or another `job` that looks at what is written down.

    `one` is the id of what it is for. Returns whether it was sent, after two seconds at most. A broker that
    is away is only logged, and not tried again for a few seconds: the sweep, or beat, will ring.
    """
    try:
        _line.call(functools.partial(app.send_task, job, [one], queue=queue_name, **_SENDING))
    except Exception as error:  # noqa: BLE001 - kombu lets every transport's own errors through
        LOG.warning(
            "%s of %s waits for the sweep, the broker cannot be reached (%s)",
            job,
            one,
            type(error).__name__,
        )
        return False
    return True


def waiting(queue_name: str) -> int | None:
    """How many jobs lie in the broker for a queue, 0 if it has none; None if the broker does not answer."""

    def look(connection: kombu_connections.Connection) -> int:
        with connection.channel() as channel:  # type: ignore[no-untyped-call]
            try:
                return int(channel.queue_declare(queue_name, passive=True).message_count)
            except connection.channel_errors:  # there is no such queue
                return 0

    try:
        return _line.call(look)
    except Exception as error:  # noqa: BLE001 - as above
        LOG.warning("The broker cannot be asked about its queues (%s)", type(error).__name__)
        return None


def knock(node: str, nonce: str, seconds: float) -> bool:
    """Send one worker a job that proves it alive, to be done within so many seconds; False: nobody took it.

    A worker of RabbitMQ that takes nothing any more is known by its queue; with Redis only the job's
    failure to be done shows it.

    Raises:
        Unavailable: the broker is away.
    """
    own = own_queue(node)

    def look(connection: kombu_connections.Connection) -> bool:
        with connection.channel() as channel:  # type: ignore[no-untyped-call]
            try:
                return bool(channel.queue_declare(own.name, passive=True).consumer_count)
            except connection.channel_errors:
                return False

    try:
        if is_rabbitmq() and not _line.call(look):
            return False
        _line.call(
            functools.partial(app.send_task, ALIVE, [nonce], queue=own, expires=seconds, **_SENDING)
        )
    except Exception as error:
        raise errors.Unavailable("The broker does not answer") from error
    return True


def own_queue(node: str) -> entity.Queue:
    """The queue that one worker alone takes jobs from; it goes an hour after the worker. `worker@host`."""
    arguments = {"x-queue-type": "classic", "x-expires": 3_600_000}
    return _queue(f"alive.{node}", entity.Exchange(""), arguments)  # type: ignore[no-untyped-call]


def node() -> str:
    """The node that the Procfile's worker is on this host."""
    return f"worker@{socket.gethostname()}"
