"""gunicorn's threads for requests alone: a connection gets one when the head of its request is there.

The class `gthread` keeps connections that wait for their next request without a thread, but gives one to
each new connection at once, and waits in it for the rest of a head for ever: a few dozen clients that
open connections and say nothing would stop the service.
"""

import contextlib
import datetime
import functools
import re
import select
import socket
import time
from typing import Any

from gunicorn import (  # type: ignore[import-untyped]
    glogging,
    util,
)
from gunicorn.workers import gthread  # type: ignore[import-untyped]

from api import gunicorn_board

#: Seconds from the first byte of a request (or from its connection) to the end of its head.
_PATIENCE = 30.0
#: Bytes that request line and headers may have together; one field has a limit in the configuration.
_LIMIT = 256 << 10
_RECEIVE = 64 << 10
#: Seconds for which a new connection is left to a process that serves fewer.
_COURTESY = 0.001
#: Milliseconds that a thread waits for the next request of a connection before it lets go of it.
_MOMENT = 2
_MILLISECOND = datetime.timedelta(milliseconds=1)
#: gunicorn imports this module before it forks.
BOARD = gunicorn_board.Board()
#: An empty line. The parser refuses what does not end its lines with CRLF, so it need not wait for more.
_END = re.compile(rb"\n\r?\n")


class Logger(glogging.Logger):  # type: ignore[misc]
    """Writes one short line for each request: no header and no body ever gets into the log."""

    def access(self, resp: Any, _req: Any, environ: Any, took: datetime.timedelta) -> None:
        """Called when a request has been served.

        gunicorn would first make a dictionary of all that a line may hold. RAW_URI is what was sent,
        percent-encoded: nobody writes lines of his own into the log.
        """
        if self.access_log_enabled:
            uri = environ.get("RAW_URI", "").replace('"', '\\"')
            asked = f'{environ.get("REMOTE_ADDR")} "{environ.get("REQUEST_METHOD")} {uri}"'
            status, milliseconds = str(resp.status).split()[0], took // _MILLISECOND
            self.access_log.info("%s %s %s bytes %s ms", asked, status, resp.sent, milliseconds)


class Worker(gthread.ThreadWorker):  # type: ignore[misc]
    """Collects the heads of requests in the main loop, then hands their connections to the threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Connections that have a thread, or wait for one.
        self._handed_over: set[Any] = set()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """A turn of the main loop: connections come and go in nothing else."""
        BOARD.serves(self.age, self.nr_conns - len(self.keepalived_conns))
        super().wait_for_and_dispatch_events(timeout)

    def accept(self, listener: Any) -> None:
        """Take a new connection, unless a process that serves fewer takes it meanwhile."""
        if not BOARD.is_least(self.age):
            time.sleep(_COURTESY)
        super().accept(listener)

    def enqueue_req(self, conn: Any) -> None:
        """Called with a new connection, with one that has become readable, and with one read too far."""
        if self.cfg.is_ssl:  # the bytes are not to be read before the handshake
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.head = conn.parser.unreader.take_buffered() if conn.parser else b""
        conn.timeout = time.monotonic() + _PATIENCE
        self.pending_conns.append(conn)  # `murder_pending` closes those whose time is over
        receive = functools.partial(self._receive, conn)
        self.poller.register(conn.sock, gthread.selectors.EVENT_READ, receive)
        if conn.head:
            self._look(conn, 0)
        else:
            self._receive(conn)

    def _receive(self, conn: Any, _sock: Any = None) -> None:
        """Take what has come of a head."""
        try:
            piece = conn.sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if piece:
            before = len(conn.head)
            conn.head += piece
            self._look(conn, before)
        else:
            self._drop(conn)

    def _look(self, conn: Any, before: int) -> None:
        """Hand the connection over if its head is complete; refuse a head that is too long."""
        if _END.search(conn.head, max(0, before - 2)):
            self._forget(conn)
            conn.sock.setblocking(True)
            conn.init()
            conn.parser.unreader.unread(conn.head)
            conn.data_ready = True
            self._handed_over.add(conn)
            super().enqueue_req(conn)
        elif len(conn.head) > _LIMIT:
            with contextlib.suppress(OSError):
                util.write_error(conn.sock, 431, "Request Header Fields Too Large", "")
            self._drop(conn)

    def handle(self, conn: Any) -> Any:
        """Serve a request, and those that follow at once; called in a thread.

        The way of a connection through the main loop and to another thread costs as much as all of a small
        request. Nobody has to wait for a thread meanwhile.
        """
        try:
            kept = super().handle(conn)
            while kept and self._follows(conn):
                kept = super().handle(conn)
            return kept
        finally:
            self._handed_over.discard(conn)

    def _follows(self, conn: Any) -> bool:
        """Whether the next request's head is there; a part of one is left to the main loop."""
        unreader = conn.parser.unreader
        others_wait = len(self._handed_over) > self.cfg.threads
        if others_wait or self.cfg.is_ssl or not self.alive or unreader.buf.getvalue():
            return False
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        if not poll.poll(_MOMENT):
            return False
        with contextlib.suppress(OSError):
            head = conn.sock.recv(_RECEIVE, socket.MSG_DONTWAIT)
            unreader.unread(head)
            return _END.search(head) is not None
        return False

    def _drop(self, conn: Any) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def _forget(self, conn: Any) -> None:
        self.pending_conns.remove(conn)
        self.poller.unregister(conn.sock)

    def _cap_keepalive(self, deadline: float) -> None:
        """A worker that stops does not wait for requests that have not come."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
