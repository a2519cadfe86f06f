"""Limits and quotas: /limits and /os-quota-sets."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Invalid
from ingot.services.compute import quota_store
from ingot.services.compute.api.common import (
    Handlers,
    mapping,
    own,
    part,
    unexpected,
)
from ingot.services.compute.api.ordering import MOST_FILE_BYTES, MOST_FILES, MOST_PATH_BYTES

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
