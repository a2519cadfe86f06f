"""No address left for an agent: the machine stops with the cause, untouched, and goes on once there is one."""

from __future__ import annotations

from typing import Any

import pytest

from ingot.baremetal.doors import OwnNetworks
from ingot.network import Networks, ProvisioningWire, Settings
from tests.flows.site import site

pytestmark = pytest.mark.anyio

WIRE = ProvisioningWire("ign-none0", "192.0.2.1", "http://192.0.2.1:8088")


async def test_provisioning_pool_exhausted() -> None:
    rooms: list[Networks] = []

    def own(db: Any, clock: Any) -> OwnNetworks:
        rooms.append(Networks(db, clock, Settings(wires={"wire1": WIRE})))
        return OwnNetworks(rooms[0], "provider", "p-admin")

    async with site(1, networks=own, protocols=("redfish",)) as here:
        (nets,) = rooms
        network = await here.db.write(
            lambda conn: nets.ensure_flat_network(
                conn,
                "provider",
                "wire1",
                "192.0.2.0/24",
                ("192.0.2.10", "192.0.2.10"),
                "192.0.2.1",
                [],
                project_id="p-admin",
            )
        )
        taken = await here.db.write(
            lambda conn: nets.create_port(conn, network_id=network.id, project_id="p-other")
        )
        (uuid,) = await here.enrol("manageable", network_interface="flat")
        await here.verb(uuid, "provide")
        assert await here.rest(uuid) == "clean failed"
        told = await here.db.read(lambda conn: here.baremetal.last_error(conn, uuid)) or ""
        assert "at step 'attach the provisioning network'" in told, told
        assert "No more IP addresses available" in told and "allocation pool" in told, told
        (machine,) = here.fleet.machines.values()
        assert machine.boots == 0 and not machine.destructive_acts
        # What the text asks for, and the way on.
        await here.db.write(lambda conn: nets.delete_port(conn, taken.id))
        await here.verb(uuid, "manage")
        await here.until(uuid, "manageable")
        await here.verb(uuid, "provide")
        await here.until(uuid, "available")
        (plan,) = await here.db.read(nets.dhcp_plans)
        assert plan.hosts == ()  # given back for the next machine
