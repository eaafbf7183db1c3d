"""The two patch media types, read into a list of changes (contract section 2.2)."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import flask
from werkzeug import exceptions

from api import body
from images import errors
from images.editing import Change

_V21 = "application/openstack-images-v2.1-json-patch"
_V20 = "application/openstack-images-v2.0-json-patch"
_OPERATIONS = ("add", "replace", "remove")
#: What `~` may be followed by (RFC 6901).
_BAD_ESCAPE = re.compile("~(?![01])")
#: Operations that a PATCH may have: each is judged against all properties that there are by then.
_MOST = 1000
#: Members that are changed in parts.
_DEEP = ("locations",)


class NotAPatch(exceptions.UnsupportedMediaType):
    """Names the media types that would do."""

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The usual headers, and `Accept-Patch`."""
        return [*super().get_headers(*args, **kwargs), ("Accept-Patch", f"{_V20}, {_V21}")]


def read(request: flask.Request) -> list[Change]:
    """The changes that a PATCH asks for.

    Raises:
        NotAPatch: the Content-Type is neither of the two.
        Invalid: the body is not a list of operations, or a path is none.
        LimitExceeded: there are too many.
    """
    readers: dict[str, Callable[[dict[str, Any]], Change]] = {
        _V21: _operation,
        _V20: _old_operation,
    }
    reader = readers.get(request.mimetype)
    if reader is None:
        raise NotAPatch(f"The Content-Type of a PATCH is {_V21} or {_V20}")
    document = body.read_json(request.environ)
    if not isinstance(document, list):
        raise errors.Invalid("Request body must be a JSON array of operation objects.")
    if len(document) > _MOST:
        raise errors.LimitExceeded(f"A PATCH may have at most {_MOST} operations")
    return [reader(_object(element)) for element in document]


def _object(element: Any) -> dict[str, Any]:
    if not isinstance(element, dict):
        raise errors.Invalid("Operations must be JSON objects.")
    return element


def _operation(element: dict[str, Any]) -> Change:
    """RFC 6902: `{"op": "add", "path": "/name", "value": …}`."""
    operation = element.get("op")
    if operation not in _OPERATIONS:
        raise errors.Invalid(
            f"Operations must be one of {', '.join(_OPERATIONS)}, not {operation!r}"
        )
    if operation != "remove" and "value" not in element:
        raise errors.Invalid('Operation objects must contain a member named "value".')
    name, position = _pointed(element.get("path"), operation)
    return Change(operation, name, element.get("value"), position=position)


def _old_operation(element: dict[str, Any]) -> Change:
    """The older draft: `{"add": "/name", "value": …}`."""
    named = [operation for operation in _OPERATIONS if operation in element]
    if len(named) != 1:
        raise errors.Invalid(
            f"Operation objects must contain exactly one of {', '.join(_OPERATIONS)}"
        )
    operation = named[0]
    changed = {"op": operation, "path": element[operation]}
    if "value" in element:
        changed["value"] = element["value"]
    return dataclasses.replace(_operation(changed), must_be_new=operation == "add")


def _pointed(path: Any, operation: str) -> tuple[str, str | None]:
    """The member that a JSON pointer names, and the place in it where it is changed in parts."""
    if not isinstance(path, str) or not path.startswith("/") or "//" in path or path.endswith("/"):
        raise errors.Invalid(f"Pointer `{path}` must begin with a slash and name a member.")
    if _BAD_ESCAPE.search(path):
        raise errors.Invalid(f'Pointer `{path}` contains "~" not part of a recognized escape.')
    first, *deeper = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    allowed = 1 if first in _DEEP and operation != "replace" else 0
    if len(deeper) != allowed:
        raise errors.Invalid(f"Invalid JSON pointer for this resource: `{path}`")
    return first, deeper[0] if deeper else None
