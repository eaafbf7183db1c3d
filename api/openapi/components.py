"""The bodies, parameters and errors that the OpenAPI document's operations refer to."""

import json
from typing import Any

from api import schemas
from api.metadefs import schemas as metadefs
from images import checksums

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
#: What is no word of JSON Schema in the schemas that are served.
_FOREIGN = ("name", "links", "definitions")
#: Members that an image has, set or not.
_ALWAYS = (
    *("id", "name", "status", "visibility", "owner", "protected", "os_hidden", "tags"),
    *("disk_format", "container_format", "min_disk", "min_ram", "size", "virtual_size"),
    *("checksum", "os_hash_algo", "os_hash_value", "created_at", "updated_at"),
    *("self", "file", "schema"),
)


def ref(name: str, kind: str = "schemas") -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def all_of_them() -> Schema:
    """The document's `components`."""
    return {
        "schemas": _images() | _others() | _cache() | _metadefs(),
        "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
    }


def _object(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _page(name: str, item: str) -> Schema:
    links = {"first": _TEXT, "next": _TEXT, "schema": _TEXT}
    return _object((name, "first", "schema"), **{name: _list(ref(item))}, **links)


def _plain(schema: Schema, **more: Any) -> Schema:
    kept = {name: value for name, value in schema.items() if name not in _FOREIGN}
    return {"type": "object"} | kept | more


def _images() -> dict[str, Schema]:
    image = _plain(schemas.image())
    given = {
        name: about
        for name, about in image["properties"].items()
        if not about.get("readOnly") and name != "locations"
    }
    location = image["properties"]["locations"]["items"]
    operation = {"op": {"enum": ["add", "replace", "remove"]}, "path": _TEXT, "value": {}}
    old = dict.fromkeys(("add", "replace", "remove"), _TEXT) | {"value": {}}
    return {
        "Image": image | {"required": list(_ALWAYS)},
        "Images": _page("images", "Image"),
        "NewImage": image | {"properties": given},
        "Patch": _list(_object(("op", "path"), **operation)),
        "OldPatch": _list(_object(**old)),
        "Locations": _list(_object(("url", "metadata"), url=_TEXT, metadata={"type": "object"})),
        "NewLocation": _object(
            ("url",), url=_TEXT, validation_data=location["properties"]["validation_data"]
        ),
    }


def _checksum() -> Schema:
    """What an import's bytes must digest to."""
    about = (
        "Digest of the data as their publisher published them, compared before anything is done with "
        f"them; the image's property {checksums.PROPERTY}, <algorithm>:<value>, asks for the same. "
        "Not with copy-image."
    )
    value = {"type": "string", "pattern": "^([0-9a-fA-F]{32}){1,4}$"}
    shape = _object(
        ("algorithm", "value"), algorithm={"enum": list(checksums.ALGORITHMS)}, value=value
    )
    return shape | {"additionalProperties": False, "description": about}


def _others() -> dict[str, Schema]:
    member, task = (schemas.named(name) for name in ("member", "task"))
    tasks = schemas.named("tasks")["properties"]["tasks"]["items"]
    remote = {"uri": _TEXT, "glance_image_id": _TEXT, "glance_region": _TEXT}
    method = _object(("name",), name=_TEXT, **remote, **{checksums.MEMBER: _checksum()})
    wanted = {"all_stores": _FLAG, "all_stores_must_succeed": _FLAG, "stores": _list(_TEXT)}
    store = {"id": _TEXT, "description": _TEXT, "default": {"const": "true"}}
    detail = {"type": _TEXT, "weight": {"type": "integer"}, "properties": {"type": "object"}}
    figures = _object(("usage", "limit"), usage={"type": "integer"}, limit={"type": "integer"})
    return {
        "Member": _plain(member, required=list(member["properties"])),
        "Members": _object(("members", "schema"), members=_list(ref("Member")), schema=_TEXT),
        "NewMember": _object(("member",), member=_TEXT),
        "MemberStatus": _object(("status",), status=member["properties"]["status"]),
        "Task": _plain(task, required=["id", "type", "status", "input", "result", "message"]),
        "TaskStub": _plain(tasks, required=["id", "type", "status"]),
        "Tasks": _page("tasks", "TaskStub"),
        "NewTask": _object(("type", "input"), type={"const": "import"}, input={"type": "object"}),
        "ImageTasks": _object(("tasks",), tasks=_list(ref("ImageTask"))),
        "ImageTask": _object(("id", "status", "message", "progress"), id=_TEXT, status=_TEXT),
        "Import": _object(("method",), method=method, **wanted),
        "ImportMethods": _object(("import-methods",), **{"import-methods": {"type": "object"}}),
        "Stores": _object(("stores",), stores=_list(_object(("id",), **store))),
        "StoreDetails": _object(
            ("stores",), stores=_list(_object(("id", *detail), **store, **detail))
        ),
        "Usage": _object(("usage",), usage={"type": "object", "additionalProperties": figures}),
        "Schema": _object(("name", "properties"), name=_TEXT, properties={"type": "object"}),
        "Document": _object(("openapi", "paths"), openapi=_TEXT, paths={"type": "object"}),
        "Versions": _object(("versions",), versions=_list(_object(("id", "status", "links")))),
        "Error": _object(("message", "code", "title"), message=_TEXT, code=_TEXT, title=_TEXT),
    }


def _cache() -> dict[str, Schema]:
    count: Schema = {"type": "integer", "minimum": 0}
    dates = {key: {"type": "number"} for key in ("last_accessed", "last_modified")}
    checksum = {"type": ["string", "null"]}
    facts: dict[str, Schema] = {"image_id": _TEXT, "size": count, "hits": count}
    facts |= {"checksum": checksum} | dates
    cached = {"cached_images": _list(_object(tuple(facts), **facts))}
    waiting = {"queued_images": _list(_TEXT)}
    pruned = {"total_files_pruned": count, "total_bytes_pruned": count}
    return {
        "Cache": _object((*cached, *waiting), **cached, **waiting),
        "CachedImages": _object(tuple(cached), **cached),
        "QueuedImages": _object(tuple(waiting), **waiting),
        "CachedNodes": _list(_TEXT),
        "Pruned": _object(tuple(pruned), **pruned),
        "Removed": _object(("num_deleted",), num_deleted=count),
    }


def _metadefs() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    items = {
        "Namespace": "namespace",
        "Association": "resource_type",
        "Property": "property",
        "Object": "object",
        "MetadefTag": "tag",
    }
    for name, source in items.items():
        schema = metadefs.document(source)
        found[name] = _plain(schema)
        for part, about in schema.get("definitions", {}).items():
            found[_definition(part)] = about
    found |= {
        "Namespaces": _page("namespaces", "Namespace"),
        "ResourceTypes": _object(("resource_types",), resource_types=_list(ref("Association"))),
        "Associations": _object(
            ("resource_type_associations",), resource_type_associations=_list(ref("Association"))
        ),
        "Properties": _object(("properties",), properties={"type": "object"}),
        "Objects": _object(("objects", "schema"), objects=_list(ref("Object")), schema=_TEXT),
        "MetadefTags": _object(("tags",), tags=_list(ref("MetadefTag"))),
    }
    written = json.dumps(found).replace("#/definitions/", "#/components/schemas/Metadef_")
    rooted: dict[str, Schema] = json.loads(written)
    return rooted


def _definition(name: str) -> str:
    return f"Metadef_{name}"
