"""The flow of an import: fetch, inspect, what plugins do, digest, store, activate."""

import functools
import importlib.metadata

from taskflow import task
from taskflow.patterns import linear_flow, unordered_flow

from flows.steps import (
    activate,
    afford,
    claim,
    compare,
    digest,
    fetch,
    inspect,
    reserve,
    store,
    tidy,
)
from images import config, errors, imports, quota

#: Entry points of the steps that `image_import_plugins` may name.
GROUP = "gantry.import_steps"


def build(plan: imports.Plan, *before: task.Task) -> linear_flow.Flow:
    """The graph for one import, with the steps `before` the bytes are fetched."""
    flow = linear_flow.Flow("import-image")
    flow.add(claim.Claim("claim"), *before)
    if quota.enabled:
        flow.add(afford.Afford("afford"))
    flow.add(fetch.Fetch("fetch"))
    if plan.expected:
        flow.add(compare.Compare("compare"))
    flow.add(inspect.Inspect("inspect"))
    flow.add(*plugins())
    if quota.enabled:
        flow.add(reserve.Reserve("reserve"))
    flow.add(digest.Digest("digest"))
    # At the same time, where there are several (`workers.engine`).
    flow.add(unordered_flow.Flow("stores").add(*[store.Store(name) for name in plan.stores]))
    flow.add(activate.Activate(plan.stores), tidy.Tidy())
    return flow


def plugins() -> list[task.Task]:
    """The steps of `[image_import_opts] image_import_plugins`, in that order.

    Raises:
        Invalid: there is no such plugin.
    """
    names = config.CONF.image_import_opts.image_import_plugins
    unknown = [name for name in names if name not in _known()]
    if unknown:
        raise errors.Invalid(
            f"image_import_plugins: there is no plugin {unknown[0]}; there are {sorted(_known())}"
        )
    return [_known()[name]() for name in names]


@functools.cache
def _known() -> dict[str, type[task.Task]]:
    return {one.name: one.load() for one in importlib.metadata.entry_points(group=GROUP)}
