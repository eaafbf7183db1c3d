"""The job that proves a worker alive, taken from the worker's own queue (`images.commands.alive` asks).

An `inspect ping` is answered by a worker that takes no jobs any more; only a job shows that jobs are run.
"""

from typing import Any

from celery import signals

from images import alive, queue


@queue.app.task(name=queue.ALIVE, bind=True, send_events=False)
def prove(self: Any, nonce: str) -> None:
    """Write the nonce down where the one who asked looks for it."""
    alive.answer(self.request.hostname, nonce)


@signals.celeryd_after_setup.connect
def _listen(sender: str, instance: Any, **_: object) -> None:
    """Take jobs from the worker's own queue, beside those that it was started for."""
    instance.app.amqp.queues.select_add(queue.own_queue(sender))


@signals.worker_ready.connect
def _introduce(sender: Any, **_: object) -> None:
    """Say how many imports this worker runs at a time: so many make it busy."""
    alive.introduce(sender.hostname, sender.pool.num_processes)
