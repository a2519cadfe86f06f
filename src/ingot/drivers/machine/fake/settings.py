"""RAID, BIOS and firmware of imaginary machines: real state, changed by the steps upstream's fakes offer.

With the option `fake_restart` a step takes force only when the machine is switched off and on, as it
does on most real ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine import raid
from ingot.drivers.machine.fake.base import Fake
from ingot.drivers.machine.fake.world import BIOS_DEFAULTS, FakeMachine
from ingot.drivers.machine.types import (
    DONE,
    Access,
    BiosSetting,
    FirmwareComponent,
    StepInfo,
    StepOutcome,
)
from ingot.drivers.shape import Json, as_list, is_map, text

VERSION = re.compile(r"\d+(\.\d+)+")
WHOLE_DISK_GB = 100
#: What the imaginary registry says of the settings that a machine is made with.
REGISTRY: dict[str, BiosSetting] = {
    "asset_tag": BiosSetting("asset_tag", None, "String", min_length=0, max_length=16, unique=True),
    "memory_speed": BiosSetting(
        "memory_speed", None, "Integer", lower_bound=2133, upper_bound=3200, reset_required=True
    ),
    "serial_number_label": BiosSetting("serial_number_label", None, "String", read_only=True),
    **{
        name: BiosSetting(
            name,
            None,
            "Enumeration",
            allowable_values=("on", "off"),
            read_only=False,
            reset_required=True,
        )
        for name in ("hyperthreading", "virtualization")
    },
}


class FakeSteps(Fake):
    """Steps by name; `_check` refuses bad arguments, `_do` changes the machine."""

    _capability = ""
    _steps: tuple[StepInfo, ...] = ()
    _restarts = True

    def steps(self) -> tuple[StepInfo, ...]:
        return self._steps

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> StepOutcome:
        if step not in [s.step for s in self._steps]:
            raise Unsupported(f"there is no {self._capability} step {step}")
        machine = await self.touch(access, f"{self._capability}.{step}")
        self._check(machine, step, args)
        if self._restarts and access.flag("fake_restart"):
            return _waiting(machine.power_cycles)
        return self._do(machine, step, args)

    async def resume(
        self, access: Access, step: str, args: Mapping[str, object], memo: Mapping[str, object]
    ) -> StepOutcome:
        machine = await self.touch(access, f"{self._capability}.{step}")
        before = int(str(memo.get("power_cycles") or 0))
        if machine.power_cycles <= before:
            return _waiting(before)
        return self._do(machine, step, args)

    def _check(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> None: ...

    def _do(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> StepOutcome:
        return DONE


def _waiting(cycles: int) -> StepOutcome:
    memo = {"power_cycles": cycles}
    return StepOutcome(False, memo, restart=True, wait=0, note="takes force at the next start")


def _settings(args: Mapping[str, object], *names: str) -> list[Json]:
    """The list under "settings"; each entry must have texts under these names."""
    given = args.get("settings")
    entries = [entry for entry in as_list(given) if is_map(entry)]
    if not entries or len(entries) != len(as_list(given)):
        raise Refused(f"settings must be a list of objects with {' and '.join(names)}")
    for entry in entries:
        lacking = [name for name in names if not isinstance(entry.get(name), str | int | bool)]
        if lacking:
            raise Refused(f"settings: {', '.join(lacking)} is missing in {sorted(entry)}")
    return entries


class FakeRaid(FakeSteps):
    """Logical disks of any size and level on disks that never run out."""

    _capability = "raid"
    _steps = (
        StepInfo("raid", "create_configuration", argsinfo=raid.CREATE_ARGS, kinds=("clean",)),
        StepInfo("raid", "delete_configuration"),
        StepInfo(
            "raid", "apply_configuration", argsinfo=raid.APPLY_ARGS, kinds=("deploy", "service")
        ),
    )

    def logical_disk_properties(self) -> Mapping[str, str]:
        return raid.LOGICAL_DISK_PROPERTIES

    def problems(self, raid_config: Mapping[str, object]) -> tuple[str, ...]:
        return raid.problems(raid_config)

    def _check(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> None:
        if step != "delete_configuration":
            self._made(args)

    def _do(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> StepOutcome:
        if step == "delete_configuration":
            machine.raid = []
        else:
            kept = machine.raid if args.get("delete_existing", True) is False else []
            machine.raid = [*kept, *self._made(args)]
        return StepOutcome(raid_config={"logical_disks": list(machine.raid)})

    def _made(self, args: Mapping[str, object]) -> list[dict[str, object]]:
        config = args.get("raid_config")
        wrong = raid.problems(config) if is_map(config) else ("raid_config is missing",)
        if wrong:
            raise Refused("; ".join(wrong))
        assert is_map(config)
        made: list[dict[str, object]] = []
        for number, disk in enumerate(raid.wanted(config, args)):
            size = WHOLE_DISK_GB if disk["size_gb"] == "MAX" else disk["size_gb"]
            hint = {"wwn": f"0x5000fake{number:08d}"}
            name = disk.get("volume_name") or f"volume-{number}"
            made.append({**disk, "size_gb": size, "volume_name": name, "root_device_hint": hint})
        return made


class FakeBios(FakeSteps):
    """Settings by name; those that the registry knows are checked, others are accepted as they are."""

    _capability = "bios"
    _steps = (
        StepInfo(
            "bios",
            "apply_configuration",
            argsinfo={
                "settings": {
                    "description": "List of BIOS settings, each with name and value.",
                    "required": True,
                }
            },
        ),
        StepInfo("bios", "factory_reset"),
    )

    def _check(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> None:
        if step == "factory_reset":
            return
        for entry in _settings(args, "name", "value"):
            known = REGISTRY.get(str(entry["name"]))
            if known is not None and not _fits(known, str(entry["value"])):
                raise Refused(f"the setting {known.name} cannot be {entry['value']!r}")

    def _do(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> StepOutcome:
        if step == "factory_reset":
            machine.bios = BIOS_DEFAULTS.copy()
        else:
            given = {str(e["name"]): str(e["value"]) for e in _settings(args, "name", "value")}
            machine.bios.update(given)
        return DONE

    async def settings(self, access: Access) -> tuple[BiosSetting, ...]:
        machine = await self.touch(access, "bios.settings")
        return tuple(
            replace(REGISTRY.get(name) or BiosSetting(name, None), value=value)
            for name, value in sorted(machine.bios.items())
        )


def _fits(known: BiosSetting, value: str) -> bool:
    if known.read_only:
        return False
    if known.allowable_values is not None:
        return value in known.allowable_values
    if known.lower_bound is not None and known.upper_bound is not None:
        return value.isdecimal() and known.lower_bound <= int(value) <= known.upper_bound
    return known.max_length is None or len(value) <= known.max_length


class FakeFirmware(FakeSteps):
    """Versions by component. The new one is read from the image's URL, else the last number grows."""

    _capability = "firmware"
    _steps = (
        StepInfo(
            "firmware",
            "update",
            argsinfo={
                "settings": {
                    "description": "List of firmware updates, each with component and url.",
                    "required": True,
                }
            },
        ),
    )

    def _check(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> None:
        for entry in _settings(args, "component", "url"):
            if entry["component"] not in machine.firmware:
                known = ", ".join(sorted(machine.firmware))
                raise Refused(f"there is no component {entry['component']}; there are {known}")

    def _do(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> StepOutcome:
        for entry in _settings(args, "component", "url"):
            name = str(entry["component"])
            machine.firmware[name] = _version(text(entry, "url"), machine.firmware[name])
        return DONE

    async def components(self, access: Access) -> tuple[FirmwareComponent, ...]:
        machine = await self.touch(access, "firmware.components")
        return tuple(
            FirmwareComponent(name, version, "Imaginary", "Fake", machine.serial)
            for name, version in sorted(machine.firmware.items())
        )


def _version(url: str, old: str) -> str:
    found = VERSION.search(url.rpartition("/")[2])
    if found is not None:
        return found.group()
    head, _, last = old.rpartition(".")
    return f"{head}.{int(last) + 1}"
