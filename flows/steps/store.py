"""Store: one store takes the bytes."""

import functools
import logging
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import tenacity
from taskflow import task

from flows import watch as watching
from images import config, errors, imports, leases, notifications, staging, stores

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that a pause between two tries may grow to.
_LONGEST = 60
_CHANGED = "The staged data have changed since they were digested"


class Store(task.Task):
    """Puts the staged file into one store; there is one such step for each store of the import."""

    def __init__(self, store_id: str) -> None:
        super().__init__(f"store:{store_id}", provides=f"stored:{store_id}")
        self._store_id = store_id

    def execute(self, watch: watching.Watch, staged: dict[str, Any], digest: dict[str, str]) -> str:
        """Store, and write it down; a second run replaces what the first one left.

        Why the store has failed, or an empty text: what that means for the import is judged when all have
        ended (`check`). There is nothing to revert: what was not written down is removed here, and what was
        is forgotten with the whole import (`imports.fail`).

        Raises:
            Stopped, Gone: the image was deleted.
        """
        plan, size = watch.plan, staged["size"]
        if plan.lease.attempt > 1 and imports.is_stored(plan, self._store_id):
            return ""

        def heard(done: int) -> None:
            watch.report(self.name, done, size)

        heard(0)
        if notifications.enabled:
            imports.prepare(plan, self._store_id)
        writer = writer_for(watch, heard)
        file = pathlib.Path(staged["path"])
        put = functools.partial(self._put, plan, file, digest, writer)
        try:
            place = patiently(watch, self.name, put)
        except errors.Stopped:
            raise
        except errors.GantryError as error:
            return miss(watch, self._store_id, error)
        write_down(watch, self._store_id, place, staged, digest)
        return ""

    def _put(
        self,
        plan: imports.Plan,
        file: pathlib.Path,
        digest: dict[str, str],
        writer: stores.Writer,
    ) -> tuple[str, dict[str, str]]:
        if plan.lease.attempt > 1:
            _recall(file, digest, writer)
        place = stores.add(self._store_id, plan.image_id, file, writer)
        try:
            if staging.facts(file, linked=True) is None:
                _recall(file, digest, writer)
        except errors.GantryError:
            writer.ready()  # by now it may be another worker's
            stores.delete(*place)
            raise
        return place


def _recall(file: pathlib.Path, digest: dict[str, str], writer: stores.Writer) -> None:
    """Make sure that the file is the one whose digest the flow remembers.

    What is known of a file is not synced as the file and the flow's state are, so a power cut may take it.
    Then the bytes are digested once more, and say it themselves.
    """
    algorithm, facts = digest["os_hash_algo"], staging.facts(file, linked=True)
    if not file.exists():
        raise errors.NotFound("The data that were to be stored are gone")
    if facts is None or algorithm not in facts.made:
        facts = staging.inspect(
            file, digest=True, algorithms=[algorithm], on_bytes=lambda _: writer.on_bytes(0)
        )
    if facts.made[algorithm] != digest["os_hash_value"]:
        raise errors.ImportFailed(_CHANGED)


def patiently(watch: watching.Watch, step: str, work: Callable[[], T]) -> T:
    """Do the `work` of a step, and again while a store is out of reach, up to `[gantry] tries` times in all.

    The pauses begin with `[gantry] retry_pause` and double. Each fault is told to `watch`.

    Raises:
        Unavailable: every try has failed; the text is the last one's, and says how many there were.
        GantryError, Abandoned: whatever else `work` or `watch` raise, at once.
    """
    conf = config.CONF.gantry

    def told(state: tenacity.RetryCallState) -> None:
        watch.fault(step, str(state.outcome.exception()) if state.outcome else "")

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_attempt(conf.tries),
        wait=tenacity.wait_exponential(multiplier=conf.retry_pause, max=_LONGEST),
        sleep=functools.partial(watch.pause, step),
        before_sleep=told,
        reraise=True,
    )
    try:
        return retrying(work)
    except errors.Unavailable as error:
        if not _may_pass(error):
            raise
        raise errors.Unavailable(f"{error} (tried {conf.tries} times)") from error


def _may_pass(error: BaseException) -> bool:
    """A store that is full, or refuses us, does so until somebody acts; one that is away may come back."""
    lasts = (errors.StorageFull, errors.Misconfigured)
    return isinstance(error, errors.Unavailable) and not isinstance(error, lasts)


def writer_for(watch: watching.Watch, heard: Callable[[int], None]) -> stores.Writer:
    """A worker that has the lease, and is asked for it before an image's name is used."""
    lease = watch.plan.lease
    return stores.Writer(heard, functools.partial(leases.check, lease), lease.attempt)


def write_down(
    watch: watching.Watch,
    store_id: str,
    place: tuple[str, dict[str, str]],
    staged: dict[str, Any],
    digest: dict[str, str],
) -> None:
    """Record what a store has taken (`imports.stored`); where that fails, the store has it no more.

    It keeps the bytes where the worker must leave: who goes on stores under the same name, and the record may
    point at them already, if it was the answer of the database that was lost.
    """
    try:
        imports.stored(watch.plan, store_id, place, staged, digest)
    except Exception:
        url, metadata = place
        if not imports.is_recorded(watch.plan.image_id, url):
            stores.delete(url, metadata)
        raise


def miss(watch: watching.Watch, store_id: str, error: errors.GantryError) -> str:
    """Put up with the failure of a store for now; its cause."""
    text = f"Image {watch.plan.image_id} could not be stored: {error}"
    LOG.warning("%s", text)
    if notifications.enabled:
        notifications.failed("image.upload", text)
    if not watch.plan.must_succeed:
        imports.missed(watch.plan, store_id)
    return str(error)


def check(plan: imports.Plan, stored: dict[str, str]) -> None:
    """Judge what has become of all stores: why each has failed, empty where it has not.

    Raises:
        ImportFailed: too many have; the text has every cause.
    """
    causes = list(filter(None, stored.values()))
    if causes and (plan.must_succeed or len(causes) == len(stored)):
        raise errors.ImportFailed("; ".join(dict.fromkeys(causes)))
