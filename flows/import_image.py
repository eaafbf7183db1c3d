"""The flow of an import: fetch, inspect, what plugins do, digest, store, activate."""

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
from images import config, entry_points, errors, imports, quota

#: Entry points of the steps that `image_import_plugins` may name.
GROUP = "gantry.import_steps"
#: What the steps of `build` are called, besides those of the stores.
_OURS = (
    *("claim", "create", "afford", "fetch", "compare", "inspect", "reserve"),
    *("digest", "activate", "tidy"),
)


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
        Invalid: there is no such plugin, it cannot be loaded, or its step cannot stand in the flow.
    """
    names: list[str] = config.CONF.image_import_opts.image_import_plugins
    known = entry_points.found(GROUP)
    if unknown := [name for name in names if name not in known]:
        raise errors.Invalid(
            f"image_import_plugins: there is no plugin {unknown[0]}; there are {sorted(known)}"
        )
    if twice := [name for name in known if names.count(name) > 1]:
        raise errors.Invalid(f"image_import_plugins: {twice[0]} is named twice")
    try:
        steps: list[task.Task] = [entry_points.made(GROUP, name) for name in names]
    except errors.Invalid as error:
        raise errors.Invalid(f"image_import_plugins: {error}") from error
    _check_names(dict(zip(names, steps, strict=True)))
    return steps


def _check_names(steps: dict[str, task.Task]) -> None:
    """TaskFlow knows a step by its name: no two of a flow may have the same."""
    taken = set(_OURS)
    for plugin, step in steps.items():
        if step.name in taken or step.name.startswith("store:"):
            raise errors.Invalid(
                f"image_import_plugins: the step of {plugin} is called {step.name}, as another one is"
            )
        taken.add(step.name)
