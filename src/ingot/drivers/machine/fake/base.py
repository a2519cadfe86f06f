"""What all fake interfaces share: find the machine, take the time, perhaps fail; and their options."""

from __future__ import annotations

from ingot.drivers.faults import BadCredentials
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.fake.chance import delay_seconds, failure
from ingot.drivers.machine.fake.world import FakeMachine
from ingot.drivers.machine.options import Option
from ingot.drivers.machine.types import Access

PREFIXES = ("fake_",)
OPTIONS = (
    Option("fake_id", "Name of the imaginary machine; the node's uuid if not given"),
    Option("fake_delay", "Delays, for example power.set=lognormal:2,0.5;*=fixed:0.1"),
    Option("fake_fail", "Failures, for example power.set=0.1:busy;management.*=0.02"),
    Option("fake_restart", "BIOS, RAID and firmware steps take force at a restart", "bool", False),
    Option("fake_username", "User name, checked when the imaginary machine has one"),
    Option("fake_password", "Password, checked when the imaginary machine has one", secret=True),
)


class Fake:
    """Base of the fake interfaces. call: "capability.verb", as the rules of `chance.py` name it."""

    def __init__(self, context: DriverContext) -> None:
        self._context = context

    async def touch(self, access: Access, call: str) -> FakeMachine:
        name = access.text("fake_id") or access.key or "fake"
        machine = await self._context.world.found(name, access.key)
        chance = machine.random_state
        delay = delay_seconds(access.text("fake_delay"), call, chance)
        if delay:
            await self._context.clock.sleep(delay)
        given = (access.text("fake_username"), access.text("fake_password"))
        if machine.password and given != (machine.user, machine.password):
            raise BadCredentials("the imaginary machine does not know this user and password")
        fault = failure(access.text("fake_fail"), call, chance)
        if fault is not None:
            raise fault
        return machine
