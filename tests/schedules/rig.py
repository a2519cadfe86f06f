"""Imaginary machines, and the far ends of both wires: their controllers and their agents.

A hardware type `rig` for the public registry, in values in and values out. Every call is written down while it
is in flight: who commands a machine, under whose lease, and whether somebody else does so at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ingot.drivers.faults import DriverFault, Unsupported
from ingot.drivers.machine.agent.client import AgentAddress, AgentClient
from ingot.drivers.machine.agent.interfaces import RAMDISK_OPTIONS
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.fake.world import FakeMachine, FakeWorld
from ingot.drivers.machine.hardware import hardware_types
from ingot.drivers.machine.ipxe.boot import IpxeBoot
from ingot.drivers.machine.none import PlainManagement
from ingot.drivers.machine.powering import PowerProtocol, reach
from ingot.drivers.machine.registry import HardwareType, InterfaceSpec
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
from ingot.kit.tasks import fencing
from tests.life.agents import FakeAgents, SimAgent

if TYPE_CHECKING:
    from tests.schedules.host import Host

T = TypeVar("T")


@dataclass
class Rig:
    """All machines of a site.

    trouble: controller -> what it answers with. lying: controllers that say yes and do nothing. seconds: what
    a call takes. flying: calls in flight by machine. problems: what must never be.
    """

    world: FakeWorld
    agents: FakeAgents
    booted: Callable[[FakeMachine, BootDevice], None]
    owner: Callable[[str], tuple[str, str] | None]  # machine -> (operation, who owns it)
    trouble: dict[str, type[DriverFault]] = field(default_factory=dict[str, type[DriverFault]])
    lying: set[str] = field(default_factory=set[str])
    seconds: float = 0.05
    flying: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    problems: list[str] = field(default_factory=list[str])
    calls: int = 0

    async def call(self, host: Host, key: str, name: str, effect: Callable[[], T]) -> T:
        """One call of a host to a machine's controller or agent."""
        await host.go()
        fencing.check()  # as all drivers, last thing before they send
        self.may(host, key, name)
        here = self.flying.setdefault(key, [])
        here.append(host.name)
        try:
            await asyncio.sleep(self.seconds)
            fault = self.trouble.get(key)
            if fault is not None:
                raise fault("simulated trouble of the controller")
            return effect()
        finally:
            here.remove(host.name)
            await host.go()

    def may(self, host: Host, key: str, name: str) -> None:
        """One actor per machine: who owns the node's operation."""
        self.calls += 1
        others = [one for one in self.flying.get(key, ()) if one != host.name]
        if others:
            self.problems.append(f"{host} calls {name} of {key[:8]} while {others[0]} does too")
        kind, owner = self.owner(key) or ("nothing", "nobody")
        if owner != host.engine.me:
            self.problems.append(
                f"{host} ({host.engine.me}) calls {name} of {key[:8]}, whose {kind} is {owner}'s"
            )

    def switch(self, key: str, state: PowerState) -> None:
        if key in self.lying:
            return
        body = self.world.machine(key)
        device, was = body.boot_device, body.power
        body.switch(state)
        if was is not PowerState.ON and state is PowerState.ON:
            self.booted(body, device)


class HostWorld(FakeWorld):
    """The imaginary machines as the fake interfaces of a host reach them: BIOS, RAID and the like."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def machine(self, key: str) -> FakeMachine:
        return self._host.site.rig.world.machine(key)


class RigPower:
    """Power of a machine of the rig."""

    def __init__(self, host: Host, context: DriverContext) -> None:
        self._host, self._context = host, context

    def supported(self) -> tuple[PowerTarget, ...]:
        return tuple(PowerTarget)

    async def get(self, access: Access) -> PowerState:
        body = self._host.site.rig.world.machine(access.key)
        return await wire(self._host, self._context, access.key, "power.get", lambda: body.power)

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        host, rig = self._host, self._host.site.rig

        async def send(leg: PowerTarget) -> str:
            def effect() -> None:
                rig.switch(access.key, leg.final)

            await wire(host, self._context, access.key, f"power.{leg.value}", effect)
            return leg.value

        lines = PowerProtocol(lambda: self.get(access), send)
        return await reach(lines, target, self._context.clock, timeout)


class RigManagement(PlainManagement):
    """Boot device and identity of a machine of the rig."""

    def __init__(self, host: Host, context: DriverContext) -> None:
        self._host, self._context = host, context

    async def _ask(self, access: Access, name: str, give: Callable[[FakeMachine], T]) -> T:
        body = self._host.site.rig.world.machine(access.key)
        return await wire(self._host, self._context, access.key, name, lambda: give(body))

    def supported_boot_devices(self, access: Access) -> tuple[BootDevice, ...]:
        return (BootDevice.PXE, BootDevice.DISK)

    async def get_boot_device(self, access: Access) -> BootChoice:
        return await self._ask(
            access, "boot device", lambda b: BootChoice(b.boot_device, b.boot_persistent)
        )

    async def set_boot_device(
        self,
        access: Access,
        device: BootDevice,
        persistent: bool = False,
        mode: BootMode | None = None,
    ) -> None:
        if device not in self.supported_boot_devices(access):
            raise Unsupported(f"boot device {device.value} is not supported")

        def choose(body: FakeMachine) -> None:
            body.boot_device, body.boot_persistent = device, persistent

        await self._ask(access, f"boot {device.value}", choose)

    def supported_boot_modes(self, access: Access) -> tuple[BootMode, ...]:
        return (BootMode.UEFI,)

    async def get_boot_mode(self, access: Access) -> BootMode | None:
        return BootMode.UEFI

    async def set_boot_mode(self, access: Access, mode: BootMode) -> None:
        raise Unsupported("the boot mode cannot be changed")

    async def sensors(self, access: Access) -> tuple[Sensor, ...]:
        return ()

    async def identity(self, access: Access) -> Identity:
        return await self._ask(
            access, "identity", lambda b: Identity(b.uuid, b.serial, "Rig", "Rig", (b.mac,))
        )

    async def health(self, access: Access) -> str:
        return "ok"


async def wire(
    host: Host, context: DriverContext, key: str, name: str, effect: Callable[[], T]
) -> T:
    """Through the gate of the controller, as every driver's calls."""
    return await context.gates.gate(key).run(lambda: host.site.rig.call(host, key, name, effect))


def hardware_type(host: Host) -> HardwareType:
    """The type `rig`: its own power, management and boot, the rest as fake hardware has it."""
    fake = next(one for one in hardware_types() if one.name == "fake-hardware")
    power = InterfaceSpec("power", "rig", lambda context: RigPower(host, context))
    management = InterfaceSpec("management", "rig", lambda context: RigManagement(host, context))

    def boots(context: DriverContext) -> object:
        return IpxeBoot(RigManagement(host, context))

    boot = InterfaceSpec("boot", "ipxe", boots, RAMDISK_OPTIONS)
    table = {**fake.interfaces, "power": (power,), "management": (management,), "boot": (boot,)}
    return HardwareType("rig", "Machines of a fault schedule.", table)


class HostAgents(AgentClient):
    """A host's calls to agents: the last step, the request, reaches the rig's."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.clock)
        self._host = host

    async def _call(
        self,
        agent: AgentAddress,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        seconds: float = 30.0,
    ) -> dict[str, Any]:
        host, rig = self._host, self._host.site.rig
        here = rig.agents.agents.get(agent.url)
        key = here.machine.key if here is not None else ""

        async def answer() -> dict[str, Any]:
            if here is not None and method == "POST":
                host.site.judge(here, dict(body or {}))
            return await rig.agents.ask(agent, method, path, body)

        await host.go()
        fencing.check()
        if (
            here is not None and path != "/v1/status"
        ):  # whoever serves its boot may ask for its life
            rig.may(host, key, f"agent {method} {path}")
        await asyncio.sleep(rig.seconds)
        try:
            return await answer()
        finally:
            await host.go()


__all__ = ["HostAgents", "HostWorld", "Rig", "SimAgent", "hardware_type"]
