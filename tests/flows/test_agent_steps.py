"""What the agent's steps make is kept: RAID configurations, and what deploys need of them."""

from __future__ import annotations

from typing import Any

import pytest

from ingot.kit.db.database import from_json
from ingot.services.baremetal import store
from ingot.services.baremetal.boot.imagerights import CLOUD
from ingot.services.baremetal.tables import nodes
from tests.flows.site import Site, site

pytestmark = pytest.mark.anyio

DISKS = [
    {"size_gb": 100, "raid_level": "1", "controller": "software", "is_root_volume": True},
    {"size_gb": "MAX", "raid_level": "0", "controller": "software"},
]


async def clean(here: Site, uuid: str, *steps: str, **args: bool) -> None:
    chosen = [{"interface": "raid", "step": step, "args": args} for step in steps]
    await here.verb(uuid, "clean", steps=chosen)
    await here.until(uuid, "manageable")


async def raid_config(here: Site, uuid: str) -> dict[str, Any]:
    query = nodes.select().where(nodes.c.uuid == uuid)
    row = await here.db.read(lambda conn: conn.execute(query).one())
    return from_json(row.raid_config)


async def test_raid_steps_are_told_of_the_target_and_their_work_is_kept() -> None:
    async with site(1) as here:
        (uuid,) = await here.enrol("manageable")
        target = {"logical_disks": DISKS}
        values = {"target_raid_config": target, "raid_interface": "agent"}
        await here.db.write(lambda conn: store.update_node(conn, uuid, **values))
        await clean(here, uuid, "delete_configuration", "create_configuration")
        assert (await raid_config(here, uuid))["logical_disks"] == DISKS
        properties = (await here.node(uuid)).properties
        assert properties["local_gb"] == 100
        assert "raid_level:1" in properties["capabilities"]
        await clean(here, uuid, "delete_configuration")
        assert await raid_config(here, uuid) == {}
        await clean(here, uuid, "create_configuration", create_root_volume=False)
        assert (await raid_config(here, uuid))["logical_disks"] == DISKS[1:]


async def test_images_of_file_systems_need_leave_for_their_boot_loader() -> None:
    async with site(1) as here:
        (uuid,) = await here.enrol("available")
        info = {
            "image_source": here.image_url,
            "image_checksum": here.image_sum,
            "image_type": "partition",
            "root_gb": 4,
        }
        await here.db.write(
            lambda conn: here.baremetal.prepare_instance(
                conn, uuid, instance_info=info, right=CLOUD
            )
        )
        await here.verb(uuid, "active")
        assert await here.rest(uuid) == "deploy failed"
        error = await here.db.read(lambda conn: here.baremetal.last_error(conn, uuid))
        assert error and "baremetal.install_boot_loaders" in error
        (machine,) = here.fleet.machines.values()
        assert not machine.destructive_acts
