"""Queries of the bare-metal service that work on one node; lists for the API are in `listing.py`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.db.database import BulkStatement, PreparedStatement, among, from_json, to_json
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Missing
from ingot.services.baremetal.tables import (
    INTERFACES,
    node_followups,
    node_secrets,
    node_traits,
    nodes,
    ports,
)
from ingot.services.baremetal.types import Node, Port
from ingot.workflow import live_id

_JSON = frozenset(
    c.name
    for c in nodes.columns
    if c.name
    in {
        "driver_info",
        "driver_internal_info",
        "properties",
        "extra",
        "instance_info",
        "image_rights",
        "clean_step",
        "deploy_step",
        "service_step",
        "raid_config",
        "target_raid_config",
        "network_data",
        "boot_intent",
        "bmc_identity",
    }
)


def _flag(value: Any) -> bool | None:
    """A truth value as a driver gives it."""
    return None if value is None else bool(value)


def node_of(get: Mapping[str, Any], traits: tuple[str, ...] = ()) -> Node:
    """From its columns as they are stored."""
    return Node(
        uuid=get["uuid"],
        name=get["name"],
        driver=get["driver"],
        interfaces={name: get[f"{name}_interface"] for name in INTERFACES},
        driver_info=from_json(get["driver_info"]),
        driver_internal_info=from_json(get["driver_internal_info"]),
        properties=from_json(get["properties"]),
        extra=from_json(get["extra"]),
        instance_info=from_json(get["instance_info"]),
        instance_uuid=get["instance_uuid"],
        power_state=get["power_state"],
        target_power_state=get["target_power_state"],
        provision_state=get["provision_state"],
        target_provision_state=get["target_provision_state"],
        maintenance=bool(get["maintenance"]),
        fault=get["fault"],
        resource_class=get["resource_class"],
        conductor_group=get["conductor_group"],
        automated_clean=_flag(get["automated_clean"]),
        owner=get["owner"],
        lessee=get["lessee"],
        retired=bool(get["retired"]),
        protected=bool(get["protected"]),
        disable_power_off=bool(get["disable_power_off"]),
        boot_mode=get["boot_mode"],
        boot_intent=from_json(get["boot_intent"]),
        agent_ordered_at=get["agent_ordered_at"],
        automatic_lessee=bool(get["automatic_lessee"]),
        bmc_identity=from_json(get["bmc_identity"]),
        boot_seen_at=get["boot_seen_at"],
        instance_stopped=bool(get["instance_stopped"]),
        started_at=get["started_at"],
        unasked_boot_at=get["unasked_boot_at"],
        unasked_boot_mac=get["unasked_boot_mac"],
        traits=traits,
        reservation=get["reservation"],
        server_uuid=get["server_uuid"],
    )


#: The columns of which a Node is made; every query of nodes as values gives these.
_NODE = tuple(
    c
    for c in nodes.columns
    if c.name in {f.name for f in dataclasses.fields(Node)}
    or c.name.removesuffix("_interface") in INTERFACES
)
_NODE_NAMES = tuple(c.name for c in _NODE)
#: In one text, so that a node is one statement; a trait has no comma.
TRAITS = (
    sa.select(sa.func.aggregate_strings(node_traits.c.trait, ","))
    .where(node_traits.c.node_uuid == nodes.c.uuid)
    .scalar_subquery()
)
_SECRETS = (
    sa.select(node_secrets.c.sealed)
    .where(node_secrets.c.node_uuid == nodes.c.uuid, node_secrets.c.name == "driver_info")
    .scalar_subquery()
)
#: Built once: building and keying so many columns anew costs six times what the query does.
_BY_UUID = PreparedStatement(sa.select(TRAITS, *_NODE).where(nodes.c.uuid == sa.bindparam("ident")))
_BY_NAME = PreparedStatement(sa.select(TRAITS, *_NODE).where(nodes.c.name == sa.bindparam("ident")))
_BY_INSTANCE = PreparedStatement(
    sa.select(TRAITS, *_NODE).where(nodes.c.instance_uuid == sa.bindparam("ident"))
)
_TO_REACH = PreparedStatement(
    sa.select(_SECRETS, TRAITS, *_NODE).where(nodes.c.uuid == sa.bindparam("ident"))
)
_ALL_TO_REACH = PreparedStatement(
    sa.select(_SECRETS, TRAITS, *_NODE).where(among(nodes.c.uuid, "idents"))
)


def _whole(row: Sequence[Any]) -> Node:
    """From traits and columns."""
    traits = tuple(sorted(row[0].split(","))) if row[0] else ()
    return node_of(dict(zip(_NODE_NAMES, row[1:], strict=True)), traits)


def find_node(conn: sa.Connection, ident: str) -> Node | None:
    """The node with this uuid or name."""
    row = _first(conn, _BY_UUID if ids.is_uuid(ident) else _BY_NAME, ident)
    return None if row is None else _whole(row)


def _first(conn: sa.Connection, query: PreparedStatement, ident: str) -> tuple[Any, ...] | None:
    found = (query.first(conn, {"ident": text}) for text in ids.spellings(ident))
    return next((row for row in found if row is not None), None)


def node_of_instance(conn: sa.Connection, instance_uuid: str) -> Node | None:
    row = _BY_INSTANCE.first(conn, {"ident": instance_uuid})
    return None if row is None else _whole(row)


def network_data(conn: sa.Connection, uuid: str) -> dict[str, Any]:
    """The addresses that an operator gave a node; {} for none."""
    query = sa.select(nodes.c.network_data).where(nodes.c.uuid == uuid)
    return from_json(conn.execute(query).scalar()) or {}


def get_node(conn: sa.Connection, ident: str) -> Node:
    """As `find_node`; Missing when there is none."""
    node = find_node(conn, ident)
    if node is None:
        raise Missing(f"Node {ident} could not be found.")
    return node


def nodes_to_reach(
    conn: sa.Connection, uuids: Collection[str]
) -> dict[str, tuple[Node, str | None]]:
    """Nodes, with what is sealed of their driver_info."""
    if len(uuids) == 1:
        rows = _TO_REACH.rows(conn, {"ident": next(iter(uuids))})
    else:
        rows = _ALL_TO_REACH.rows(conn, {"idents": list(uuids)})
    found = [(_whole(row[1:]), row[0]) for row in rows]
    return {node.uuid: (node, sealed) for node, sealed in found}


def opened(vault: Vault, public: Mapping[str, Any], sealed: str | None) -> dict[str, Any]:
    """driver_info or instance_info with its secrets in plain text, for work only."""
    return {**public, **((sealed and from_json(vault.open(sealed))) or {})}


@dataclasses.dataclass(frozen=True, slots=True)
class NodeForAction:
    """A node, and what else a verb must know of it, all read by one statement.

    operation: the id of the live one. successor: as in `Present`. sealed: what is sealed of driver_info and of
    instance_info.
    """

    node: Node
    operation: str | None
    successor: str | None
    sealed: tuple[str | None, str | None]

    def driver_info(self, vault: Vault) -> dict[str, Any]:
        """With its secrets in plain text, for drivers only."""
        return opened(vault, self.node.driver_info, self.sealed[0])

    def instance_info(self, vault: Vault) -> dict[str, Any]:
        return opened(vault, self.node.instance_info, self.sealed[1])


_STANDING = sa.select(
    live_id(sa.literal("node:") + nodes.c.uuid),
    sa.select(node_followups.c.verb)
    .where(node_followups.c.node_uuid == nodes.c.uuid)
    .scalar_subquery(),
    _SECRETS,
    sa.select(node_secrets.c.sealed)
    .where(node_secrets.c.node_uuid == nodes.c.uuid, node_secrets.c.name == "instance_info")
    .scalar_subquery(),
    TRAITS,
    *_NODE,
)
_STANDING_BY_UUID = PreparedStatement(_STANDING.where(nodes.c.uuid == sa.bindparam("ident")))
_STANDING_BY_NAME = PreparedStatement(_STANDING.where(nodes.c.name == sa.bindparam("ident")))


def find_for_action(conn: sa.Connection, ident: str) -> NodeForAction | None:
    """The node with this uuid or name, and what else a verb must know."""
    row = _first(conn, _STANDING_BY_UUID if ids.is_uuid(ident) else _STANDING_BY_NAME, ident)
    return None if row is None else NodeForAction(_whole(row[4:]), row[0], row[1], (row[2], row[3]))


def get_for_action(conn: sa.Connection, ident: str) -> NodeForAction:
    """As `find_for_action`; Missing when there is none."""
    found = find_for_action(conn, ident)
    if found is None:
        raise Missing(f"Node {ident} could not be found.")
    return found


_TARGET_RAID = PreparedStatement(
    sa.select(nodes.c.target_raid_config).where(nodes.c.uuid == sa.bindparam("ident"))
)


def target_raid_config(conn: sa.Connection, uuid: str) -> dict[str, Any]:
    """What logical disks the node is to have; {} when nothing is asked for."""
    ((text,),) = _TARGET_RAID.rows(conn, {"ident": uuid})
    return from_json(text)


_IMAGE_RIGHTS = PreparedStatement(
    sa.select(nodes.c.image_rights, nodes.c.lessee, nodes.c.owner).where(
        nodes.c.uuid == sa.bindparam("ident")
    )
)


def image_rights(conn: sa.Connection, uuid: str) -> tuple[Any, str | None]:
    """Who wrote the names of images at a node (`imagerights`), and the project that it belongs to."""
    found = _IMAGE_RIGHTS.first(conn, {"ident": uuid})
    return (None, None) if found is None else (from_json(found[0]), found[1] or found[2])


def update_node(conn: sa.Connection, uuid: str, **values: Any) -> None:
    """Set columns of a node; JSON columns take plain values."""
    stored = {
        name: to_json(value) if name in _JSON and value is not None else value
        for name, value in values.items()
    }
    _update_of(tuple(stored)).change(conn, {**stored, "ident": uuid})


def move_node(conn: sa.Connection, uuid: str, before: str, **values: Any) -> bool:
    """As `update_node`, for a node that is still in the provisioning state `before`; whether it was."""
    stored = {
        name: to_json(value) if name in _JSON and value is not None else value
        for name, value in values.items()
    }
    moved = _update_of(tuple(stored), moving=True)
    return moved.change(conn, {**stored, "ident": uuid, "state_before": before}) == 1


@functools.cache
def _update_of(names: tuple[str, ...], moving: bool = False) -> PreparedStatement:
    """The statement that sets these columns of a node; there are some dozens of combinations."""
    values: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(name) for name in names}
    where = [nodes.c.uuid == sa.bindparam("ident")]
    if moving:
        where.append(nodes.c.provision_state == sa.bindparam("state_before"))
    return PreparedStatement(sa.update(nodes).where(*where).values(values))


_MEET = PreparedStatement(
    sa.update(nodes)
    .where(nodes.c.uuid == sa.bindparam("ident"), nodes.c.bmc_identity.is_(None))
    .values(bmc_identity=sa.bindparam("identity"))
)


def remember_controller(conn: sa.Connection, uuid: str, identity: Mapping[str, Any]) -> None:
    """Write down who a node's controller is; what was written at an earlier meeting stays."""
    _MEET.change(conn, {"ident": uuid, "identity": to_json(identity)})


def nodes_started_unasked(conn: sa.Connection, since: str, *, but: str) -> list[Node]:
    """Nodes (without `but`) that asked what to boot since then, without having been started by us."""
    where = (nodes.c.unasked_boot_at >= since, nodes.c.uuid != but)
    rows = conn.execute(sa.select(*_NODE).where(*where).order_by(nodes.c.id))
    return [node_of(dict(row)) for row in rows.mappings()]


def nodes_mentioning(
    conn: sa.Connection, column: str, texts: Sequence[str], *, but: str
) -> list[Node]:
    """Nodes (without `but`) in whose JSON column one of the texts stands; a scan, for rare questions."""
    holder = nodes.c[column]
    wanted = sa.or_(*(holder.contains(text, autoescape=True) for text in texts))
    rows = conn.execute(sa.select(*_NODE).where(wanted, nodes.c.uuid != but).order_by(nodes.c.id))
    return [node_of(dict(row)) for row in rows.mappings()]


_GIVE_TRAITS = BulkStatement.insert(node_traits, "node_uuid", "trait")
_TAKE_TRAITS = PreparedStatement(
    sa.delete(node_traits).where(
        node_traits.c.node_uuid == sa.bindparam("ident"), among(node_traits.c.trait, "traits")
    )
)


def change_traits(conn: sa.Connection, uuid: str, before: Collection[str], after: set[str]) -> None:
    """Write what is different. before: the traits that a node has, whose row is locked."""
    if gone := sorted(set(before) - after):
        _TAKE_TRAITS.change(conn, {"ident": uuid, "traits": gone})
    if new := sorted(after - set(before)):
        _GIVE_TRAITS.run(conn, [{"node_uuid": uuid, "trait": trait} for trait in new])


_DELETE_NODE = PreparedStatement(sa.delete(nodes).where(nodes.c.uuid == sa.bindparam("ident")))


def delete_node(conn: sa.Connection, uuid: str) -> None:
    """The row, and what hangs on it."""
    _DELETE_NODE.change(conn, {"ident": uuid})


# -- secrets -------------------------------------------------------------------------------------


_ONE_SECRET = sa.and_(
    node_secrets.c.node_uuid == sa.bindparam("ident"), node_secrets.c.name == sa.bindparam("named")
)
_SEALED = PreparedStatement(sa.select(node_secrets.c.sealed).where(_ONE_SECRET))
_FORGET_SECRET = PreparedStatement(sa.delete(node_secrets).where(_ONE_SECRET))
_FORGET_SECRETS = PreparedStatement(
    sa.delete(node_secrets).where(
        node_secrets.c.node_uuid == sa.bindparam("ident"), among(node_secrets.c.name, "names")
    )
)
_KEEP_SECRET = BulkStatement.insert(
    node_secrets, "node_uuid", "name", "sealed", replacing=("node_uuid", "name")
)


def read_secret(conn: sa.Connection, vault: Vault, uuid: str, name: str) -> Any:
    """A secret document of a node; None when there is none."""
    sealed = _SEALED.scalar(conn, {"ident": uuid, "named": name})
    return None if sealed is None else from_json(vault.open(sealed))


#: The secret under which the arguments of a vendor call wait: they may hold passwords.
VENDOR_ARGS = "vendor_args"


def open_any_secret(conn: sa.Connection, vault: Vault) -> None:
    """Raises the vault's fault when what is stored was sealed with another key."""
    sealed = conn.execute(sa.select(node_secrets.c.sealed).limit(1)).scalar()
    if sealed is not None:
        vault.open(sealed)


def forget_secrets(conn: sa.Connection, uuid: str, *names: str) -> None:
    _FORGET_SECRETS.change(conn, {"ident": uuid, "names": list(names)})


def write_secret(conn: sa.Connection, vault: Vault, uuid: str, name: str, value: Any) -> None:
    """Replace a secret document; None removes it."""
    if value is None or value == {}:
        _FORGET_SECRET.change(conn, {"ident": uuid, "named": name})
        return
    sealed = vault.seal(to_json(value))
    _KEEP_SECRET.run(conn, [{"node_uuid": uuid, "name": name, "sealed": sealed}])


def driver_info(conn: sa.Connection, vault: Vault, node: Node) -> dict[str, Any]:
    """driver_info with its secrets in plain text, for drivers only."""
    return {**node.driver_info, **(read_secret(conn, vault, node.uuid, "driver_info") or {})}


def instance_info(conn: sa.Connection, vault: Vault, node: Node) -> dict[str, Any]:
    """instance_info with its secrets in plain text, for work only."""
    return {**node.instance_info, **(read_secret(conn, vault, node.uuid, "instance_info") or {})}


# -- ports ---------------------------------------------------------------------------------------


def _port(row: Mapping[str, Any]) -> Port:
    return Port(
        uuid=row["uuid"],
        node_uuid=row["node_uuid"],
        address=row["address"],
        pxe_enabled=bool(row["pxe_enabled"]),
        physical_network=row["physical_network"],
        portgroup_uuid=row["portgroup_uuid"],
        local_link_connection=from_json(row["local_link_connection"]),
        internal_info=from_json(row["internal_info"]),
        extra=from_json(row["extra"]),
        name=row["name"],
    )


_PORTS_OF = PreparedStatement(
    sa.select(ports).where(ports.c.node_uuid == sa.bindparam("ident")).order_by(ports.c.id)
)
_PORT_BY_ADDRESS = PreparedStatement(
    sa.select(ports).where(ports.c.address == sa.bindparam("address"))
)
_NODES_BY_ADDRESSES = PreparedStatement(
    sa.select(ports.c.node_uuid).where(among(ports.c.address, "addresses")).distinct()
)


def ports_of(conn: sa.Connection, node_uuid: str) -> tuple[Port, ...]:
    return tuple(_port(row) for row in _PORTS_OF.mappings(conn, {"ident": node_uuid}))


def port_by_address(conn: sa.Connection, address: str) -> Port | None:
    found = _PORT_BY_ADDRESS.mappings(conn, {"address": address})
    return _port(found[0]) if found else None


def nodes_by_addresses(conn: sa.Connection, addresses: list[str]) -> tuple[str, ...]:
    """uuids of the nodes that own any of these MACs."""
    return tuple(uuid for (uuid,) in _NODES_BY_ADDRESSES.rows(conn, {"addresses": addresses}))


def portless_nodes_in(conn: sa.Connection, state: str) -> tuple[Node, ...]:
    """Nodes in a state that have no port yet."""
    owned = sa.select(ports.c.id).where(ports.c.node_uuid == nodes.c.uuid).exists()
    rows = conn.execute(sa.select(*_NODE).where(nodes.c.provision_state == state, ~owned))
    return tuple(node_of(dict(row)) for row in rows.mappings())


def add_port(conn: sa.Connection, *, node_uuid: str, address: str, now: str, **values: Any) -> str:
    """A new port; its uuid. Raises IntegrityError when the address is taken."""
    uuid = values.pop("uuid", None) or ids.new_uuid()
    for name in ("extra", "internal_info", "local_link_connection"):
        if name in values:
            values[name] = to_json(values[name])
    conn.execute(
        ports.insert().values(
            uuid=uuid, node_uuid=node_uuid, address=address, created_at=now, **values
        )
    )
    return uuid


_THIS_PORT = ports.c.uuid == sa.bindparam("ident")
_PORT_INTERNAL = PreparedStatement(
    sa.select(ports.c.internal_info).where(_THIS_PORT).with_for_update()
)
_SET_PORT_INTERNAL = PreparedStatement(
    sa.update(ports).where(_THIS_PORT).values(internal_info=sa.bindparam("info"))
)


def set_port_internal(conn: sa.Connection, uuid: str, facts: Mapping[str, Any]) -> None:
    """Add facts to a port's internal_info; a fact None is removed."""
    ((text,),) = _PORT_INTERNAL.rows(conn, {"ident": uuid})
    info = {k: v for k, v in {**from_json(text), **facts}.items() if v is not None}
    _SET_PORT_INTERNAL.change(conn, {"ident": uuid, "info": to_json(info)})


_LOCK_BY_UUID, _LOCK_BY_NAME = (
    PreparedStatement(
        sa.select(nodes.c.id).where(column == sa.bindparam("ident")).with_for_update()
    )
    for column in (nodes.c.uuid, nodes.c.name)
)


def hold(conn: sa.Connection, ident: str) -> None:
    """Lock the row of the node with this uuid or name, if there is one, until the transaction ends.

    What is read of it afterwards is what will be changed. On SQLite the transaction is alone anyway.
    """
    if conn.dialect.name != "sqlite":
        query = _LOCK_BY_UUID if ids.is_uuid(ident) else _LOCK_BY_NAME
        for text in ids.spellings(ident):
            query.rows(conn, {"ident": text})


def lock_node(conn: sa.Connection, ident: str) -> Node | None:
    """The node with this uuid or name, with its row locked until the transaction ends."""
    hold(conn, ident)
    return find_node(conn, ident)


def hold_node(conn: sa.Connection, ident: str) -> Node:
    """As `lock_node`; Missing when there is none."""
    hold(conn, ident)
    return get_node(conn, ident)


def nodes_in(conn: sa.Connection, states: Sequence[str]) -> tuple[str, ...]:
    """uuids of the nodes in these states, and of those that an operation seems to hold."""
    wanted = sa.or_(
        nodes.c.provision_state.in_(list(states)),
        nodes.c.reservation.is_not(None),
        nodes.c.target_power_state.is_not(None),
    )
    return tuple(conn.execute(sa.select(nodes.c.uuid).where(wanted)).scalars())


def shows_step(conn: sa.Connection, node_uuid: str, column: str) -> bool:
    """Whether a step is under way: column is clean_step, deploy_step or service_step."""
    text = conn.execute(sa.select(nodes.c[column]).where(nodes.c.uuid == node_uuid)).scalar()
    return text not in (None, "", "{}")


def maintenance_reason(conn: sa.Connection, node_uuid: str) -> str | None:
    return conn.execute(
        sa.select(nodes.c.maintenance_reason).where(nodes.c.uuid == node_uuid)
    ).scalar()


def count_of_project(conn: sa.Connection, project_id: str) -> int:
    """Nodes that a project owns or leases."""
    own = sa.or_(nodes.c.owner == project_id, nodes.c.lessee == project_id)
    return int(conn.execute(sa.select(sa.func.count()).select_from(nodes).where(own)).scalar_one())
