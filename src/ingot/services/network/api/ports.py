"""Ports. Source: Networking API v2.0, "Ports", "Port binding" and "Port security"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.fields import MAY, MUST, Field, Id, Row, Text
from ingot.kit.api.filters import member
from ingot.kit.api.operations import Call
from ingot.kit.api.resource import Hooks, Resource, Values, Where, sees_all
from ingot.kit.api.styles import NEUTRON
from ingot.kit.db.tx import Tx
from ingot.kit.faults import Forbidden, Invalid
from ingot.services.network import groups, ipam, store, tables
from ingot.services.network.api.fields import (
    COMMON,
    FixedIp,
    NoText,
    Nothing,
    Pair,
    shown_and_ignored,
)
from ingot.services.network.api.networks import rules
from ingot.services.network.api.quotas import within_quota
from ingot.services.network.api.rows import CollectionRows
from ingot.services.network.api.security_groups import group_scope
from ingot.services.network.api.subnets import on_network
from ingot.services.network.faults import conflict
from ingot.services.network.service import Networks
from ingot.services.network.types import Network, Port

_T = tables.ports.c
_KINDS = ("normal", "baremetal", "direct", "macvtap")


def _status(row: Row) -> str:
    bound = row["vif_type"] not in ("unbound", "binding_failed")
    return "ACTIVE" if bound and row["admin_state_up"] else "DOWN"


def _with_status(values: Sequence[str]) -> Where:
    active = sa.and_(_T.admin_state_up, _T.vif_type.not_in(["unbound", "binding_failed"]))
    wanted = {value.upper() for value in values}
    clauses = [active] if "ACTIVE" in wanted else []
    if "DOWN" in wanted:
        clauses.append(sa.not_(active))
    return sa.or_(sa.false(), *clauses)


def _addresses(row: Row) -> list[dict[str, str]]:
    return [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in row["fixed_ips"]]


def _details(row: Row) -> dict[str, Any]:
    # port_filter: nothing filters packets on a flat physical wire.
    unbound = row["vif_type"] in ("unbound", "binding_failed")
    return {} if unbound else {"port_filter": False}


def _no_pairs(_given: Row) -> list[Any]:
    return []


def _no_profile(_given: Row) -> dict[str, Any]:
    return {}


FIELDS = (
    Field("name", Text, create=MAY, update=True, default="", filter="equal", sort=True),
    Field("network_id", Id, create=MUST, filter="equal", sort=True),
    Field("mac_address", Text, create=MAY, update=True, default=None, nullable=True,
          filter="equal", sort=True, rule="{verb}_port:mac_address"),
    Field("admin_state_up", bool, create=MAY, update=True, default=True, filter="equal", sort=True),
    Field("status", str, read=_status),
    Field("device_id", Text, create=MAY, update=True, default="", filter="equal", sort=True),
    Field("device_owner", Text, create=MAY, update=True, default="", filter="equal", sort=True),
    Field("fixed_ips", list[FixedIp], create=MAY, update=True, nullable=True, read=_addresses),
    Field("security_groups", list[Id], create=MAY, update=True, nullable=True),
    Field("allowed_address_pairs", list[Pair], create=MAY, update=True, nullable=True,
          default=_no_pairs, null=[], rule="{verb}_port:allowed_address_pairs"),
    Field("port_security_enabled", bool, create=MAY, update=True, filter="equal",
          usual=True, rule="{verb}_port:port_security_enabled"),
    Field("binding:host_id", Text, column="host_id", create=MAY, update=True, default="",
          nullable=True, null="", filter="equal", rule="{verb}_port:host_id", see="see_all"),
    Field("binding:vnic_type", Text, column="vnic_type", create=MAY, update=True, filter="equal"),
    Field("binding:profile", dict[str, Any], column="profile", create=MAY, update=True,
          default=_no_profile, nullable=True, null={}, rule="{verb}_port:profile", see="see_all"),
    Field("binding:vif_type", str, column="vif_type", filter="equal", see="see_all"),
    Field("binding:vif_details", dict[str, Any], read=_details, see="see_all"),
    shown_and_ignored("extra_dhcp_opts", Nothing, []),
    Field("dns_name", NoText, create=MAY, update=True, nullable=True, ignored=True, secret=True,
          read=lambda _row: ""),
    *COMMON,
)  # fmt: skip


def ports(nets: Networks, networks: Resource) -> Resource:
    """The resource over the service."""
    prepare, target = on_network(nets, networks)

    def visible(_resource: Resource, call: Call) -> Where | None:
        if sees_all(call):
            return None
        return store.visible_ports(call.caller.project_id)

    def validate(tx: Tx, call: Call, values: Values, row: Row | None) -> Values:
        if row is None:
            return _new(nets, tx, call, _known(values))
        return _changed(nets, tx, call, _known(values), row)

    def create(tx: Tx, _call: Call, values: Values) -> Port:
        mac = values.pop("mac_address", None)
        return nets.create_port(tx.conn, mac=mac, locked=True, **values)

    def change(tx: Tx, _call: Call, row: Port, values: Values) -> Port:
        return nets.change_port(tx.conn, row, values)

    def remove(tx: Tx, _call: Call, row: Port) -> None:
        nets.delete_port(tx.conn, row.id)

    def hold(tx: Tx, verb: str, ident: str, where: Sequence[Where]) -> Port | None:
        if verb == "delete":
            return store.held(tx.conn, store.PORTS, ident, *where)
        store.lock_port(tx.conn, ident, *where)
        return None

    return Resource(
        name="port",
        plural="ports",
        table=tables.ports,
        style=NEUTRON,
        param="id",
        fields=FIELDS,
        rules=rules("port"),
        scope=visible,
        target=target,
        rows=CollectionRows(store.PORTS, create, change, remove, hold),
        filters={
            "status": _with_status,
            "fixed_ips": store.with_fixed_ips,
            "security_groups": member(_T.security_groups),
        },
        hooks=Hooks(prepare=prepare, validate=validate, finished=within_quota(nets, "port")),
        tags=True,
        tags_given=True,
        unlocked=frozenset({"create", "update", "delete"}),
    )


def _known(values: Values) -> Values:
    """Addresses that are some, and a kind of port that there is."""
    for pair in values.get("allowed_address_pairs", ()):
        ipam.network(pair["ip_address"])
    if values.get("vnic_type", "normal") not in _KINDS:
        raise Invalid(f"Invalid binding:vnic_type {values['vnic_type']!r}.")
    return values


def _chooses(values: Values) -> list[str]:
    """What of a port only the network's owner may choose, and which of these a body names."""
    named = any("ip_address" in wanted for wanted in values.get("fixed_ips") or ())
    posing = str(values.get("device_owner", "")).startswith("network:")
    return [*(["ip_address"] if named else ()), *(["network_owner"] if posing else ())]


def _new(nets: Networks, tx: Tx, call: Call, values: Values) -> Values:
    network: Network = values.pop("network")
    project_id = str(values["project_id"])
    target = {"project_id": project_id, "network_project_id": network.project_id}
    for word in _chooses(values):
        call.require(f"create_port:{word}", target)
    if not (network.shared or call.allows("create_port:ip_address", target)):
        raise Forbidden(
            f"Network {network.id} is external and not shared: no ports can be made on it."
        )
    secured = values.setdefault("port_security_enabled", network.port_security_enabled)
    named: list[str] | None = values.get("security_groups")
    if named is None and secured:
        owner = str(values.get("device_owner", ""))
        none = owner.startswith(("network:", "baremetal:"))
        values["security_groups"] = [] if none else [nets.ensure_default_group(tx.conn, project_id)]
    else:
        members: list[str] = named or []
        values["security_groups"] = members
        _check_security(secured, members, values.get("allowed_address_pairs"))
        groups.check_members(tx.conn, members, group_scope(call))
    if values.get("host_id"):
        values.setdefault("vnic_type", "baremetal")
    return values


def _changed(nets: Networks, tx: Tx, call: Call, values: Values, row: Row) -> Values:
    if chosen := _chooses(values):
        network = nets.get_network(tx.conn, row["network_id"])
        target = {"project_id": row["project_id"], "network_project_id": network.project_id}
        for word in chosen:
            call.require(f"update_port:{word}", target)
    if "security_groups" in values:
        members: list[str] = values["security_groups"] or []
        values["security_groups"] = members
        groups.check_members(tx.conn, members, group_scope(call))
    _check_security(
        values.get("port_security_enabled", row["port_security_enabled"]),
        values.get("security_groups", row["security_groups"]),
        values.get("allowed_address_pairs", row["allowed_address_pairs"]),
    )
    return values


def _check_security(secured: bool, members: Any, pairs: Any) -> None:
    if secured:
        return
    if members:
        raise conflict(
            "PortSecurityPortHasSecurityGroup",
            "Port has security group associated. Cannot disable port security or ip address until "
            "security group is removed.",
        )
    if pairs:
        raise conflict(
            "AddressPairAndPortSecurityRequired",
            "Port Security must be enabled in order to have allowed address pairs on a port.",
        )
