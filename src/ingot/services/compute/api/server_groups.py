"""Server groups: /os-server-groups."""

from __future__ import annotations

from typing import Annotated

import msgspec
import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Fault, Invalid, Kind, Missing
from ingot.services.compute import quota_store, store
from ingot.services.compute.api.common import (
    Handlers,
    Wire,
    own,
    part,
    printable,
    read,
    unexpected,
)
from ingot.services.compute.types import ServerGroup

_POLICIES = ("affinity", "anti-affinity")
_SOFT = ("soft-affinity", "soft-anti-affinity")


class RulesIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    max_server_per_host: Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)] | None = None


class GroupIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    policies: list[str] | None = None
    policy: str | None = None
    rules: RulesIn | None = None


class Groups(Handlers):
    """/os-server-groups. Every server has a machine of its own, so anti-affinity always holds."""

    async def index(self, call: Call) -> Reply:
        everything = "all_projects" in dict(call.args) and call.allows(
            "os_compute_api:os-server-groups:index:all_projects", own(call)
        )
        call.require("os_compute_api:os-server-groups:index", own(call))
        project = None if everything else call.caller.project_id

        def query(conn: sa.Connection) -> list[Wire]:
            found = store.groups(conn, project)
            members = store.members(conn, [group.id for group in found])
            return [_group(call, group, members.get(group.id, [])) for group in found]

        return Reply({"server_groups": await self.compute.db.read(query)})

    def _get(self, conn: sa.Connection, call: Call, verb: str) -> ServerGroup:
        group_id = call.params["id"]
        found = store.find_group(conn, group_id)
        mine = found is not None and found.project_id == call.caller.project_id
        if found is None or not (mine or "admin" in call.caller.roles):
            raise Missing(f"Instance group {group_id} could not be found.")
        call.require(f"os_compute_api:os-server-groups:{verb}", {"project_id": found.project_id})
        return found

    async def show(self, call: Call) -> Reply:
        def query(conn: sa.Connection) -> Wire:
            found = self._get(conn, call, "show")
            return _group(call, found, store.members(conn, [found.id]).get(found.id, []))

        return Reply({"server_group": await self.compute.db.read(query)})

    async def create(self, call: Call) -> Reply:
        call.require("os_compute_api:os-server-groups:create", own(call))
        order = read(GroupIn, part(call.body, "server_group"), "server_group")
        policy = _policy(call, order)
        if not 1 <= len(order.name.strip()) <= 255:
            raise Invalid("Invalid input for field/attribute name.")
        printable(order.name, "name")
        group = ServerGroup(
            ids.new_uuid(),
            call.caller.project_id or "",
            call.caller.user_id or "",
            order.name,
            policy,
            msgspec.to_builtins(order.rules or RulesIn()),
        )

        def change(conn: sa.Connection) -> None:
            limits = self.compute.limits(conn, group.project_id)
            used = quota_store.usage(conn, group.project_id)
            if 0 <= limits["server_groups"] <= used["server_groups"]:
                raise Fault("Quota exceeded, too many server groups.", kind=Kind.LIMIT)
            store.insert_group(conn, group, self.compute.now())

        await self.compute.db.write(change)
        return Reply({"server_group": _group(call, group, [])})

    async def delete(self, call: Call) -> None:
        await self.compute.db.write(
            lambda conn: store.delete_group(conn, self._get(conn, call, "delete").id)
        )


def _policy(call: Call, order: GroupIn) -> str:
    if call.version.minor >= 64:
        if order.policies is not None:
            raise unexpected({"policies"})
        policy = order.policy
    else:
        early = {name for name in ("policy", "rules") if getattr(order, name) is not None}
        if early:
            raise unexpected(early)
        policy = order.policies[0] if order.policies and len(order.policies) == 1 else None
    known = _POLICIES if call.version.minor < 15 else (*_POLICIES, *_SOFT)
    if policy is None or policy not in known:
        raise Invalid(f"Invalid input for field/attribute policy. Value: {policy}.")
    if order.rules not in (None, RulesIn()) and policy != "anti-affinity":
        raise Invalid("Only anti-affinity policy supports rules.")
    return policy


def _group(call: Call, group: ServerGroup, members: list[str]) -> Wire:
    shown: Wire = {"id": group.id, "name": group.name, "members": members}
    if call.version.minor >= 64:
        shown |= {"policy": group.policy, "rules": group.rules}
    else:
        shown |= {"policies": [group.policy], "metadata": {}}
    if call.version.minor >= 13:
        shown |= {"project_id": group.project_id, "user_id": group.user_id}
    return shown
