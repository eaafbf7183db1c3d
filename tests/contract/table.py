"""A row of the contract's tables: who asks what of which image, and what is answered."""

import dataclasses
from typing import Any

V21 = "application/openstack-images-v2.1-json-patch"
V20 = "application/openstack-images-v2.0-json-patch"
OCTETS = "application/octet-stream"
RAW = {"disk_format": "raw", "container_format": "bare"}
DATA = bytes(range(256)) * 4

OWNER, STRANGER, SHARED_WITH = "owner-project", "other-project", "member-project"
#: Who asks: the project, and the roles.
PERSONAS = {
    "owner": (OWNER, ["member", "reader"]),
    "reader": (OWNER, ["reader"]),
    "no role": (OWNER, []),
    "admin": ("admin-project", ["admin", "member", "reader"]),
    "service": ("service-project", ["service"]),
    "stranger": (STRANGER, ["member", "reader"]),
    "foreign reader": (STRANGER, ["reader"]),
    "member": (SHARED_WITH, ["member", "reader"]),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table. `{id}` in the path is an image that is made for this row alone."""

    id: str
    #: Method and path.
    ask: str
    code: int
    _: dataclasses.KW_ONLY
    who: str = "owner"
    #: The request's body: a document, or the bytes themselves.
    json: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    #: The image: whose it is, what is set, and its status; `staged` and `stored` ones have DATA.
    of: str = "owner"
    image: dict[str, Any] = dataclasses.field(default_factory=dict)
    status: str = "queued"
    members: dict[str, str] = dataclasses.field(default_factory=dict)
    #: Options by `group.name`, or the name alone.
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    #: What the answer holds: members of its document, text, headers (None: not there).
    holds: dict[str, Any] = dataclasses.field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    equals: Any = None
    says: str = ""
    gives: dict[str, str | None] = dataclasses.field(default_factory=dict)
    #: Members of the image's record afterwards. An answer of 400 and above changes nothing.
    after: dict[str, Any] = dataclasses.field(default_factory=dict)


def each(*values: Any) -> tuple[Any, ...]:
    """Values of any types, to be put where only some belong."""
    return values


def patch(*changes: Any, old: bool = False) -> dict[str, Any]:
    """The body and the content type of a PATCH."""
    return {"json": list(changes), "headers": {"Content-Type": V20 if old else V21}}


def add(path: Any, value: Any) -> dict[str, Any]:
    """An operation of the newer format."""
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: Any) -> dict[str, Any]:
    """An operation of the newer format."""
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> dict[str, Any]:
    """An operation of the newer format."""
    return {"op": "remove", "path": path}


def data(body: bytes = DATA, **headers: str) -> dict[str, Any]:
    """The body and the content type of an upload."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"raw": body, "headers": {"Content-Type": OCTETS} | named}
