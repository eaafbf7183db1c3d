"""The queues of this host, which its workers consume beside the common ones (`images.hosts`).

Importing this module is enough: it listens for the worker that is being set up in this process.
"""

from typing import Any

from celery import signals

from images import cache, hosts, queue


def upkeep_queue() -> str:
    """Where beat asks for upkeep: each host empties its own staging."""
    return hosts.bind(queue.UPKEEP)


def own(names: list[str]) -> list[str]:
    """For each common queue in `names` the one of this host; none where all hosts see one staging.

    Who fetches fetches for this host's image cache too, if there is one.
    """
    fetches = cache.is_on() and hosts.FETCH in names
    bound = [] if hosts.is_shared() else [hosts.bind(n) for n in names if not hosts.host_of(n)]
    return bound + [hosts.queue_of_cache()] * fetches


@signals.celeryd_after_setup.connect
def consume(instance: Any, **_: Any) -> None:
    """Add this host's queues to those that a worker was started with; it consumes none of them yet."""
    queues = instance.app.amqp.queues
    for name in own(list(queues.consume_from)):
        queues.select_add(queues[name])
