"""Metadata definitions: what others' resources may be described with (contract section 2.15)."""
