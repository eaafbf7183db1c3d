"""What Glance's own database has at its 2024.1 release: columns, indexes and unique constraints by table.

A column is `name: type`, with `!` behind the type where it must not be NULL and `=value` where the
database itself has a default; an index is `name: columns`.
"""

_STAMPS = {
    "created_at": "datetime!",
    "updated_at": "datetime",
    "deleted_at": "datetime",
    "deleted": "boolean!",
}

COLUMNS: dict[str, dict[str, str]] = {
    "images": {
        "id": "string36!",
        "name": "string255",
        "disk_format": "string20",
        "container_format": "string20",
        "size": "bigint",
        "virtual_size": "bigint",
        "status": "string30!",
        "visibility": "enum!=shared",
        "checksum": "string32",
        "os_hash_algo": "string64",
        "os_hash_value": "string128",
        "min_disk": "integer!",
        "min_ram": "integer!",
        "owner": "string255",
        "protected": "boolean!=0",
        "os_hidden": "boolean!=0",
    }
    | _STAMPS,
    "image_properties": {
        "id": "integer!",
        "image_id": "string36!",
        "name": "string255!",
        "value": "text",
    }
    | _STAMPS,
    "image_tags": {"id": "integer!", "image_id": "string36!", "value": "string255!"} | _STAMPS,
    "image_locations": {
        "id": "integer!",
        "image_id": "string36!",
        "value": "text!",
        "meta_data": "text",
        "status": "string30!=active",
    }
    | _STAMPS,
    "image_members": {
        "id": "integer!",
        "image_id": "string36!",
        "member": "string255!",
        "can_share": "boolean!",
        "status": "string20!=pending",
    }
    | _STAMPS,
    "tasks": {
        "id": "string36!",
        "type": "string30!",
        "status": "string30!",
        "owner": "string255!",
        "expires_at": "datetime",
        "image_id": "string36",
        "request_id": "string64",
        "user_id": "string64",
    }
    | _STAMPS,
    "task_info": {"task_id": "string36!", "input": "text", "result": "text", "message": "text"},
}

INDEXES: dict[str, dict[str, str]] = {
    "images": {
        "checksum_image_idx": "checksum",
        "visibility_image_idx": "visibility",
        "ix_images_deleted": "deleted",
        "owner_image_idx": "owner",
        "created_at_image_idx": "created_at",
        "updated_at_image_idx": "updated_at",
        "os_hidden_image_idx": "os_hidden",
        "os_hash_value_image_idx": "os_hash_value",
    },
    "image_properties": {
        "ix_image_properties_image_id": "image_id",
        "ix_image_properties_deleted": "deleted",
    },
    "image_tags": {
        "ix_image_tags_image_id": "image_id",
        "ix_image_tags_image_id_tag_value": "image_id value",
    },
    "image_locations": {
        "ix_image_locations_image_id": "image_id",
        "ix_image_locations_deleted": "deleted",
    },
    "image_members": {
        "ix_image_members_deleted": "deleted",
        "ix_image_members_image_id": "image_id",
        "ix_image_members_image_id_member": "image_id member",
    },
    "tasks": {
        "ix_tasks_type": "type",
        "ix_tasks_status": "status",
        "ix_tasks_owner": "owner",
        "ix_tasks_deleted": "deleted",
        "ix_tasks_image_id": "image_id",
        "ix_tasks_updated_at": "updated_at",
    },
    "task_info": {},
}

UNIQUE: dict[str, dict[str, str]] = {
    "image_properties": {"ix_image_properties_image_id_name": "image_id name"},
    "image_members": {"image_members_image_id_member_deleted_at_key": "image_id member deleted_at"},
}

#: Table and column that refers to another table's key, and that table.
REFERENCES: dict[tuple[str, str], str] = {
    ("image_properties", "image_id"): "images",
    ("image_tags", "image_id"): "images",
    ("image_locations", "image_id"): "images",
    ("image_members", "image_id"): "images",
    ("task_info", "task_id"): "tasks",
}

_DATES = {"created_at": "datetime!", "updated_at": "datetime"}
_NAMED = {"id": "integer!", "namespace_id": "integer!", "name": "string80!"}
_SPACES, _TYPES = "metadef_namespaces", "metadef_resource_types"
_BETWEEN = "metadef_namespace_resource_types"

COLUMNS |= {
    _SPACES: {
        "id": "integer!",
        "namespace": "string80!",
        "display_name": "string80",
        "description": "text",
        "visibility": "string32",
        "protected": "boolean",
        "owner": "string255!",
    }
    | _DATES,
    _TYPES: {"id": "integer!", "name": "string80!", "protected": "boolean!"} | _DATES,
    _BETWEEN: {
        "resource_type_id": "integer!",
        "namespace_id": "integer!",
        "properties_target": "string80",
        "prefix": "string80",
    }
    | _DATES,
    "metadef_objects": _NAMED
    | {"description": "text", "required": "text", "json_schema": "text!"}
    | _DATES,
    "metadef_properties": _NAMED | {"json_schema": "text!"} | _DATES,
    "metadef_tags": _NAMED | _DATES,
}
INDEXES |= {
    _SPACES: {"ix_metadef_namespaces_owner": "owner"},
    _TYPES: {},
    _BETWEEN: {"ix_metadef_ns_res_types_namespace_id": "namespace_id"},
}
UNIQUE |= {
    _SPACES: {"uq_metadef_namespaces_namespace": "namespace"},
    _TYPES: {"uq_metadef_resource_types_name": "name"},
}
REFERENCES |= {(_BETWEEN, "namespace_id"): _SPACES, (_BETWEEN, "resource_type_id"): _TYPES}
for _table in ("metadef_objects", "metadef_properties", "metadef_tags"):
    INDEXES[_table] = {f"ix_{_table}_name": "name"}
    UNIQUE[_table] = {f"uq_{_table}_namespace_id_name": "namespace_id name"}
    REFERENCES[_table, "namespace_id"] = _SPACES

COLUMNS |= {
    "node_reference": {"node_reference_id": "bigint!", "node_reference_url": "string255!"},
    "cached_images": {
        "id": "bigint!",
        "image_id": "string36!",
        "last_accessed": "datetime!",
        "last_modified": "datetime!",
        "size": "bigint!",
        "hits": "integer!",
        "checksum": "string32",
        "node_reference_id": "bigint!",
    },
}
INDEXES |= {"node_reference": {}, "cached_images": {}}
UNIQUE |= {
    "node_reference": {"uq_node_reference_node_reference_url": "node_reference_url"},
    "cached_images": {"ix_cached_images_image_id_node_reference_id": "image_id node_reference_id"},
}
REFERENCES["cached_images", "node_reference_id"] = "node_reference"
