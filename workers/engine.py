"""Running an import's flow with TaskFlow, under a lease that is kept alive beside it."""

import logging

from taskflow import engines
from taskflow import exceptions as flow_errors

from flows import import_image
from images import errors, imports
from workers import heartbeat

LOG = logging.getLogger(__name__)


def run(task_id: str, worker: str) -> str:
    """Run the flow of a task if nobody else does; how it ended, in a word.

    Raises:
        ImportFailed: the import failed; its record says so already.
    """
    plan = imports.begin(task_id, worker)
    if plan is None:
        return "nothing to do"
    LOG.info("Import %s of image %s, attempt %s", task_id, plan.image_id, plan.lease.attempt)
    with heartbeat.Heartbeat(plan) as watch:
        engine = engines.load(import_image.build(plan), engine="serial")
        engine.storage.inject({"watch": watch}, transient=True)
        try:
            engine.run()
        except errors.GantryError as error:
            LOG.info("Import %s failed: %s", task_id, error)
            raise errors.ImportFailed(str(error)) from None
        except flow_errors.WrappedFailure as several:
            LOG.info("Import %s failed in several steps", task_id)
            raise errors.ImportFailed(str(next(iter(several)).exception_str)) from None
    return "active"
