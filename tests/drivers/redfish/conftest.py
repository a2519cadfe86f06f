"""A controller on loopback, and drivers to ask it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingot.drivers.machine import DriverContext, Registry, build_registry
from ingot.kit.tasks.clock import SystemClock

sys.path.insert(0, str(Path(__file__).parent))
from service import Service


@pytest.fixture
async def context() -> AsyncIterator[DriverContext]:
    made = DriverContext(SystemClock())
    yield made
    await made.aclose()


@pytest.fixture
def registry(context: DriverContext) -> Registry:
    return build_registry(context)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = await Service().start()
    yield running
    await running.stop()
