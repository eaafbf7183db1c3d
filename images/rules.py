"""The policy rules by Glance's names, and what each says unless the operator's file says otherwise.

Contract section 5.2. What a rule means when it is asked: `images.policy`.
"""

_ADMIN = "rule:context_is_admin"
_MEMBER = f"{_ADMIN} or (role:member and project_id:%(project_id)s)"
_READER = f"{_ADMIN} or (role:reader and project_id:%(project_id)s)"
_SEEN = (
    "(project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s"
    " or 'public':%(visibility)s or 'shared':%(visibility)s)"
)
_SHARER = f"{_ADMIN} or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))"
_SERVICE = "rule:service_api"
_METADEF_READER = (
    f"{_ADMIN} or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))"
)
_METADEF_ADMIN = "rule:metadef_admin"

_IMAGES = {
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
    "tasks_api_access": _ADMIN,
    "get_task": "rule:default",
    "get_tasks": "rule:default",
    "add_task": "rule:default",
    "modify_task": "rule:default",
}
_CACHE = dict.fromkeys(
    [
        *("manage_image_cache", "list_cached_nodes", "cache_image", "cache_list"),
        *("cache_delete", "cache_clean", "cache_prune"),
    ],
    _ADMIN,
)
_METADEFS = {
    "metadef_default": "",
    "metadef_admin": _ADMIN,
    "get_metadef_namespaces": _READER,
    "get_metadef_namespace": _METADEF_READER,
    "get_metadef_objects": _METADEF_READER,
    "get_metadef_object": _METADEF_READER,
    "get_metadef_properties": _METADEF_READER,
    "get_metadef_property": _METADEF_READER,
    "get_metadef_tags": _METADEF_READER,
    "get_metadef_tag": _METADEF_READER,
    "list_metadef_resource_types": _METADEF_READER,
    "get_metadef_resource_type": _METADEF_READER,
    "add_metadef_namespace": _METADEF_ADMIN,
    "modify_metadef_namespace": _METADEF_ADMIN,
    "delete_metadef_namespace": _METADEF_ADMIN,
    "add_metadef_object": _METADEF_ADMIN,
    "modify_metadef_object": _METADEF_ADMIN,
    "delete_metadef_object": _METADEF_ADMIN,
    "add_metadef_property": _METADEF_ADMIN,
    "modify_metadef_property": _METADEF_ADMIN,
    "remove_metadef_property": _METADEF_ADMIN,
    "add_metadef_resource_type_association": _METADEF_ADMIN,
    "remove_metadef_resource_type_association": _METADEF_ADMIN,
    "add_metadef_tag": _METADEF_ADMIN,
    "add_metadef_tags": _METADEF_ADMIN,
    "modify_metadef_tag": _METADEF_ADMIN,
    "delete_metadef_tag": _METADEF_ADMIN,
    "delete_metadef_tags": _METADEF_ADMIN,
}

#: Name and check of each rule.
DEFAULTS = _IMAGES | _CACHE | _METADEFS

#: Rules that a service may fulfil which asks on a user's behalf (X-Service-Token; contract section 5.4).
FOR_SERVICES = frozenset(
    ["service_api", "add_image_location", "fetch_image_location", "stores_info_detail"]
)

#: Rules that nobody in particular fulfils for what is open to everybody (`allow_anonymous_access`).
FOR_ANYBODY = frozenset(
    [
        *("get_images", "get_image", "download_image", "list_metadef_resource_types"),
        *(name for name in _METADEFS if name.startswith("get_metadef")),
    ]
)

#: Rules that change an image; `""` never lets them change somebody else's.
FOR_OWNERS = frozenset(
    [
        *("modify_image", "delete_image", "upload_image", "communitize_image", "publicize_image"),
        *("deactivate", "reactivate", "set_image_location", "delete_image_location"),
        *("add_image_location", "add_member", "delete_member"),
    ]
)
