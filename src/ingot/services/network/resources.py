"""The resources of this API: what each one is, shows and allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call
from ingot.kit.auth.policy import Caller
from ingot.kit.faults import Forbidden, Invalid
from ingot.services.network import filters, groups, ipam, quota_store, schemas, store, tables
from ingot.services.network.crud import Resource, scope
from ingot.services.network.faults import conflict, invalid, missing
from ingot.services.network.filters import constant, equal
from ingot.services.network.types import (
    Network,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)


def _equals(table: sa.Table, names: str, **renamed: str) -> dict[str, filters.Filter]:
    """Equality filters: wire names that are columns, and wire=column where they differ."""
    found = {name: equal(name, table.c[name]) for name in names.split()}
    found["project_id"] = found["tenant_id"] = equal("project_id", table.c.project_id)
    for name, column in renamed.items():
        found[name.replace("__", ":")] = equal(name, table.c[column])
    return found


_COMMON = "id description revision_number"
_NETS = tables.networks
_SUBNETS = tables.subnets
_PORTS = tables.ports


class NetworkResource(Resource):
    name, plural, path = "network", "networks", "networks"
    collection = store.NETWORKS
    shape = schemas.NetworkIn
    filters = {
        **_equals(
            _NETS,
            f"{_COMMON} name admin_state_up shared is_default mtu port_security_enabled",
            router__external="external",
            provider__network_type="network_type",
            provider__physical_network="physical_network",
            provider__segmentation_id="segmentation_id",
        ),
        **filters.tag_filters(_NETS.c.tags),
        "status": constant("ACTIVE"),
    }
    columns = {"router:external": "external", "tenant_id": "project_id"}
    sortable = ("id", "name", "admin_state_up", "project_id", "tenant_id", "mtu", "created_at")
    sealed = ("availability_zone_hints",)
    # Its wire is its own by constraint.
    locking = frozenset({"create"})

    def visible(self, caller: Caller) -> store.Where:
        return sa.or_(_NETS.c.project_id == caller.project_id, _NETS.c.shared, _NETS.c.external)

    def wire(self, row: Network, see_all: bool) -> dict[str, Any]:
        return schemas.network_wire(row, see_all)

    def create(self, conn: sa.Connection, call: Call, item: Any, project_id: str) -> Network:
        values = schemas.given(item)
        self.require(
            call,
            "create",
            {"project_id": project_id},
            values,
            {"shared": False, "external": False, "is_default": False},
        )
        segment = values.pop("segmentation_id", None)
        if segment is not None and values.get("network_type", "flat") == "flat":
            raise invalid("InvalidInput", "segmentation_id is not allowed for a flat network.")
        return self.nets.create_network(conn, project_id=project_id, **values)

    def update(
        self, conn: sa.Connection, call: Call, row: Network, values: dict[str, Any]
    ) -> Network:
        self.require(call, "update", self.target(conn, row), values)
        if values.get("network_type", "flat") != "flat" or values.get("segmentation_id"):
            raise invalid("InvalidInput", "Only flat networks are supported.")
        return self.nets.update_network(conn, row.id, values)

    def delete(self, conn: sa.Connection, call: Call, row: Network) -> None:
        call.require("delete_network", self.target(conn, row))
        self.nets.delete_network(conn, row.id)


class OnNetwork(Resource):
    """A resource on a network: rules may look at the network's owner."""

    def target(self, conn: sa.Connection, row: Any) -> dict[str, object]:
        return _owners(row, self.nets.get_network(conn, row.network_id))

    def network_of(self, conn: sa.Connection, call: Call, item: Any) -> Network:
        """The network that a new resource names, if the caller sees it; locked."""
        if item.network_id is msgspec.UNSET:
            raise Invalid("Failed to parse request. Required attribute 'network_id' not specified.")
        seen = scope(NetworkResource(self.nets), call)
        store.lock_network(conn, item.network_id, *seen)
        found = store.get(conn, store.NETWORKS, item.network_id, *seen)
        if found is None:
            raise missing("Network", item.network_id)
        return found


def _owners(row: Any, network: Network) -> dict[str, object]:
    return {"project_id": row.project_id, "network_project_id": network.project_id}


class SubnetResource(OnNetwork):
    name, plural, path = "subnet", "subnets", "subnets"
    collection = store.SUBNETS
    shape = schemas.SubnetIn
    filters = {
        **_equals(_SUBNETS, f"{_COMMON} name network_id ip_version cidr gateway_ip enable_dhcp"),
        **filters.tag_filters(_SUBNETS.c.tags),
        "subnetpool_id": constant(""),
    }
    columns = {"tenant_id": "project_id"}
    sortable = ("id", "name", "network_id", "cidr", "ip_version", "enable_dhcp", "project_id",
                "tenant_id", "gateway_ip", "created_at")  # fmt: skip
    sealed = ("network_id", "ip_version", "cidr", "subnetpool_id")

    def visible(self, caller: Caller) -> store.Where:
        usable = sa.select(_NETS.c.id).where(
            sa.or_(_NETS.c.shared, _NETS.c.project_id == caller.project_id)
        )
        return sa.or_(_SUBNETS.c.project_id == caller.project_id, _SUBNETS.c.network_id.in_(usable))

    def wire(self, row: Subnet, see_all: bool) -> dict[str, Any]:
        return schemas.subnet_wire(row)

    def create(self, conn: sa.Connection, call: Call, item: Any, project_id: str) -> Subnet:
        network = self.network_of(conn, call, item)
        values = _without_modes(schemas.given(item))
        target = {"project_id": project_id, "network_project_id": network.project_id}
        self.require(call, "create", target, values)
        if "cidr" not in values:
            raise Invalid("A subnet needs a cidr; subnet pools are not supported.")
        stated, version = values.pop("ip_version", None), ipam.network(values["cidr"]).version
        if stated is not None and stated != version:
            raise invalid(
                "InvalidInput", f"ip_version {stated} does not match cidr {values['cidr']}."
            )
        values["default_gateway"] = "gateway_ip" not in values
        pools = values.pop("allocation_pools", None)
        if pools is not None:
            values["allocation_pools"] = [(pool["start"], pool["end"]) for pool in pools]
        return self.nets.create_subnet(
            conn, project_id=project_id, **_checked_subnet(values, version)
        )

    def update(
        self, conn: sa.Connection, call: Call, row: Subnet, values: dict[str, Any]
    ) -> Subnet:
        values = _without_modes(values)
        self.require(call, "update", self.target(conn, row), values)
        return self.nets.update_subnet(conn, row, _checked_subnet(values, row.ip_version))

    def delete(self, conn: sa.Connection, call: Call, row: Subnet) -> None:
        call.require("delete_subnet", self.target(conn, row))
        self.nets.delete_subnet(conn, row)


def _without_modes(values: dict[str, Any]) -> dict[str, Any]:
    nulls = ("subnetpool_id", "ipv6_ra_mode", "ipv6_address_mode", "service_types")
    return {name: value for name, value in values.items() if name not in nulls}


def _checked_subnet(values: dict[str, Any], version: int) -> dict[str, Any]:
    """Name servers and routes are addresses; null lists are empty ones."""
    for name in ("dns_nameservers", "host_routes"):
        if name in values and values[name] is None:
            values[name] = []
    if values.get("allocation_pools", 0) is None:
        del values["allocation_pools"]
    if "dns_nameservers" in values:
        values["dns_nameservers"] = [
            str(ipam.address(text, "nameserver")) for text in values["dns_nameservers"]
        ]
    if "host_routes" in values:
        values["host_routes"] = ipam.routes(values["host_routes"], version)
    return values


def _port_status(values: Any) -> store.Where:
    active = sa.and_(
        _PORTS.c.admin_state_up, _PORTS.c.vif_type.not_in(["unbound", "binding_failed"])
    )
    wanted = {value.upper() for value in values}
    clauses = [active] if "ACTIVE" in wanted else []
    if "DOWN" in wanted:
        clauses.append(sa.not_(active))
    return sa.or_(sa.false(), *clauses)


class PortResource(OnNetwork):
    name, plural, path = "port", "ports", "ports"
    collection = store.PORTS
    shape = schemas.PortIn
    filters = {
        **_equals(
            _PORTS,
            f"{_COMMON} name network_id mac_address admin_state_up device_id device_owner "
            "port_security_enabled",
            binding__host_id="host_id",
            binding__vnic_type="vnic_type",
            binding__vif_type="vif_type",
        ),
        **filters.tag_filters(_PORTS.c.tags),
        "status": _port_status,
        "fixed_ips": filters.fixed_ips,
        "security_groups": filters.member(_PORTS.c.security_groups),
    }
    columns = {"tenant_id": "project_id"}
    sortable = ("id", "name", "network_id", "mac_address", "admin_state_up", "device_id",
                "device_owner", "project_id", "tenant_id", "created_at")  # fmt: skip
    sealed = ("network_id", "tags")
    locking = frozenset({"create", "update", "delete"})

    def hold(self, conn: sa.Connection, verb: str, id: str, *where: store.Where) -> Port | None:
        if verb == "delete":
            return store.held(conn, store.PORTS, id, *where)
        store.lock_port(conn, id, *where)
        return None

    def visible(self, caller: Caller) -> store.Where:
        own = sa.select(_NETS.c.id).where(_NETS.c.project_id == caller.project_id)
        return sa.or_(_PORTS.c.project_id == caller.project_id, _PORTS.c.network_id.in_(own))

    def wire(self, row: Port, see_all: bool) -> dict[str, Any]:
        return schemas.port_wire(row, see_all)

    def create(self, conn: sa.Connection, call: Call, item: Any, project_id: str) -> Port:
        network = self.network_of(conn, call, item)
        values = _port_values(schemas.given(item))
        target = {"project_id": project_id, "network_project_id": network.project_id}
        self._require(call, "create", target, values, network)
        self._check_groups(conn, call, values, project_id, network)
        values["mac"] = values.pop("mac_address", None)
        values["network_id"] = network.id
        if values.get("host_id"):
            values.setdefault("vnic_type", "baremetal")
        return self.nets.create_port(conn, project_id=project_id, locked=True, **values)

    def _require(
        self,
        call: Call,
        verb: str,
        target: Mapping[str, object],
        values: dict[str, Any],
        network: Network,
    ) -> None:
        """Rules of the attributes, and: tenants choose no addresses on a network of somebody else."""
        plain: dict[str, Any] = {
            "port_security_enabled": True,
            "allowed_address_pairs": [],
            "profile": {},
        }
        self.require(call, verb, target, values, {**plain, "host_id": "", "mac_address": None})
        if any("ip_address" in request for request in values.get("fixed_ips") or ()):
            call.require(f"{verb}_port:ip_address", target)
        if str(values.get("device_owner", "")).startswith("network:"):
            call.require(f"{verb}_port:network_owner", target)
        usable = network.shared or call.allows("create_port:ip_address", target)
        if verb == "create" and not usable:
            raise Forbidden(
                f"Network {network.id} is external and not shared: no ports can be made on it."
            )

    def _check_groups(
        self,
        conn: sa.Connection,
        call: Call,
        values: dict[str, Any],
        project_id: str,
        network: Network,
    ) -> None:
        secured = values.setdefault("port_security_enabled", network.port_security_enabled)
        named: list[str] | None = values.get("security_groups")
        if named is None and secured:
            owner = str(values.get("device_owner", ""))
            none = owner.startswith(("network:", "baremetal:"))
            values["security_groups"] = (
                [] if none else [self.nets.ensure_default_group(conn, project_id)]
            )
            return
        members: list[str] = named or []
        values["security_groups"] = members
        _check_security(secured, members, values.get("allowed_address_pairs"))
        groups.check_members(conn, members, _group_scope(call))

    def update(self, conn: sa.Connection, call: Call, row: Port, values: dict[str, Any]) -> Port:
        values = _port_values(values)
        network = self.nets.get_network(conn, row.network_id)
        self._require(call, "update", _owners(row, network), values, network)
        if "security_groups" in values:
            members: list[str] = values["security_groups"] or []
            values["security_groups"] = members
            groups.check_members(conn, members, _group_scope(call))
        _check_security(
            values.get("port_security_enabled", row.port_security_enabled),
            values.get("security_groups", row.security_groups),
            values.get("allowed_address_pairs", row.allowed_address_pairs),
        )
        return self.nets.change_port(conn, row, values)

    def delete(self, conn: sa.Connection, call: Call, row: Port) -> None:
        call.require("delete_port", self.target(conn, row))
        self.nets.delete_port(conn, row.id)


def _port_values(values: dict[str, Any]) -> dict[str, Any]:
    """Nulls as the values they mean; addresses in normal form."""
    for name in ("extra_dhcp_opts", "dns_name"):
        values.pop(name, None)
    meant: dict[str, Any] = {"host_id": "", "profile": {}, "allowed_address_pairs": []}
    for name, empty in meant.items():
        if name in values and values[name] is None:
            values[name] = empty
    for pair in values.get("allowed_address_pairs", ()):
        ipam.network(pair["ip_address"])
    if values.get("vnic_type", "normal") not in ("normal", "baremetal", "direct", "macvtap"):
        raise Invalid(f"Invalid binding:vnic_type {values['vnic_type']!r}.")
    return values


def _check_security(secured: bool, groups_: Any, pairs: Any) -> None:
    if secured:
        return
    if groups_:
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


def _group_scope(call: Call) -> store.Where | None:
    if call.allows("see_all"):
        return None
    return tables.security_groups.c.project_id == call.caller.project_id


class GroupResource(Resource):
    name, plural, path = "security_group", "security_groups", "security-groups"
    collection = store.GROUPS
    shape = schemas.GroupIn
    filters = {
        **_equals(tables.security_groups, f"{_COMMON} name stateful"),
        **filters.tag_filters(tables.security_groups.c.tags),
        "shared": constant(False),
    }
    columns = {"tenant_id": "project_id"}
    sortable = ("id", "name", "project_id", "tenant_id", "created_at")
    # Ports are made beside it that are not serializable. A new one is decided by nothing but the project's counter.
    locking = frozenset({"create", "delete"})

    def hold(self, conn: sa.Connection, verb: str, id: str, *where: store.Where) -> SecurityGroup:
        return store.held(conn, store.GROUPS, id, *where)

    def visible(self, caller: Caller) -> store.Where:
        return tables.security_groups.c.project_id == caller.project_id

    def before_list(self, call: Call) -> Callable[[sa.Connection], None] | None:
        project_id = call.caller.project_id
        if project_id is None:
            return None

        def ensure(conn: sa.Connection) -> None:
            groups.ensure_default(conn, self.nets.now(), project_id)

        return ensure

    def wire(self, row: SecurityGroup, see_all: bool) -> dict[str, Any]:
        return schemas.group_wire(row)

    def create(self, conn: sa.Connection, call: Call, item: Any, project_id: str) -> SecurityGroup:
        values = schemas.given(item)
        self.require(call, "create", {"project_id": project_id}, values)
        if store.default_group(conn, project_id) is None:
            groups.ensure_default(conn, self.nets.now(), project_id)
        groups.check_name(values.setdefault("name", ""))
        return groups.make_group(conn, self.nets.now(), project_id=project_id, **values)

    def update(
        self, conn: sa.Connection, call: Call, row: SecurityGroup, values: dict[str, Any]
    ) -> SecurityGroup:
        self.require(call, "update", self.target(conn, row), values)
        if values.get("name", row.name) != row.name:
            groups.may_change_name(row)
            groups.check_name(values["name"])
        return store.update(conn, store.GROUPS, self.nets.now(), row.id, values)

    def delete(self, conn: sa.Connection, call: Call, row: SecurityGroup) -> None:
        call.require("delete_security_group", self.target(conn, row))
        groups.delete_group(conn, row, by_admin=call.allows("admin"))


class RuleResource(Resource):
    name, plural, path = "security_group_rule", "security_group_rules", "security-group-rules"
    collection = store.RULES
    shape = schemas.RuleIn
    filters = _equals(
        tables.security_group_rules,
        f"{_COMMON} security_group_id direction ethertype protocol port_range_min "
        "port_range_max remote_ip_prefix remote_group_id",
    )
    columns = {"tenant_id": "project_id"}
    sortable = ("id", "security_group_id", "direction", "ethertype", "protocol", "project_id",
                "tenant_id", "created_at")  # fmt: skip
    sealed = ("security_group_id", "direction", "ethertype", "protocol", "port_range_min",
              "port_range_max", "remote_ip_prefix", "remote_group_id")  # fmt: skip
    taggable = False

    def visible(self, caller: Caller) -> store.Where:
        return tables.security_group_rules.c.project_id == caller.project_id

    def wire(self, row: SecurityGroupRule, see_all: bool) -> dict[str, Any]:
        return schemas.rule_wire(row)

    def create(
        self, conn: sa.Connection, call: Call, item: Any, project_id: str
    ) -> SecurityGroupRule:
        values = schemas.given(item)
        values.pop("remote_address_group_id", None)
        self.require(call, "create", {"project_id": project_id}, values)
        for name in ("security_group_id", "direction"):
            if name not in values:
                raise Invalid(
                    f"Failed to parse request. Required attribute '{name}' not specified."
                )
        where = _group_scope(call)
        group = store.get(
            conn, store.GROUPS, values["security_group_id"], *(() if where is None else (where,))
        )
        if group is None:
            raise missing("SecurityGroup", values["security_group_id"])
        if values.get("remote_group_id"):
            groups.check_members(conn, [values["remote_group_id"]], where)
        if isinstance(values.get("protocol"), int):
            values["protocol"] = str(values["protocol"])
        values.setdefault("ethertype", "IPv4")
        rule = groups.checked_rule(groups.new_rule(project_id=project_id, **values))
        groups.check_new(group, rule)
        made = store.insert(conn, store.RULES, self.nets.now(), rule)
        quota_store.count(conn, project_id, security_group_rule=1)
        return made

    def update(
        self, conn: sa.Connection, call: Call, row: SecurityGroupRule, values: dict[str, Any]
    ) -> SecurityGroupRule:
        self.require(call, "update", self.target(conn, row), values)
        return store.update(conn, store.RULES, self.nets.now(), row.id, values)

    def delete(self, conn: sa.Connection, call: Call, row: SecurityGroupRule) -> None:
        call.require("delete_security_group_rule", self.target(conn, row))
        owner = store.delete(conn, store.RULES, row.id)
        if owner is not None:
            quota_store.count(conn, owner, security_group_rule=-1)
