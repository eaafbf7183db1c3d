"""The mapped tables: Glance's, column for column (its 2024.1 schema), and ours, named `gantry_…`.

Glance can be started again on a database that this service has written to: its tables hold nothing
that it does not know, and what only we need stands in tables of our own (design section 7).
"""

import datetime
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from images import beginning, db

#: TEXT of MySQL takes 64 KiB.
_LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_ID = sa.String(36)
#: SQLite's INTEGER already holds 64 bits, and only that name makes a primary key count by itself.
_Bytes = sa.BigInteger().with_variant(sa.Integer, "sqlite")
#: The orders that a list is walked in (`images.walks`).
_LIST_ORDERS = {"created": ("created_at", "id"), "name": ("name", "created_at", "id")}


class Base(orm.DeclarativeBase):
    """The registry of every table."""

    __table_args__: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb3"}  # noqa: RUF012


class Stamped:
    """The columns that each of Glance's tables carries; a deleted row stays until it is purged."""

    created_at: Mapped[datetime.datetime] = mapped_column(default=db.now)
    updated_at: Mapped[datetime.datetime | None] = mapped_column(default=db.now, onupdate=db.now)
    deleted_at: Mapped[datetime.datetime | None]
    deleted: Mapped[bool] = mapped_column(default=False)


class Image(Stamped, Base):
    """An image's record (contract section 3.1)."""

    __tablename__ = "images"
    __table_args__ = (
        sa.Index("checksum_image_idx", "checksum"),
        sa.Index("visibility_image_idx", "visibility"),
        sa.Index("ix_images_deleted", "deleted"),
        sa.Index("owner_image_idx", "owner"),
        sa.Index("created_at_image_idx", "created_at"),
        sa.Index("updated_at_image_idx", "updated_at"),
        sa.Index("os_hidden_image_idx", "os_hidden"),
        sa.Index("os_hash_value_image_idx", "os_hash_value"),
        *(
            sa.Index(f"gantry_images_{first}_{order}", first, "deleted", "os_hidden", *columns)
            for first in ("owner", "visibility")
            for order, columns in _LIST_ORDERS.items()
        ),
        *(
            sa.Index(f"gantry_images_all_{order}", "deleted", "os_hidden", *columns)
            for order, columns in _LIST_ORDERS.items()
        ),
        sa.Index(
            "gantry_images_status_created", "status", "deleted", "os_hidden", "created_at", "id"
        ),
        Base.__table_args__,
    )

    id: Mapped[str] = mapped_column(_ID, primary_key=True, default=lambda: str(uuid.uuid4()))
    name: Mapped[str | None] = mapped_column(sa.String(255))
    disk_format: Mapped[str | None] = mapped_column(sa.String(20))
    container_format: Mapped[str | None] = mapped_column(sa.String(20))
    #: Bytes that are stored (while `uploading`: that are staged).
    size: Mapped[int | None] = mapped_column(_Bytes)
    #: Bytes that a guest will see.
    virtual_size: Mapped[int | None] = mapped_column(_Bytes)
    status: Mapped[str] = mapped_column(sa.String(30))
    visibility: Mapped[str] = mapped_column(
        sa.Enum("private", "public", "shared", "community", name="image_visibility"),
        default="shared",
        server_default="shared",
    )
    #: MD5 of the stored bytes, in hex.
    checksum: Mapped[str | None] = mapped_column(sa.String(32))
    os_hash_algo: Mapped[str | None] = mapped_column(sa.String(64))
    os_hash_value: Mapped[str | None] = mapped_column(sa.String(128))
    #: GiB.
    min_disk: Mapped[int] = mapped_column(default=0)
    #: MiB.
    min_ram: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(sa.String(255))
    protected: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    os_hidden: Mapped[bool] = mapped_column(default=False, server_default=sa.false())

    property_rows: Mapped[dict[str, "ImageProperty"]] = orm.relationship(
        collection_class=orm.attribute_keyed_dict("name"),
        lazy="raise",
        cascade="all, delete-orphan",
    )
    tag_rows: Mapped[list["ImageTag"]] = orm.relationship(
        primaryjoin="and_(Image.id == ImageTag.image_id, ImageTag.deleted != true())",
        lazy="raise",
        cascade="all, delete-orphan",
    )
    location_rows: Mapped[list["ImageLocation"]] = orm.relationship(
        primaryjoin="and_(Image.id == ImageLocation.image_id, ImageLocation.deleted != true(),"
        " ImageLocation.status == 'active')",
        order_by="ImageLocation.id",
        lazy="raise",
    )

    @property
    def properties(self) -> dict[str, str]:
        """The custom properties that are not deleted; a NULL of the v1 era reads as ''."""
        return {n: r.value or "" for n, r in self.property_rows.items() if not r.deleted}

    @property
    def tags(self) -> list[str]:
        """The tags, sorted so that an answer does not change by itself."""
        return sorted({row.value for row in self.tag_rows})

    def set_property(self, name: str, value: str | None) -> None:
        """Set one custom property; a row that was deleted earlier is used again, its name is unique."""
        row = self.property_rows.get(name)
        if row is None:
            self.property_rows[name] = ImageProperty(name=name, value=value)
        else:
            row.value, row.deleted, row.deleted_at = value, False, None


class ImageProperty(Stamped, Base):
    """One custom property of an image."""

    __tablename__ = "image_properties"
    __table_args__ = (
        sa.Index("ix_image_properties_image_id", "image_id"),
        sa.Index("ix_image_properties_deleted", "deleted"),
        *beginning.indexes("gantry_image_properties_value", "name", "value", "deleted", "image_id"),
        sa.UniqueConstraint("image_id", "name", name="ix_image_properties_image_id_name"),
        Base.__table_args__,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[str] = mapped_column(_ID, sa.ForeignKey("images.id"))
    name: Mapped[str] = mapped_column(sa.String(255))
    value: Mapped[str | None] = mapped_column(sa.Text)


class ImageTag(Stamped, Base):
    """One tag of an image."""

    __tablename__ = "image_tags"
    __table_args__ = (
        sa.Index("ix_image_tags_image_id", "image_id"),
        sa.Index("ix_image_tags_image_id_tag_value", "image_id", "value"),
        sa.Index("gantry_image_tags_value", "value", "deleted", "image_id"),
        Base.__table_args__,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[str] = mapped_column(_ID, sa.ForeignKey("images.id"))
    value: Mapped[str] = mapped_column(sa.String(255))


class ImageLocation(Stamped, Base):
    """Where the bytes of an image are: the URI that a glance_store driver gave (contract section 3.4)."""

    __tablename__ = "image_locations"
    __table_args__ = (
        sa.Index("ix_image_locations_image_id", "image_id"),
        sa.Index("ix_image_locations_deleted", "deleted"),
        Base.__table_args__,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[str] = mapped_column(_ID, sa.ForeignKey("images.id"))
    value: Mapped[str] = mapped_column(sa.Text)
    #: `{"store": <id>}` where several stores are configured.
    meta_data: Mapped[Any] = mapped_column(db.Json, default=dict, nullable=True)
    #: active, or pending_delete until the bytes are gone too.
    status: Mapped[str] = mapped_column(sa.String(30), default="active", server_default="active")


class ImageMember(Stamped, Base):
    """A project that an image is shared with."""

    __tablename__ = "image_members"
    __table_args__ = (
        sa.Index("ix_image_members_deleted", "deleted"),
        sa.Index("ix_image_members_image_id", "image_id"),
        sa.Index("ix_image_members_image_id_member", "image_id", "member"),
        sa.Index("gantry_image_members_member", "member", "deleted", "status", "image_id"),
        sa.UniqueConstraint(
            "image_id",
            "member",
            "deleted_at",
            name="image_members_image_id_member_deleted_at_key",
        ),
        Base.__table_args__,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[str] = mapped_column(_ID, sa.ForeignKey("images.id"))
    member: Mapped[str] = mapped_column(sa.String(255))
    can_share: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(sa.String(20), default="pending", server_default="pending")


class Task(Stamped, Base):
    """A Task: Glance's record of an import."""

    __tablename__ = "tasks"
    __table_args__ = (
        sa.Index("ix_tasks_type", "type"),
        sa.Index("ix_tasks_status", "status"),
        sa.Index("ix_tasks_owner", "owner"),
        sa.Index("ix_tasks_deleted", "deleted"),
        sa.Index("ix_tasks_image_id", "image_id"),
        sa.Index("ix_tasks_updated_at", "updated_at"),
        Base.__table_args__,
    )

    id: Mapped[str] = mapped_column(_ID, primary_key=True, default=lambda: str(uuid.uuid4()))
    #: api_image_import, import or location_import.
    type: Mapped[str] = mapped_column(sa.String(30))
    #: pending, processing, success or failure (`images.statuses.TASK_MOVES`).
    status: Mapped[str] = mapped_column(sa.String(30))
    owner: Mapped[str] = mapped_column(sa.String(255))
    expires_at: Mapped[datetime.datetime | None]
    image_id: Mapped[str | None] = mapped_column(_ID)
    request_id: Mapped[str | None] = mapped_column(sa.String(64))
    user_id: Mapped[str | None] = mapped_column(sa.String(64))

    info: Mapped["TaskInfo"] = orm.relationship(lazy="raise", cascade="all, delete-orphan")
    run: Mapped["TaskRun | None"] = orm.relationship(
        primaryjoin="Task.id == foreign(TaskRun.task_id)",
        uselist=False,
        lazy="raise",
        cascade="all, delete-orphan",
    )


class TaskInfo(Base):
    """The large columns of a task."""

    __tablename__ = "task_info"

    task_id: Mapped[str] = mapped_column(_ID, sa.ForeignKey("tasks.id"), primary_key=True)
    #: `{"image_id": …, "import_req": <body of POST /import>, "backend": [<store>, …]}`.
    input: Mapped[Any] = mapped_column(db.Json, nullable=True)
    result: Mapped[Any] = mapped_column(db.Json, nullable=True)
    message: Mapped[str | None] = mapped_column(sa.Text)


class NodeReference(Base):
    """A host that has an image cache, named by `worker_self_reference_url`."""

    __tablename__ = "node_reference"
    __table_args__ = (
        sa.UniqueConstraint("node_reference_url", name="uq_node_reference_node_reference_url"),
        Base.__table_args__,
    )

    node_reference_id: Mapped[int] = mapped_column(_Bytes, primary_key=True)
    node_reference_url: Mapped[str] = mapped_column(sa.String(255))


class CachedImage(Base):
    """An image that one host has in its cache (`images.cache`)."""

    __tablename__ = "cached_images"
    __table_args__ = (
        sa.UniqueConstraint(
            "image_id", "node_reference_id", name="ix_cached_images_image_id_node_reference_id"
        ),
        Base.__table_args__,
    )

    id: Mapped[int] = mapped_column(_Bytes, primary_key=True)
    image_id: Mapped[str] = mapped_column(_ID)
    last_accessed: Mapped[datetime.datetime]
    last_modified: Mapped[datetime.datetime]
    size: Mapped[int] = mapped_column(sa.BigInteger)
    #: Downloads that were served from the cache.
    hits: Mapped[int]
    #: The image's own, so that an entry of earlier data is told from one of its present data.
    checksum: Mapped[str | None] = mapped_column(sa.String(32))
    node_reference_id: Mapped[int] = mapped_column(
        _Bytes, sa.ForeignKey("node_reference.node_reference_id")
    )


class TaskRun(Base):
    """Ours: who runs a task right now, on whose behalf, and how far it has come.

    No foreign key: Glance, started again on this database, must be able to purge its tables without knowing
    ours.
    """

    __tablename__ = "gantry_task_runs"

    task_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    #: The Celery queue that the job belongs into.
    queue: Mapped[str] = mapped_column(sa.String(64))
    #: Roles of the user who asked; plugins look at them.
    roles: Mapped[Any] = mapped_column(db.Json, nullable=True)
    #: How often a worker has begun; it is the fencing number of the lease as well.
    attempt: Mapped[int] = mapped_column(default=0)
    #: Workers that have died with it; one that hands it back does not count.
    deaths: Mapped[int] = mapped_column(default=0)
    #: `node:pid` of the worker that holds the lease, or NULL.
    worker: Mapped[str | None] = mapped_column(sa.String(255))
    #: When the lease ends, seconds since 1970; with no worker, when the bell was rung, or 0: it waits for
    #: its project's turn (`images.turns`).
    expires: Mapped[float] = mapped_column(sa.Float(53), default=0.0, index=True)
    #: The step that is running, the bytes it has done, and the bytes it has to do where known.
    step: Mapped[str | None] = mapped_column(sa.String(64))
    bytes_done: Mapped[int] = mapped_column(_Bytes, default=0)
    bytes_total: Mapped[int | None] = mapped_column(_Bytes)
    #: Bytes a second at the moment.
    rate: Mapped[int | None] = mapped_column(_Bytes)
    #: How often the step has failed and begun again by itself.
    retries: Mapped[int] = mapped_column(default=0)


class FlowState(Base):
    """Ours: how far the flow of a task has come (`workers.flow_states`); gone when the task ends.

    No foreign key, as above.
    """

    __tablename__ = "gantry_flow_states"

    task_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    #: TaskFlow's flow detail as JSON; what steps have returned is in it.
    state: Mapped[str] = mapped_column(_LongText)


class Reservation(Base):
    """Ours: bytes that an image under way may come to have; they count before they are there.

    There is one for each image that is being filled while limits are enforced (`images.quota`), made with the
    status that begins it and gone with the status that ends it. No foreign key, as above.
    """

    __tablename__ = "gantry_reservations"

    image_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    #: Bytes in all the stores together.
    store_bytes: Mapped[int] = mapped_column(_Bytes, default=0)
    stage_bytes: Mapped[int] = mapped_column(_Bytes, default=0)


class Owner(Base):
    """Ours: a row to lock for each owner, so that the decisions about its limits come one after another."""

    __tablename__ = "gantry_owners"

    owner: Mapped[str] = mapped_column(sa.String(255), primary_key=True)


class TaskSecret(Base):
    """Ours: what the worker of one task must know and nobody may see; gone when the task ends.

    No foreign key, as above.
    """

    __tablename__ = "gantry_task_secrets"

    task_id: Mapped[str] = mapped_column(_ID, primary_key=True)
    #: Encrypted (`images.secrets`).
    value: Mapped[str] = mapped_column(sa.Text)
