"""What a worker takes from its broker: no more than it can begin at once (docs/brokers.md, prefetch).

Celery takes up to as many messages again as it has processes, and keeps them in memory behind those that
run. Behind an import of hours they would starve idle workers, and on RabbitMQ, which gives a message half
an hour to be acknowledged, cost the worker its connection.
"""

from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker import consumer as celery_consumer
from celery.worker import state


def is_full(consumer: Any) -> bool:
    """Whether every process of the pool has a job."""
    return bool(len(state.reserved_requests) >= consumer.pool.num_processes)


class Intake(bootsteps.StartStopStep):
    """Stops consuming while all processes are busy, and hands back what had been sent by then.

    RabbitMQ only: with Redis, which sends nothing that was not asked for, Celery does the same by its
    setting `worker_disable_prefetch`. Celery starts this step anew with each connection.
    """

    requires = (celery_consumer.Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._paused = False

    def include_if(self, consumer: Any) -> bool:
        """Whether the broker pushes messages."""
        return bool(consumer.app.connection_for_read().transport.driver_type == "amqp")

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Stand between the connection and Celery's own reception; Celery calls it for each connection."""
        self._paused = False
        tasks = consumer.task_consumer
        handle: Callable[[Any], None] = tasks.on_message

        def receive(message: Any) -> None:
            if is_full(consumer):
                message.reject(requeue=True)
            else:
                handle(message)

        def look() -> None:
            full = is_full(consumer)
            current = consumer.task_consumer is tasks and consumer.blueprint.state == bootsteps.RUN
            if full == self._paused or not current:
                return
            self._paused = full
            if full:
                tasks.cancel()
            else:
                tasks.consume()

        tasks.on_message = receive
        # Each turn of the loop: a message that comes and a job that ends both make one.
        hub.on_tick.add(look)


class Consumer(celery_consumer.Consumer):
    """Celery's consumer of messages with `Intake`.

    Without its native delayed delivery: no job of ours has an ETA, and it would make 28 queues for them.
    """

    class Blueprint(celery_consumer.Consumer.Blueprint):
        """The steps."""

        default_steps = (
            *(
                step
                for step in celery_consumer.Consumer.Blueprint.default_steps
                if "delayed_delivery" not in step
            ),
            Intake,
        )

        def info(self, parent: Any) -> dict[str, Any]:
            """What Flower shows of the connection, without the passwords that Celery leaves in it."""
            said: dict[str, Any] = super().info(parent)
            if broker := said.get("broker"):
                broker["hostname"] = (
                    parent.connection.as_uri()
                )  # a socket's URL, else, with its password
                broker.pop("alternates", None)
            return said
