"""What an image's publisher says that its bytes digest to, and whether those that came do.

It is said in the request of an import (`expected_checksum` in its member `method`), in a property of the
image, which any client can set, or in both. Which algorithms there are, and why: docs/publishers.md.
"""

import re
from collections.abc import Mapping
from typing import Any

from images import errors

#: The property, `<algorithm>:<value>`. Its prefix keeps it apart from what images of other services carry.
PROPERTY = "gantry_expected_checksum"
#: The member of an import's member `method`, `{"algorithm": …, "value": …}`.
MEMBER = "expected_checksum"
#: Hex digits of a value by its algorithm, which has hashlib's name.
ALGORITHMS = {"md5": 32, "sha256": 64, "sha384": 96, "sha512": 128}


def of_method(fields: Mapping[str, Any]) -> dict[str, str]:
    """The value in an import's member `method`, by its algorithm; nothing where it says none.

    Raises:
        Invalid: it is no such object, its algorithm is not known, or its value cannot be of it.
    """
    if MEMBER not in fields:
        return {}
    said = fields[MEMBER]
    if not isinstance(said, dict) or said.keys() != {"algorithm", "value"}:
        raise errors.Invalid(f"'{MEMBER}' must be an object of algorithm and value")
    return _judged(MEMBER, said["algorithm"], said["value"])


def of_property(properties: Any) -> dict[str, str]:
    """The value in an image's properties, by its algorithm; nothing where they say none.

    Raises:
        Invalid: as `of_method`.
    """
    if not isinstance(properties, Mapping) or PROPERTY not in properties:
        return {}
    algorithm, _, value = str(properties[PROPERTY]).partition(":")
    return _judged(PROPERTY, algorithm, value)


def agreed(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Both together: each must hold.

    Raises:
        Invalid: they cannot.
    """
    for algorithm in one.keys() & other.keys():
        if one[algorithm] != other[algorithm]:
            raise errors.Invalid(
                f"'{MEMBER}' says {algorithm} {one[algorithm]}, but the image's property {PROPERTY} says "
                f"{other[algorithm]}; change one of them"
            )
    return {**one, **other}


def compare(expected: Mapping[str, str], made: Mapping[str, str]) -> None:
    """Hold the digests that were made against those that are expected.

    Raises:
        WrongData: they differ; the text says both values.
    """
    for algorithm, value in expected.items():
        if made[algorithm] != value:
            raise errors.WrongData(
                f"The data are not what was expected: their {algorithm} is {made[algorithm]}, expected was "
                f"{value}. The source gives other data, or the expected value is out of date"
            )


def _judged(where: str, algorithm: Any, value: Any) -> dict[str, str]:
    name = algorithm.lower() if isinstance(algorithm, str) else ""
    if name not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise errors.Invalid(f"'{where}': the algorithm must be one of {known}")
    length = ALGORITHMS[name]
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", value):
        raise errors.Invalid(f"'{where}': the value of {name} must have {length} hex digits")
    return {name: value.lower()}
