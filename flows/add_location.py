"""The flow of a location that was added by POST: ask its store, digest its data, accept."""

from taskflow.patterns import linear_flow

from flows.steps import accept, admit, digest_location, locate
from images import imports


def build(_: imports.Plan) -> linear_flow.Flow:
    """The graph for one location; it is the same for all, a step that has nothing to do does nothing."""
    flow = linear_flow.Flow("add-location")
    flow.add(admit.Admit("admit"), locate.Locate("locate"))
    flow.add(digest_location.DigestLocation("digest-location"), accept.Accept("accept"))
    return flow
