"""Every interface of every hardware type has its Protocol's shape and refuses what it does not know."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ingot.drivers.machine import DriverContext, Registry, build_registry
from ingot.drivers.machine.base import CAPABILITIES
from ingot.drivers.machine.hardware import hardware_types
from ingot.drivers.machine.testing import check_interface
from ingot.kit.tasks.clock import SystemClock

pytestmark = pytest.mark.anyio

ALL = sorted(
    {
        (kind.name, capability, spec.name)
        for kind in hardware_types()
        for capability in CAPABILITIES
        for spec in kind.interfaces[capability]
    }
)


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = build_registry(DriverContext(SystemClock()))
    yield made
    await made.aclose()


@pytest.mark.parametrize(("driver", "capability", "name"), ALL)
async def test_has_its_shape(registry: Registry, driver: str, capability: str, name: str) -> None:
    await check_interface(registry, driver, capability, name)
