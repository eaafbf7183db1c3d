"""The flow of a copy: an active image goes into more stores, and stays what it is."""

from taskflow.patterns import linear_flow, unordered_flow

from flows.steps import afford, claim, copy, finish, tidy
from images import imports, quota


def build(plan: imports.Plan) -> linear_flow.Flow:
    """The graph for one copy."""
    flow = linear_flow.Flow("copy-image")
    flow.add(claim.Claim("claim"))
    if quota.enabled:
        flow.add(afford.Afford("afford"))
    flow.add(unordered_flow.Flow("stores").add(*[copy.Copy(name) for name in plan.stores]))
    # Staging is empty, unless this goes on with an import whose worker died (`imports.begin`).
    flow.add(finish.Finish(plan.stores), tidy.Tidy(plan.stores))
    return flow
