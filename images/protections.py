"""Property protections: who may create, read, update and delete which custom property (contract section 3.6).

The operator's file (`property_protection_file`) has a section for each kind of property, named by a regular
expression that is searched in the property's name. The first section that matches decides; where none does,
everything is denied. It is read once by each process, when that starts.
"""

import configparser
import dataclasses
import logging
import re
from typing import Literal

from images import config, context, errors, policy

LOG = logging.getLogger(__name__)

Operation = Literal["create", "read", "update", "delete"]
_OPERATIONS: tuple[Operation, ...] = ("create", "read", "update", "delete")
#: What the service itself notes on an image; callers are kept from these names in `images.editing`.
_OURS = "os_glance"
_ALL, _NOBODY = "@", "!"


@dataclasses.dataclass(frozen=True, slots=True)
class _Section:
    pattern: re.Pattern[str]
    #: Roles in lower case, or one policy rule; `@` is everybody, `!` and nothing at all are nobody.
    allowed: dict[Operation, frozenset[str]]


#: None: nothing is protected.
_sections: list[_Section] | None = None


def load() -> None:
    """Read the rules of the configuration as it is now; no file, no protection.

    Raises:
        Invalid: the file is missing or cannot be used; the text names the section and the operation.
    """
    global _sections  # noqa: PLW0603 - the rules of this process
    name = config.CONF.property_protection_file
    _sections = _read(name) if name else None


def _read(name: str) -> list[_Section]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        # `find_file` looks where Glance does: beside the configuration files, then in the usual places.
        with open(config.CONF.find_file(name) or name, encoding="utf-8") as file:  # noqa: PTH123
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = str(error).replace("\n", " ")
        raise errors.Invalid(
            f"property_protection_file = {name} cannot be read: {reason}"
        ) from error
    ours = _Section(re.compile(f"^{_OURS}"), dict.fromkeys(_OPERATIONS, frozenset(_ALL)))
    named = [section for section in parser.sections() if not section.startswith(_OURS)]
    return [ours, *(_section(section, parser[section]) for section in named)]


def _section(name: str, values: configparser.SectionProxy) -> _Section:
    try:
        pattern = re.compile(name)
    except re.error as error:
        raise errors.Invalid(
            f"property_protection_file: [{name}] is no regular expression: {error}"
        ) from error
    return _Section(
        pattern, {operation: _whom(name, values, operation) for operation in _OPERATIONS}
    )


def _whom(name: str, values: configparser.SectionProxy, operation: Operation) -> frozenset[str]:
    """Whom one line allows."""
    where = f"property_protection_file: [{name}] {operation}"
    if operation not in values:
        raise errors.Invalid(f"{where} is missing; `{operation} = !` allows it to nobody")
    found = frozenset(item.strip() for item in values[operation].split(",")) - {""}
    if not found:
        LOG.warning("%s is empty: nobody is allowed to", where)
    if {_ALL, _NOBODY} <= found:
        raise errors.Invalid(f"{where} allows everybody (@) and nobody (!) at once")
    if config.CONF.property_protection_rule_format == "roles":
        return frozenset(map(str.lower, found))
    if len(found) > 1 or "," in values[operation]:
        raise errors.Invalid(
            f"{where} names several policy rules; combine them to one in the policy file"
        )
    for rule in found - {_ALL, _NOBODY}:
        if not policy.known(rule):
            raise errors.Invalid(f"{where} names the policy rule {rule}, which there is not")
    return found


class Judge:
    """What one caller may do with custom properties; each name is looked up once in its life of a request."""

    def __init__(self, asker: context.Context) -> None:
        self._asker = asker
        self._known: dict[tuple[str, Operation], bool] = {}

    def allows(self, operation: Operation, name: str) -> bool:
        """Whether the caller may do this with the property `name` of any image."""
        if _sections is None:
            return True
        key = name, operation
        if key not in self._known:
            self._known[key] = self._decide(operation, name)
        return self._known[key]

    def require(self, operation: Operation, name: str) -> None:
        """Refuse what `allows` does not allow.

        Raises:
            Forbidden: the property is protected.
        """
        if not self.allows(operation, name):
            raise errors.Forbidden(f"Property '{name}' is protected")

    def _decide(self, operation: Operation, name: str) -> bool:
        section = next((one for one in _sections or () if one.pattern.search(name)), None)
        allowed = section.allowed[operation] if section else frozenset()
        if _NOBODY in allowed or not allowed:
            return False
        if _ALL in allowed:
            return True
        if config.CONF.property_protection_rule_format == "roles":
            return not allowed.isdisjoint({*self._asker.roles, *self._asker.service_roles})
        (rule,) = allowed
        # A rule that has left the file would be judged by `default`. No image is meant: there is no project.
        return policy.known(rule) and policy.allowed(self._asker, rule, project_id="")
