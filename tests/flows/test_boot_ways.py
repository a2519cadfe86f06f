"""The ways to bring a machine up, each through a whole life on simulated machines."""

from __future__ import annotations

import pytest

from tests.flows.site import Site, site

pytestmark = pytest.mark.anyio

#: Of a fleet whose first machine has UEFI.
SEED = 5


async def live(here: Site, uuid: str) -> None:
    """enroll -> available -> active -> available."""
    await here.verb(uuid, "manage")
    await here.until(uuid, "manageable")
    await here.verb(uuid, "provide")
    await here.until(uuid, "available")
    await here.prepare(uuid)
    await here.verb(uuid, "active")
    await here.until(uuid, "active")
    await here.verb(uuid, "deleted")
    await here.until(uuid, "available")


@pytest.mark.parametrize("boot", ["redfish-virtual-media", "redfish-https"])
async def test_a_machine_lives_by_its_boot_medium(boot: str) -> None:
    async with site(1, protocols=("redfish",), seed=SEED) as here:
        (uuid,) = await here.enrol(boot_interface=boot)
        (machine,) = here.fleet.machines.values()
        machine.boot_server.base = "http://127.0.0.1:9"  # nothing comes from the network
        await live(here, uuid)
        assert [act.act for act in machine.destructive_acts].count("write_image") == 1
        assert machine.media is None, "the medium was taken out"
