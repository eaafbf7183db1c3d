"""Who may do what: oslo.policy with Glance's rule names and defaults (contract section 5.2, `images.rules`).

An operator's files (`[oslo_policy] policy_file`, `policy_dirs`) replace single rules and are read again when
they change. Whether somebody may *see* an image is not decided here but in the database (`images.catalog`):
what cannot be seen is not found.
"""

import logging
import operator
import pathlib
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_policy import opts, policy

from images import config, context, errors, models, records, rules

LOG = logging.getLogger(__name__)

DEFAULTS = rules.DEFAULTS

#: What a rule may say of who asks, and what that is in a context; `tenant` and `user` are old names.
_CREDENTIALS = {
    "user_id": "user_id",
    "user_domain_id": "user_domain_id",
    "project_id": "owner",
    "project_domain_id": "project_domain_id",
    "domain_id": "domain_id",
    "system_scope": "system_scope",
    "roles": "roles",
    "service_roles": "service_roles",
    "is_admin": "is_admin",
    "tenant": "owner",
    "user": "user_id",
}
_Image = models.Image | records.Record
_values = operator.attrgetter(*_CREDENTIALS.values())

#: Answers that are remembered.
_MOST_SAID = 10_000
#: How often it is looked for files that were not there before, in seconds.
_SEARCH = 1.0
_UNUSABLE = (
    cfg.Error,
    policy.InvalidDefinitionError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
)


class _Rules:
    """The rules in force. They are replaced as a whole: no request is judged by half of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._enforcer: policy.Enforcer | None = None
        self._paths: list[pathlib.Path] = []
        self._next_search = 0.0
        self._versions: object = None
        #: Rules by which the operator lets everybody do something.
        self.open: frozenset[str] = frozenset()
        #: What Glance's own rules have been found to say.
        self.said: dict[object, bool] = {}

    def current(self) -> policy.Enforcer:
        """The rules as the files have them now.

        Raises:
            Invalid: the files cannot be used, and never could in this process.
        """
        if time.monotonic() >= self._next_search:
            self._paths = _files()
            self._next_search = time.monotonic() + _SEARCH
        versions = list(map(_version, self._paths))
        if self._enforcer is not None and versions == self._versions:
            return self._enforcer
        with self._lock:
            return self._read(versions)

    def _read(self, versions: object) -> policy.Enforcer:
        try:
            enforcer = _load()
        except _UNUSABLE as error:
            if self._enforcer is None:
                raise errors.Invalid(f"The policy files cannot be used: {error!r}") from error
            LOG.exception("The policy files cannot be used; the rules from before remain in force")
            enforcer = self._enforcer
        else:
            self._enforcer, self.said = enforcer, {}
            self.open = frozenset(
                n for n, rule in enforcer.file_rules.items() if str(rule.check) == "@"
            )
        self._versions = versions
        return enforcer


def _files() -> list[pathlib.Path]:
    """The operator's files that there are."""
    opts.set_defaults(config.CONF)  # registers them
    options = config.CONF.oslo_policy
    named = [config.CONF.find_file(name) for name in (options.policy_file, *options.policy_dirs)]
    found = [pathlib.Path(name) for name in named if name]
    return found + [file for path in found if path.is_dir() for file in sorted(path.iterdir())]


def _version(path: pathlib.Path) -> object:
    try:
        stat = path.stat()
    except OSError:
        return None
    return path, stat.st_mtime_ns, stat.st_size, stat.st_ino


def _load() -> policy.Enforcer:
    """The defaults, and the operator's rules in their place."""
    # oslo.policy would judge a rule that nobody has defined by `default`, which allows everything.
    nothing = policy.RuleDefault("nothing", "!").check
    enforcer = policy.Enforcer(config.CONF, default_rule=nothing)
    enforcer.suppress_default_change_warnings = True
    for name, check in DEFAULTS.items():
        enforcer.register_default(policy.RuleDefault(name, check, scope_types=["project"]))
    enforcer.load_rules(force_reload=True)
    name = config.CONF.oslo_policy.policy_default_rule
    if name in enforcer.file_rules:
        enforcer.rules.default_rule = name
    enforcer.skip_undefined_check = True  # they have been logged, and allow nothing
    enforcer.check_rules(raise_on_violation=True)
    enforcer.use_conf = False  # from now on it is not asked to look at files
    return enforcer


_RULES = _Rules()


def load() -> None:
    """Read the operator's files, so that a fault in them is seen when the service starts.

    Raises:
        SystemExit: they cannot be used.
    """
    try:
        _RULES.current()
    except errors.Invalid as error:
        raise SystemExit(f"gantry: the configuration cannot be used: {error}") from error


def reset() -> None:
    """Forget the rules; the next question reads them from the configuration as it is then."""
    _RULES.__init__()  # type: ignore[misc]


def known(rule: str) -> bool:
    """Whether there is such a rule, of Glance's or of the operator's own."""
    return rule in _RULES.current().rules


def is_custom(rule: str) -> bool:
    """Whether the operator has changed a rule, or who is an administrator.

    Glance's own rules about images look at owner and visibility only; an operator's may look at everything.
    """
    return not _RULES.current().file_rules.keys().isdisjoint((rule, "context_is_admin"))


def allowed(asker: context.Context, rule: str, image: _Image | None = None, **target: Any) -> bool:
    """Whether `asker` may do what `rule` names, to `image` or to what `target` describes."""
    enforcer = _RULES.current()
    if target or enforcer.file_rules:
        return _judge(enforcer, asker, rule, image, target)
    # Glance's own rules look at these two of an image only, and asking oslo.policy is slow.
    about = (image.owner, image.visibility) if image else None
    key = rule, about, asker.read_only, asker.project_id, _values(asker)
    said = _RULES.said
    if key not in said:
        if len(said) >= _MOST_SAID:
            said.clear()
        said[key] = _judge(enforcer, asker, rule, image, target)
    return said[key]


def _judge(
    enforcer: policy.Enforcer,
    asker: context.Context,
    rule: str,
    image: _Image | None,
    target: dict[str, Any],
) -> bool:
    if asker.read_only and rule in rules.FOR_ANYBODY and rule not in enforcer.file_rules:
        visibility = target.get("visibility", "public") if image is None else image.visibility
        return visibility in ("public", "community")
    if asker.project_id is None and not asker.read_only:
        return False  # a token for a domain, the whole system or nothing: no rule is about those
    target.setdefault("project_id", asker.owner)
    if image is not None:  # its columns, and its properties where they are loaded
        facts = image.facts() if isinstance(image, records.Record) else vars(image)
        for name, row in facts.get("property_rows", {}).items():
            if not row.deleted:
                target[name] = row.value
        target |= facts | {
            "image_id": image.id,
            "project_id": image.owner,
            "member_id": None if image.owner == asker.owner else asker.owner,
        }
        if rule in _RULES.open and not _is_owners(asker, rule, image):
            return False
    credentials = dict(zip(_CREDENTIALS, _values(asker), strict=True))
    if asker.service_roles and rule in rules.FOR_SERVICES:
        _add_service(enforcer, credentials)
    return bool(enforcer.enforce(rule, target, credentials))


def _is_owners(asker: context.Context, rule: str, image: _Image) -> bool:
    """Whether a rule that lets everybody act is about the asker's image.

    In Glance up to Rocky almost every rule was `""`, and that one may change only one's own was in the code.
    """
    mine = image.owner is not None and image.owner == asker.owner
    return mine or asker.is_admin or rule not in rules.FOR_OWNERS


def _add_service(enforcer: policy.Enforcer, credentials: dict[str, Any]) -> None:
    """Let the roles of the service that asks count as the user's, if `service_api` holds for them."""
    service_roles = credentials["service_roles"]
    if enforcer.enforce("service_api", {}, credentials | {"roles": service_roles}):
        credentials["roles"] += service_roles


def enforce(asker: context.Context, rule: str, image: _Image | None = None, **target: Any) -> None:
    """Refuse what `rule` does not allow to `asker`.

    Raises:
        NotFound: an image that `get_image` does not let the asker see, whatever the rule.
        Forbidden: anything else.
    """
    if allowed(asker, rule, image, **target):
        return
    if image is not None and (rule == "get_image" or not allowed(asker, "get_image", image)):
        raise errors.NotFound(f"No image found with ID {image.id}")
    raise errors.Forbidden(f"You are not authorized to complete {rule} action.")


def sift(asker: context.Context, images: list[records.Record]) -> list[records.Record]:
    """Those of the images that `get_image` allows the asker to see."""
    # Glance's own rule looks at these two only; an operator's may look at everything.
    custom = not _RULES.current().file_rules.keys().isdisjoint(("get_image", "context_is_admin"))
    known: dict[Any, bool] = {}
    kept = []
    for image in images:
        key = image.id if custom else (image.owner, image.visibility)
        if key not in known:
            known[key] = allowed(asker, "get_image", image)
        if known[key]:
            kept.append(image)
    return kept
