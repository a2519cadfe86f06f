"""The interfaces whose work the agent does inside the machine.

They say that the agent is needed and what steps they bring; the workflow boots the agent and talks
to it with `client.AgentClient`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.faults import Unsupported
from ingot.drivers.machine import raid
from ingot.drivers.machine.agent import imagespec
from ingot.drivers.machine.options import Option
from ingot.drivers.machine.types import Access, StepInfo, StepOutcome

RAMDISK_OPTIONS = (
    Option("deploy_kernel", "URL or image of the agent's kernel instead of the built-in one"),
    Option("deploy_ramdisk", "URL or image of the agent's ramdisk instead of the built-in one"),
    Option("rescue_kernel", "URL or image of the rescue kernel"),
    Option("rescue_ramdisk", "URL or image of the rescue ramdisk"),
    Option("kernel_append_params", "Kernel parameters added for the ramdisk; %default% keeps ours"),
)
ISO_OPTIONS = (
    Option("deploy_iso", "URL or image of an ISO with the agent, used as it is"),
    Option("rescue_iso", "URL or image of an ISO for rescue, used as it is"),
)
AGENT_OPTIONS = (
    *RAMDISK_OPTIONS,
    Option("deploy_forces_oob_reboot", "Power-cycle by the controller after deploy", "bool", False),
    Option(
        "fast_track", "Leave the agent running for the next operation; else as configured", "bool"
    ),
    Option("image_http_proxy", "Proxy for the agent's http downloads"),
    Option("image_https_proxy", "Proxy for the agent's https downloads"),
    Option("image_no_proxy", "Hosts that the agent reaches without a proxy, comma separated"),
)


def _agents_work(what: str) -> Unsupported:
    return Unsupported(
        f"{what} is done by the agent inside the machine, not from outside",
        next_action="Boot the agent first.",
    )


def _built_in(step: str, priority: int, ramdisk: bool = False) -> StepInfo:
    return StepInfo("deploy", step, priority, requires_ramdisk=ramdisk, kinds=("deploy",))


class _AgentSteps:
    """Steps that the workflow or the agent carries out, never the driver."""

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> StepOutcome:
        raise _agents_work(f"step {step}")

    async def resume(
        self, access: Access, step: str, args: Mapping[str, object], memo: Mapping[str, object]
    ) -> StepOutcome:
        raise _agents_work(f"step {step}")


class DirectDeploy(_AgentSteps):
    """The agent fetches the image by URL and writes it to the root disk."""

    uses_agent = True
    writes_disk = True
    boots_ramdisk = False

    def steps(self) -> tuple[StepInfo, ...]:
        return (
            _built_in("deploy", 100),
            _built_in("write_image", 80, ramdisk=True),
            _built_in("prepare_instance_boot", 60, ramdisk=True),
            _built_in("tear_down_agent", 40),
            _built_in("switch_to_tenant_network", 30),
            _built_in("boot_instance", 20),
        )

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        return imagespec.problems(instance_info)


class CustomAgentDeploy(_AgentSteps):
    """The agent runs, and what is done with it is in the steps that are asked for; no image is needed."""

    uses_agent = True
    writes_disk = False
    boots_ramdisk = False

    def steps(self) -> tuple[StepInfo, ...]:
        return tuple(step for step in DirectDeploy().steps() if step.step != "write_image")

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        return ()


class RamdiskDeploy(_AgentSteps):
    """Nothing is written: the machine always boots the instance's kernel and ramdisk or ISO."""

    uses_agent = False
    writes_disk = False
    boots_ramdisk = True

    def steps(self) -> tuple[StepInfo, ...]:
        return (StepInfo("deploy", "deploy", 100, kinds=("deploy",), in_band=True),)

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        if instance_info.get("boot_iso"):
            if instance_info.get("image_source"):
                return (
                    "An 'image_source' and 'boot_iso' parameter may not be specified at the same "
                    "time.",
                )
            return ()
        if instance_info.get("image_source") and not instance_info.get("kernel"):
            return ()  # its properties name kernel and ramdisk
        return tuple(
            f"instance_info.{key} is missing (or give boot_iso)"
            for key in ("kernel", "ramdisk")
            if not instance_info.get(key)
        )


class AgentInspect:
    """The agent posts what it found to continue_inspection."""

    uses_agent = True

    async def inspect(self, access: Access) -> Mapping[str, object]:
        raise _agents_work("inspection")


class AgentRaid(_AgentSteps):
    """Software RAID and hardware managers of the agent."""

    def steps(self) -> tuple[StepInfo, ...]:
        def offered(step: str, *kinds: str, args: Mapping[str, object] | None = None) -> StepInfo:
            return StepInfo(
                "raid", step, argsinfo=args, requires_ramdisk=True, kinds=kinds, in_band=True
            )

        return (
            offered("create_configuration", "clean", args=raid.CREATE_ARGS),
            offered("delete_configuration", "clean"),
            offered("apply_configuration", "deploy", "service", args=raid.APPLY_ARGS),
        )

    def logical_disk_properties(self) -> Mapping[str, str]:
        return raid.LOGICAL_DISK_PROPERTIES

    def problems(self, raid_config: Mapping[str, object]) -> tuple[str, ...]:
        return raid.problems(raid_config)


class AgentRescue:
    """Boots the agent and hands the machine over with `rescue.finalize_rescue`."""

    uses_agent = True

    async def rescue(self, access: Access) -> None:
        raise _agents_work("rescue")

    async def unrescue(self, access: Access) -> None:
        raise _agents_work("unrescue")
