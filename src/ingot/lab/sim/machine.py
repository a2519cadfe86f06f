"""One simulated server: power, firmware, boot order, disks, and whatever runs on it.

A machine is a coroutine from power-on to power-off. It is also a `PowerBackend`: its BMC knows
it only by those few methods, over which it holds the truth. What it did, and what was done to
its disks, stays readable in `timeline` and `destructive_acts`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from ingot.lab.sim.boot import BootServer, NoAnswer
from ingot.lab.sim.bootscript import BootFailed, BootTarget
from ingot.lab.sim.clock import Chance, Clock, SteppedClock
from ingot.lab.sim.faults import Faults
from ingot.lab.sim.media import boot_target
from ingot.lab.sim.serial import SerialLine, SerialPort
from ingot.lab.sim.types import (
    BootDevice,
    BootMode,
    BootSetting,
    DestructiveAct,
    Hardware,
    Identity,
    PowerState,
    TimelineEntry,
    Timings,
    WrittenImage,
)

PXE_ATTEMPTS = 3
"""How often a NIC asks before the firmware goes on to the next boot device."""
PATIENCE_SECONDS = 60.0
"""And for how long, where it gets no address because nobody is there."""
KEEP_TIMELINE = 400


class Ramdisk(Protocol):
    """The agent as its machine sees it: runs until cancelled or until it has shut itself up."""

    async def run(self) -> None: ...
    async def stop(self) -> None: ...


AgentFactory = Callable[["Machine", dict[str, str], str], Ramdisk]


class Machine:
    """See the module. Construct through `Fleet`; `clock` stepped or scaled."""

    def __init__(
        self,
        name: str,
        index: int,
        identity: Identity,
        hardware: Hardware,
        *,
        clock: Clock,
        timings: Timings,
        chance: Chance,
        faults: Faults,
        boot_server: BootServer | None,
        agent_factory: AgentFactory,
        agent_address: str,
    ) -> None:
        self.name = name
        self.index = index
        self._identity = identity
        self._hardware = hardware
        self.clock = clock
        self.timings = timings
        self.chance = chance
        self.faults = faults
        self.boot_server = boot_server
        self.agent_address = agent_address
        self.bmc_address = ""
        self.personality = "healthy"
        self.serial = SerialPort()
        self.running = "off"
        """off, post, netboot, mediaboot, agent, instance, ramdisk, rescue, locked, no-os or setup."""
        self.image: WrittenImage | None = None
        self.timeline: list[TimelineEntry] = []
        self.destructive_acts: list[DestructiveAct] = []
        #: Images that were written to the end, in order.
        self.written: list[WrittenImage] = []
        self._boots = 0
        self._nobody = False  # was there at the last network boot
        self.media: str | None = None
        self.agent: Ramdisk | None = None
        self.changed = asyncio.Event()
        self.power_listeners: list[Callable[[PowerState], None]] = []
        self._power = PowerState.OFF
        self._boot = BootSetting(mode=hardware.firmware)
        self._agent_factory = agent_factory
        self._life: asyncio.Task[None] | None = None
        self._transition: asyncio.Task[None] | None = None

    # What a BMC needs ---------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def hardware(self) -> Hardware:
        return self._hardware

    @property
    def boots(self) -> int:
        return self._boots

    @property
    def power(self) -> PowerState:
        return self._power

    async def power_state(self) -> PowerState:
        return self._power

    async def power_on(self) -> None:
        if self._power is PowerState.ON and self._transition is None:
            return
        self._begin(self._to_on())

    async def power_off(self) -> None:
        self._begin(self._to_off("power-off", self.timings.power_off))

    async def soft_off(self) -> None:
        """The ACPI button: only a running operating system reacts to it."""
        if self.running in ("agent", "instance", "ramdisk", "rescue"):
            self._begin(self._to_off("soft-off", self.timings.soft_off))
        else:
            self.note("ignores the power button")

    async def reset(self) -> None:
        if self._power is PowerState.ON:
            self._begin(self._to_reset())

    async def boot_setting(self) -> BootSetting:
        return self._boot

    async def set_boot(self, setting: BootSetting) -> None:
        self._boot = setting

    async def set_media(self, url: str | None) -> None:
        self.media = url

    def open_serial(self, sink: Callable[[bytes], None]) -> SerialLine:
        return self.serial.open(sink)

    # What a test needs --------------------------------------------------------------------

    async def step(self, label: str | None = None, timeout: float = 10.0) -> str:
        """Let the machine's next wait (or the one called `label`) end; stepped time only."""
        if not isinstance(self.clock, SteppedClock):
            raise RuntimeError(f"{self.name} runs in automatic time; nothing to step")
        return await self.clock.step(label, timeout)

    async def wait_for(self, *states: str, timeout: float = 10.0) -> str:
        """Wait (real seconds) until `running` is one of `states`; TimeoutError says where it is."""
        deadline = time.monotonic() + timeout
        while self.running not in states:
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise TimeoutError(
                    f"{self.name} is in {self.running!r}, not in {states}, after {timeout} s"
                ) from None
        return self.running

    def pull_plug(self) -> None:
        """Both feeds gone: everything ends at once."""
        self._cancel_transition()
        self._end_life()
        self._power = PowerState.OFF
        self._state("off")
        self.note("mains lost")

    async def close(self) -> None:
        tasks = [task for task in (self._life, self._transition) if task is not None]
        self._cancel_transition()
        self._end_life()
        # Not `await task`: that would swallow a cancellation of our own.
        await asyncio.gather(*tasks, return_exceptions=True)

    # Life ---------------------------------------------------------------------------------

    def note(self, what: str, detail: str = "") -> None:
        self.timeline.append(TimelineEntry(self.clock.now(), what, detail))
        if len(self.timeline) > KEEP_TIMELINE:
            del self.timeline[: KEEP_TIMELINE // 2]

    def act(self, act: str, disk: str, node: str, source: str, detail: str = "") -> None:
        """Write down that data was destroyed."""
        self.destructive_acts.append(
            DestructiveAct(self.clock.now(), time.time(), act, disk, node, source, detail)
        )

    def set_running(self, state: str) -> None:
        """Used by the agent when what runs changes its nature (rescue, locked)."""
        self._state(state)

    def os_power_off(self) -> None:
        """The running system shuts the machine down (after its reply has left)."""
        self._begin(self._to_off("os-power-off", (2, 6)))

    def os_reboot(self) -> None:
        self._begin(self._to_reset("os-reboot"))

    def _state(self, state: str) -> None:
        if state != self.running:
            self.running = state
            self.note(state)
            self.changed.set()

    def _begin(self, transition: Coroutine[Any, Any, None]) -> None:
        self._cancel_transition()
        task = asyncio.create_task(transition)
        self._transition = task
        task.add_done_callback(self._transition_done)

    def _transition_done(self, task: asyncio.Task[None]) -> None:
        if self._transition is task:
            self._transition = None
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.note("simulation error", repr(problem))

    def _cancel_transition(self) -> None:
        if self._transition is not None and self._transition is not asyncio.current_task():
            self._transition.cancel()
        self._transition = None

    async def _to_on(self) -> None:
        await self.clock.sleep(self.chance.between("power-on", self.timings.power_on), "power-on")
        if self._power is PowerState.OFF:
            self._set_power(PowerState.ON)
            self._start_life()

    async def _to_off(self, label: str, bounds: tuple[float, float]) -> None:
        await self.clock.sleep(self.chance.between(label, bounds), label)
        self._end_life()
        self._set_power(PowerState.OFF)
        self._state("off")

    async def _to_reset(self, label: str = "reset") -> None:
        await self.clock.sleep(self.chance.between(label, self.timings.power_on), label)
        self._end_life()
        if self.faults.take("reset_stays_off"):
            self._set_power(PowerState.OFF)
            self._state("off")
            return
        self._start_life()

    def _set_power(self, power: PowerState) -> None:
        changed, self._power = power is not self._power, power
        if changed:
            for listener in self.power_listeners:
                listener(power)

    def _start_life(self) -> None:
        self._boots += 1
        self._state("post")
        self._life = asyncio.create_task(self._live())

    def _end_life(self) -> None:
        if self._life is not None:
            self._life.cancel()
            self._life = None

    async def _live(self) -> None:
        try:
            await self._firmware()
        except asyncio.CancelledError:
            raise
        except Exception as problem:
            self.note("simulation error", repr(problem))
            self.serial.print(f"*** simulation error: {problem!r}\n")
        finally:
            agent, self.agent = self.agent, None
            if agent is not None:
                await asyncio.shield(agent.stop())

    async def _firmware(self) -> None:
        rounds = 2 if self.faults.take("double_post") else 1
        for _ in range(rounds):
            self._state("post")
            self.serial.print(f"\n{self._identity.manufacturer} {self._identity.model} POST\n")
            await self.clock.sleep(self.chance.between("post", self.timings.post), "post")
        setting = self._boot
        if setting.once:
            self._boot = BootSetting(mode=setting.mode, http_uri=setting.http_uri)
        order = self._order(setting)
        self.note("boot order", ",".join(order))
        while True:
            self._nobody = False
            for device in order:
                if await self._boot_from(device):
                    return
            # UEFI begins again, for ever (so do real ones, and OVMF); a BIOS halts. A server that answers, and
            # has nothing for this machine, is not asked again here: thousands would do nothing else.
            if not self._nobody or setting.mode is not BootMode.UEFI:
                break
        self._state("no-os")
        self.serial.print("No bootable device.\n")
        await asyncio.Event().wait()

    def _order(self, setting: BootSetting) -> list[BootDevice]:
        usual = [BootDevice.NETWORK, BootDevice.DISK]
        if setting.device is BootDevice.NONE:
            return usual
        if self.faults.take("boot_override_lost"):
            self.note("boot override lost", setting.device)
            return [BootDevice.DISK]
        return [setting.device, *(d for d in usual if d is not setting.device)]

    async def _boot_from(self, device: BootDevice) -> bool:
        """Give False when the firmware should try its next device; a boot does not return."""
        match device:
            case BootDevice.NETWORK:
                return await self._network_boot()
            case BootDevice.DISK:
                return await self._disk_boot()
            case BootDevice.SETUP:
                self._state("setup")
                await asyncio.Event().wait()
            case BootDevice.CDROM:
                return await self._media_boot(self.media)
            case BootDevice.HTTP:
                uri = self._boot.http_uri
                return await (self._media_boot(uri) if uri else self._network_boot())
            case BootDevice.NONE:
                pass
        return False

    async def _network_boot(self) -> bool:
        self._state("netboot")
        nics = list(self._hardware.nics)
        if self.faults.nics_reversed:
            nics.reverse()
        link = not self.faults.take("no_link")
        for nic in nics:
            target = await self._ask_boot_server(nic.mac, nic.name, link and nic.cabled)
            # A script that ends leaves the firmware at its next device, and that is the next card.
            if target is not None and await self._follow(target, nic.mac):
                return True
        return False

    async def _ask_boot_server(self, mac: str, name: str, link: bool) -> BootTarget | None:
        """What one card is told to boot; None when it goes on to the next one.

        It asks three times, and for a minute where nobody is there, as firmware does that waits for an address: of
        our time, since what is away there is away by our clock, however fast the machine's own goes.
        """
        attempt, away, ends = 0, False, time.monotonic() + PATIENCE_SECONDS
        while attempt < PXE_ATTEMPTS or (away and time.monotonic() < ends):
            if attempt >= PXE_ATTEMPTS and isinstance(self.clock, SteppedClock):
                break  # its time is the test's
            label = "pxe" if attempt == 0 else "pxe-retry"
            pause = self.chance.between("pxe", self.timings.pxe)
            await self.clock.sleep(pause * 2 ** min(attempt, PXE_ATTEMPTS - 1), label)
            attempt += 1
            if self.boot_server is None or not link:
                self.serial.print(f"{name}: no link\n")
                continue
            try:
                return await self.boot_server.boot(
                    mac, self._identity, self._boot.mode, self.serial.print, self._idle
                )
            except NoAnswer as problem:
                self._nobody = away = problem.away
                if attempt <= PXE_ATTEMPTS:
                    self.note("network boot: no answer", str(problem))
            except BootFailed as problem:
                self.note("network boot failed", str(problem))
                self.serial.print(f"{problem}\n")
        return None

    async def _idle(self, seconds: float) -> None:
        await self.clock.sleep(seconds, "script-sleep")

    async def _media_boot(self, url: str | None) -> bool:
        """Boot an ISO; the firmware goes on to its next device when that cannot be done."""
        self._state("mediaboot")
        if not url or self.boot_server is None:
            self.serial.print("Virtual drive: no medium\n")
            return False
        try:
            target = await boot_target(self.boot_server.session, url, self._boot.mode)
        except BootFailed as problem:
            self.note("media boot failed", str(problem))
            self.serial.print(f"{problem}\n")
            return False
        return await self._follow(target, self._hardware.nics[0].mac)

    async def _follow(self, target: BootTarget, mac: str) -> bool:
        match target.kind:
            case "kernel":
                await self._run_kernel(target.params, mac)
                return True
            case "disk":
                return await self._disk_boot()
            case "off":
                self.os_power_off()
                await asyncio.Event().wait()
            case "reset":
                self.os_reboot()
                await asyncio.Event().wait()
            case _:
                pass
        return False

    async def _run_kernel(self, params: dict[str, str], mac: str) -> None:
        self.serial.print("Linux version 6.1.0 (simulated)\n")
        if "ipa-api-url" not in params and "ipa-inspection-callback-url" not in params:
            self._state("ramdisk")
            await asyncio.Event().wait()
        self._state("agent")
        await self.clock.sleep(
            self.chance.between("agent-start", self.timings.agent_start), "agent-start"
        )
        if self.faults.take("agent_mute"):
            self.note("agent mute")
            await asyncio.Event().wait()
        self.agent = self._agent_factory(self, params, mac)
        await self.agent.run()
        await asyncio.Event().wait()

    async def _disk_boot(self) -> bool:
        if self.image is None or not self.image.complete:
            self.serial.print("Disk: no operating system.\n")
            return False
        await self.clock.sleep(self.chance.between("os", self.timings.os_start), "os-start")
        self._state("instance")
        self.serial.print(f"\nDebian GNU/Linux 12 {self.name} ttyS0\n\n{self.name} login: ")
        await asyncio.Event().wait()
        return True
