"""The tables of metadata definitions: Glance's, column for column. Their rows are deleted, not marked."""

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Mapped, mapped_column

from images import db
from images.models import Base

_NAME = sa.String(80)
_NAMESPACE_KEY = "metadef_namespaces.id"


class Dated:
    """The columns that each of these tables carries."""

    created_at: Mapped[datetime.datetime] = mapped_column(default=db.now)
    updated_at: Mapped[datetime.datetime | None] = mapped_column(default=db.now, onupdate=db.now)


class Namespace(Dated, Base):
    """What definitions belong together, and who may see them."""

    __tablename__ = "metadef_namespaces"
    __table_args__ = (
        sa.UniqueConstraint("namespace", name="uq_metadef_namespaces_namespace"),
        sa.Index("ix_metadef_namespaces_owner", "owner"),
        Base.__table_args__,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    namespace: Mapped[str] = mapped_column(_NAME)
    display_name: Mapped[str | None] = mapped_column(_NAME)
    description: Mapped[str | None] = mapped_column(sa.Text)
    #: public or private.
    visibility: Mapped[str | None] = mapped_column(sa.String(32))
    protected: Mapped[bool | None]
    owner: Mapped[str] = mapped_column(sa.String(255))

    associations: Mapped[list["Association"]] = orm.relationship(
        lazy="selectin", viewonly=True, order_by="Association.resource_type_id"
    )


class Entry(Dated):
    """What a namespace holds under a name of its own: an object, a property or a tag."""

    id: Mapped[int] = mapped_column(primary_key=True)
    namespace_id: Mapped[int] = mapped_column(sa.ForeignKey(_NAMESPACE_KEY))
    name: Mapped[str] = mapped_column(_NAME)


def _named(table: str) -> tuple[Any, ...]:
    """The constraints that the three tables of entries have in common."""
    unique = sa.UniqueConstraint("namespace_id", "name", name=f"uq_{table}_namespace_id_name")
    return unique, sa.Index(f"ix_{table}_name", "name"), Base.__table_args__


class Object(Entry, Base):
    """A group of properties."""

    __tablename__ = "metadef_objects"
    __table_args__ = _named("metadef_objects")

    description: Mapped[str | None] = mapped_column(sa.Text)
    #: Names of the properties that must be there; commas separate them.
    required: Mapped[str | None] = mapped_column(sa.Text)
    #: Property name to its description.
    json_schema: Mapped[Any] = mapped_column(db.Json, default=dict)


class Property(Entry, Base):
    """What a property may hold, in the words of JSON schema."""

    __tablename__ = "metadef_properties"
    __table_args__ = _named("metadef_properties")

    json_schema: Mapped[Any] = mapped_column(db.Json, default=dict)


class Tag(Entry, Base):
    """A word that something may be tagged with."""

    __tablename__ = "metadef_tags"
    __table_args__ = _named("metadef_tags")


class ResourceType(Dated, Base):
    """A kind of thing that definitions are meant for, by Heat's name: OS::Nova::Server."""

    __tablename__ = "metadef_resource_types"
    __table_args__ = (
        sa.UniqueConstraint("name", name="uq_metadef_resource_types_name"),
        Base.__table_args__,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(_NAME)
    protected: Mapped[bool] = mapped_column(default=False)


class Association(Dated, Base):
    """A namespace is meant for a resource type; its properties' names then begin with `prefix`."""

    __tablename__ = "metadef_namespace_resource_types"
    __table_args__ = (
        sa.Index("ix_metadef_ns_res_types_namespace_id", "namespace_id"),
        Base.__table_args__,
    )

    resource_type_id: Mapped[int] = mapped_column(
        sa.ForeignKey("metadef_resource_types.id"), primary_key=True
    )
    namespace_id: Mapped[int] = mapped_column(sa.ForeignKey(_NAMESPACE_KEY), primary_key=True)
    properties_target: Mapped[str | None] = mapped_column(_NAME)
    prefix: Mapped[str | None] = mapped_column(_NAME)

    resource_type: Mapped[ResourceType] = orm.relationship(lazy="joined")

    @property
    def name(self) -> str:
        """The resource type's."""
        return self.resource_type.name
