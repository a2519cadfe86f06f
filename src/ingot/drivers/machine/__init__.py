"""Hands on hardware: values in, values out. No database, no states.

Make a `DriverContext` with a clock, `build_registry` over it, turn a node's driver_info
into an `Access` with `Registry.access`, and ask the registry for the capability's driver:

    registry = build_registry(DriverContext(SystemClock()))
    access = registry.access("ipmi", driver_info, key=node_uuid)
    outcome = await registry.power("ipmi").set(access, PowerTarget.ON)

`base.py` has the capabilities, `types.py` the values, `faults.py` the five ways to fail,
`testing.py` the checks that each driver passes.
"""

from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.hardware import build_registry
from ingot.drivers.machine.registry import (
    BadOptions,
    Registry,
    UnknownDriver,
    UnknownInterface,
)
from ingot.drivers.machine.types import Access

__all__ = [
    "Access",
    "BadOptions",
    "DriverContext",
    "Registry",
    "UnknownDriver",
    "UnknownInterface",
    "build_registry",
]
