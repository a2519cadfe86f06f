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


async def test_an_instance_that_boots_its_own_kernel() -> None:
    async with site(2, seed=SEED, protocols=("redfish",)) as here:
        by_net, by_media = await here.enrol("available", deploy_interface="ramdisk")
        await here.edit(by_media, "boot_interface", "redfish-virtual-media")
        info = {
            "kernel": f"{here.url}/files/kernel",
            "ramdisk": f"{here.url}/files/ramdisk",
            "ramdisk_kernel_arguments": "coreos.live=yes",
        }
        for uuid in (by_net, by_media):
            await here.order_instance(uuid, info)
            await here.verb(uuid, "active")
        for uuid, machine in zip((by_net, by_media), here.fleet.machines.values(), strict=True):
            await here.until(uuid, "active")
            await machine.wait_for("ramdisk", timeout=30)
            await machine.reset()  # its user's own restart
            await machine.wait_for("post", timeout=30)
            await machine.wait_for("ramdisk", timeout=30)
            assert not machine.destructive_acts
            await here.verb(uuid, "deleted")
            await here.until(uuid, "available")
            assert machine.media is None


async def test_an_agent_without_an_image_of_ours() -> None:
    async with site(1, seed=SEED, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("available", deploy_interface="custom-agent")
        await here.verb(uuid, "active")
        await here.until(uuid, "active")
        (machine,) = here.fleet.machines.values()
        assert not machine.destructive_acts, "nothing was asked for"
