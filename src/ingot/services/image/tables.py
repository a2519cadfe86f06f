"""Tables of the image service; only `store` reads and writes them."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.db.database import json_column, metadata, partial_index

images = sa.Table(
    "image_images",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(255)),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(64), index=True),
    sa.Column("visibility", sa.String(16), nullable=False),
    sa.Column("disk_format", sa.String(20)),
    sa.Column("container_format", sa.String(20)),
    sa.Column("size", sa.BigInteger),
    sa.Column("virtual_size", sa.BigInteger),
    sa.Column("checksum", sa.String(32)),
    sa.Column("sha256", sa.String(64)),
    sa.Column("os_hash_algo", sa.String(16)),
    sa.Column("os_hash_value", sa.String(128)),
    sa.Column("min_disk", sa.Integer, nullable=False, server_default="0"),
    sa.Column("min_ram", sa.Integer, nullable=False, server_default="0"),
    sa.Column("protected", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("os_hidden", sa.Boolean, nullable=False, server_default=sa.false()),
    # The host that receives the content now: what it left half done is its own to clear at its start.
    sa.Column("receiver", sa.String(255)),
    # The attempt to receive it, and when its receiver was heard of last.
    sa.Column("reception", sa.String(16)),
    sa.Column("received_at", sa.String(40)),
    sa.Column("created_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
    json_column("properties", nullable=False, server_default="{}"),
    json_column("tags", nullable=False, server_default="[]"),
    sa.Index("ix_image_images_created", "created_at", "id"),
    partial_index(
        "ix_image_images_receiving", "received_at", where="status IN ('saving', 'importing')"
    ),
)

#: Ids of images that are gone: nobody gets them again.
deleted = sa.Table(
    "image_deleted",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("deleted_at", sa.String(40), nullable=False),
)

#: Who has deploy URLs now: they end with the row.
holders = sa.Table(
    "image_holders",
    metadata,
    sa.Column("holder", sa.String(64), primary_key=True),
    sa.Column("hold", sa.String(16), nullable=False, unique=True),
)

members = sa.Table(
    "image_members",
    metadata,
    sa.Column(
        "image_id",
        sa.String(36),
        sa.ForeignKey("image_images.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("member_id", sa.String(64), primary_key=True, index=True),
    sa.Column("status", sa.String(16), nullable=False, server_default="pending"),
    sa.Column("created_at", sa.String(40), nullable=False),
    sa.Column("updated_at", sa.String(40), nullable=False),
)
