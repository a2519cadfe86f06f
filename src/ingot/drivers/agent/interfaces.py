"""The interfaces whose work the agent does inside the machine.

They say that the agent is needed and what steps they bring; the workflow boots the agent and talks
to it with `client.AgentClient`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.faults import Unsupported
from ingot.drivers.options import Option
from ingot.drivers.types import Access, StepInfo

RAMDISK_OPTIONS = (
    Option("deploy_kernel", "URL or image of the agent's kernel instead of the built-in one"),
    Option("deploy_ramdisk", "URL or image of the agent's ramdisk instead of the built-in one"),
    Option("rescue_kernel", "URL or image of the rescue kernel"),
    Option("rescue_ramdisk", "URL or image of the rescue ramdisk"),
    Option("kernel_append_params", "Kernel parameters added for the ramdisk; %default% keeps ours"),
)
AGENT_OPTIONS = (
    *RAMDISK_OPTIONS,
    Option("deploy_forces_oob_reboot", "Power-cycle by the controller after deploy", "bool", False),
    Option("image_http_proxy", "Proxy for the agent's http downloads"),
    Option("image_https_proxy", "Proxy for the agent's https downloads"),
    Option("image_no_proxy", "Hosts that the agent reaches without a proxy, comma separated"),
)


def _agents_work(what: str) -> Unsupported:
    return Unsupported(
        f"{what} is done by the agent inside the machine, not from outside",
        next_action="Boot the agent first.",
    )


class DirectDeploy:
    """The agent fetches the image by URL and writes it to the root disk."""

    uses_agent = True
    writes_disk = True

    def steps(self) -> tuple[StepInfo, ...]:
        return (
            StepInfo("deploy", "deploy", 100),
            StepInfo("deploy", "write_image", 80, requires_ramdisk=True),
            StepInfo("deploy", "prepare_instance_boot", 60, requires_ramdisk=True),
            StepInfo("deploy", "tear_down_agent", 40),
            StepInfo("deploy", "switch_to_tenant_network", 30),
            StepInfo("deploy", "boot_instance", 20),
        )

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        source = instance_info.get("image_source")
        if not source:
            return ("instance_info.image_source is missing",)
        text = str(source)
        if not text.startswith(("http://", "https://", "file://")):
            return ()
        algo, value = (
            instance_info.get("image_os_hash_algo"),
            instance_info.get("image_os_hash_value"),
        )
        if instance_info.get("image_checksum") or (algo and value):
            return ()
        return (
            "an image given by URL needs image_checksum, or image_os_hash_algo with "
            "image_os_hash_value, in instance_info",
        )

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> None:
        raise _agents_work(f"deploy step {step}")


class RamdiskDeploy:
    """Nothing is written: the machine always boots the instance's kernel and ramdisk or ISO."""

    uses_agent = False
    writes_disk = False

    def steps(self) -> tuple[StepInfo, ...]:
        return (StepInfo("deploy", "deploy", 100),)

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        if instance_info.get("boot_iso"):
            return ()
        return tuple(
            f"instance_info.{key} is missing (or give boot_iso)"
            for key in ("kernel", "ramdisk")
            if not instance_info.get(key)
        )

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> None:
        raise Unsupported(f"deploy step {step} is the workflow's work")


class AgentInspect:
    """The agent posts what it found to continue_inspection."""

    uses_agent = True

    async def inspect(self, access: Access) -> Mapping[str, object]:
        raise _agents_work("inspection")


class AgentRaid:
    """Software RAID and hardware managers of the agent."""

    def steps(self) -> tuple[StepInfo, ...]:
        return (
            StepInfo("raid", "create_configuration", requires_ramdisk=True),
            StepInfo("raid", "delete_configuration", requires_ramdisk=True),
            StepInfo("raid", "apply_configuration", requires_ramdisk=True),
        )

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> None:
        raise _agents_work(f"raid step {step}")

    def logical_disk_properties(self) -> Mapping[str, str]:
        return {
            "size_gb": "Size in GiB (integer) of the logical disk, or MAX for all that is left.",
            "raid_level": "RAID level: 0, 1, 1+0, 5, 6 or JBOD.",
            "is_root_volume": "Whether the instance is written to this disk; at most one.",
            "volume_name": "Name of the volume.",
            "controller": '"software" for software RAID.',
            "physical_disks": "List of hints or names of the disks to use.",
            "number_of_physical_disks": "How many disks to use.",
            "disk_type": "hdd or ssd.",
            "interface_type": "sata, scsi or sas.",
            "share_physical_disks": "Whether other logical disks may use the same disks.",
        }


class AgentRescue:
    """Boots the agent and hands the machine over with `rescue.finalize_rescue`."""

    uses_agent = True

    async def rescue(self, access: Access) -> None:
        raise _agents_work("rescue")

    async def unrescue(self, access: Access) -> None:
        raise _agents_work("unrescue")
