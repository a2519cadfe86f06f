"""Rows of the bare-metal service. Private to the service.

JSON columns hold what the API may show: `driver_info` and `instance_info` are stored already masked, and
their secrets live encrypted in `node_secrets`, so that lists pass JSON through without looking into it.
"""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.db.database import json_column, metadata, partial_index

INTERFACES = (
    "bios",
    "boot",
    "console",
    "deploy",
    "firmware",
    "inspect",
    "management",
    "network",
    "power",
    "raid",
    "rescue",
    "storage",
    "vendor",
)

#: Flags that few machines have.
FEW = ("maintenance", "retired")
#: Whose server does not know of it: the machine is not its own any more, or has another power (`news`).
UNREPORTED = (
    "server_uuid IS NOT NULL AND (instance_uuid IS NULL OR instance_uuid <> server_uuid "
    "OR coalesce(power_state, '') <> coalesce(server_power, ''))"
)
#: By these a list of nodes is sorted without reading all of them: those that seldom change, or are asked for often.
#: Whether they may be NULL, which sorts as "". SQLAlchemy sees no index of an expression on SQLite: a migration that
#: makes the table of nodes anew there must make these again.
SORTED = {
    "name": True,
    "created_at": False,
    "provision_state": False,
    "resource_class": True,
    "driver": False,
    "owner": True,
    "conductor_group": False,
}


_FREE = "provision_state = 'available' AND instance_uuid IS NULL"

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", sa.String(255), unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column("driver", sa.String(255), nullable=False),
    *(sa.Column(f"{name}_interface", sa.String(255)) for name in INTERFACES),
    json_column("driver_info", nullable=False, server_default="{}"),
    json_column("driver_internal_info", nullable=False, server_default="{}"),
    json_column("properties", nullable=False, server_default="{}"),
    json_column("extra", nullable=False, server_default="{}"),
    json_column("instance_info", nullable=False, server_default="{}"),
    sa.Column("instance_uuid", sa.String(36), unique=True),
    sa.Column("instance_name", sa.String(255)),
    #: The server of our own Compute service that took the machine; it counts while it is also the instance.
    sa.Column("server_uuid", sa.String(36)),
    #: The power that this server was last told (`news`).
    sa.Column("server_power", sa.String(15)),
    sa.Column("power_state", sa.String(15)),
    sa.Column("target_power_state", sa.String(15)),
    sa.Column("provision_state", sa.String(20), nullable=False),
    sa.Column("target_provision_state", sa.String(20)),
    sa.Column("provision_updated_at", sa.String(32)),
    sa.Column("last_error", sa.Text),
    #: Host of the conductor whose operation holds the node; set and cleared with the operation.
    sa.Column("reservation", sa.String(255)),
    sa.Column("maintenance", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("maintenance_reason", sa.Text),
    sa.Column("fault", sa.String(255)),
    sa.Column("console_enabled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("inspection_started_at", sa.String(32)),
    sa.Column("inspection_finished_at", sa.String(32)),
    json_column("clean_step", nullable=False, server_default="{}"),
    json_column("deploy_step", nullable=False, server_default="{}"),
    json_column("service_step", nullable=False, server_default="{}"),
    json_column("raid_config", nullable=False, server_default="{}"),
    json_column("target_raid_config", nullable=False, server_default="{}"),
    sa.Column("resource_class", sa.String(80)),
    sa.Column("conductor_group", sa.String(255), nullable=False, server_default=""),
    sa.Column("automated_clean", sa.Boolean),
    sa.Column("protected", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("protected_reason", sa.Text),
    sa.Column("owner", sa.String(255)),
    sa.Column("lessee", sa.String(255)),
    sa.Column("description", sa.Text),
    sa.Column("retired", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("retired_reason", sa.Text),
    json_column("network_data", nullable=False, server_default="{}"),
    sa.Column("boot_mode", sa.String(16)),
    sa.Column("secure_boot", sa.Boolean),
    sa.Column("shard", sa.String(255)),
    sa.Column("parent_node", sa.String(36)),
    sa.Column("disable_power_off", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("health", sa.String(16)),
    sa.Column("chassis_uuid", sa.String(36)),
    sa.Column("allocation_uuid", sa.String(36)),
    #: What the machine is to boot when it asks (`bootplan`); NULL: nothing from us.
    json_column("boot_intent"),
    #: When the machine was last to boot the agent, and when it asked for what it boots since; NULL: it has not asked.
    sa.Column("agent_ordered_at", sa.String(32)),
    sa.Column("boot_seen_at", sa.String(32)),
    #: When we switched the machine on; NULL as soon as it has asked what to boot.
    sa.Column("started_at", sa.String(32)),
    #: When, and by which card, it asked last what to boot without having been started by us (`proofs.strangers`).
    sa.Column("unasked_boot_at", sa.String(32)),
    sa.Column("unasked_boot_mac", sa.String(17)),
    #: Who the controller said that it is, when it was met first (`drivers.machine.types.Identity`).
    json_column("bmc_identity"),
    #: The instance was stopped for a service, and is to be started again if that is given up.
    sa.Column("instance_stopped", sa.Boolean, nullable=False, server_default=sa.false()),
    #: The lessee came with the instance, and goes with it.
    sa.Column("automatic_lessee", sa.Boolean, nullable=False, server_default=sa.false()),
    #: Who wrote the names of images in instance_info and driver_info (`imagerights`).
    json_column("image_rights"),
    sa.Index("ix_nodes_provision_state", "provision_state"),
    sa.Index("ix_nodes_resource_class", "resource_class"),
    sa.Index("ix_nodes_owner", "owner"),
    sa.Index("ix_nodes_lessee", "lessee"),
    #: So that a list by a filter reads what it shows, however many machines there are.
    sa.Index("ix_nodes_driver", "driver"),
    sa.Index("ix_nodes_conductor_group", "conductor_group"),
    sa.Index("ix_nodes_shard", "shard"),
    *(
        partial_index(f"ix_nodes_{name}", name, where=f"{name} IS NOT NULL")
        for name in ("chassis_uuid", "parent_node", "fault", "instance_name")
    ),
    partial_index("ix_nodes_associated", "id", where="instance_uuid IS NOT NULL"),
    # Only of the few: most machines are neither, and an index of them would be chosen where a better one is.
    *(partial_index(f"ix_nodes_{name}", "id", where=f"{name} IS TRUE") for name in FEW),
    #: Machines that an allocation may choose from.
    partial_index(
        "ix_nodes_free",
        "resource_class",
        "uuid",
        where=_FREE,
    ),
    partial_index("ix_nodes_news", "id", where=UNREPORTED),
    partial_index("ix_nodes_unasked_boot", "unasked_boot_at", where="unasked_boot_at IS NOT NULL"),
    *(
        sa.Index(
            f"ix_nodes_sorted_{name}", sa.text(f"coalesce({name}, '')") if empty else name, "id"
        )
        for name, empty in SORTED.items()
    ),
)

#: Servers whose machine's node was deleted, or taken by another server, before they were told (`news`).
left_servers = sa.Table(
    "left_servers",
    metadata,
    sa.Column("server_uuid", sa.String(36), primary_key=True),
    sa.Column("node_uuid", sa.String(36), primary_key=True),
)

node_secrets = sa.Table(
    "node_secrets",
    metadata,
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        primary_key=True,
    ),
    #: "driver_info", "instance_info", "configdrive", "rescue_password", "agent"
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("sealed", sa.Text, nullable=False),
)

node_traits = sa.Table(
    "node_traits",
    metadata,
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("trait", sa.String(255), primary_key=True),
    sa.Index("ix_node_traits_trait", "trait"),
)

#: What is known of the agent that runs on a machine now; a heartbeat changes only this row.
node_agents = sa.Table(
    "node_agents",
    metadata,
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("token_hash", sa.String(64)),
    sa.Column("url", sa.Text),
    sa.Column("version", sa.String(32)),
    sa.Column("verify_ca", sa.Text),
    sa.Column("last_heartbeat", sa.String(32)),
)

#: A claim on one machine: by what it must have, or of a machine in use ("back-fill").
allocations = sa.Table(
    "allocations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", sa.String(255), unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column(
        "node_uuid", sa.String(36), sa.ForeignKey("nodes.uuid", ondelete="CASCADE"), index=True
    ),
    #: "active" or "error": decided in the transaction that makes the row.
    sa.Column("state", sa.String(15), nullable=False, index=True),
    sa.Column("last_error", sa.Text),
    sa.Column("owner", sa.String(255), index=True),
    sa.Column("resource_class", sa.String(80), index=True),
    json_column("traits", nullable=False, server_default="[]"),
    json_column("candidate_nodes", nullable=False, server_default="[]"),
    json_column("extra", nullable=False, server_default="{}"),
)

#: Deploy steps for all instances that ask for the trait of the template's name.
deploy_templates = sa.Table(
    "deploy_templates",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column("description", sa.String(255)),
    #: As shown: secrets of the arguments are masked. `sealed` has the steps whole where that differs.
    json_column("steps", nullable=False),
    sa.Column("sealed", sa.Text),
    json_column("extra", nullable=False, server_default="{}"),
)

#: Clean or service steps in their order, for the machines that share a trait with it.
runbooks = sa.Table(
    "runbooks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column("description", sa.String(255)),
    sa.Column("owner", sa.String(255), index=True),
    sa.Column("public", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("disable_ramdisk", sa.Boolean, nullable=False, server_default=sa.false()),
    json_column("traits", nullable=False, server_default="[]"),
    #: As in deploy_templates.
    json_column("steps", nullable=False),
    sa.Column("sealed", sa.Text),
    json_column("extra", nullable=False, server_default="{}"),
)

#: What an agent or the drivers said of their steps when they were asked last.
node_steps = sa.Table(
    "node_steps",
    metadata,
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        primary_key=True,
    ),
    #: "clean", "deploy" or "service"
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("seen_at", sa.String(32), nullable=False),
    json_column("steps", nullable=False),
)

node_inventories = sa.Table(
    "node_inventories",
    metadata,
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("created_at", sa.String(32), nullable=False),
    json_column("inventory", nullable=False),
    json_column("plugin_data", nullable=False),
)

node_history = sa.Table(
    "node_history",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("conductor", sa.String(255)),
    sa.Column("event_type", sa.String(255)),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("user", sa.String(255)),
    sa.Column("project", sa.String(255)),
    #: As the node was when the entry was made, and for how many seconds it had been so.
    sa.Column("state", sa.String(20)),
    sa.Column("target_provision_state", sa.String(20)),
    sa.Column("duration_seconds", sa.Integer),
)

ports = sa.Table(
    "baremetal_ports",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("address", sa.String(17), nullable=False, unique=True),
    sa.Column("name", sa.String(255), unique=True),
    sa.Column("description", sa.Text),
    json_column("extra", nullable=False, server_default="{}"),
    #: tenant_vif_port_id, cleaning_vif_port_id … as the API shows them.
    json_column("internal_info", nullable=False, server_default="{}"),
    json_column("local_link_connection", nullable=False, server_default="{}"),
    sa.Column("pxe_enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("portgroup_uuid", sa.String(36)),
    sa.Column("physical_network", sa.String(64)),
    sa.Column("is_smartnic", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("vendor", sa.String(32)),
    sa.Column("category", sa.String(80)),
    sa.Column("available_for_dynamic_portgroup", sa.Boolean, server_default=sa.false()),
    sa.Index("ix_baremetal_ports_portgroup_uuid", "portgroup_uuid"),
)

portgroups = sa.Table(
    "portgroups",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("name", sa.String(255), unique=True),
    sa.Column("address", sa.String(17), unique=True),
    sa.Column("mode", sa.String(255)),
    json_column("properties", nullable=False, server_default="{}"),
    json_column("extra", nullable=False, server_default="{}"),
    #: tenant_vif_port_id … as of ports.
    json_column("internal_info", nullable=False, server_default="{}"),
    sa.Column("standalone_ports_supported", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("physical_network", sa.String(64)),
    sa.Column("category", sa.String(80)),
    sa.Column("dynamic_portgroup", sa.Boolean, nullable=False, server_default=sa.false()),
)

chassis = sa.Table(
    "chassis",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column("description", sa.String(255)),
    json_column("extra", nullable=False, server_default="{}"),
)

volume_connectors = sa.Table(
    "volume_connectors",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("connector_id", sa.String(255), nullable=False),
    json_column("extra", nullable=False, server_default="{}"),
    sa.UniqueConstraint("type", "connector_id"),
)

volume_targets = sa.Table(
    "volume_targets",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("volume_type", sa.String(64), nullable=False),
    sa.Column("boot_index", sa.BigInteger, nullable=False),
    sa.Column("volume_id", sa.String(255), nullable=False),
    #: How the machine reaches the volume, with `******` for secrets.
    json_column("properties", nullable=False, server_default="{}"),
    #: The secrets of `properties`, encrypted.
    sa.Column("sealed", sa.Text),
    json_column("extra", nullable=False, server_default="{}"),
    sa.UniqueConstraint("node_uuid", "boot_index"),
)

#: Firmware settings as the machine told them last, and what its registry says about them.
node_bios = sa.Table(
    "node_bios",
    metadata,
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column("value", sa.Text),
    sa.Column("attribute_type", sa.String(255)),
    json_column("allowable_values"),
    sa.Column("lower_bound", sa.BigInteger),
    sa.Column("upper_bound", sa.BigInteger),
    sa.Column("min_length", sa.BigInteger),
    sa.Column("max_length", sa.BigInteger),
    sa.Column("read_only", sa.Boolean),
    sa.Column("reset_required", sa.Boolean),
    sa.Column("unique", sa.Boolean),
)

#: Parts with firmware. initial_version: when we first saw it; last_version_flashed: of the last change.
node_firmware = sa.Table(
    "node_firmware",
    metadata,
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("component", sa.String(255), primary_key=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column("initial_version", sa.String(255)),
    sa.Column("current_version", sa.String(255)),
    sa.Column("last_version_flashed", sa.String(255)),
    sa.Column("vendor", sa.String(255)),
    sa.Column("model", sa.String(255)),
    sa.Column("serial_number", sa.String(255)),
)

#: Consoles that are to be reached by TCP; port and url once they are.
node_consoles = sa.Table(
    "node_consoles",
    metadata,
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("port", sa.Integer),
    sa.Column("url", sa.String(255)),
    # Who opened it, and whose the machine was then.
    json_column("opened_by"),
    sa.Column("owner", sa.String(255)),
    sa.Column("lessee", sa.String(255)),
)

#: A verb that waits for the present operation of a node to end (deletion during a wait).
node_followups = sa.Table(
    "node_followups",
    metadata,
    sa.Column(
        "node_uuid",
        sa.String(36),
        sa.ForeignKey("nodes.uuid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("verb", sa.String(32), nullable=False),
    json_column("extras", nullable=False),
    json_column("requested_by", nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
)

inspection_rules = sa.Table(
    "inspection_rules",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False, unique=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("updated_at", sa.String(32)),
    sa.Column("description", sa.String(255)),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("phase", sa.String(16), nullable=False, server_default="main"),
    sa.Column("sensitive", sa.Boolean, nullable=False, server_default=sa.false()),
    #: NULL in a sensitive rule: what it says is sealed.
    json_column("conditions"),
    json_column("actions"),
    sa.Column("sealed", sa.Text),
)
