"""Pages of a list: limit, marker, order, and the links to go on (contract section 2.1.3)."""

import re
import urllib.parse
from collections.abc import Collection
from typing import Any

import flask

from images import catalog, config, errors

_DIRECTIONS = ("asc", "desc")
_OWN = ("limit", "marker", "sort", "sort_key", "sort_dir")


def query(request: flask.Request) -> catalog.Query:
    """The page that a request asks for.

    Raises:
        Invalid: limit or order cannot be understood.
    """
    parameters = list(request.args.items(multi=True))
    last = dict(parameters)
    return catalog.Query(
        limit=limit(last.get("limit")),
        marker=last.get("marker"),
        sort=_sort(request.args),
        filters=[(name, value) for name, value in parameters if name not in _OWN],
    )


def links(request: flask.Request, last_id: str | None) -> dict[str, Any]:
    """`first`, and `next` where the page ended with the image `last_id`; both relative."""
    kept = [(n, v) for n, v in request.args.items(multi=True) if n != "marker"]
    shown = {"first": _link(request.path, kept)}
    if last_id is not None:
        shown["next"] = _link(request.path, [*kept, ("marker", last_id)])
    return shown


def _link(path: str, parameters: list[tuple[str, str]]) -> str:
    return f"{path}?{urllib.parse.urlencode(parameters)}" if parameters else path


def limit(text: str | None) -> int:
    """Records on a page, from the parameter `limit`.

    Raises:
        Invalid: it is not a number.
    """
    most = config.CONF.api_limit_max
    if text is None:
        return int(min(config.CONF.limit_param_default, most))
    if not re.fullmatch(r"\+?[0-9]{1,400}", text):
        raise errors.Invalid("limit param must be an integer that is not negative")
    return int(min(int(text), most))


def _sort(args: Any) -> tuple[tuple[str, str], ...]:
    """(key, direction), ended by `created_at` and `id`, so that the order is total."""
    keys, directions = args.getlist("sort_key"), args.getlist("sort_dir")
    if "sort" in args:
        if keys or directions:
            raise errors.Invalid("sort cannot be used together with sort_key or sort_dir")
        pairs = [item.strip().partition(":") for item in args.getlist("sort")[-1].split(",")]
        keys, directions = [p[0] for p in pairs], [p[2] or "desc" for p in pairs]
        default = "desc"
    else:
        default = directions[0] if len(directions) == 1 else "desc"
        if len(directions) > 1 and len(directions) != len(keys):
            raise errors.Invalid("Number of sort dirs does not match the number of sort keys")
        directions = directions if len(directions) > 1 else [default] * len(keys)
    return _checked(keys, directions, default)


def _checked(keys: list[str], directions: list[str], default: str) -> tuple[tuple[str, str], ...]:
    for key in keys:
        if key not in catalog.SORT_KEYS:
            raise errors.Invalid(f"Invalid sort key: {key}; it is one of {catalog.SORT_KEYS}")
    for direction in (*directions, default):
        if direction not in _DIRECTIONS:
            raise errors.Invalid(f"Invalid sort direction: {direction}; it is asc or desc")
    order: dict[str, str] = {}
    for key, direction in zip(keys, directions, strict=True):
        order.setdefault(key, direction)  # a second time it orders nothing
    tail = [(key, default) for key in ("created_at", "id") if key not in keys]
    return (*order.items(), *tail)


def sort(args: Any, keys: Collection[str]) -> tuple[str, str]:
    """(key, direction) of a list that is sorted by one key: by default the newest first.

    Raises:
        Invalid: the list has no such key, or there is no such direction.
    """
    key, direction = args.get("sort_key", "created_at"), args.get("sort_dir", "desc")
    if key not in keys:
        raise errors.Invalid(f"Invalid sort key: {key}; it is one of {', '.join(keys)}")
    if direction not in _DIRECTIONS:
        raise errors.Invalid(f"Invalid sort direction: {direction}; it is asc or desc")
    return key, direction
