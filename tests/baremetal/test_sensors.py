"""Sensors as Prometheus reads them: names, labels, and machines that come and go."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ingot.drivers.machine.types import Sensor
from ingot.services.baremetal.monitoring.readings import IdleNode
from ingot.services.baremetal.monitoring.sensors import Pages, samples

NODE = IdleNode("u-1", "web-1", "", "redfish", "power on", None, "OK", "i-1", "active", None)
OTHER = IdleNode("u-2", None, "", "ipmi", "power on", None, None, None, "active", None)


def test_names_are_those_that_dashboards_know() -> None:
    cases = {
        Sensor("CPU1 Temp", "temperature", 51.0, "C", "ok", "CPU"): "baremetal_temp_cpu_celsius",
        Sensor("Inlet", "temperature", 21.0, "C", "ok", "SystemBoard"): (
            "baremetal_temp_systemboard_celsius"
        ),
        Sensor("Inlet Temp", "temperature", 21.0, "C", "ok"): "baremetal_inlet_temp_celsius",
        Sensor("Temp 2", "temperature", 60.0, "C", "ok"): "baremetal_temp_celsius",
        Sensor("PSU1", "supply", 200.0, "W", "critical"): "baremetal_power_status",
        Sensor("sda", "drive", None, "", "ok"): "baremetal_drive_status",
        Sensor("Pwr Consumption", "power", 240.0, "W", "ok"): "baremetal_pwr_consumption",
        Sensor("PSU1 Vin", "voltage", 230.0, "V", "ok"): "baremetal_voltage_volts",
    }
    for sensor, name in cases.items():
        assert [metric for metric, _ in samples(sensor)] == [name]
    fan = Sensor("Fan1", "fan", 7200.0, "RPM", "warning")
    assert samples(fan) == [("baremetal_fan_rpm", 7200.0), ("baremetal_fan_status", 1.0)]
    assert samples(Sensor("Intrusion", "other", None, "", "ok")) == []
    assert samples(Sensor("PSU2", "supply", None, "W", "unknown")) == []


def test_old_machines_are_not_shown() -> None:
    pages = Pages()
    pages.put(NODE, [Sensor("a", "temperature", 20.0, "C", "ok")], at=1000)
    pages.put(OTHER, [Sensor("b", "temperature", 21.0, "C", "ok")], at=2000)
    assert b'node_name="web-1"' in pages.text(since=900)
    shown = pages.text(since=1500)
    assert b'node_uuid="u-2"' in shown and b"web-1" not in shown
    pages.drop("u-2")
    assert pages.text(since=0) == b""


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)
_SENSORS = st.builds(
    Sensor,
    name=st.sampled_from(["CPU", "cpu", "", "Fan 1"]) | _TEXTS,
    kind=st.sampled_from(["temperature", "fan", "voltage", "current", "power", "supply", "other"]),
    value=st.none() | st.floats(-50, 1e5),
    unit=st.sampled_from(["C", "RPM", "%", "V", "A", "W", ""]),
    health=st.sampled_from(["ok", "warning", "critical", "unknown"]),
    context=st.sampled_from(["", "CPU", "Power Supply", "#1"]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_SENSORS, max_size=12))
def test_whatever_controllers_say_prometheus_can_read_it(sensors: list[Sensor]) -> None:
    pages = Pages()
    pages.put(NODE, sensors, at=1000)
    pages.put(OTHER, sensors, at=1000)
    text = pages.text(since=0).decode()
    heads = re.findall(r"^# TYPE (\S+)", text, flags=re.MULTILINE)
    assert len(heads) == len(set(heads))
    read = [
        (one.name, *sorted(one.labels.items()))
        for family in text_string_to_metric_families(text)
        for one in family.samples
    ]
    assert max(Counter(read).values()) == 1
    assert len(read) == 2 + 2 * sum(len(samples(sensor)) for sensor in sensors)
