"""Celery's app as workers and beat run it: `celery -A workers.app worker`, `celery -A workers.app beat`."""

from typing import Any

from celery import signals

from flows import box, import_image
from images import cache, db, errors, methods, queue, service
from workers import hosts, jobs, liveness, memory, reloading, schedule

conf = service.start()
db.abandon_on_outage()
cache.prepare()
# What cannot be used must stop the start, not the first import.
methods.load()
try:
    import_image.plugins()
except errors.Invalid as error:
    raise SystemExit(f"gantry: the configuration cannot be used: {error}") from error

app = queue.app
app.conf.update(
    # The row decides: a job is acknowledged when it is taken, so that no broker's patience, Redis'
    # visibility timeout or RabbitMQ's consumer timeout, can start a long import a second time.
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    # None is taken before a process is free to run it: by this setting with Redis, else by `intake`.
    worker_disable_prefetch=not queue.is_rabbitmq(),
    worker_consumer="workers.intake:Consumer",
    worker_enable_prefetch_count_reduction=False,
    # What Flower shows.
    task_track_started=True,
    worker_send_task_events=True,
    task_send_sent_event=True,
    worker_redirect_stdouts=False,
    worker_hijack_root_logger=True,
    # An import goes on while the broker is away: its lease is in the database.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    beat_schedule=schedule.entries(),
)


@signals.celeryd_init.connect
def check_places(**_: Any) -> None:
    """A worker needs staging; beat, which has this app too, does not."""
    service.check_places()


@signals.worker_init.connect
def look_for_a_box(**_: Any) -> None:
    """Warn, or refuse to start, where qemu-img could see more than its files; beat does not run it.

    Raises:
        SystemExit: the operator requires the box, and this host has none.
    """
    try:
        box.warn()
    except errors.Invalid as error:
        raise SystemExit(str(error)) from error


__all__ = ["app", "hosts", "jobs", "liveness", "memory", "reloading"]
