"""The imaginary machines behind the `fake-hardware` type.

State is kept per process and per machine (the option `fake_id`, else the node's key). Power survives a
restart by `recall`; whoever wants all to survive stores `snapshot()` and gives it to `restore()`.
"""

from __future__ import annotations

import random
import uuid as uuid_module
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, fields

from ingot.drivers.machine.types import BootDevice, BootMode, PowerState

Recall = Callable[[str], Awaitable[str | None]]
NAMESPACE = uuid_module.UUID("6f5b1c52-5a3c-4b52-9d4c-8f6c5f0f2a11")
BIOS_DEFAULTS = {
    "asset_tag": "",
    "hyperthreading": "on",
    "memory_speed": "2933",
    "serial_number_label": "FAKE",
    "virtualization": "on",
}
FIRMWARE = {"bios": "1.0", "bmc": "1.0", "nic:eth0": "1.0"}
LIGHTS = {"chassis/led-0": "on", "system/led": "off"}


@dataclass
class FakeMachine:
    """One imaginary machine.

    power_cycles: how often it went from off to on. nmis: how often it was interrupted. media: kind of
    virtual drive -> URL. lights: "component/name" -> state. raid: its logical disks.
    """

    key: str
    uuid: str
    serial: str
    mac: str
    power: PowerState = PowerState.OFF
    power_cycles: int = 0
    boot_device: BootDevice = BootDevice.PXE
    boot_persistent: bool = False
    boot_mode: BootMode = BootMode.UEFI
    secure_boot: bool = False
    nmis: int = 0
    iso: str = ""
    media: dict[str, str] = field(default_factory=dict[str, str])
    lights: dict[str, str] = field(default_factory=LIGHTS.copy)
    rescued: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    bios: dict[str, str] = field(default_factory=BIOS_DEFAULTS.copy)
    firmware: dict[str, str] = field(default_factory=FIRMWARE.copy)
    raid: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    random_state: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def switch(self, power: PowerState) -> None:
        """Change the power; a start consumes a one-time boot device."""
        if power is PowerState.ON and self.power is not PowerState.ON:
            self.power_cycles += 1
            if not self.boot_persistent:
                self.boot_device = BootDevice.DISK
        self.power = power


class FakeWorld:
    """All imaginary machines of a process; made on first use. `seed` fixes delays and failures.

    recall: gives the power that the node of a key was last seen with, None where that is not known.
    """

    def __init__(self, seed: int = 0, recall: Recall | None = None) -> None:
        self.seed = seed
        self._recall = recall
        self._machines: dict[str, FakeMachine] = {}

    def machine(self, key: str) -> FakeMachine:
        """The machine of that name, with a uuid, serial and MAC derived from it."""
        if key not in self._machines:
            identity = uuid_module.uuid5(NAMESPACE, key)
            tail = identity.bytes[:5].hex(":")
            made = FakeMachine(key, str(identity), f"FAKE{identity.hex[:10].upper()}", f"02:{tail}")
            made.random_state.seed(f"{self.seed}:{key}")
            self._machines[key] = made
        return self._machines[key]

    async def found(self, name: str, key: str) -> FakeMachine:
        """The machine of that name; one that this process has not met has the power of its node's record."""
        if self._recall is not None and key and name not in self._machines:
            power = await self._recall(key)
            # Another call may have met it meanwhile, and switched it.
            if power == PowerState.ON and name not in self._machines:
                self.machine(name).power = PowerState.ON
        return self.machine(name)

    def snapshot(self) -> dict[str, dict[str, object]]:
        """JSON-able state of all machines (without passwords and random state)."""
        return {key: _plain(machine) for key, machine in self._machines.items()}

    def restore(self, saved: Mapping[str, Mapping[str, object]]) -> None:
        """Take over what `snapshot` gave; unknown keys of a machine are ignored."""
        kinds = {"power": PowerState, "boot_device": BootDevice, "boot_mode": BootMode}
        names = {f.name for f in fields(FakeMachine)} - {"random_state", "key"}
        for key, values in saved.items():
            machine = self.machine(key)
            for name in names & set(values):
                value = values[name]
                setattr(machine, name, kinds[name](value) if name in kinds else value)


def _plain(machine: FakeMachine) -> dict[str, object]:
    state = asdict(machine)
    del state["random_state"], state["password"]
    return {
        k: str(v) if isinstance(v, PowerState | BootDevice | BootMode) else v
        for k, v in state.items()
    }
