"""Who may do what: oslo.policy with Glance's rule names and defaults (contract section 5.2).

An operator's file (`[oslo_policy] policy_file`) replaces single rules. Whether somebody may *see* an image is
not decided here but in the database (`images.catalog`): what cannot be seen is not found.
"""

import functools
from typing import Any

from oslo_policy import policy

from images import config, context, errors, models

_ADMIN = "rule:context_is_admin"
_MEMBER = f"{_ADMIN} or (role:member and project_id:%(project_id)s)"
_READER = f"{_ADMIN} or (role:reader and project_id:%(project_id)s)"
_SEEN = (
    "(project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s"
    " or 'public':%(visibility)s or 'shared':%(visibility)s)"
)
_SHARER = f"{_ADMIN} or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))"
_SERVICE = "rule:service_api"

DEFAULTS = {
    "default": "",
    "context_is_admin": "role:admin",
    "service_api": "role:service or role:admin",
    "get_images": _READER,
    "get_image": f"{_ADMIN} or (role:reader and {_SEEN})",
    "add_image": f"{_ADMIN} or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    "modify_image": _MEMBER,
    "delete_image": _MEMBER,
    "upload_image": _MEMBER,
    "download_image": f"{_ADMIN} or (role:member and {_SEEN})",
    "download_from_store": f"{_ADMIN} or (role:member and {_SEEN})",
    "publicize_image": _ADMIN,
    "communitize_image": _MEMBER,
    "deactivate": _MEMBER,
    "reactivate": _MEMBER,
    "copy_image": _ADMIN,
    "get_image_location": _READER,
    "set_image_location": _MEMBER,
    "delete_image_location": _ADMIN,
    "add_image_location": f"{_SERVICE} or {_MEMBER}",
    "fetch_image_location": _SERVICE,
    "stores_info_detail": f"{_ADMIN} or {_SERVICE}",
    "add_member": _MEMBER,
    "delete_member": _MEMBER,
    "modify_member": f"{_ADMIN} or (role:member and project_id:%(member_id)s)",
    "get_member": _SHARER,
    "get_members": _SHARER,
    "manage_image_cache": _ADMIN,
    "tasks_api_access": _ADMIN,
    "get_task": "",
    "get_tasks": "",
    "add_task": "",
    "modify_task": "",
}


@functools.cache
def _enforcer() -> policy.Enforcer:
    """The rules of this process; the operator's file is read again when it has changed."""
    enforcer = policy.Enforcer(config.CONF)
    enforcer.suppress_default_change_warnings = True
    enforcer.register_defaults(
        [
            policy.RuleDefault(name, check, scope_types=["project"])
            for name, check in DEFAULTS.items()
        ]
    )
    return enforcer


def reset() -> None:
    """Forget the rules; the next question reads them from the configuration as it is then."""
    _enforcer.cache_clear()


def allowed(
    asker: context.Context, rule: str, image: models.Image | None = None, **target: Any
) -> bool:
    """Whether `asker` may do what `rule` names, to `image` or to what `target` describes."""
    credentials = {
        "user_id": asker.user_id,
        "project_id": asker.owner,
        "roles": asker.roles,
        "service_roles": asker.service_roles,
        "domain_id": asker.domain_id,
        "system_scope": asker.system_scope,
    }
    target.setdefault("project_id", asker.owner)
    if image is not None:  # its columns, and its properties where they are loaded
        loaded = vars(image)
        for name, row in loaded.get("property_rows", {}).items():
            if not row.deleted:
                target[name] = row.value
        target |= loaded | {
            "image_id": image.id,
            "project_id": image.owner,
            "member_id": None if image.owner == asker.owner else asker.owner,
        }
    return bool(_enforcer().enforce(rule, target, credentials))


def enforce(
    asker: context.Context, rule: str, image: models.Image | None = None, **target: Any
) -> None:
    """Refuse what `rule` does not allow to `asker`.

    Raises:
        NotFound: an image that the rule does not let the asker see.
        Forbidden: anything else.
    """
    if allowed(asker, rule, image, **target):
        return
    if rule == "get_image" and image is not None:
        raise errors.NotFound(f"No image found with ID {image.id}")
    raise errors.Forbidden(f"You are not authorized to complete {rule} action.")


def sift(asker: context.Context, images: list[models.Image]) -> list[models.Image]:
    """Those of the images that `get_image` allows the asker to see."""
    # A check costs half a millisecond. Glance's own rule looks at these two only; an operator's may at all.
    custom = not _enforcer().file_rules.keys().isdisjoint(("get_image", "context_is_admin"))
    known: dict[Any, bool] = {}
    kept = []
    for image in images:
        key = image.id if custom else (image.owner, image.visibility)
        if key not in known:
            known[key] = allowed(asker, "get_image", image)
        if known[key]:
            kept.append(image)
    return kept
