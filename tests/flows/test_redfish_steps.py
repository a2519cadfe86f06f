"""RAID, BIOS and firmware of Redfish controllers as clean steps, with the restarts that they need."""

from __future__ import annotations

from typing import Any

import pytest

from ingot.services.baremetal import store
from tests.flows.site import site

pytestmark = pytest.mark.anyio

RAID = {"logical_disks": [{"raid_level": "1", "size_gb": 100, "is_root_volume": True}]}
STEPS: list[dict[str, Any]] = [
    {"interface": "raid", "step": "delete_configuration"},
    {"interface": "raid", "step": "create_configuration"},
    {
        "interface": "bios",
        "step": "apply_configuration",
        "args": {"settings": [{"name": "LogicalProc", "value": "Disabled"}]},
    },
    {
        "interface": "firmware",
        "step": "update",
        "args": {"settings": [{"component": "bios", "url": "http://10.0.0.1/bios-2.15.0.bin"}]},
    },
    {"interface": "management", "step": "clear_secure_boot_keys"},
]


async def test_a_controller_is_set_up_by_clean_steps() -> None:
    async with site(1, protocols=("redfish",), hurry=20) as here:
        (uuid,) = await here.enrol("manageable")
        await here.db.write(lambda conn: store.update_node(conn, uuid, target_raid_config=RAID))
        (name,) = here.fleet.machines
        board = here.fleet.bmc(name).board
        await here.verb(uuid, "clean", steps=STEPS)
        assert await here.until(uuid, "manageable")
        assert [volume.level for volume in board.volumes.values()] == ["RAID1"]
        assert board.bios["LogicalProc"] == "Disabled"
        assert board.firmware["bios"] == "2.15.0"
        assert board.keys == "none"
        assert here.fleet.machine(name).boots >= 3, "each kind of change took a start"


async def test_what_a_controller_refuses_is_told() -> None:
    async with site(1, protocols=("redfish",), hurry=20) as here:
        (uuid,) = await here.enrol("manageable")
        (name,) = here.fleet.machines
        here.fleet.machine(name).faults.bios_not_applied = 1
        await here.verb(uuid, "clean", steps=[STEPS[2]])
        assert await here.rest(uuid) == "clean failed"
        assert "LogicalProc were accepted, but did not change" in await here.story(uuid)
