"""Sensor readings: the old Thermal and Power resources, else the newer Sensors collection."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.faults import Unsupported
from ingot.drivers.redfish.system import Systems
from ingot.drivers.shape import Json, child, items, link, text
from ingot.drivers.types import Access, Sensor

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
UNITS = {"Cel": "C", "Percent": "%", "RPM": "RPM", "{rev}/min": "RPM"}


async def read_sensors(systems: Systems, access: Access) -> tuple[Sensor, ...]:
    """Sensors of the machine's chassis; () when the service tells none."""
    _, system, _ = await systems.read(access)
    found: list[Sensor] = []
    for chassis in await systems.linked(access, system, "Chassis"):
        old = await _old(systems, access, chassis)
        found += old or await _new(systems, access, chassis)
    return (*found, *await _drives(systems, access, system))


async def _drives(systems: Systems, access: Access, system: Json) -> list[Sensor]:
    """Health of disks, where the service tells them in few answers (SimpleStorage, not Storage)."""
    collection = link(system, "SimpleStorage")
    if not collection:
        return []
    try:
        bodies = await systems.each(access, collection)
    except Unsupported:
        return []
    return [
        _sensor(device, "drive", None, "") for body in bodies for device in items(body, "Devices")
    ]


async def _old(systems: Systems, access: Access, chassis: Json) -> list[Sensor]:
    bodies: dict[str, Json] = {}
    for resource in ("Thermal", "Power"):
        path = link(chassis, resource)
        if path:
            try:
                bodies[resource] = (await systems.client.get(access, path)).body
            except Unsupported:
                continue
    return [
        _sensor(item, kind, _number(item.get(value)), _unit(item, unit))
        for resource, name, kind, value, unit in OLD
        for item in items(bodies.get(resource, {}), name)
        if text(child(item, "Status"), "State") != "Absent"
    ]


async def _new(systems: Systems, access: Access, chassis: Json) -> list[Sensor]:
    collection = link(chassis, "Sensors")
    if not collection:
        return []
    bodies = await systems.each(access, collection)
    return [
        _sensor(
            body,
            NEW_KINDS.get(text(body, "ReadingType"), "other"),
            _number(body.get("Reading")),
            _unit(body, ""),
        )
        for body in bodies
    ]


def _sensor(item: Mapping[str, object], kind: str, value: float | None, unit: str) -> Sensor:
    name = text(item, "Name") or text(item, "FanName") or text(item, "MemberId")
    told = text(child(item, "Status"), "Health")
    health = told.lower() if told in ("OK", "Warning", "Critical") else "unknown"
    return Sensor(name, kind, value, unit, health, text(item, "PhysicalContext"))


def _unit(item: Mapping[str, object], default: str) -> str:
    told = text(item, "ReadingUnits")
    return UNITS.get(told, told) or default


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
