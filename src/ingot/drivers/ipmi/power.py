"""Power over IPMI: chassis status and chassis control."""

from __future__ import annotations

from ingot.drivers.context import DriverContext
from ingot.drivers.ipmi.tool import IpmiTool
from ingot.drivers.powering import PowerLines, reach
from ingot.drivers.types import Access, PowerOutcome, PowerState, PowerTarget

COMMANDS = {PowerTarget.ON: "on", PowerTarget.OFF: "off", PowerTarget.SOFT_OFF: "soft"}


class IpmiPower:
    def __init__(self, context: DriverContext) -> None:
        self._clock = context.clock
        self._tool = context.shared(IpmiTool, lambda: IpmiTool(context))

    def supported(self) -> tuple[PowerTarget, ...]:
        return tuple(PowerTarget)

    async def get(self, access: Access) -> PowerState:
        words = (await self._tool.run(access, "chassis", "power", "status")).lower()
        if "power is on" in words:
            return PowerState.ON
        return PowerState.OFF if "power is off" in words else PowerState.ERROR

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        async def send(leg: PowerTarget) -> str:
            await self._tool.run(access, "chassis", "power", COMMANDS[leg])
            return f"chassis power {COMMANDS[leg]}"

        return await reach(PowerLines(lambda: self.get(access), send), target, self._clock, timeout)
