"""/v2/metadefs: metadata definitions, which tell what others' resources may be described with.

Contract section 2.15: reading takes the reader role and a namespace that one may see, writing an
administrator; members that are not set are absent.
"""

import flask

from api.metadefs import namespaces, objects, properties, resource_types, tags

blueprint = flask.Blueprint("metadefs", __name__, url_prefix="/v2/metadefs")
for _module in (namespaces, resource_types, objects, properties, tags):
    blueprint.register_blueprint(_module.blueprint)
