"""The compute service's tables. Private to the service."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.db.database import json_column, metadata, partial_index

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

flavors = sa.Table(
    "flavors",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(255), nullable=False, unique=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("ram", sa.Integer, nullable=False),
    sa.Column("disk", sa.Integer, nullable=False),
    sa.Column("ephemeral", sa.Integer, nullable=False),
    sa.Column("swap", sa.Integer, nullable=False),
    sa.Column("rxtx_factor", sa.Float, nullable=False),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text),
    json_column("extra_specs", nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
)

#: Which projects see a flavor that is not public.
flavor_access = sa.Table(
    "flavor_access",
    metadata,
    sa.Column(
        "flavor_id",
        sa.String(255),
        sa.ForeignKey("flavors.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("project_id", sa.String(64), primary_key=True),
)

keypairs = sa.Table(
    "keypairs",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(255), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.UniqueConstraint("user_id", "name"),
)

server_groups = sa.Table(
    "server_groups",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("policy", sa.String(32), nullable=False),
    json_column("rules", nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
)

#: Limits that differ from the settings' own, per project.
compute_quotas = sa.Table(
    "compute_quotas",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)

#: What the servers of a project use together, counted with each change: no request adds them up.
compute_usage = sa.Table(
    "compute_usage",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("instances", _NUMBER, nullable=False),
    sa.Column("cores", _NUMBER, nullable=False),
    sa.Column("ram", _NUMBER, nullable=False),
)

servers = sa.Table(
    "servers",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("hostname", sa.String(255), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("vm_state", sa.String(32), nullable=False),
    sa.Column("task_state", sa.String(64)),
    sa.Column("power_state", sa.Integer, nullable=False),
    # The flavor as it was when the server was ordered: later changes do not touch it.
    json_column("flavor", nullable=False),
    sa.Column("image_id", sa.String(36)),
    sa.Column("key_name", sa.String(255)),
    json_column("key"),
    sa.Column("config_drive", sa.String(8), nullable=False),
    sa.Column("disk_config", sa.String(8), nullable=False),
    sa.Column("access_ip_v4", sa.String(64)),
    sa.Column("access_ip_v6", sa.String(64)),
    sa.Column("availability_zone", sa.String(255)),
    sa.Column("pinned_zone", sa.String(255)),
    sa.Column("wanted_node", sa.String(255)),
    sa.Column("reservation_id", sa.String(32), nullable=False),
    sa.Column("launch_index", sa.Integer, nullable=False),
    sa.Column("locked", sa.Boolean, nullable=False),
    sa.Column("locked_reason", sa.Text),
    #: "owner": somebody of its project; "admin": somebody else, whose lock its project does not take off.
    sa.Column("locked_by", sa.String(8)),
    # What was ordered, what was made of it, and what clients are shown.
    json_column("networks", nullable=False),
    json_column("ports", nullable=False),
    json_column("addresses", nullable=False),
    json_column("security_groups", nullable=False),
    json_column("metadata", nullable=False),
    json_column("tags", nullable=False),
    sa.Column("group_id", sa.String(36)),
    json_column("fault"),
    sa.Column("node_uuid", sa.String(36), index=True),
    sa.Column("node_name", sa.String(255)),
    # User data, files and the password, encrypted.
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
    sa.Column("launched_at", sa.String(32)),
    sa.Column("terminated_at", sa.String(32)),
    sa.Column("deleted_at", sa.String(32)),
    sa.Index("ix_servers_task_state", "task_state"),
    sa.Index("ix_servers_group_id", "group_id"),
    #: What has changed lately, for whoever follows servers.
    sa.Index("ix_servers_updated_at", "updated_at"),
    #: The usual list of a project.
    partial_index(
        "ix_servers_listed", "project_id", "created_at", "number", where="deleted_at IS NULL"
    ),
    sqlite_autoincrement=True,
)
