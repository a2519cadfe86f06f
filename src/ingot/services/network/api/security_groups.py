"""Security groups and their rules: stored and shown, not enforced on metal (`groups`).

Source: Networking API v2.0, "Security groups" and "Security group rules".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ingot.kit.api.fields import MAY, MUST, Field, Id, Row, Text
from ingot.kit.api.filters import constant as is_constant
from ingot.kit.api.operations import Call
from ingot.kit.api.resource import Hooks, Resource, Values, Where, sees_all
from ingot.kit.api.shapes import renderer, reply
from ingot.kit.api.styles import NEUTRON
from ingot.kit.db.tx import Tx
from ingot.services.network import groups, quota_store, store, tables
from ingot.services.network.api.fields import COMMON, constant
from ingot.services.network.api.networks import rules
from ingot.services.network.api.quotas import within_quota
from ingot.services.network.api.rows import CollectionRows, Value
from ingot.services.network.faults import missing
from ingot.services.network.service import Networks
from ingot.services.network.types import SecurityGroup, SecurityGroupRule

_GROUPS = tables.security_groups.c


def group_scope(call: Call) -> Where | None:
    """Which groups a caller may name; None for all."""
    return None if sees_all(call) else _GROUPS.project_id == call.caller.project_id


# -- rules -----------------------------------------------------------------------------------------


def _traffic(name: str, type_: Any, *, must: bool = False) -> Field:
    """What a rule lets through: said once, when it is made."""
    if must:
        return Field(name, type_, create=MUST, filter="equal", sort=True)
    return Field(name, type_, create=MAY, default=None, nullable=True, filter="equal")


RULE_FIELDS = (
    _traffic("security_group_id", Id, must=True),
    _traffic("direction", Text, must=True),
    Field("ethertype", Text, create=MAY, default="IPv4", filter="equal", sort=True),
    Field(
        "protocol", str | int, create=MAY, default=None, nullable=True, filter="equal", sort=True
    ),
    _traffic("port_range_min", int),
    _traffic("port_range_max", int),
    _traffic("remote_ip_prefix", Text),
    Field("normalized_cidr", str, nullable=True, read=lambda row: row["remote_ip_prefix"]),
    _traffic("remote_group_id", Id),
    Field("remote_address_group_id", None, read=lambda _row: None, create=MAY, ignored=True),
    *COMMON,
)


def security_group_rules(nets: Networks) -> Resource:
    """The resource over the service."""

    def create(tx: Tx, call: Call, values: Values) -> SecurityGroupRule:
        where = group_scope(call)
        group = store.get(
            tx.conn, store.GROUPS, values["security_group_id"], *(() if where is None else (where,))
        )
        if group is None:
            raise missing("SecurityGroup", values["security_group_id"])
        if values["remote_group_id"]:
            groups.check_members(tx.conn, [values["remote_group_id"]], where)
        if isinstance(values["protocol"], int):
            values["protocol"] = str(values["protocol"])
        rule = groups.checked_rule(groups.new_rule(**values))
        groups.check_new(group, rule)
        made = store.insert(tx.conn, store.RULES, tx.now, rule)
        quota_store.count(tx.conn, str(values["project_id"]), security_group_rule=1)
        return made

    def change(tx: Tx, _call: Call, row: SecurityGroupRule, values: Values) -> SecurityGroupRule:
        return store.update(tx.conn, store.RULES, tx.now, row.id, values)

    def remove(tx: Tx, _call: Call, row: SecurityGroupRule) -> None:
        owner = store.delete(tx.conn, store.RULES, row.id)
        if owner is not None:
            quota_store.count(tx.conn, owner, security_group_rule=-1)

    return Resource(
        name="security_group_rule",
        plural="security_group_rules",
        table=tables.security_group_rules,
        style=NEUTRON,
        param="id",
        fields=RULE_FIELDS,
        rules=rules("security_group_rule"),
        rows=CollectionRows(store.RULES, create, change, remove),
        hooks=Hooks(finished=within_quota(nets, "security_group_rule")),
    )


# -- groups ----------------------------------------------------------------------------------------


def security_groups(nets: Networks, inside: Resource) -> Resource:
    """The resource over the service. inside: its rules."""

    def shown(row: Row) -> list[dict[str, Any]]:
        return [renderer(inside, 0).plain(Value(rule)) for rule in row["rules"]]

    def before_list(call: Call) -> Callable[[Tx], object] | None:
        project_id = call.caller.project_id
        if project_id is None:
            return None
        return lambda tx: groups.ensure_default(tx.conn, tx.now, project_id)

    def create(tx: Tx, _call: Call, values: Values) -> SecurityGroup:
        project_id = str(values["project_id"])
        if store.default_group(tx.conn, project_id) is None:
            groups.ensure_default(tx.conn, tx.now, project_id)
        groups.check_name(values["name"])
        return groups.make_group(tx.conn, tx.now, **values)

    def change(tx: Tx, _call: Call, row: SecurityGroup, values: Values) -> SecurityGroup:
        if values.get("name", row.name) != row.name:
            groups.may_change_name(row)
            groups.check_name(values["name"])
        return store.update(tx.conn, store.GROUPS, tx.now, row.id, values)

    def remove(tx: Tx, call: Call, row: SecurityGroup) -> None:
        groups.delete_group(tx.conn, row, by_admin=call.allows("admin"))

    def hold(tx: Tx, verb: str, ident: str, where: Sequence[Where]) -> SecurityGroup | None:
        # A change runs serializable; a deletion beside ports that are made, which do not.
        return store.held(tx.conn, store.GROUPS, ident, *where) if verb == "delete" else None

    return Resource(
        name="security_group",
        plural="security_groups",
        table=tables.security_groups,
        style=NEUTRON,
        param="id",
        fields=(
            Field("name", Text, create=MAY, update=True, default="", filter="equal", sort=True),
            Field("stateful", bool, create=MAY, update=True, default=True, filter="equal"),
            constant("shared", bool, False),
            Field("security_group_rules", list[reply(inside, 0)], read=shown),
            # Ours: says plainly that no switch or host applies the rules to metal.
            constant("ingot:enforced", bool, False),
            *COMMON,
        ),
        rules=rules("security_group"),
        rows=CollectionRows(store.GROUPS, create, change, remove, hold),
        filters={"shared": is_constant(False)},
        hooks=Hooks(before_list=before_list, finished=within_quota(nets, "security_group")),
        tags=True,
        # Ports are made beside it that are not serializable. A new one is decided by nothing but the project's counter.
        unlocked=frozenset({"create", "delete"}),
    )
