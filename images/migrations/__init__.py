"""The schema's history. Its version table is `gantry_version`: Glance keeps its own, `alembic_version`."""
