"""Running a task's flow: from its beginning, or on from where a worker left it that is no more.

How far a flow has come stands in one row of our own. TaskFlow's tables would do, too, but a flow costs them a
hundred statements and half a second of processor time, and nothing fences them: a worker that was paused and
wakes up would write over what its successor has recorded (docs/imports.md has the figures). So TaskFlow's
models, the details of a flow and of its steps, are written as JSON by whoever holds the lease.

What is short need not be remembered, for a step that is run again ends as it did. A state is written when
work of some length would be lost without it; and always when something has failed: then what is undone
already, and why, must not be forgotten.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import pathlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from taskflow import engines, states
from taskflow import exceptions as flow_errors
from taskflow import storage as flow_storage
from taskflow.patterns import linear_flow
from taskflow.persistence import models as flow_models
from taskflow.types import failure, notifier

from flows import add_location, copy_image, import_image, import_task
from flows import watch as watching
from flows.steps import admit, claim
from images import config, db, errors, imports, leases, location_tasks, models

LOG = logging.getLogger(__name__)

#: States of a flow of which nothing has to be remembered.
_ENDED = (states.SUCCESS, states.REVERTED)
#: States of a step that are kept; one that is running, or being undone, is run or undone again.
_TOLD = (states.SUCCESS, states.FAILURE)

#: The flow of each kind of work: of a task's type, and of copies.
FLOWS: dict[str, Callable[[imports.Plan], linear_flow.Flow]] = {
    "api_image_import": import_image.build,
    imports.COPY: copy_image.build,
    "import": import_task.build,
    location_tasks.KIND: add_location.build,
}


def run(plan: imports.Plan, watch: watching.Watch) -> None:
    """Run a task's flow to its end.

    Raises:
        ImportFailed: a step has failed, and what there was is undone; the record says so already.
        Abandoned: it goes on elsewhere.
    """
    with _kind(plan) as kind:
        failed = _failure(plan, watch, kind)
    if failed is not None:
        raise errors.ImportFailed(failed)  # here, or its traceback would keep the flow in memory


def _failure(plan: imports.Plan, watch: watching.Watch, kind: dict[str, Any]) -> str | None:
    """Run a task's flow; the cause where it has failed.

    A plugin may break it in any way: where it cannot be made, or not be undone, the smallest one ends the
    task.
    """
    storage, keeper = None, None
    try:
        flow = _refusal(plan) if plan.refusal else FLOWS[plan.kind](plan)
        detail = _begun(plan, flow) or flow_models.FlowDetail(flow.name, str(uuid.uuid4()))
        keeper = _Keeper(plan.lease, detail, is_refusal=bool(plan.refusal))
        engine = engines.load(flow, flow_detail=detail, **kind)
        storage = engine.storage
        storage.inject({"watch": watch}, transient=True)
        engine.atom_notifier.register(notifier.Notifier.ANY, keeper.note)
        engine.run()
    except Exception as error:
        if not plan.refusal and not _has_ended(storage):
            return _refuse(plan, watch, kind, _causes(storage, error))
        if isinstance(error, flow_errors.WrappedFailure):
            return str(next(iter(error)).exception_str)
        if isinstance(error, errors.GantryError):
            return str(error)
        raise
    finally:
        if keeper is not None and keeper.has_kept and _has_ended(storage):
            _forget(plan.lease.task_id)
    return None


def _has_ended(storage: flow_storage.Storage | None) -> bool:
    """Whether a flow has done all that it had to; one that could not even be made has not."""
    return storage is not None and storage.get_flow_state() in _ENDED


def _causes(storage: flow_storage.Storage | None, error: Exception) -> dict[str, failure.Failure]:
    """Why a flow has not ended: the failures of its steps, else what was raised where it was made."""
    if storage is None:
        return {"flow": failure.Failure.from_exception(error)}
    for step, unable in storage.get_revert_failures().items():
        LOG.error("The step %s could not be undone:\n%s", step, unable.traceback_str)
    steps: dict[str, failure.Failure] = storage.get_execute_failures()
    return steps or {"flow": failure.Failure.from_exception(error)}


def _refusal(plan: imports.Plan) -> linear_flow.Flow:
    """The smallest flow: its one step refuses the task, and ends it badly by its revert."""
    first = admit.Admit if plan.kind == location_tasks.KIND else claim.Claim
    return linear_flow.Flow("refusal").add(first("claim"))


def _refuse(
    plan: imports.Plan,
    watch: watching.Watch,
    kind: dict[str, Any],
    causes: dict[str, failure.Failure],
) -> str | None:
    """End a task whose own flow could not be made, or could not be undone; the cause."""
    watch.plan = dataclasses.replace(plan, refusal=claim.cause(plan, causes))
    return _failure(watch.plan, watch, kind)


@contextlib.contextmanager
def _kind(plan: imports.Plan) -> Iterator[dict[str, Any]]:
    """The engine, for `engines.load`: each store that is written beside others has a thread, one needs none.

    Where a step leaves (`Abandoned`), the end of this waits for the others, which are told to leave as well.
    """
    several = min(len(plan.stores), config.CONF.image_import_opts.max_parallel_stores)
    if several == 1:
        yield {"engine": "serial"}
        return
    # The pool that TaskFlow would make itself is futurist's, whose idle threads look up once a second only:
    # each import would take a second longer.
    with concurrent.futures.ThreadPoolExecutor(several) as pool:
        yield {"engine": "parallel", "executor": pool}


def _begun(plan: imports.Plan, flow: linear_flow.Flow) -> flow_models.FlowDetail | None:
    """What an earlier attempt has left, where it can be gone on with.

    It cannot where the files are gone that its steps have made (they lie on a host that is no more). A task
    that must not go on is only refused.
    """
    if plan.lease.attempt == 1 or plan.refusal:
        return None
    detail = _load(plan.lease.task_id, flow.name)
    if detail is None:
        return None
    if any(atom.failure for atom in detail):
        return detail
    made = [atom.results for atom in detail if isinstance(atom.results, dict)]
    files = [pathlib.Path(one["path"]) for one in made if "path" in one]
    return detail if all(file.exists() for file in files) else None


def _load(task_id: str, name: str) -> flow_models.FlowDetail | None:
    """None where nothing, or the state of another flow, is kept."""
    with db.reading() as session:
        kept = session.get(models.FlowState, task_id)
    state = json.loads(kept.state) if kept else {}
    if state.get("name") != name:
        return None
    detail = flow_models.FlowDetail(name, state["uuid"])
    detail.state = states.RUNNING
    for atom in state["atoms"]:
        detail.add(flow_models.TaskDetail.from_dict(atom))
    return detail


class _Keeper:
    """Writes a flow's state down while it runs: give `note` to the engine's `atom_notifier`."""

    def __init__(
        self, lease: leases.Lease, detail: flow_models.FlowDetail, *, is_refusal: bool
    ) -> None:
        self._lease, self._detail, self._is_refusal = lease, detail, is_refusal
        self._written = time.monotonic()
        #: Whether there is a row to be forgotten.
        self.has_kept = lease.attempt > 1 or is_refusal

    def note(self, event_type: str, details: dict[str, Any]) -> None:
        """A step has come into the state `event_type`; TaskFlow wants these two names.

        The engine's own thread tells it, whatever thread the step runs in.

        Raises:
            Abandoned: the step has failed, but another worker has the task: nothing may be undone.
        """
        has_failed = event_type == states.FAILURE
        is_worth = time.monotonic() - self._written > config.CONF.gantry.remember_seconds
        if not has_failed and not (event_type == states.SUCCESS and is_worth):
            return
        if self._is_refusal:
            # Why is kept already, and whoever goes on would not learn it from the state of this flow.
            if has_failed:
                leases.check(self._lease)
            return
        atoms = [atom.to_dict() for atom in self._detail if atom.state in _TOLD]
        state = {"name": self._detail.name, "uuid": self._detail.uuid, "atoms": atoms}
        try:
            _save(self._lease, json.dumps(state, default=str))
        except errors.Abandoned:
            if has_failed:
                raise
            return  # most likely this step has ended the task, and given the lease back
        self.has_kept, self._written = True, time.monotonic()


def _save(lease: leases.Lease, state: str) -> None:
    rows = models.FlowState
    kept = sa.update(rows).where(rows.task_id == lease.task_id).values(state=state)
    with db.transaction() as session:
        leases.hold(session, lease)
        if not session.execute(kept).rowcount:  # type: ignore[attr-defined]
            session.add(rows(task_id=lease.task_id, state=state))


def _forget(task_id: str) -> None:
    rows = models.FlowState
    with db.transaction() as session:
        session.execute(sa.delete(rows).where(rows.task_id == task_id))
