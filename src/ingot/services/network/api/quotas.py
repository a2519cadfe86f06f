"""Quotas of projects. Source: Networking API v2.0, "Quotas" and "Quota details"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, Meta, UnsetType

from ingot.kit.api.fields import Row
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.db.tx import Transactions, Tx
from ingot.kit.faults import Invalid
from ingot.services.network import quota_store
from ingot.services.network.service import Networks

Limit = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
#: The command line sends numbers as texts.
QuotaBody = dict[str, Any]


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """Limits. force: also below what is used. check_limit says the opposite, which goes without saying."""

    force: bool | UnsetType | None = UNSET
    check_limit: bool | UnsetType | None = UNSET
    network: Limit | UnsetType = UNSET
    subnet: Limit | UnsetType = UNSET
    port: Limit | UnsetType = UNSET
    security_group: Limit | UnsetType = UNSET
    security_group_rule: Limit | UnsetType = UNSET


def _given(body: QuotaBody) -> dict[str, Any]:
    """What a body says, numbers and truth values also as texts."""
    if set(body) != {"quota"}:
        raise Invalid("The body must have 'quota', and nothing else.")
    try:
        limits = msgspec.convert(body["quota"], Limits, strict=False)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid input: {wrong} in quota.") from None
    named = {name: getattr(limits, name) for name in limits.__struct_fields__}
    return {name: value for name, value in named.items() if value is not UNSET}


def within_quota(nets: Networks, kind: str) -> Callable[[Tx, Call, Sequence[Row]], None]:
    """Refuses what a request has made too much of (409 OverQuota), and so undoes it."""

    def check(tx: Tx, _call: Call, made: Sequence[Row]) -> None:
        counts = Counter(str(row["project_id"]) for row in made)
        for project_id, count in sorted(counts.items()):
            nets.check_quota(tx.conn, project_id, kind, count)

    return check


def quota_operations(nets: Networks, transactions: Transactions) -> list[Operation]:
    def limits(conn: sa.Connection, project_id: str) -> dict[str, int]:
        return {**nets.settings.quotas, **quota_store.quotas(conn, project_id)}

    def allowed(call: Call) -> str:
        project_id = call.params["id"]
        call.require("get_quota", {"project_id": project_id})
        return project_id

    async def listing(_call: Call) -> Reply:
        def work(conn: sa.Connection) -> list[dict[str, Any]]:
            return [
                {"project_id": id, "tenant_id": id, **limits(conn, id)}
                for id in quota_store.quota_projects(conn)
            ]

        return Reply({"quotas": await nets.db.read(work)})

    async def show(call: Call) -> Reply:
        project_id = allowed(call)
        return Reply({"quota": await nets.db.read(lambda conn: limits(conn, project_id))})

    async def default(call: Call) -> Reply:
        allowed(call)
        return Reply({"quota": dict(nets.settings.quotas)})

    async def details(call: Call) -> Reply:
        project_id = allowed(call)

        def work(conn: sa.Connection) -> dict[str, Any]:
            found, used = limits(conn, project_id), quota_store.used(conn, project_id)
            return {
                name: {"limit": found[name], "used": used[name], "reserved": 0} for name in found
            }

        return Reply({"quota": await nets.db.read(work)})

    async def change(call: Call) -> Reply:
        values = _given(call.body)
        force = values.pop("force", None) is True
        values.pop("check_limit", None)
        project_id = call.params["id"]

        def work(conn: sa.Connection) -> dict[str, int]:
            if not force:
                _check_used(conn, project_id, values)
            quota_store.set_quotas(conn, project_id, values)
            return limits(conn, project_id)

        return Reply({"quota": await transactions.write(lambda tx: work(tx.conn))})

    async def reset(call: Call) -> Reply:
        project_id = call.params["id"]
        await transactions.write(lambda tx: quota_store.clear_quotas(tx.conn, project_id))
        return Reply()

    one = "/v2.0/quotas/{id}"
    return [
        Operation("GET", "/v2.0/quotas", listing, rule="update_quota", title="List quotas"),
        Operation("GET", one, show, rule="get_quota", late=True, title="Show quotas"),
        Operation(
            "GET", one + "/default", default, rule="get_quota", late=True, title="Default quotas"
        ),
        Operation("GET", one + "/details", details, rule="get_quota", late=True, title="Quota use"),
        Operation(
            "GET", one + "/details.json", details, rule="get_quota", late=True, title="Quota use"
        ),
        Operation("PUT", one, change, rule="update_quota", body=QuotaBody, title="Set quotas"),
        Operation("DELETE", one, reset, rule="update_quota", status=204, title="Reset quotas"),
    ]


def _check_used(conn: sa.Connection, project_id: str, limits: dict[str, int]) -> None:
    """As upstream since 2025.1: a limit is not set below what is used, unless it is forced."""
    quota_store.count(conn, project_id)
    have = quota_store.used(conn, project_id)
    for name, limit in limits.items():
        if limit >= 0 and have[name] > limit:
            raise Invalid(
                f"Quota limit {limit} for {name} must be greater than or equal to already used {have[name]}",
                next_action="Delete some of them, or set force.",
            )
