"""Networks. Source: Networking API v2.0, "Networks", with the extensions that `extensions` lists."""

from __future__ import annotations

from typing import Any

from ingot.kit.api.fields import MAY, Field, Text
from ingot.kit.api.filters import constant as is_constant
from ingot.kit.api.operations import Call
from ingot.kit.api.resource import Hooks, Resource, Row, Values, Where, sees_all
from ingot.kit.api.styles import NEUTRON, Rules
from ingot.kit.db.tx import Tx
from ingot.services.network import store, tables
from ingot.services.network.api.fields import COMMON, ZONE, Mtu, constant
from ingot.services.network.api.quotas import within_quota
from ingot.services.network.api.rows import CollectionRows
from ingot.services.network.faults import invalid
from ingot.services.network.service import Networks
from ingot.services.network.types import Network

_T = tables.networks.c


def rules(name: str) -> Rules:
    """Whoever may read at all may read all that they see."""
    return Rules(
        index="read",
        show="read",
        create=f"create_{name}",
        update=f"update_{name}",
        delete=f"delete_{name}",
        early=True,
    )


def _visible(_resource: Resource, call: Call) -> Where | None:
    if sees_all(call):
        return None
    return store.visible_networks(call.caller.project_id)


def _provider(name: str, type_: Any, *, nullable: bool = False) -> Field:
    """A field of the wire below, which administrators alone name and are shown."""
    return Field(
        f"provider:{name}",
        type_,
        column=name,
        create=MAY,
        update=True,
        nullable=nullable,
        filter="equal",
        rule="{verb}_network:" + name,
        see="see_all",
    )


FIELDS = (
    Field("name", Text, create=MAY, update=True, default="", filter="equal", sort=True),
    Field("admin_state_up", bool, create=MAY, update=True, default=True, filter="equal", sort=True),
    constant("status", str, "ACTIVE"),
    Field("subnets", list[str], read=lambda row: list(row["subnets"])),
    Field("shared", bool, create=MAY, update=True, default=False, filter="equal",
          rule="{verb}_network:shared"),
    Field("router:external", bool, column="external", create=MAY, update=True, default=False,
          filter="equal", rule="{verb}_network:external"),
    Field("is_default", bool, create=MAY, update=True, default=False, filter="equal",
          rule="{verb}_network:is_default"),
    Field("mtu", Mtu, create=MAY, update=True, filter="equal", sort=True),
    Field("port_security_enabled", bool, create=MAY, update=True, default=True, filter="equal"),
    Field("availability_zone_hints", list[Text], create=MAY),
    constant("availability_zones", list[str], [ZONE]),
    constant("ipv4_address_scope", None, None),
    constant("ipv6_address_scope", None, None),
    _provider("network_type", Text),
    _provider("physical_network", Text, nullable=True),
    _provider("segmentation_id", int, nullable=True),
    *COMMON,
)  # fmt: skip


def networks(nets: Networks) -> Resource:
    """The resource over the service."""

    def create(tx: Tx, _call: Call, values: Values) -> Network:
        return nets.create_network(tx.conn, **values)

    def change(tx: Tx, _call: Call, row: Network, values: Values) -> Network:
        return nets.update_network(tx.conn, row.id, values)

    def remove(tx: Tx, _call: Call, row: Network) -> None:
        nets.delete_network(tx.conn, row.id)

    return Resource(
        name="network",
        plural="networks",
        table=tables.networks,
        style=NEUTRON,
        param="id",
        fields=FIELDS,
        rules=rules("network"),
        scope=_visible,
        rows=CollectionRows(store.NETWORKS, create, change, remove),
        filters={"status": is_constant("ACTIVE")},
        hooks=Hooks(validate=_checked, finished=within_quota(nets, "network")),
        tags=True,
        # Its wire is its own by constraint.
        unlocked=frozenset({"create"}),
    )


def _checked(_tx: Tx, _call: Call, values: Values, row: Row | None) -> Values:
    """Flat networks only, which have no segment."""
    kind, segment = values.get("network_type", "flat"), values.get("segmentation_id")
    if row is None:
        values.pop("segmentation_id", None)
        if segment is not None and kind == "flat":
            raise invalid("InvalidInput", "segmentation_id is not allowed for a flat network.")
    elif kind != "flat" or segment:
        raise invalid("InvalidInput", "Only flat networks are supported.")
    return values
