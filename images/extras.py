"""Properties that the operator describes in a file `schema-image.json` (contract section 2.14).

They are custom properties like any other, but their values are judged as the file says and clients are told
what they mean. The file is read once by the API, when it starts.
"""

import json
import pathlib
from typing import Any

from images import config, errors

_FILE = "schema-image.json"
_known: dict[str, dict[str, Any]] = {}
_required: list[str] = []


def load() -> None:
    """Read the file beside the configuration, or in the usual places, where there is one.

    It holds the properties by their names, or (as of late) `{"properties": …, "required": [<name>, …]}`.

    Raises:
        Invalid: it cannot be read, or is no such thing.
    """
    _known.clear()
    _required.clear()
    found = config.CONF.find_file(_FILE)
    if found is None:
        return
    try:
        document = json.loads(pathlib.Path(found).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise errors.Invalid(f"{found} cannot be read: {error}") from error
    wrapped = isinstance(document, dict) and "properties" in document
    described = document["properties"] if wrapped else document
    required = (document.get("required") or []) if wrapped else []
    if not isinstance(described, dict) or not all(isinstance(d, dict) for d in described.values()):
        raise errors.Invalid(f"{found} must be a JSON object of properties and their descriptions")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise errors.Invalid(f"{found}: required must be a list of properties' names")
    _known.update({name: {**about, "is_base": False} for name, about in described.items()})
    _required.extend(required)


def known() -> dict[str, dict[str, Any]]:
    """JSON schemas by the names of the properties."""
    return _known


def required() -> list[str]:
    """Names of those that a new image must have."""
    return _required
