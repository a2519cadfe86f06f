"""The network service's tables. Private to the service."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import json_column, metadata

_JSON = {"json": True}
_MOMENT = {"moment": True}


def _common() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False, index=True),
        sa.Column("description", sa.Text, nullable=False, default=""),
        sa.Column("revision_number", sa.Integer, nullable=False, default=0),
        sa.Column("created_at", sa.String(32), nullable=False, info=_MOMENT),
        sa.Column("updated_at", sa.String(32), nullable=False, info=_MOMENT),
    ]


def _named() -> list[sa.Column[Any]]:
    return [
        sa.Column("name", sa.String(255), nullable=False, index=True),
        json_column("tags", nullable=False, info=_JSON),
    ]


networks = sa.Table(
    "networks",
    metadata,
    *_common(),
    *_named(),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Column("external", sa.Boolean, nullable=False),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("mtu", sa.Integer, nullable=False),
    sa.Column("network_type", sa.String(32), nullable=False),
    # A wire carries one flat network: the database says so too.
    sa.Column("physical_network", sa.String(64), unique=True),
    sa.Column("segmentation_id", sa.Integer),
    sa.Column("port_security_enabled", sa.Boolean, nullable=False),
    json_column("availability_zone_hints", nullable=False, info=_JSON),
)

subnets = sa.Table(
    "subnets",
    metadata,
    *_common(),
    *_named(),
    sa.Column(
        "network_id", sa.String(36), sa.ForeignKey("networks.id"), nullable=False, index=True
    ),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Column("cidr", sa.String(64), nullable=False),
    sa.Column("gateway_ip", sa.String(64)),
    sa.Column("enable_dhcp", sa.Boolean, nullable=False),
    json_column("allocation_pools", nullable=False, info=_JSON),
    json_column("dns_nameservers", nullable=False, info=_JSON),
    json_column("host_routes", nullable=False, info=_JSON),
)

ports = sa.Table(
    "network_ports",
    metadata,
    *_common(),
    *_named(),
    sa.Column("network_id", sa.String(36), sa.ForeignKey("networks.id"), nullable=False),
    sa.Column("mac_address", sa.String(17), nullable=False),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("device_id", sa.String(255), nullable=False, index=True),
    sa.Column("device_owner", sa.String(255), nullable=False),
    sa.Column("host_id", sa.String(255), nullable=False),
    sa.Column("vnic_type", sa.String(64), nullable=False),
    sa.Column("vif_type", sa.String(64), nullable=False),
    json_column("profile", nullable=False, info=_JSON),
    sa.Column("port_security_enabled", sa.Boolean, nullable=False),
    json_column("security_groups", nullable=False, info=_JSON),
    json_column("allowed_address_pairs", nullable=False, info=_JSON),
    sa.UniqueConstraint("network_id", "mac_address"),
)

fixed_ips = sa.Table(
    "network_fixed_ips",
    metadata,
    sa.Column(
        "port_id",
        sa.String(36),
        sa.ForeignKey("network_ports.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("subnet_id", sa.String(36), sa.ForeignKey("subnets.id"), nullable=False),
    sa.Column("ip_address", sa.String(64), nullable=False, index=True),
    # Two transactions that choose the same address: the second one is told by the database.
    sa.PrimaryKeyConstraint("subnet_id", "ip_address"),
)

security_groups = sa.Table(
    "security_groups",
    metadata,
    *_common(),
    *_named(),
    sa.Column("stateful", sa.Boolean, nullable=False),
    # The project whose default group this is: at most one each.
    sa.Column("default_of", sa.String(64), unique=True),
)

security_group_rules = sa.Table(
    "security_group_rules",
    metadata,
    *_common(),
    sa.Column(
        "security_group_id",
        sa.String(36),
        sa.ForeignKey("security_groups.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("direction", sa.String(8), nullable=False),
    sa.Column("ethertype", sa.String(8), nullable=False),
    sa.Column("protocol", sa.String(32)),
    sa.Column("port_range_min", sa.Integer),
    sa.Column("port_range_max", sa.Integer),
    sa.Column("remote_ip_prefix", sa.String(64)),
    sa.Column("remote_group_id", sa.String(36)),
)

quotas = sa.Table(
    "network_quotas",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("resource", sa.String(32), primary_key=True),
    sa.Column("most", sa.Integer, nullable=False),
)

_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

#: What each project has, counted in the transactions that change it.
usage = sa.Table(
    "network_usage",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    *(
        sa.Column(name, _Number, nullable=False, server_default="0")
        for name in ("network", "subnet", "port", "security_group", "security_group_rule")
    ),
)

#: The newest generation of each port that DHCP must look at again; port_id "" stands for everything.
dhcp_changes = sa.Table(
    "network_dhcp_changes",
    metadata,
    sa.Column("port_id", sa.String(36), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False, index=True),
    sa.Column("changed_at", sa.String(32), nullable=False),
)

#: One row: counts the changes of what DHCP must know.
generations = sa.Table(
    "network_generations",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),
)
