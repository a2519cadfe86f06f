"""The agent's commands with types: what a workflow says to it.

`Agent` binds a client to one booted machine. Long commands return an `AgentCommand` that runs;
follow it with `Agent.wait(id, timeout)` or, without keeping a coroutine, by asking `Agent.get(id)`
at the next heartbeat. Repeating a step after a crash: `Agent.resume` finds the command again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingot.drivers.faults import Refused
from ingot.drivers.machine.agent.client import AgentAddress, AgentClient, AgentCommand
from ingot.drivers.machine.agent.image import DeployImage
from ingot.drivers.shape import Json, as_list, as_map

KINDS = ("clean", "deploy", "service")
LONGEST_LOGS = 16 << 20
INSTALL_BOOTLOADER_SECONDS = 600.0


@dataclass(frozen=True)
class AgentSteps:
    """What the agent's hardware managers offer.

    steps: each {"step", "priority", "interface", "reboot_requested", "abortable", "argsinfo", …},
    highest priority first. versions: to be given back with `execute_step`.
    """

    steps: tuple[Json, ...]
    versions: Json


@dataclass(frozen=True)
class PartitionIds:
    """UUIDs of what was written; empty where there is none (whole-disk images often tell none)."""

    root: str = ""
    efi: str = ""
    prep: str = ""


class Agent:
    """One booted machine's agent.

    node, ports: dictionaries in the wire form of the Bare Metal API; hardware managers read
    properties (root_device), instance_info and driver_internal_info from `node`.
    """

    def __init__(
        self,
        client: AgentClient,
        address: AgentAddress,
        node: Mapping[str, object],
        ports: Sequence[Mapping[str, object]] = (),
    ) -> None:
        self._client = client
        self.address = address
        self._node = dict(node)
        self._ports = [dict(port) for port in ports]

    async def get(self, command_id: str) -> AgentCommand:
        """A command as it is now; CommandLost when the agent restarted since."""
        return await self._client.get_command(self.address, command_id)

    async def wait(self, command_id: str, timeout: float) -> AgentCommand:
        """Poll until it is done or `timeout` seconds passed (Busy)."""
        return await self._client.wait(self.address, command_id, timeout)

    async def run(
        self, name: str, params: Mapping[str, object] | None = None, timeout: float = 90.0
    ) -> Json:
        """Any command by name, followed to its end."""
        return await self._client.run(self.address, name, params, timeout)

    async def resume(self, name: str, kind: str = "", step: str = "") -> AgentCommand | None:
        """The latest command if it is `name` ("deploy.execute_deploy_step"), else None.

        For repeating a step whose reply was lost. With `kind` and `step` a finished command counts
        only when its result names that step.
        """
        latest = await self._client.latest(self.address)
        if latest is None or latest.name not in (name, name.split(".")[-1]):
            return None
        if step and latest.done and latest.result is not None:
            ran = latest.result.get(f"{kind}_step")
            return latest if as_map(ran).get("step") == step else None
        return latest

    async def get_steps(self, kind: str) -> AgentSteps:
        """Steps that the agent offers; `kind`: "clean", "deploy" or "service"."""
        self._check(kind)
        params = {"node": self._node, "ports": self._ports}
        result = await self.run(f"{kind}.get_{kind}_steps", params)
        managers = as_map(result.get(f"{kind}_steps"))
        found = [
            as_map(item) | {"hardware_manager": name}
            for name, listed in managers.items()
            for item in as_list(listed)
        ]
        found.sort(key=lambda step: -_priority(step))
        return AgentSteps(tuple(found), as_map(result.get("hardware_manager_version")))

    async def execute_step(
        self,
        kind: str,
        step: Mapping[str, object],
        versions: Mapping[str, object] | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> AgentCommand:
        """Start a step {"interface", "step", "args"…}; follow the returned command.

        facts: of the node, for this step alone, such as the target_raid_config that it is to make.

        Its result is {"<kind>_result": …, "<kind>_step": …}. VersionMismatch (at `value()`) when
        `versions` are not the agent's: read the steps again.
        """
        self._check(kind)
        node = {**self._node, **(facts or {})}
        params: Json = {"step": dict(step), "node": node, "ports": self._ports}
        if versions is not None:
            params[f"{kind}_version"] = dict(versions)
        return await self._client.start(self.address, f"{kind}.execute_{kind}_step", params)

    async def write_image(
        self,
        image: DeployImage,
        configdrive: str | None = None,
        versions: Mapping[str, object] | None = None,
    ) -> AgentCommand:
        """Start writing `image` to the root disk.

        configdrive: gzipped, base64-coded ISO, or a URL of it; becomes a partition at the disk's
        end. Minutes long.
        """
        args: Json = {"image_info": image.info()}
        if configdrive:
            args["configdrive"] = configdrive
        step = {"interface": "deploy", "step": "write_image", "priority": 80, "args": args}
        return await self.execute_step("deploy", step, versions)

    async def partition_ids(self) -> PartitionIds:
        """UUIDs of the root and EFI partitions of the image written last."""
        found = await self.run("standby.get_partition_uuids")
        return PartitionIds(
            root=str(found.get("root uuid") or ""),
            efi=str(found.get("efi system partition uuid") or ""),
            prep=str(found.get("PReP Boot partition uuid") or ""),
        )

    async def install_bootloader(
        self, ids: PartitionIds, boot_mode: str, ignore_failure: bool | None = None
    ) -> AgentCommand:
        """Start making the disk bootable: an EFI boot entry, or nothing for BIOS whole-disk images.

        For BIOS whole-disk images give `PartitionIds()` or skip the call: the agent of 13.0
        refuses to install a BIOS loader by default.
        """
        params: Json = {
            "root_uuid": ids.root or None,
            "efi_system_part_uuid": ids.efi or None,
            "prep_boot_part_uuid": ids.prep or None,
            "target_boot_mode": boot_mode,
        }
        if ignore_failure is not None:
            params["ignore_bootloader_failure"] = ignore_failure
        return await self._client.start(self.address, "image.install_bootloader", params)

    async def sync(self) -> None:
        """Flush the disks' caches."""
        await self.run("standby.sync")

    async def power_off(self) -> AgentCommand:
        """Start shutting the machine down. The agent's address dies soon after."""
        return await self._client.start(self.address, "standby.power_off")

    async def reboot(self) -> AgentCommand:
        """Start rebooting the machine."""
        return await self._client.start(self.address, "standby.run_image")

    async def finalize_rescue(self, password_hash: str) -> None:
        """Set the rescue user's password (crypt(3) hash) and let the agent end."""
        params = {"rescue_password": password_hash, "hashed": True}
        await self.run("rescue.finalize_rescue", params)

    async def collect_logs(self, limit: int = LONGEST_LOGS) -> bytes:
        """The agent's logs as a gzipped tar; Refused when it is larger than `limit` bytes."""
        result = await self.run("log.collect_system_logs")
        coded = str(result.get("system_logs") or "")
        if len(coded) > limit * 4 // 3 + 4:
            raise Refused(f"the agent's logs are larger than {limit} bytes")
        try:
            return base64.b64decode(coded, validate=False)
        except (binascii.Error, ValueError) as error:
            raise Refused(f"the agent's logs are not base64: {error}") from None

    async def lockdown(self) -> None:
        """Let the agent stop serving and take its network down."""
        await self.run("system.lockdown")

    @staticmethod
    def _check(kind: str) -> None:
        if kind not in KINDS:
            raise Refused(f"step kind {kind!r} is not one of {', '.join(KINDS)}")


def _priority(step: Mapping[str, object]) -> int:
    value = step.get("priority")
    return value if isinstance(value, int) else 0
