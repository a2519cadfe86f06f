"""Sensors of machines for Prometheus: read in the machine's turn of the power loop, shown at /metrics.

Names are those of ironic-prometheus-exporter where it has them, so that dashboards and alerts fit. The text
is made when a machine is read, not when Prometheus asks: 10,000 machines would hold the process up for seconds.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Collection, Iterable, Sequence

from ingot.drivers.faults import Unsupported
from ingot.drivers.machine import base
from ingot.drivers.machine.types import Access, Sensor
from ingot.kit.faults import Fault
from ingot.kit.log import get as get_log
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.monitoring.readings import IdleNode

_log = get_log("baremetal")

#: All sensors of one machine; ipmitool takes its time for hundreds of records.
READ_SECONDS = 120.0
#: A machine that was not read for so many intervals is not shown any more.
SHOWN_INTERVALS = 3
DEPLOYED = "active"
TAKEN = "baremetal_last_payload_timestamp_seconds"
HELP = {
    TAKEN: "When the machine's sensors were read last",
    "baremetal_power_status": "Power supply unit health status (0 - OK, 1 - failure)",
    "baremetal_fan_status": "Cooling fan health status (0 - OK, 1 - failure)",
    "baremetal_drive_status": "Storage drive health status (0 - OK, 1 - failure)",
    "baremetal_fan_rpm": "Fan speed in revolutions per minute",
    "baremetal_fan_percent": "Fan speed in percent of its highest",
    "baremetal_voltage_volts": "Voltage in volts",
    "baremetal_current": "Current in amperes",
    "baremetal_pwr_consumption": "Power consumption in watts",
}
_ENTITIES = {"supply": "PSU", "drive": "HDD", "fan": "Fan", "power": "Power", "voltage": "Voltage"}
_VALUES = {
    ("fan", "RPM"): "baremetal_fan_rpm",
    ("fan", "%"): "baremetal_fan_percent",
    ("voltage", "V"): "baremetal_voltage_volts",
    ("current", "A"): "baremetal_current",
    ("power", "W"): "baremetal_pwr_consumption",
}
_STATES = {
    "supply": "baremetal_power_status",
    "fan": "baremetal_fan_status",
    "drive": "baremetal_drive_status",
}


class Sensors:
    """Reads sensors of machines whose interval has come, and keeps the pages of all."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._interval = ctx.settings.sensor_interval
        self._workers = asyncio.Semaphore(ctx.settings.sensor_workers)
        self._slots: dict[str, int] = {}
        self.pages = Pages()

    async def turn(self, idle: IdleNode, access: Access, management: base.Management) -> None:
        """Read them, if this machine's are wanted and it is time; never raises a fault."""
        if not self._due(idle):
            return
        try:
            async with self._workers, asyncio.timeout(READ_SECONDS):
                found = await management.sensors(access)
        except Unsupported:
            return
        except (Fault, TimeoutError) as fault:
            words = fault.text if isinstance(fault, Fault) else f"no answer in {READ_SECONDS:g} s"
            _log.warning("sensors could not be read", node=idle.uuid, fault=words)
            return
        except Exception as error:
            # One driver's bug must not end the loop for the others.
            _log.error("sensors could not be read", node=idle.uuid, error=repr(error))
            return
        self.pages.put(idle, found, self._ctx.clock.now().timestamp())

    def keep(self, uuids: Collection[str]) -> None:
        """Forget machines that are not there any more."""
        for uuid in self._slots.keys() - set(uuids):
            del self._slots[uuid]
            self.pages.drop(uuid)

    def text(self) -> bytes:
        """All that was read lately, in Prometheus's text format."""
        now = self._ctx.clock.now().timestamp()
        return self.pages.text(now - SHOWN_INTERVALS * self._interval)

    def _due(self, idle: IdleNode) -> bool:
        """Every machine has its own moment of the interval, wherever the process began."""
        if self._interval <= 0:
            return False
        if idle.provision_state != DEPLOYED and not self._ctx.settings.sensors_of_undeployed:
            return False
        offset = zlib.crc32(idle.uuid.encode()) / 2**32 * self._interval
        slot = int((self._ctx.clock.monotonic() + offset) // self._interval)
        before = self._slots.setdefault(idle.uuid, slot)
        self._slots[idle.uuid] = slot
        return slot != before


class Pages:
    """Lines for Prometheus by metric and machine."""

    def __init__(self) -> None:
        self._metrics: dict[str, dict[str, str]] = {}
        self._taken: dict[str, float] = {}

    def put(self, idle: IdleNode, sensors: Iterable[Sensor], at: float) -> None:
        """Replace a machine's lines. at: seconds since 1970."""
        self.drop(idle.uuid)
        self._taken[idle.uuid] = at
        lines: dict[str, list[str]] = {}
        seen: dict[tuple[str, str, str], int] = {}
        for sensor in sensors:
            for metric, value in samples(sensor):
                entity = sensor.context or _ENTITIES.get(sensor.kind, sensor.kind)
                # Two lines with the same labels would spoil the whole page.
                key = (metric, entity, sensor.name)
                seen[key] = seen.get(key, 0) + 1
                name = sensor.name if seen[key] == 1 else f"{sensor.name} ({seen[key]})"
                labels = _labels(idle, entity_id=entity, sensor_id=name)
                lines.setdefault(metric, []).append(f"{metric}{labels} {value:.10g}\n")
        lines[TAKEN] = [f"{TAKEN}{_labels(idle)} {int(at)}\n"]
        for metric, told in lines.items():
            self._metrics.setdefault(metric, {})[idle.uuid] = "".join(told)

    def drop(self, uuid: str) -> None:
        if self._taken.pop(uuid, None) is not None:
            for machines in self._metrics.values():
                machines.pop(uuid, None)

    def text(self, since: float) -> bytes:
        """What was read since then (seconds since 1970); older machines are dropped."""
        for uuid in [uuid for uuid, at in self._taken.items() if at < since]:
            self.drop(uuid)
        parts: list[str] = []
        for metric, machines in sorted(self._metrics.items()):
            if machines:
                told = HELP.get(metric, "Temperature in degrees Celsius")
                parts.append(f"# HELP {metric} {told}\n# TYPE {metric} gauge\n")
                parts.extend(machines.values())
        return "".join(parts).encode()


def samples(sensor: Sensor) -> Sequence[tuple[str, float]]:
    """Metric and value of what a sensor tells: a reading, a state (0: well, 1: not), both or neither."""
    found: list[tuple[str, float]] = []
    if sensor.value is not None and sensor.kind == "temperature":
        found.append((_temperature(sensor), sensor.value))
    elif sensor.value is not None and (sensor.kind, sensor.unit) in _VALUES:
        found.append((_VALUES[sensor.kind, sensor.unit], sensor.value))
    if sensor.kind in _STATES and sensor.health != "unknown":
        found.append((_STATES[sensor.kind], float(sensor.health != "ok")))
    return found


def _temperature(sensor: Sensor) -> str:
    """By where it is measured; where that is not told, by its name without numbers."""
    if sensor.context:
        return f"baremetal_temp_{_word(sensor.context)}_celsius"
    word = _word(re.sub(r"\d+", "", sensor.name)) or "temp"
    return f"baremetal_{word}_celsius"


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _labels(idle: IdleNode, **more: str) -> str:
    told = {
        "node_name": idle.name or "",
        "node_uuid": idle.uuid,
        "instance_uuid": idle.instance_uuid or "",
        **more,
    }
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in told.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
