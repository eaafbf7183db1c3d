"""Notifications: what is told to other services when something has changed (contract section 8).

They go to oslo.messaging's drivers, as Glance's do: `[oslo_messaging_notifications] driver`; without one
nothing is done, and the library need not even be there. What is noted in a transaction is made into messages
when that is about to be committed, and sent after it, by a thread of its own: a request or an import neither
waits for the bus nor fails because of it. While the bus is away messages wait in memory; those that do not
fit, and those of a process that is killed, are lost, which the log says as far as it can.
"""

import atexit
import dataclasses
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg
from sqlalchemy import orm

from images import config, db, errors, payloads

LOG = logging.getLogger(__name__)

#: Messages that wait for the bus at most, in each process.
_ROOM = 10_000
#: Seconds that a process which ends waits for its messages to be sent.
_FAREWELL = 2.0
#: Tries to reach the bus.
_FOR_EVER = 1 << 62
#: A library's own exchange where `control_exchange` does not name one: Glance's.
_EXCHANGE = "glance"

#: Whether there is anybody to tell; set once by `configure`.
enabled = False

#: Makes a payload in a session that is about to be committed; None: there is nothing to be told.
_Maker = Callable[[orm.Session], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Message:
    event: str
    payload: Any
    #: `info`, or `error`.
    priority: str = "info"


def configure(conf: cfg.ConfigOpts) -> None:
    """Look whether notifications are asked for, and by which drivers.

    Raises:
        Invalid: the bus cannot be used as it is configured.
    """
    global enabled  # noqa: PLW0603 - what a process is configured for does not change
    enabled = bool(set(_drivers(conf)) - {"noop"})
    if enabled:
        try:
            _transport(conf)
        except ModuleNotFoundError as error:
            raise errors.Invalid(
                "[oslo_messaging_notifications] driver needs oslo.messaging, which is not installed: run "
                "`deploy/setup.sh notifications`"
            ) from error
        except Exception as error:
            raise errors.Invalid(
                f"[oslo_messaging_notifications]: the bus cannot be used ({type(error).__name__}); see "
                "transport_url"
            ) from error


def _drivers(conf: cfg.ConfigOpts) -> list[str]:
    """What the option says, which the library would register itself."""
    look = cfg.ConfigOpts()
    look.register_opt(cfg.MultiStrOpt("driver", default=[]), "oslo_messaging_notifications")
    look([], project="glance", prog="gantry", default_config_files=conf.config_file or [])
    drivers: list[str] = look.oslo_messaging_notifications.driver
    return drivers


def _transport(conf: cfg.ConfigOpts) -> Any:
    """The library's; it connects when the first message is sent."""
    import oslo_messaging

    oslo_messaging.set_transport_defaults(_EXCHANGE)
    return oslo_messaging.get_notification_transport(conf)


def image(session: orm.Session, event: str, image_id: str, **more: Any) -> None:
    """Tell of an image as it is when the transaction ends; `more` is added to the payload."""
    _note(session, event, image_id, lambda s: payloads.image(s, event, image_id, more))


def member(session: orm.Session, event: str, row: Any) -> None:
    """Tell of a member of an image (`models.ImageMember`)."""
    _note(session, event, f"{row.image_id} {row.member}", lambda _: payloads.member(row))


def task(session: orm.Session, event: str, task_id: str) -> None:
    """Tell of a task as it is when the transaction ends."""
    _note(session, event, task_id, lambda s: payloads.task(s, task_id))


def definition(session: orm.Session, event: str, payload: dict[str, Any]) -> None:
    """Tell of a metadata definition; `payload` is made by `images.metadefs.payloads`."""
    _note(session, event, repr(payload), lambda _: payload)


def image_now(event: str, image_id: str, **more: Any) -> None:
    """Tell of an image outside of any transaction."""
    if wanted(event):
        with db.reading() as session:
            payload = payloads.image(session, event, image_id, more)
        if payload:
            send(event, payload)


def failed(event: str, text: str) -> None:
    """Tell of a failure, in words."""
    if wanted(event):
        send(event, text, priority="error")


def wanted(event: str) -> bool:
    """Whether anybody is told of such events; `disabled_notifications` names them, or their groups."""
    return enabled and not {event, event.split(".", 1)[0]} & set(config.CONF.disabled_notifications)


def _note(session: orm.Session, event: str, about: str, make: _Maker) -> None:
    """Once for each event and object of a transaction."""
    if not wanted(event):
        return
    notes: dict[tuple[str, str], _Maker] = session.info.setdefault("notes", {})
    if not notes:
        sa.event.listen(session, "before_commit", _make)
        sa.event.listen(session, "after_commit", _send_made)
    notes.setdefault((event, about), make)


def _make(session: orm.Session) -> None:
    """The transaction is about to end: nothing changes any more."""
    session.flush()
    notes: dict[tuple[str, str], _Maker] = session.info.pop("notes", {})
    made = [_Message(event, make(session)) for (event, _), make in notes.items()]
    session.info["messages"] = [message for message in made if message.payload is not None]


def _send_made(session: orm.Session) -> None:
    for message in session.info.pop("messages", []):
        _sender.put(message)


def send(event: str, payload: Any, *, priority: str = "info") -> None:
    """Send a message, if anybody is told of such events; it returns at once."""
    if wanted(event):
        _sender.put(_Message(event, payload, priority))


def flush(seconds: float = _FAREWELL) -> None:
    """Wait until what was noted is sent, or so long; for a process that ends."""
    _sender.flush(seconds)


class _Sender:
    """The thread that sends, and the messages that wait for it; each process has its own."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[_Message] = queue.Queue(_ROOM)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_full = False

    def put(self, message: _Message) -> None:
        """Leave a message; one that has no room is dropped."""
        try:
            self._waiting.put_nowait(message)
            self._is_full = False
        except queue.Full:
            if not self._is_full:
                LOG.warning(
                    "The bus is away: notification %s and what follows is lost", message.event
                )
            self._is_full = True
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
                self._thread.start()

    def flush(self, seconds: float) -> None:
        """Wait for the thread."""
        done = threading.Thread(target=self._waiting.join, daemon=True)
        if self._thread is not None:
            done.start()
            done.join(seconds)

    def _run(self) -> None:
        import oslo_messaging

        transport, publisher = _transport(config.CONF), config.CONF.default_publisher_id
        notifier = oslo_messaging.Notifier(transport, publisher_id=publisher)
        if notifier.retry < 0:  # for ever, which kombu takes for not at all
            notifier = notifier.prepare(retry=_FOR_EVER)
        while True:
            message = self._waiting.get()
            try:
                getattr(notifier, message.priority)({}, message.event, message.payload)
            except Exception as error:  # noqa: BLE001 - each driver has errors of its own
                LOG.warning("Notification %s is lost (%s)", message.event, type(error).__name__)
            finally:
                self._waiting.task_done()


_sender = _Sender()


def _start_anew() -> None:
    """A thread does not live on in a fork, and a connection must not."""
    global _sender  # noqa: PLW0603
    _sender = _Sender()


os.register_at_fork(after_in_child=_start_anew)
atexit.register(flush)
