"""Power over IPMI: chassis status and chassis control."""

from __future__ import annotations

from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.ipmi.lan import IpmiLan
from ingot.drivers.machine.powering import PowerProtocol, reach
from ingot.drivers.machine.types import Access, PowerOutcome, PowerState, PowerTarget, StatusReading

CHASSIS, STATUS, CONTROL = 0x00, 0x01, 0x02
#: Name and code of chassis control (table 28-4).
COMMANDS = {
    PowerTarget.ON: ("on", 1),
    PowerTarget.OFF: ("off", 0),
    PowerTarget.SOFT_OFF: ("soft", 5),
}


#: Of chassis status (table 28-3): overload, main power fault; drive fault, cooling fault.
_POWER_FAULTS, _OTHER_FAULTS = 0x02 | 0x08, 0x04 | 0x08


def health_of(status: bytes) -> str:
    """What the fault bits of a chassis status say; a controller that sets none calls the machine well."""
    power, misc = status[0] if status else 0, status[2] if len(status) > 2 else 0
    return "critical" if power & _POWER_FAULTS or misc & _OTHER_FAULTS else "ok"


class IpmiPower:
    def __init__(self, context: DriverContext) -> None:
        self._clock = context.clock
        self._lan = context.shared(IpmiLan, lambda: IpmiLan(context))

    def supported(self) -> tuple[PowerTarget, ...]:
        return tuple(PowerTarget)

    async def get(self, access: Access) -> PowerState:
        return (await self.read_status(access)).power

    async def read_status(self, access: Access) -> StatusReading:
        status = await self._lan.ask(access, CHASSIS, STATUS)
        if not status:
            return StatusReading(PowerState.ERROR, "unknown")
        return StatusReading(PowerState.ON if status[0] & 1 else PowerState.OFF, health_of(status))

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        async def send(leg: PowerTarget) -> str:
            name, code = COMMANDS[leg]
            await self._lan.ask(access, CHASSIS, CONTROL, bytes([code]))
            return f"chassis power {name}"

        return await reach(
            PowerProtocol(lambda: self.get(access), send), target, self._clock, timeout
        )
