"""Power over Redfish: PowerState, and the Reset action with what each service calls things."""

from __future__ import annotations

from ingot.drivers.context import DriverContext
from ingot.drivers.faults import Unsupported
from ingot.drivers.powering import PowerLines, reach
from ingot.drivers.redfish.system import Systems, health_of
from ingot.drivers.shape import Json, child, items, strings, text
from ingot.drivers.types import Access, Glance, PowerOutcome, PowerState, PowerTarget

RESET = "#ComputerSystem.Reset"
ALLOWED = "ResetType@Redfish.AllowableValues"
# In order of preference; services differ in which they know.
RESET_TYPES = {
    PowerTarget.ON: ("On", "ForceOn", "PushPowerButton"),
    PowerTarget.OFF: ("ForceOff",),
    PowerTarget.SOFT_OFF: ("GracefulShutdown", "PushPowerButton"),
}
STATES = {
    "On": PowerState.ON,
    "Off": PowerState.OFF,
    "PoweringOn": PowerState.ON,
    "PoweringOff": PowerState.OFF,
}
SETTLED = {"On": PowerState.ON, "Off": PowerState.OFF}


class RedfishPower:
    def __init__(self, context: DriverContext) -> None:
        self._clock = context.clock
        self._systems = context.shared(Systems, lambda: Systems(context))

    def supported(self) -> tuple[PowerTarget, ...]:
        return tuple(PowerTarget)

    async def get(self, access: Access) -> PowerState:
        return (await self.glance(access)).power

    async def glance(self, access: Access) -> Glance:
        _, system, _ = await self._systems.read(access)
        power = STATES.get(text(system, "PowerState"), PowerState.ERROR)
        return Glance(power, health_of(system))

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        async def read() -> PowerState:
            _, system, _ = await self._systems.read(access)
            return SETTLED.get(text(system, "PowerState"), PowerState.ERROR)

        async def send(leg: PowerTarget) -> str:
            return await self._reset(access, leg)

        return await reach(PowerLines(read, send), target, self._clock, timeout)

    async def _reset(self, access: Access, leg: PowerTarget) -> str:
        path, system, _ = await self._systems.read(access)
        action = child(system, "Actions", RESET)
        allowed = strings(action, ALLOWED) or await self._allowed(access, action)
        wanted = RESET_TYPES[leg]
        chosen = next((name for name in wanted if name in allowed), None)
        if chosen is None and allowed:
            raise Unsupported(
                f"{leg.value} needs one of {', '.join(wanted)}; the service has "
                f"{', '.join(allowed)}"
            )
        kind = chosen or wanted[0]
        target = text(action, "target") or f"{path}/Actions/ComputerSystem.Reset"
        body: Json = {"ResetType": kind}
        await self._systems.client.post(access, target, body)
        return f"Reset {kind}"

    async def _allowed(self, access: Access, action: Json) -> list[str]:
        info = text(action, "@Redfish.ActionInfo")
        if not info:
            return []
        body = (await self._systems.client.get(access, info)).body
        for parameter in items(body, "Parameters"):
            if text(parameter, "Name") == "ResetType":
                return strings(parameter, "AllowableValues")
        return []
