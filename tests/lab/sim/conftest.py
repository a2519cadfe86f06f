"""A running fleet and a small controller, wired together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from sim_conductor import FakeConductor

from ingot.lab.sim import Fleet, FleetOptions

MakeRig = Callable[..., AbstractAsyncContextManager[tuple[Fleet, FakeConductor]]]


@pytest.fixture
def rig() -> MakeRig:
    @asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[tuple[Fleet, FakeConductor]]:
        wanted: dict[str, Any] = {"count": 1, "seed": 7, "speed": 600, "protocols": ("redfish",)}
        async with FakeConductor() as conductor:
            settings = FleetOptions(**(wanted | options), boot_url=f"{conductor.url}/boot.ipxe")
            async with Fleet(settings) as fleet:
                conductor.enrol(fleet.enrolment())
                yield fleet, conductor

    return make
