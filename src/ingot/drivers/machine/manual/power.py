"""Power by hand: the driver cannot read or change anything, and says who must.

A node of type `manual-management` is deployed by a human who switches it on when a workflow waits
for its agent.
"""

from __future__ import annotations

from ingot.drivers.faults import Unsupported
from ingot.drivers.machine.none import PlainManagement
from ingot.drivers.machine.types import (
    Access,
    BootChoice,
    BootDevice,
    BootMode,
    Identity,
    PowerOutcome,
    PowerState,
    PowerTarget,
    Sensor,
)

WORDS = {
    PowerTarget.ON: "Switch the machine on.",
    PowerTarget.OFF: "Switch the machine off.",
    PowerTarget.SOFT_OFF: "Shut the machine down.",
    PowerTarget.REBOOT: "Switch the machine off and on again.",
    PowerTarget.SOFT_REBOOT: "Restart the machine.",
}


class ManualPower:
    """Asks a human: every call is Unsupported with the sentence to follow as next action."""

    def supported(self) -> tuple[PowerTarget, ...]:
        return ()

    async def get(self, access: Access) -> PowerState:
        raise Unsupported(
            "this machine has no controller: its power cannot be read",
            next_action="Look at the machine and set its state by hand.",
        )

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        raise Unsupported(
            "this machine has no controller: its power cannot be changed from here",
            next_action=WORDS[target],
        )


class NoopManagement(PlainManagement):
    """Boot order is fixed in the machine's firmware; requests are accepted and change nothing."""

    def supported_boot_devices(self, access: Access) -> tuple[BootDevice, ...]:
        return ()

    async def get_boot_device(self, access: Access) -> BootChoice:
        return BootChoice(None, None)

    async def set_boot_device(
        self,
        access: Access,
        device: BootDevice,
        persistent: bool = False,
        mode: BootMode | None = None,
    ) -> None:
        return None

    def supported_boot_modes(self, access: Access) -> tuple[BootMode, ...]:
        return ()

    async def get_boot_mode(self, access: Access) -> BootMode | None:
        return None

    async def set_boot_mode(self, access: Access, mode: BootMode) -> None:
        raise Unsupported(
            "the boot mode cannot be set from here", next_action="Set it in the firmware's menu."
        )

    async def sensors(self, access: Access) -> tuple[Sensor, ...]:
        return ()

    async def identity(self, access: Access) -> Identity:
        """Nobody to ask: an empty identity, which compares as unknown."""
        return Identity()

    async def health(self, access: Access) -> str:
        return "unknown"
