"""What is not a server: versions, limits, quotas, zones, server groups, services, hypervisors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import NAMESPACE_OID, uuid5

import msgspec
import sqlalchemy as sa

from ingot import workflow
from ingot.kit import ids
from ingot.kit.api.operations import Call, Reply
from ingot.kit.db.database import when
from ingot.kit.faults import Fault, Invalid, Kind, Missing
from ingot.services.compute import quota_store, store
from ingot.services.compute.api.common import (
    VERSIONS,
    Handlers,
    Wire,
    mapping,
    naive,
    own,
    part,
    printable,
    read,
    unexpected,
)
from ingot.services.compute.api.ordering import MOST_FILE_BYTES, MOST_FILES, MOST_PATH_BYTES
from ingot.services.compute.types import ServerGroup

# -- versions ------------------------------------------------------------------------------------


async def versions(call: Call) -> Reply:
    """GET /compute."""
    return Reply({"versions": [_version(call)]})


async def version(call: Call) -> Reply:
    """GET /compute/v2.1."""
    kinds = [
        {
            "base": "application/json",
            "type": "application/vnd.openstack.compute+json;version=2.1",
        }
    ]
    return Reply({"version": {**_version(call), "media-types": kinds}})


def _version(call: Call) -> Wire:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": str(VERSIONS.maximum),
        "min_version": str(VERSIONS.minimum),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{call.base_url}/v2.1/"}],
    }


# -- limits and quotas ---------------------------------------------------------------------------

#: Quotas of things that this service had before other services had them: shown until that version.
_OLD: Mapping[str, tuple[int, int]] = {
    "fixed_ips": (-1, 35),
    "floating_ips": (-1, 35),
    "security_groups": (-1, 35),
    "security_group_rules": (-1, 35),
    "injected_files": (MOST_FILES, 56),
    "injected_file_content_bytes": (MOST_FILE_BYTES, 56),
    "injected_file_path_bytes": (MOST_PATH_BYTES, 56),
}
_MOST = 0x7FFFFFFF


class Limits(Handlers):
    """/limits and /os-quota-sets."""

    async def limits(self, call: Call) -> Reply:
        args = dict(call.args)
        project = args.get("tenant_id") or call.caller.project_id or ""
        if project != call.caller.project_id:
            call.require("os_compute_api:limits:other_project", own(call))
        limits, used = await self.compute.db.read(
            lambda conn: (self.compute.limits(conn, project), quota_store.usage(conn, project))
        )
        absolute = {
            "maxServerMeta": limits["metadata_items"],
            "maxTotalInstances": limits["instances"],
            "maxTotalCores": limits["cores"],
            "maxTotalRAMSize": limits["ram"],
            "maxTotalKeypairs": limits["key_pairs"],
            "maxServerGroups": limits["server_groups"],
            "maxServerGroupMembers": limits["server_group_members"],
            "totalInstancesUsed": used["instances"],
            "totalCoresUsed": used["cores"],
            "totalRAMUsed": used["ram"],
            "totalServerGroupsUsed": used["server_groups"],
        }
        minor = call.version.minor
        if minor <= 35:
            absolute |= {
                "maxSecurityGroups": -1,
                "maxSecurityGroupRules": -1,
                "maxTotalFloatingIps": -1,
                "totalSecurityGroupsUsed": 0,
                "totalFloatingIpsUsed": 0,
            }
        if minor <= 38:
            absolute["maxImageMeta"] = limits["metadata_items"]
        if minor <= 56:
            absolute |= {"maxPersonality": MOST_FILES, "maxPersonalitySize": MOST_FILE_BYTES}
        return Reply({"limits": {"rate": [], "absolute": absolute}})

    async def show(self, call: Call) -> Reply:
        """GET /os-quota-sets/{id}."""
        project = self._project(call, "show")
        limits = await self.compute.db.read(lambda conn: self.compute.limits(conn, project))
        return Reply({"quota_set": {"id": project, **self._shown(call, limits)}})

    async def detail(self, call: Call) -> Reply:
        """GET /os-quota-sets/{id}/detail."""
        project = self._project(call, "detail")
        limits, used = await self.compute.db.read(
            lambda conn: (self.compute.limits(conn, project), quota_store.usage(conn, project))
        )
        shown = {
            name: {"limit": value, "in_use": used.get(name, 0), "reserved": 0}
            for name, value in self._shown(call, limits).items()
        }
        return Reply({"quota_set": {"id": project, **shown}})

    async def defaults(self, call: Call) -> Reply:
        """GET /os-quota-sets/{id}/defaults."""
        shown = self._shown(call, dict(self.compute.settings.quotas))
        return Reply({"quota_set": {"id": call.params["id"], **shown}})

    async def update(self, call: Call) -> Reply:
        """PUT /os-quota-sets/{id}."""
        project = call.params["id"]
        given = dict(mapping(part(call.body, "quota_set"), "quota_set"))
        given.pop("force", None)
        given.pop("tenant_id", None)
        known = self._shown(call, dict(self.compute.settings.quotas))
        if set(given) - set(known):
            raise unexpected(set(given) - set(known))
        values = {name: _limit(name, value) for name, value in given.items()}
        kept = {name: value for name, value in values.items() if name not in _OLD}

        def change(conn: sa.Connection) -> dict[str, int]:
            quota_store.set_quotas(conn, project, kept)
            return self.compute.limits(conn, project)

        limits = await self.compute.db.write(change)
        return Reply({"quota_set": self._shown(call, limits)})

    async def reset(self, call: Call) -> None:
        """DELETE /os-quota-sets/{id}."""
        project = call.params["id"]
        await self.compute.db.write(lambda conn: quota_store.clear_quotas(conn, project))

    @staticmethod
    def _project(call: Call, rule: str) -> str:
        project = call.params["id"]
        call.require(f"os_compute_api:os-quota-sets:{rule}", {"project_id": project})
        return project

    @staticmethod
    def _shown(call: Call, limits: Mapping[str, int]) -> dict[str, int]:
        old = {name: value for name, (value, last) in _OLD.items() if call.version.minor <= last}
        return {**limits, **old}


def _limit(name: str, value: object) -> int:
    try:
        found = int(str(value))
    except ValueError:
        found = -2
    if not -1 <= found <= _MOST:
        raise Invalid(f"Invalid input for field/attribute {name}. Value: {value}.")
    return found


# -- zones ---------------------------------------------------------------------------------------


#: What clients know our processes as, and after how many seconds of silence one is down.
_BINARY = "nova-compute"
_SILENCE = 60.0


class Zones(Handlers):
    """/os-availability-zone: one zone."""

    async def index(self, _call: Call) -> Reply:
        return Reply({"availabilityZoneInfo": [self._zone(None)]})

    async def detail(self, _call: Call) -> Reply:
        at = naive(self.compute.now())
        state = {"available": True, "active": True, "updated_at": at}
        return Reply(
            {
                "availabilityZoneInfo": [
                    self._zone({self.compute.settings.host: {"nova-compute": state}})
                ]
            }
        )

    def _zone(self, hosts: Any) -> Wire:
        return {
            "zoneName": self.compute.settings.availability_zone,
            "zoneState": {"available": True},
            "hosts": hosts,
        }


class Services(Handlers):
    """/os-services: the processes that work on servers' operations."""

    async def index(self, call: Call) -> Reply:
        call.require("os_compute_api:os-services:list", own(call))
        found = await self.compute.db.read(workflow.list_conductors)
        args = dict(call.args)
        if args.get("binary", _BINARY) != _BINARY:
            found = []
        dead = self.compute.clock.now() - timedelta(seconds=_SILENCE)
        shown = [
            self._service(call, number, row, dead)
            for number, row in enumerate(found, 1)
            if args.get("host", row.host) == row.host
        ]
        return Reply({"services": shown})

    def _service(self, call: Call, number: int, row: workflow.ConductorRow, dead: datetime) -> Wire:
        at = when(row.beat_at)
        alive = not row.gone and at is not None and at > dead
        shown: Wire = {
            "id": number if call.version.minor < 53 else str(uuid5(NAMESPACE_OID, row.host)),
            "binary": _BINARY,
            "host": row.host,
            "zone": self.compute.settings.availability_zone,
            "status": "enabled",
            "state": "up" if alive else "down",
            "updated_at": naive(row.beat_at),
            "disabled_reason": None,
        }
        if call.version.minor >= 11:
            shown["forced_down"] = False
        return shown


# -- server groups -------------------------------------------------------------------------------

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
