"""Security groups: a default one per project, checks of rules. Stored and shown, not enforced on metal.

Nothing on a flat physical wire filters packets, so replies carry `ingot:enforced: false` on groups and
`port_filter: false` in a port's binding details; clients that insist on groups work, and nobody is misled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.filters import contains
from ingot.kit.db.database import IntegrityError
from ingot.kit.faults import Fault, Forbidden
from ingot.services.network import ipam, quota_store, store, tables
from ingot.services.network.faults import conflict, invalid, missing
from ingot.services.network.types import SecurityGroup, SecurityGroupRule

PROTOCOLS = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "icmp": 1,
    "icmpv6": 58,
    "igmp": 2,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}
_PORTED = {"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "132", "33", "136"}
_ICMP = {"icmp", "icmpv6", "ipv6-icmp", "1", "58"}


def new_rule(**values: Any) -> dict[str, Any]:
    """A rule's columns with everything that was not said."""
    rule: dict[str, Any] = {
        "description": "",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": None,
    }
    rule.update(values)
    return rule


def make_group(
    conn: sa.Connection,
    now: str,
    *,
    project_id: str,
    name: str,
    description: str = "",
    stateful: bool = True,
    default: bool = False,
    tags: Sequence[str] = (),
) -> SecurityGroup:
    """A group with the rules that every new group has: all egress; the default one also own ingress."""
    made = store.insert(
        conn,
        store.GROUPS,
        now,
        {
            "project_id": project_id,
            "name": name,
            "description": description,
            "stateful": stateful,
            "default_of": project_id if default else None,
            "tags": list(tags),
        },
    )
    rules: list[dict[str, Any]] = []
    for ethertype in ("IPv4", "IPv6"):
        base = {
            "project_id": project_id,
            "security_group_id": made.id,
            "ethertype": ethertype,
        }
        rules.append(new_rule(direction="egress", **base))
        if default:
            rules.append(new_rule(direction="ingress", remote_group_id=made.id, **base))
    inside = store.insert_all(conn, store.RULES, now, rules)
    quota_store.count(conn, project_id, security_group=1, security_group_rule=len(inside))
    return replace(made, rules=tuple(sorted(inside, key=lambda rule: rule.id)))


def find_default(conn: sa.Connection, project_id: str) -> SecurityGroup | None:
    found = store.having(conn, store.GROUPS, "default_of", project_id)
    return found[0] if found else None


def ensure_default(conn: sa.Connection, now: str, project_id: str) -> SecurityGroup:
    """The project's default group, made at its first use.

    Steps of operations are READ COMMITTED on PostgreSQL: somebody else's group may come in between, and is the one then.
    """
    found = find_default(conn, project_id)
    if found is not None:
        return found
    try:
        with conn.begin_nested():
            return make_group(
                conn,
                now,
                project_id=project_id,
                name="default",
                description="Default security group",
                default=True,
            )
    except IntegrityError:
        found = find_default(conn, project_id)
        if found is None:
            raise
        return found


def hold_default(conn: sa.Connection, now: str, project_id: str) -> str:
    """The id of the project's default group, which nobody deletes until this transaction ends."""
    return store.hold_default_group(conn, project_id) or ensure_default(conn, now, project_id).id


def find(conn: sa.Connection, project_id: str, ident: str) -> SecurityGroup:
    """A project's group by id or name."""
    table = tables.security_groups
    named = sa.or_(table.c.id == ident, table.c.name == ident)
    found = store.select(conn, store.GROUPS, table.c.project_id == project_id, named, limit=2)
    exact = [group for group in found if group.id == ident] or found
    if not exact:
        raise missing("SecurityGroup", ident)
    if len(exact) > 1:
        raise conflict(
            "NoUniqueMatch",
            f"Multiple security_group matches found for name '{ident}', use an ID to be more specific.",
        )
    return exact[0]


def of_ports(conn: sa.Connection, wanted: Sequence[str]) -> dict[str, list[SecurityGroup]]:
    """The groups on ports; of those ports that are there.

    Not by device: everybody may write any device on ports of theirs.
    """
    ports = store.select(conn, store.PORTS, tables.ports.c.id.in_(list(wanted)))
    ids = {ident for port in ports for ident in port.security_groups}
    known = (
        store.select(conn, store.GROUPS, tables.security_groups.c.id.in_(sorted(ids)))
        if ids
        else []
    )
    groups = {group.id: group for group in known}
    return {
        port.id: [groups[ident] for ident in port.security_groups if ident in groups]
        for port in ports
    }


def check_members(conn: sa.Connection, ids: Sequence[str], visible: store.Where | None) -> None:
    """All groups of a port exist, the caller may see them, and nobody deletes them until this transaction ends."""
    where = () if visible is None else (visible,)
    for id in ids:
        if store.get(conn, store.GROUPS, id, *where) is None:
            raise missing("SecurityGroup", id)
        store.hold(conn, store.GROUPS, id, shared=True)


def delete_group(conn: sa.Connection, group: SecurityGroup, *, by_admin: bool = False) -> None:
    """A project's default group goes only with its project: administrators clear it away then."""
    if group.default_of is not None and not by_admin:
        raise conflict(
            "SecurityGroupCannotRemoveDefault",
            "Insufficient rights for removing default security group.",
        )
    if store.count(conn, store.PORTS, contains(tables.ports.c.security_groups, group.id)):
        raise conflict(
            "SecurityGroupInUse",
            f"Security Group {group.id} in use.",
            "Take it off the ports that name it first.",
        )
    rules = tables.security_group_rules.c
    here = sa.or_(rules.remote_group_id == group.id, rules.security_group_id == group.id)
    gone = store.delete_all(conn, store.RULES, here)
    owner = store.delete(conn, store.GROUPS, group.id)
    for project_id in sorted({*gone, *((owner,) if owner else ())}):
        groups = -1 if project_id == owner else 0
        quota_store.count(
            conn, project_id, security_group=groups, security_group_rule=-gone[project_id]
        )


def check_name(name: str) -> None:
    if name == "default":
        raise conflict(
            "SecurityGroupDefaultAlreadyExists", "Default security group already exists."
        )


def may_change_name(group: SecurityGroup) -> None:
    if group.default_of is not None:
        raise Forbidden("The default security group can't be renamed.")


def checked_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule whose values fit each other, its prefix written in normal form."""
    if rule["direction"] not in ("ingress", "egress"):
        raise invalid(
            "HTTPBadRequest", f"Invalid direction {rule['direction']!r}: ingress or egress."
        )
    if rule["ethertype"] not in ("IPv4", "IPv6"):
        raise invalid(
            "SecurityGroupRuleInvalidEtherType",
            f"Security group rule for ethertype '{rule['ethertype']}' not supported. "
            "Allowed values are IPv4 and IPv6.",
        )
    if rule["remote_ip_prefix"] and rule["remote_group_id"]:
        raise invalid(
            "SecurityGroupMultipleRemoteEntitiesException",
            "Only one of remote_ip_prefix and remote_group_id may be given.",
        )
    rule["protocol"] = _protocol(rule["protocol"])
    _check_ports(rule)
    if rule["remote_ip_prefix"]:
        rule["remote_ip_prefix"] = _prefix(rule["remote_ip_prefix"], rule["ethertype"])
    else:
        rule["remote_ip_prefix"] = None
    return rule


def _protocol(given: str | None) -> str | None:
    if given is None or given.lower() in ("", "any"):
        return None
    name = given.lower()
    if name in PROTOCOLS:
        return name
    # Longer ones are not read: the work grows with the square of the digits.
    if len(name) <= 20 and name.isdecimal() and int(name) <= 255:
        return str(int(name))
    raise invalid(
        "SecurityGroupRuleInvalidProtocol",
        f"Security group rule protocol {given} not supported. Only protocol values "
        f"{', '.join(sorted(PROTOCOLS))} and integer representations [0 to 255] are supported.",
    )


def _check_ports(rule: dict[str, Any]) -> None:
    low, high, protocol = rule["port_range_min"], rule["port_range_max"], rule["protocol"]
    if low is None and high is None:
        return
    if protocol in _ICMP:
        for name, value in (("type", low), ("code", high)):
            if value is not None and not 0 <= value <= 255:
                raise invalid(
                    "SecurityGroupInvalidIcmpValue", f"Invalid value for ICMP {name}: {value}."
                )
        if low is None:
            raise invalid("SecurityGroupMissingIcmpType", "An ICMP code needs an ICMP type.")
        return
    if protocol not in _PORTED:
        raise invalid(
            "SecurityGroupInvalidProtocolForPort",
            f"Ports cannot be given for protocol {protocol or 'any'}.",
        )
    if low is None or high is None or not 0 < low <= high <= 65535:
        raise invalid(
            "SecurityGroupInvalidPortRange",
            "For TCP/UDP protocols, port_range_min must be <= port_range_max, both within 1-65535.",
        )


def _prefix(text: str, ethertype: str) -> str:
    try:
        found = ipam.network(text)
    except Fault:
        raise invalid("HTTPBadRequest", f"{text!r} is not a valid remote_ip_prefix.") from None
    if f"IPv{found.version}" != ethertype:
        raise invalid(
            "SecurityGroupRuleParameterConflict",
            f"Conflicting value ethertype {ethertype} for CIDR {text}.",
        )
    return str(found)


def check_new(group: SecurityGroup, rule: dict[str, Any]) -> None:
    """Refuse a second rule with the same meaning."""

    def meaning(of: SecurityGroupRule | dict[str, Any]) -> tuple[Any, ...]:
        names = (
            "direction",
            "ethertype",
            "protocol",
            "port_range_min",
            "port_range_max",
            "remote_ip_prefix",
            "remote_group_id",
        )
        if isinstance(of, dict):
            return tuple(of[name] for name in names)
        return tuple(getattr(of, name) for name in names)

    for known in group.rules:
        if meaning(known) == meaning(rule):
            raise conflict(
                "SecurityGroupRuleExists",
                f"Security group rule already exists. Rule id is {known.id}.",
            )
