"""No address left for an agent: the machine stops with the cause, untouched, and goes on once there is one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ingot.services.baremetal import PatchOperation, store
from ingot.services.baremetal.adapters import AloneNetworks, OwnNetworks
from ingot.services.baremetal.boot import network_data
from ingot.services.baremetal.boot.plan import Intent
from ingot.services.baremetal.workflows import booting
from ingot.services.network import Networks, NetworkSettings, ProvisioningWire, Subnet
from tests.flows.site import site

pytestmark = pytest.mark.anyio

WIRE = ProvisioningWire("ign-none0", "192.0.2.1", "http://192.0.2.1:8088")


async def test_provisioning_pool_exhausted() -> None:
    rooms: list[Networks] = []

    def own(db: Any, clock: Any) -> OwnNetworks:
        rooms.append(Networks(db, clock, NetworkSettings(wires={"wire1": WIRE})))
        return OwnNetworks(rooms[0], "provider", lambda: "p-admin")

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


async def test_an_instance_takes_the_card_of_an_agent_that_was_kept() -> None:
    """Fast track on a flat network: both live on one card, so its MAC goes over; no address is lost."""
    rooms: list[Networks] = []

    def own(db: Any, clock: Any) -> OwnNetworks:
        rooms.append(Networks(db, clock, NetworkSettings(wires={"wire1": WIRE})))
        return OwnNetworks(rooms[0], "provider", lambda: "p-admin")

    async with site(1, networks=own, protocols=("redfish",), fast_track=True) as here:
        (nets,) = rooms
        network = await here.db.write(
            lambda conn: nets.ensure_flat_network(
                conn,
                "provider",
                "wire1",
                "192.0.2.0/24",
                ("192.0.2.10", "192.0.2.11"),
                "192.0.2.1",
                [],
                project_id="p-admin",
            )
        )
        (uuid,) = await here.enrol("manageable", network_interface="flat")
        (machine,) = here.fleet.machines.values()
        await here.verb(uuid, "provide")
        await here.until(uuid, "available")
        assert machine.running == "agent" and machine.boots == 1
        (plan,) = await here.db.read(nets.dhcp_plans)
        (agents,) = plan.hosts
        vif = await here.db.write(
            lambda conn: nets.create_port(conn, network_id=network.id, project_id="p-tenant")
        )

        def wire(conn: Any) -> None:  # as Compute does
            card = here.baremetal.attach_vif(conn, uuid, vif.id)
            here.baremetal.free_card(conn, uuid, card)
            nets.bind_port(conn, vif.id, host_id=uuid, mac=card.address)

        await here.db.write(wire)
        (plan,) = await here.db.read(nets.dhcp_plans)
        (instances,) = plan.hosts
        assert instances.mac == agents.mac and instances.ip != agents.ip
        await here.prepare(uuid)
        await here.verb(uuid, "active")
        await here.until(uuid, "active")
        assert machine.boots == 2, "one of the agent, one of the instance"
        (plan,) = await here.db.read(nets.dhcp_plans)
        assert plan.hosts == (instances,)
        # The agent's address is free again: another port gets it.
        other = await here.db.write(
            lambda conn: nets.create_port(conn, network_id=network.id, project_id="p-other")
        )
        assert agents.ip in [ip.ip_address for ip in other.fixed_ips]


@pytest.mark.parametrize("kind", [OwnNetworks, AloneNetworks])
async def test_addresses_that_no_dhcp_tells_go_onto_the_medium(kind: type[OwnNetworks]) -> None:
    """A subnet without DHCP: its addresses reach the agent by its boot medium. With DHCP they do not."""
    rooms: list[Networks] = []

    def own(db: Any, clock: Any) -> OwnNetworks:
        rooms.append(Networks(db, clock, NetworkSettings(wires={"wire1": WIRE})))
        return kind(rooms[0], "provider", lambda: "p-admin")

    async with site(1, networks=own, protocols=("redfish",)) as here:
        (nets,) = rooms
        pool, dns = ("192.0.2.10", "192.0.2.11"), ["192.0.2.53"]
        made = ("provider", "wire1", "192.0.2.0/24", pool, "192.0.2.1", dns)

        def prepared(conn: Any) -> Subnet:
            network = nets.ensure_flat_network(conn, *made, project_id="p-admin")
            return nets.subnets_of(conn, network.id)[0]

        subnet = await here.db.write(prepared)
        choice = {"network_interface": "flat", "boot_interface": "redfish-virtual-media"}
        (uuid,) = await here.enrol("manageable", **choice)
        ports = await here.db.read(lambda conn: store.ports_of(conn, uuid))
        node = await here.node(uuid)
        door = here.deps.networks
        vif = None
        for port in ports:
            vif = await here.db.write(
                lambda conn, port=port: door.plug_provisioning(conn, node, port, None)
            )
        assert vif is not None

        def told(conn: Any) -> dict[str, Any]:
            return door.static_data(conn, node, ports)

        assert await here.db.read(told) == {}
        await here.db.write(lambda conn: nets.update_subnet(conn, subnet, {"enable_dhcp": False}))
        data = await here.db.read(told)
        network_data.check(data)
        address = (await here.db.read(lambda conn: nets.get_port(conn, vif))).fixed_ips[0]
        (link,), (net,) = data["links"], data["networks"]
        assert link["ethernet_mac_address"] == ports[-1].address
        assert (net["ip_address"], net["netmask"]) == (address.ip_address, "255.255.255.0")
        assert net["routes"][0]["gateway"] == "192.0.2.1"
        assert data["services"] == [{"type": "dns", "address": "192.0.2.53"}]
        # What an operator says at the node itself counts before it.
        own_words = {"links": [], "networks": [], "services": data["services"]}
        fields = [PatchOperation(op="add", path="/network_data", value=own_words)]
        for wanted in (data, own_words):
            order = Intent(boot="agent")

            def ready(conn: Any, order: Intent = order) -> None:
                store.update_node(conn, uuid, boot_intent=msgspec.to_builtins(order))
                booting.ready_medium(conn, here.deps, store.get_node(conn, uuid))

            await here.db.write(ready)
            assert ((await here.node(uuid)).boot_intent or {})["network_data"] == wanted
            await here.db.write(lambda conn: here.baremetal.patch(conn, uuid, fields))
