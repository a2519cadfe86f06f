"""Power over IPMI: chassis status and chassis control."""

from __future__ import annotations

from ingot.drivers.context import DriverContext
from ingot.drivers.ipmi.lan import IpmiLan
from ingot.drivers.powering import PowerLines, reach
from ingot.drivers.types import Access, PowerOutcome, PowerState, PowerTarget

CHASSIS, STATUS, CONTROL = 0x00, 0x01, 0x02
#: Name and code of chassis control (table 28-4).
COMMANDS = {
    PowerTarget.ON: ("on", 1),
    PowerTarget.OFF: ("off", 0),
    PowerTarget.SOFT_OFF: ("soft", 5),
}


class IpmiPower:
    def __init__(self, context: DriverContext) -> None:
        self._clock = context.clock
        self._lan = context.shared(IpmiLan, lambda: IpmiLan(context))

    def supported(self) -> tuple[PowerTarget, ...]:
        return tuple(PowerTarget)

    async def get(self, access: Access) -> PowerState:
        status = await self._lan.ask(access, CHASSIS, STATUS)
        if not status:
            return PowerState.ERROR
        return PowerState.ON if status[0] & 1 else PowerState.OFF

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        async def send(leg: PowerTarget) -> str:
            name, code = COMMANDS[leg]
            await self._lan.ask(access, CHASSIS, CONTROL, bytes([code]))
            return f"chassis power {name}"

        return await reach(PowerLines(lambda: self.get(access), send), target, self._clock, timeout)
