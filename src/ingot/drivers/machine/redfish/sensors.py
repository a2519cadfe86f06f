"""Sensor readings: the old Thermal and Power resources, else the newer Sensors collection.

What these do not tell is read from PowerSubsystem and ThermalSubsystem: supplies, fans, temperatures.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.machine.redfish.parts import ResourceReader
from ingot.drivers.machine.redfish.system import Systems, links
from ingot.drivers.machine.types import Access, Sensor
from ingot.drivers.shape import Json, child, items, link, text
from ingot.kit.http.untrusted import words

# Resource, its list, kind, property of the value, unit.
OLD = (
    ("Thermal", "Temperatures", "temperature", "ReadingCelsius", "C"),
    ("Thermal", "Fans", "fan", "Reading", "RPM"),
    ("Power", "Voltages", "voltage", "ReadingVolts", "V"),
    ("Power", "PowerControl", "power", "PowerConsumedWatts", "W"),
    ("Power", "PowerSupplies", "supply", "LastPowerOutputWatts", "W"),
)
NEW_KINDS = {
    "Temperature": "temperature",
    "Rotational": "fan",
    "Voltage": "voltage",
    "Current": "current",
    "Power": "power",
}
#: Chassis that name the machine, besides those that it names.
MOST_CHASSIS = 64
MOST_READING = 1e15
#: Of one machine: several times what the largest tell. Each is lines of a page that monitoring reads.
MOST_SENSORS, LONGEST_NAME = 4096, 255
UNITS = {"Cel": "C", "Percent": "%", "RPM": "RPM", "{rev}/min": "RPM"}


async def read_sensors(systems: Systems, access: Access) -> tuple[Sensor, ...]:
    """Sensors of the machine's chassis; () when the service tells none."""
    path, system, _ = await systems.read(access)
    parts = ResourceReader(systems)
    found = await _all(parts, access, path, system)
    parts.some()
    return tuple(found[:MOST_SENSORS])


async def _all(parts: ResourceReader, access: Access, path: str, system: Json) -> list[Sensor]:
    found: list[Sensor] = []
    for chassis in await _chassis(parts, access, path, system):
        old = await _old(parts, access, chassis)
        told = old or await _new(parts, access, chassis)
        kinds = {one.kind for one in told}
        found += told
        if "supply" not in kinds:
            found += await _supplies(parts, access, chassis)
        if not kinds & {"fan", "temperature"}:
            found += await _thermal(parts, access, chassis)
    return [*found, *await _drives(parts, access, system)]


async def _chassis(parts: ResourceReader, access: Access, path: str, system: Json) -> list[Json]:
    """The System's chassis; where its link names one that tells nearly nothing (NVIDIA), all that name it."""
    linked = await parts.linked(access, system, "Chassis")
    if any(link(one, "Thermal") or link(one, "Power") for one in linked):
        return linked
    collection = link(await parts.page(access, parts.root(access)), "Chassis")
    every = await _members(parts, access, collection)
    known = {"", *links(child(system, "Links"), "Chassis")}
    more = [
        one
        for one in every
        if text(one, "@odata.id") not in known
        and path.rstrip("/") in _plain(links(child(one, "Links"), "ComputerSystems"))
    ]
    return [*linked, *more[:MOST_CHASSIS]]


def _plain(paths: list[str]) -> list[str]:
    return [path.rstrip("/") for path in paths]


async def _drives(parts: ResourceReader, access: Access, system: Json) -> list[Sensor]:
    """Health of disks, where the service tells them in few answers (SimpleStorage, not Storage)."""
    collection = link(system, "SimpleStorage")
    bodies = await parts.each(access, collection) if collection else []
    return [
        _sensor(device, "drive", None, "") for body in bodies for device in items(body, "Devices")
    ]


async def _old(parts: ResourceReader, access: Access, chassis: Json) -> list[Sensor]:
    bodies = {
        resource: await parts.maybe(access, link(chassis, resource)) or {}
        for resource in ("Thermal", "Power")
    }
    return [
        _sensor(item, kind, _number(item.get(value)), _unit(item, unit))
        for resource, name, kind, value, unit in OLD
        for item in items(bodies[resource], name)
        if not _is_absent(item)
    ]


async def _new(parts: ResourceReader, access: Access, chassis: Json) -> list[Sensor]:
    return [
        _sensor(
            body,
            NEW_KINDS.get(text(body, "ReadingType"), "other"),
            _number(body.get("Reading")),
            _unit(body, ""),
        )
        for body in await _members(parts, access, link(chassis, "Sensors"))
        if not _is_absent(body)
    ]


async def _supplies(parts: ResourceReader, access: Access, chassis: Json) -> list[Sensor]:
    """Power supplies of the newer PowerSubsystem; their output is in a resource of its own."""
    subsystem = await parts.maybe(access, link(chassis, "PowerSubsystem")) or {}
    found: list[Sensor] = []
    for supply in await _members(parts, access, link(subsystem, "PowerSupplies")):
        if not _is_absent(supply):
            metrics = await parts.maybe(access, link(supply, "Metrics")) or {}
            watts = _number(child(metrics, "OutputPowerWatts").get("Reading"))
            found.append(_sensor(supply, "supply", watts, "W"))
    return found


async def _thermal(parts: ResourceReader, access: Access, chassis: Json) -> list[Sensor]:
    """Fans and temperatures of the newer ThermalSubsystem."""
    subsystem = await parts.maybe(access, link(chassis, "ThermalSubsystem")) or {}
    found: list[Sensor] = []
    for fan in await _members(parts, access, link(subsystem, "Fans")):
        speed = child(fan, "SpeedPercent")
        turns, share = _number(speed.get("SpeedRPM")), _number(speed.get("Reading"))
        if not _is_absent(fan):
            value, unit = (share, "%") if turns is None else (turns, "RPM")
            found.append(_sensor(fan, "fan", value, unit))
    metrics = await parts.maybe(access, link(subsystem, "ThermalMetrics")) or {}
    found += [
        _sensor(one, "temperature", _number(one.get("Reading")), "C")
        for one in items(metrics, "TemperatureReadingsCelsius")
    ]
    return found


async def _members(parts: ResourceReader, access: Access, collection: str) -> list[Json]:
    return await parts.expanded(access, collection) if collection else []


def _is_absent(item: Json) -> bool:
    return text(child(item, "Status"), "State") == "Absent"


def _sensor(item: Mapping[str, object], kind: str, value: float | None, unit: str) -> Sensor:
    names = ("Name", "FanName", "DeviceName", "MemberId", "Id")
    name = words(next((told for key in names if (told := text(item, key))), ""), LONGEST_NAME)
    told = text(child(item, "Status"), "Health")
    health = told.lower() if told in ("OK", "Warning", "Critical") else "unknown"
    context = words(text(item, "PhysicalContext"), LONGEST_NAME)
    return Sensor(name, kind, value, words(unit, 32), health, context)


def _unit(item: Mapping[str, object], default: str) -> str:
    told = text(item, "ReadingUnits")
    return UNITS.get(told, told) or default


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < MOST_READING else None
