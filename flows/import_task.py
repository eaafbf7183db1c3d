"""The flow of a legacy task of type `import`: the import of a URL, into an image that it makes first."""

from taskflow.patterns import linear_flow

from flows import import_image
from flows.steps import create
from images import imports


def build(plan: imports.Plan) -> linear_flow.Flow:
    """The graph for one task."""
    return import_image.build(plan, create.Create("create"))
