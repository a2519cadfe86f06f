"""Power over Redfish: PowerState, and the Reset action with what each service calls things."""

from __future__ import annotations

from collections.abc import Sequence

from ingot.drivers.faults import Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.powering import PowerProtocol, reach
from ingot.drivers.machine.redfish.client import HttpRefused
from ingot.drivers.machine.redfish.system import Systems, health_of
from ingot.drivers.machine.redfish.words import unknown_value
from ingot.drivers.machine.types import Access, PowerOutcome, PowerState, PowerTarget, StatusReading
from ingot.drivers.shape import Json, child, items, strings, text

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
#: After a conflict: when the same command is worth another try.
CONFLICT_SECONDS = 2.0
SETTLED = {"On": PowerState.ON, "Off": PowerState.OFF}


class RedfishPower:
    def __init__(self, context: DriverContext) -> None:
        self._clock = context.clock
        self._systems = context.shared(Systems, lambda: Systems(context))

    def supported(self) -> tuple[PowerTarget, ...]:
        return tuple(PowerTarget)

    async def get(self, access: Access) -> PowerState:
        return (await self.read_status(access)).power

    async def read_status(self, access: Access) -> StatusReading:
        _, system, _ = await self._systems.read(access)
        power = STATES.get(text(system, "PowerState"), PowerState.ERROR)
        return StatusReading(power, health_of(system))

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        async def read() -> PowerState:
            _, system, _ = await self._systems.read(access)
            return SETTLED.get(text(system, "PowerState"), PowerState.ERROR)

        async def send(leg: PowerTarget) -> str:
            return await self._reset(access, leg)

        return await reach(PowerProtocol(read, send), target, self._clock, timeout)

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
        target = text(action, "target") or f"{path}/Actions/ComputerSystem.Reset"
        return await self._try(access, target, (chosen,) if chosen else wanted)

    async def _try(self, access: Access, target: str, kinds: Sequence[str]) -> str:
        """The first of these kinds of reset that the service knows."""
        for kind in kinds:
            body: Json = {"ResetType": kind}
            try:
                await self._systems.client.post(access, target, body)
                return f"Reset {kind}"
            except HttpRefused as fault:
                if fault.status == 409:
                    # Not in this state, which may be over in a moment (iDRAC10 for a while after ForceOff).
                    fault.retry_after = CONFLICT_SECONDS
                if kind == kinds[-1] or not unknown_value(fault.ids):
                    raise
        raise AssertionError("no kind of reset was given")

    async def _allowed(self, access: Access, action: Json) -> list[str]:
        """What the service says it knows; [] where it does not say, or names a place that is not there."""
        info = text(action, "@Redfish.ActionInfo")
        if not info:
            return []
        body = await self._systems.maybe(access, info) or {}
        for parameter in items(body, "Parameters"):
            if text(parameter, "Name") == "ResetType":
                return strings(parameter, "AllowableValues")
        return []
