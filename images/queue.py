"""The bell: Celery's app object, and the job that says "look at this task".

The row decides, the broker rings (design section 4): a job holds a task's id and nothing else, it is
sent after the row is committed, and one that is lost is sent again by the sweep.
"""

import logging

import celery

LOG = logging.getLogger(__name__)

#: Names of the jobs; they are part of what lies in the broker, so they outlive any module's name.
RUN_IMPORT = "run-import"
SWEEP = "sweep"
TIDY_UP = "tidy-up"

#: Queues by class of work, each to be scaled on its own: `fetch` waits for the network, `convert` works
#: on bytes that are here (an import's method says which of the two it is), `upkeep` is housekeeping.
CONVERT = "convert"
UPKEEP = "upkeep"

#: Seconds that ringing may hold up a request whose row is committed already.
_BROKER_WAIT = 2

#: The broker may have been restarted since this process last spoke to it: then the second try gets through.
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0}

app = celery.Celery("gantry", set_as_current=True)


def configure(broker_url: str) -> None:
    """Point the app at its broker; nothing but JSON goes in or out."""
    app.conf.update(
        broker_url=broker_url,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=_BROKER_WAIT,
        broker_transport_options={
            "socket_connect_timeout": _BROKER_WAIT,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
        accept_content=["json"],
        task_serializer="json",
        result_accept_content=["json"],
        result_serializer="json",
        task_ignore_result=True,
        task_default_queue=CONVERT,
        enable_utc=True,
    )


def ring(task_id: str, queue_name: str) -> None:
    """Send the job for a task whose row is committed; a broker that is away is only logged."""
    try:
        app.send_task(
            RUN_IMPORT,
            args=[task_id],
            queue=queue_name,
            ignore_result=True,
            retry_policy=_RETRY,
        )
    except Exception as error:  # noqa: BLE001 - kombu lets every transport's own errors through
        LOG.warning(
            "Task %s waits for the sweep, the broker cannot be reached (%s)",
            task_id,
            type(error).__name__,
        )


def waiting(queue_name: str) -> int | None:
    """Messages that lie in a queue; None where the broker does not answer."""
    try:
        with app.connection_for_write() as connection:
            channel = connection.default_channel
            try:
                return int(channel.queue_declare(queue_name, passive=True).message_count)
            except connection.channel_errors:
                return 0
    except Exception:  # noqa: BLE001
        return None
