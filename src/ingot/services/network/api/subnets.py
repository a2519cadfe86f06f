"""Subnets. Source: Networking API v2.0, "Subnets"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingot.kit.api.fields import MAY, MUST, Field, Id, Row, Text
from ingot.kit.api.filters import constant as is_constant
from ingot.kit.api.operations import Call
from ingot.kit.api.resource import Hooks, Resource, Values, Where, sees_all
from ingot.kit.api.styles import NEUTRON
from ingot.kit.db.tx import Tx
from ingot.kit.faults import Invalid
from ingot.services.network import ipam, store, tables
from ingot.services.network.api.fields import (
    COMMON,
    Nothing,
    Pool,
    Route,
    shown_and_ignored,
)
from ingot.services.network.api.networks import rules
from ingot.services.network.api.quotas import within_quota
from ingot.services.network.api.rows import CollectionRows
from ingot.services.network.faults import invalid, missing
from ingot.services.network.service import Networks
from ingot.services.network.types import Network, Subnet

_T = tables.subnets.c

FIELDS = (
    Field("name", Text, create=MAY, update=True, default="", filter="equal", sort=True),
    Field("network_id", Id, create=MUST, filter="equal", sort=True),
    Field("ip_version", int, create=MAY, filter="equal", sort=True),
    Field("cidr", Text, create=MAY, filter="equal", sort=True),
    Field("gateway_ip", Text, create=MAY, update=True, nullable=True, filter="equal", sort=True),
    Field("enable_dhcp", bool, create=MAY, update=True, default=True, filter="equal", sort=True),
    Field("allocation_pools", list[Pool], create=MAY, update=True, nullable=True),
    Field("dns_nameservers", list[Text], create=MAY, update=True, nullable=True),
    Field("host_routes", list[Route], create=MAY, update=True, nullable=True),
    shown_and_ignored("ipv6_ra_mode", None, None),
    shown_and_ignored("ipv6_address_mode", None, None),
    Field("subnetpool_id", None, read=lambda _row: None, create=MAY, ignored=True),
    shown_and_ignored("service_types", Nothing, []),
    *COMMON,
)


def on_network(nets: Networks, networks: Resource) -> tuple[Any, Any]:
    """For resources on a network: what finds and locks the one that a creation names, and what rules may look at."""

    def prepare(tx: Tx, call: Call, values: Values) -> Values:
        seen = networks.seen(call)
        store.lock_network(tx.conn, values["network_id"], *seen)
        found = store.get(tx.conn, store.NETWORKS, values["network_id"], *seen)
        if found is None:
            raise missing("Network", values["network_id"])
        return {**values, "network": found}

    def target(tx: Tx | None, row: Row | None) -> Mapping[str, object]:
        if row is None or tx is None:
            return {}
        network: Network = row.get("network") or nets.get_network(tx.conn, row["network_id"])
        return {"project_id": row["project_id"], "network_project_id": network.project_id}

    return prepare, target


def subnets(nets: Networks, networks: Resource) -> Resource:
    """The resource over the service."""
    prepare, target = on_network(nets, networks)

    def visible(_resource: Resource, call: Call) -> Where | None:
        if sees_all(call):
            return None
        return store.visible_subnets(call.caller.project_id)

    def create(tx: Tx, _call: Call, values: Values) -> Subnet:
        return nets.create_subnet(tx.conn, **values)

    def change(tx: Tx, _call: Call, row: Subnet, values: Values) -> Subnet:
        return nets.update_subnet(tx.conn, row, values)

    def remove(tx: Tx, _call: Call, row: Subnet) -> None:
        nets.delete_subnet(tx.conn, row)

    return Resource(
        name="subnet",
        plural="subnets",
        table=tables.subnets,
        style=NEUTRON,
        param="id",
        fields=FIELDS,
        rules=rules("subnet"),
        scope=visible,
        target=target,
        rows=CollectionRows(store.SUBNETS, create, change, remove),
        filters={"subnetpool_id": is_constant("")},
        hooks=Hooks(prepare=prepare, validate=_checked, finished=within_quota(nets, "subnet")),
        tags=True,
    )


def _checked(_tx: Tx, _call: Call, values: Values, row: Row | None) -> Values:
    """Name servers and routes are addresses; null lists are empty ones; the range and its version fit together."""
    for name in ("dns_nameservers", "host_routes"):
        if name in values and values[name] is None:
            values[name] = []
    if values.get("allocation_pools", 0) is None:
        del values["allocation_pools"]
    version = _new(values) if row is None else int(row["ip_version"])
    if "dns_nameservers" in values:
        values["dns_nameservers"] = [
            str(ipam.address(text, "nameserver")) for text in values["dns_nameservers"]
        ]
    if "host_routes" in values:
        values["host_routes"] = ipam.routes(values["host_routes"], version)
    return values


def _new(values: Values) -> int:
    """What only a new subnet says; its IP version."""
    values.pop("network", None)
    if "cidr" not in values:
        raise Invalid("A subnet needs a cidr; subnet pools are not supported.")
    stated, version = values.pop("ip_version", None), ipam.network(values["cidr"]).version
    if stated is not None and stated != version:
        raise invalid("InvalidInput", f"ip_version {stated} does not match cidr {values['cidr']}.")
    values["default_gateway"] = "gateway_ip" not in values
    pools = values.pop("allocation_pools", None)
    if pools is not None:
        values["allocation_pools"] = [(pool["start"], pool["end"]) for pool in pools]
    return version
