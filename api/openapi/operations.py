"""Every request that the API understands: one line of the table each (contract sections 1 and 2)."""

import dataclasses
import re
from typing import Any

from api.openapi.components import ref

_JSON = "application/json"
_BYTES = "application/octet-stream"
_PATCH = "application/openstack-images-v2.{}-json-patch"
_TEXT = {"type": "string"}
#: What every request can meet: it is nonsense, has no token, no right, or headers that are too long.
_COMMON = (400, 401, 403, 431)
_MISSING = (404,)
_ERROR = {
    kind: {"schema": ref("Error") if kind == _JSON else _TEXT}
    for kind in ("text/html", _JSON, "text/plain")
}
_PHRASES = {
    200: "Success",
    201: "Created",
    202: "Accepted; it is done later",
    204: "Success, and nothing to say",
    206: "A part of the data",
    300: "The versions that there are",
    302: "The same with a slash at its end",
    400: "The request cannot be understood",
    401: "No valid token",
    403: "Not allowed, protected, or read-only",
    404: "Not there, or not to be seen by the caller",
    405: "No such method here",
    409: "In conflict with what is there",
    410: "It went away meanwhile",
    411: "The length of the body must be said",
    413: "A limit is reached",
    415: "Not the media type, or not the format, that is wanted",
    416: "No such part",
    431: "The request's headers are too long",
    503: "Not at the moment",
}
_IMAGE = "/v2/images/{image_id}"
_SPACE = "/v2/metadefs/namespaces/{space}"
_PAGE = ("limit", "marker", "sort_key", "sort_dir")
_FILTERS = (
    *("sort", "name", "id", "status", "visibility", "member_status", "owner", "tag", "protected"),
    *("os_hidden", "disk_format", "container_format", "checksum", "os_hash_algo", "os_hash_value"),
    *("size", "size_min", "size_max", "min_ram", "min_disk", "created_at", "updated_at"),
)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    #: Status and schema of what is answered when all is well; None: no body.
    answers: dict[int, str | None]
    #: Statuses of the errors that not every request can meet.
    errors: tuple[int, ...] = ()
    #: Content types of the request's body, and their schemas.
    body: dict[str, Any] = dataclasses.field(default_factory=dict)
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    #: Headers of the good answers.
    gives: tuple[str, ...] = ()
    media: str = _JSON
    #: Whether a token is needed; what needs none can hardly be refused.
    guarded: bool = True
    links: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def id(self) -> str:
        """The operation's name in the document."""
        words = re.findall("[A-Za-z0-9]+", self.path.replace("/v2", "", 1)) or ["root"]
        return "_".join([self.method.lower(), *words])

    def describe(self) -> dict[str, Any]:
        """The operation as an object of the document."""
        codes = (*(_COMMON if self.guarded else ()), *self.errors)
        good = {str(code): self._good(code) for code in self.answers}
        shown: dict[str, Any] = {
            "operationId": self.id,
            "summary": self.summary,
            "parameters": self._parameters(),
            "responses": good | {str(code): _refusal(code) for code in sorted(set(codes))},
        }
        if self.body:
            content = {kind: {"schema": schema} for kind, schema in self.body.items()}
            shown["requestBody"] = {"required": True, "content": content}
        return shown if self.guarded else shown | {"security": []}

    def _good(self, code: int) -> dict[str, Any]:
        shown: dict[str, Any] = {"description": _PHRASES[code]}
        name = self.answers[code]
        if name is not None:
            binary = self.media == _BYTES
            shown["content"] = {self.media: {} if binary else {"schema": ref(name)}}
            if self.media == "text/plain":
                shown["content"] = {self.media: {"schema": _TEXT}}
        if self.gives:
            shown["headers"] = {name: {"schema": _TEXT} for name in self.gives}
        if self.links:
            shown["links"] = self.links
        return shown

    def _parameters(self) -> list[dict[str, Any]]:
        named = [(name, "path") for name in re.findall("{(.+?)}", self.path)]
        named += [(name, "query") for name in self.query]
        named += [(name, "header") for name in self.headers]
        if self.guarded:
            named.append(("X-OpenStack-Request-ID", "header"))
        return [_parameter(name, where) for name, where in named]


def _parameter(name: str, where: str) -> dict[str, Any]:
    schema: dict[str, Any] = dict(_TEXT)
    if name in _CHOICES:
        schema["enum"] = list(_CHOICES[name])
    shown = {"name": name, "in": where, "required": where == "path", "schema": schema}
    if name == "tag" and where == "query":
        shown |= {"schema": {"type": "array", "items": _TEXT}, "explode": True}
    return shown


_CHOICES = {
    "schema_name": ("image", "images", "member", "members", "task", "tasks"),
    "metadef_schema_name": (
        *("namespace", "resource_type", "property", "object", "tag"),
        *("namespaces", "resource_types", "properties", "objects", "tags"),
    ),
}


def _refusal(code: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"description": _PHRASES[code], "content": _ERROR}
    if code == 405:  # noqa: PLR2004 - its header
        shown["headers"] = {"Allow": {"schema": _TEXT}}
    return shown


def _of_new_image() -> dict[str, Any]:
    """What may follow the making of an image."""
    following = (
        *("get_images_image_id", "patch_images_image_id", "delete_images_image_id"),
        *("put_images_image_id_file", "get_images_image_id_file", "put_images_image_id_stage"),
        *("put_images_image_id_tags_tag", "post_images_image_id_members"),
        *("post_images_image_id_import", "get_images_image_id_tasks"),
        *("post_images_image_id_actions_deactivate", "post_images_image_id_actions_reactivate"),
    )
    the_image = {"image_id": "$response.body#/id"}
    return {name: {"operationId": name, "parameters": the_image} for name in following}


def _json(name: str) -> dict[str, Any]:
    return {_JSON: ref(name)}


def _no_data() -> dict[str, Any]:
    return {_BYTES: {}}


_ITEM: dict[str, Any] = {"errors": _MISSING}
_WRITE: dict[str, Any] = {"errors": (404, 409, 413)}
_DATA: dict[str, Any] = {
    "errors": (404, 409, 410, 411, 413, 415, 503),
    "body": _no_data(),
}
_HINTS = ("X-OpenStack-Image-Size", "X-Image-Meta-Store")
_PATCHES = {_PATCH.format(1): ref("Patch"), _PATCH.format(0): ref("OldPatch")}

_GENERAL = (
    Operation("GET", "/", "The versions", {300: "Versions"}, guarded=False),
    Operation("GET", "/versions", "The versions", {200: "Versions"}, guarded=False),
    Operation(
        "GET",
        "/healthcheck",
        "Whether this process is to be sent requests",
        {200: ""},
        media="text/plain",
        guarded=False,
    ),
    Operation("GET", "/v2/schemas/{schema_name}", "A JSON schema", {200: "Schema"}, **_ITEM),
    Operation("GET", "/v2/schemas/openapi", "This document", {200: "Document"}),
    Operation(
        "GET",
        "/v2/schemas/metadefs/{metadef_schema_name}",
        "A JSON schema",
        {200: "Schema"},
        **_ITEM,
    ),
    Operation("GET", "/v2/info/import", "The import methods", {200: "ImportMethods"}),
    Operation("GET", "/v2/info/stores", "The stores", {200: "Stores"}, **_ITEM),
    Operation("GET", "/v2/info/stores/detail", "Their details", {200: "StoreDetails"}, **_ITEM),
    Operation("GET", "/v2/info/usage", "Usage and limits", {200: "Usage"}, errors=(503,)),
    *(
        Operation(method, "/v2/info/usage", "Never found, as in Glance", {}, **_ITEM)
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ),
)
_IMAGES = (
    Operation("GET", "/v2/images", "List images", {200: "Images"}, query=(*_PAGE, *_FILTERS)),
    Operation(
        "POST",
        "/v2/images",
        "Make an image",
        {201: "Image"},
        errors=(409, 413, 503),
        body=_json("NewImage"),
        gives=("Location",),
        links=_of_new_image(),
    ),
    Operation("GET", _IMAGE, "Show an image", {200: "Image"}, **_ITEM),
    Operation(
        "PATCH",
        _IMAGE,
        "Change an image",
        {200: "Image"},
        errors=(404, 409, 413, 415),
        body=_PATCHES,
    ),
    Operation("DELETE", _IMAGE, "Delete an image", {204: None}, errors=(404, 409)),
    Operation("PUT", f"{_IMAGE}/file", "Upload data", {204: None}, headers=_HINTS, **_DATA),
    Operation(
        "GET",
        f"{_IMAGE}/file",
        "Download data",
        {200: "", 206: "", 204: None},
        errors=(404, 416, 503),
        headers=("Range",),
        gives=("Content-MD5",),
        media=_BYTES,
    ),
    Operation("PUT", f"{_IMAGE}/stage", "Stage data", {204: None}, headers=_HINTS[:1], **_DATA),
    Operation(
        "POST",
        f"{_IMAGE}/import",
        "Import staged or remote data",
        {202: None},
        errors=(404, 409, 413, 503),
        body=_json("Import"),
        headers=_HINTS[1:],
    ),
    Operation("GET", f"{_IMAGE}/tasks", "The image's tasks", {200: "ImageTasks"}, **_ITEM),
    *(
        Operation("POST", f"{_IMAGE}/actions/{action}", summary, {204: None}, errors=(404, 409))
        for action, summary in (("deactivate", "Close an image"), ("reactivate", "Open it again"))
    ),
    Operation("PUT", f"{_IMAGE}/tags/{{tag}}", "Add a tag", {204: None}, **_WRITE),
    Operation("DELETE", f"{_IMAGE}/tags/{{tag}}", "Remove a tag", {204: None}, **_WRITE),
    Operation("GET", f"{_IMAGE}/locations", "Where the data are", {200: "Locations"}, **_ITEM),
    Operation(
        "POST",
        f"{_IMAGE}/locations",
        "Say where the data are",
        {202: None},
        errors=(404, 409, 413, 503),
        body=_json("NewLocation"),
    ),
    Operation(
        "DELETE",
        "/v2/stores/{store_id}/{image_id}",
        "Take an image out of a store",
        {204: None},
        errors=(404, 409, 503),
    ),
)
_MEMBERS = (
    Operation("GET", f"{_IMAGE}/members", "List members", {200: "Members"}, **_ITEM),
    Operation(
        "POST",
        f"{_IMAGE}/members",
        "Share an image",
        {200: "Member"},
        body=_json("NewMember"),
        **_WRITE,
    ),
    Operation("GET", f"{_IMAGE}/members/{{member_id}}", "A member", {200: "Member"}, **_ITEM),
    Operation(
        "PUT",
        f"{_IMAGE}/members/{{member_id}}",
        "Accept or reject",
        {200: "Member"},
        body=_json("MemberStatus"),
        **_WRITE,
    ),
    Operation("DELETE", f"{_IMAGE}/members/{{member_id}}", "No more", {204: None}, **_WRITE),
)
_TASKS = (
    Operation("GET", "/v2/tasks", "List tasks", {200: "Tasks"}, query=(*_PAGE, "status", "type")),
    Operation(
        "POST",
        "/v2/tasks",
        "Import as of old",
        {201: "Task"},
        errors=(413, 503),
        body=_json("NewTask"),
        gives=("Location",),
    ),
    Operation("GET", "/v2/tasks/{task_id}", "Show a task", {200: "Task"}, **_ITEM),
    Operation("DELETE", "/v2/tasks/{task_id}", "Not possible", {}, errors=(404, 405)),
)


def _entries(plural: str, shape: str, several: str) -> tuple[Operation, ...]:
    """What objects and properties of a namespace have in common."""
    many, one = f"{_SPACE}/{plural}", f"{_SPACE}/{plural}/{{name}}"
    paged = ("limit", "marker") if plural == "objects" else ()
    typed = ("resource_type",) if plural == "properties" else ()
    return (
        Operation("GET", many, f"List {plural}", {200: several}, query=paged, **_ITEM),
        Operation("POST", many, "Add one", {201: shape}, body=_json(shape), **_WRITE),
        Operation("DELETE", many, f"Remove all {plural}", {204: None}, **_ITEM),
        Operation("GET", one, "Show one", {200: shape}, query=typed, **_ITEM),
        Operation("PUT", one, "Replace one", {200: shape}, body=_json(shape), **_WRITE),
        Operation("DELETE", one, "Remove one", {204: None}, **_ITEM),
    )


_NAMESPACE: tuple[tuple[str, str, dict[int, str | None], dict[str, Any]], ...] = (
    ("GET", "Show it", {200: "Namespace"}, _ITEM | {"query": ("resource_type",)}),
    ("PUT", "Replace it", {200: "Namespace"}, _WRITE | {"body": _json("Namespace")}),
    ("DELETE", "Delete it", {204: None}, _ITEM),
)
_METADEFS = (
    Operation(
        "GET",
        "/v2/metadefs/namespaces",
        "List namespaces",
        {200: "Namespaces"},
        query=(*_PAGE, "visibility", "resource_types"),
        **_ITEM,
    ),
    Operation(
        "POST",
        "/v2/metadefs/namespaces",
        "Make a namespace",
        {201: "Namespace"},
        body=_json("Namespace"),
        gives=("Location",),
        **_WRITE,
    ),
    *(
        Operation(method, "/v2/metadefs/namespaces/{name}", summary, answers, **more)
        for method, summary, answers, more in _NAMESPACE
    ),
    *_entries("objects", "Object", "Objects"),
    *_entries("properties", "Property", "Properties"),
    Operation("GET", f"{_SPACE}/tags", "List tags", {200: "MetadefTags"}, query=_PAGE, **_ITEM),
    Operation(
        "POST",
        f"{_SPACE}/tags",
        "Replace all tags",
        {201: "MetadefTags"},
        body=_json("MetadefTags"),
        headers=("X-Openstack-Append",),
        **_WRITE,
    ),
    Operation("DELETE", f"{_SPACE}/tags", "Remove all tags", {204: None}, **_ITEM),
    Operation("POST", f"{_SPACE}/tags/{{name}}", "Add one", {201: "MetadefTag"}, **_WRITE),
    Operation("GET", f"{_SPACE}/tags/{{name}}", "Show one", {200: "MetadefTag"}, **_ITEM),
    Operation(
        "PUT",
        f"{_SPACE}/tags/{{name}}",
        "Rename one",
        {200: "MetadefTag"},
        body=_json("MetadefTag"),
        **_WRITE,
    ),
    Operation("DELETE", f"{_SPACE}/tags/{{name}}", "Remove one", {204: None}, **_ITEM),
    Operation("GET", f"{_SPACE}/resource_types", "What it is for", {200: "Associations"}, **_ITEM),
    Operation(
        "POST",
        f"{_SPACE}/resource_types",
        "Say what it is for",
        {201: "Association"},
        body=_json("Association"),
        **_WRITE,
    ),
    Operation(
        "DELETE", f"{_SPACE}/resource_types/{{name}}", "No more for it", {204: None}, **_ITEM
    ),
    Operation(
        "GET",
        "/v2/metadefs/resource_types",
        "All that there are",
        {200: "ResourceTypes"},
        **_ITEM,
    ),
)

_CACHED, _QUEUED = "/v2/cached_images", "/v2/queued_images"
_AS_TO_ROCKY: dict[str, Any] = {"errors": (400, 404, 503)}
_CACHE = (
    Operation("GET", "/v2/cache", "What this host has cached", {200: "Cache"}, errors=(404, 503)),
    Operation(
        "DELETE",
        "/v2/cache",
        "Empty cache and queue, or one of them",
        {204: None},
        errors=(404, 503),
        headers=("x-image-cache-clear-target",),
    ),
    Operation("PUT", "/v2/cache/{image_id}", "Cache an image", {202: None}, errors=(404, 503)),
    Operation("DELETE", "/v2/cache/{image_id}", "Cache it no more", {204: None}, errors=(404, 503)),
    Operation(
        "GET",
        "/v2/cache/nodes/{image_id}",
        "The hosts that have it cached",
        {200: "CachedNodes"},
        errors=(404, 409),
    ),
    Operation("POST", "/v2/cache/clean", "Remove what is stalled", {200: None}, errors=(404, 503)),
    Operation("POST", "/v2/cache/prune", "Shrink to the limit", {200: "Pruned"}, errors=(404, 503)),
    Operation("GET", _CACHED, "What is cached", {200: "CachedImages"}, **_AS_TO_ROCKY),
    Operation("DELETE", _CACHED, "Empty the cache", {200: "Removed"}, **_AS_TO_ROCKY),
    Operation("DELETE", f"{_CACHED}/{{image_id}}", "Cache it no more", {200: None}, **_AS_TO_ROCKY),
    Operation("GET", _QUEUED, "What is to be cached", {200: "QueuedImages"}, **_AS_TO_ROCKY),
    Operation("DELETE", _QUEUED, "Empty the queue", {200: "Removed"}, **_AS_TO_ROCKY),
    Operation("PUT", f"{_QUEUED}/{{image_id}}", "Cache an image", {200: None}, **_AS_TO_ROCKY),
    Operation("DELETE", f"{_QUEUED}/{{image_id}}", "Let it be", {200: None}, **_AS_TO_ROCKY),
)

ALL = (*_GENERAL, *_IMAGES, *_MEMBERS, *_TASKS, *_METADEFS, *_CACHE)
