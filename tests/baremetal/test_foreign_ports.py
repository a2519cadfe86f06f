"""Network ports as VIFs: whose they are, and that one machine at a time has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, project, system, world

from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import store
from ingot.services.baremetal.adapters import OwnNetworks
from ingot.services.network import Networks, NetworkSettings, Port, ProvisioningWire

pytestmark = pytest.mark.anyio

WIRE = ProvisioningWire("ign-none0", "192.0.2.1", "http://192.0.2.1:8088")
OURS, THEIRS = "p-b", "p-a"


class Place:
    """A cloud with a network of everybody, a machine for each of some nodes, and ports of two projects."""

    def __init__(self, api: World, nets: Networks, own: OwnNetworks) -> None:
        self.api, self.nets, self.own = api, nets, own
        self.network = ""

    async def node(self, name: str, card: str) -> dict[str, Any]:
        self.api.become(system())
        made = await self.api.node(name=name, network_interface="flat", owner=OURS, lessee=OURS)
        body = {"node_uuid": made["uuid"], "address": card}
        assert (await self.api.ask("POST", "/v1/ports", body)).status == 201
        await self.api.force(name, provision_state="active")
        return made

    async def port(self, project_id: str, **more: str) -> Port:
        return await self.nets.db.write(
            lambda conn: self.nets.create_port(
                conn, network_id=self.network, project_id=project_id, **more
            )
        )

    async def now(self, port: Port) -> Port:
        return await self.nets.db.read(lambda conn: self.nets.get_port(conn, port.id))

    async def attach(self, node: str, port: Port | str) -> int:
        ident = port if isinstance(port, str) else port.id
        return (await self.api.ask("POST", f"/v1/nodes/{node}/vifs", {"id": ident})).status


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    rooms: list[Networks] = []
    doors: list[OwnNetworks] = []

    def own(db: Any, clock: Any) -> OwnNetworks:
        rooms.append(Networks(db, clock, NetworkSettings(wires={"wire1": WIRE})))
        doors.append(OwnNetworks(rooms[0], "provider", lambda: "p-admin"))
        return doors[0]

    async with world(tmp_path, networks=own) as api:
        place = Place(api, rooms[0], doors[0])
        made = await api.db.write(
            lambda conn: rooms[0].ensure_flat_network(
                conn,
                "provider",
                "wire1",
                "192.0.2.0/24",
                ("192.0.2.10", "192.0.2.20"),
                "192.0.2.1",
                [],
                project_id="p-admin",
            )
        )
        place.network = made.id
        yield place


@pytest.mark.parametrize("role", ["member", "manager"])
async def test_a_foreign_port_is_like_none(here: Place, role: str) -> None:
    await here.node("n1", "52:54:00:00:00:01")
    running = await here.port(THEIRS, host_id="their-machine", mac="52:54:00:00:00:77")
    unused = await here.port(THEIRS)
    here.api.become(project(role, OURS))
    absent = "00000000-0000-4000-8000-000000000000"
    said: dict[str, tuple[int, str]] = {}
    for name, ident in (("running", running.id), ("unused", unused.id), ("absent", absent)):
        reply = await here.api.ask("POST", "/v1/nodes/n1/vifs", {"id": ident})
        said[name] = (reply.status, reply.error.replace(ident, "ID"))
    assert said["running"] == said["unused"] == said["absent"] and said["absent"][0] == 400, said
    for port in (running, unused):
        assert await here.now(port) == port, "nothing of it changed"
    # Detaching what was never attached frees nothing either.
    assert (await here.api.ask("DELETE", f"/v1/nodes/n1/vifs/{running.id}")).status == 400
    assert await here.now(running) == running


async def test_own_ports_serve_and_administrators_take_all(here: Place) -> None:
    node = await here.node("n1", "52:54:00:00:00:01")
    mine, theirs = await here.port(OURS), await here.port(THEIRS)
    here.api.become(project("member", OURS))
    assert await here.attach("n1", mine) == 204
    bound = await here.now(mine)
    assert (bound.host_id, bound.mac_address) == (node["uuid"], "52:54:00:00:00:01")
    assert (await here.api.ask("DELETE", f"/v1/nodes/n1/vifs/{mine.id}")).status == 204
    assert not (await here.now(mine)).bound
    here.api.become(system())
    assert await here.attach("n1", theirs) == 204
    assert (await here.now(theirs)).host_id == node["uuid"]


async def test_a_port_is_on_one_machine(here: Place) -> None:
    one = await here.node("n1", "52:54:00:00:00:01")
    await here.node("n2", "52:54:00:00:00:02")
    port = await here.port(OURS)
    for who in (project("member", OURS), system()):
        here.api.become(who)
        assert await here.attach("n1", port) in (204, 409)
        assert await here.attach("n2", port) == 409
        assert (await here.now(port)).host_id == one["uuid"]
    assert (await here.api.ask("GET", "/v1/nodes/n2/vifs")).json == {"vifs": []}


async def test_two_machines_at_once(here: Place) -> None:
    for number in range(1, 9):
        await here.node(f"n{number}", f"52:54:00:00:00:0{number}")
    port = await here.port(OURS)
    here.api.become(project("member", OURS))
    got = await asyncio.gather(*(here.attach(f"n{number}", port) for number in range(1, 9)))
    assert sorted(got) == [204] + [409] * 7, got


async def test_taking_off_leaves_another_machine_alone(here: Place) -> None:
    """A stale choice of a machine does not unplug what another one has meanwhile."""
    node = await here.node("n1", "52:54:00:00:00:01")
    port = await here.port(OURS, host_id="another", mac="52:54:00:00:00:05")
    after = await here.nets.db.write(
        lambda conn: here.nets.unbind_port(conn, port.id, host_id=node["uuid"])
    )
    assert after == port
    with pytest.raises(Fault) as caught:
        await here.nets.db.write(
            lambda conn: here.nets.bind_port(
                conn, port.id, host_id=node["uuid"], mac="52:54:00:00:00:01"
            )
        )
    assert caught.value.kind is Kind.CONFLICT


async def test_a_tenants_port_is_never_the_agents(here: Place) -> None:
    """Members write any device_id and device_owner, as upstream; an own network gives them any MAC too."""
    node = await here.node("n1", "52:54:00:00:00:01")
    lure = await here.nets.db.write(
        lambda conn: here.nets.create_network(conn, project_id=THEIRS, physical_network="wire9")
    )

    def bait(conn: Any) -> Port:
        here.nets.create_subnet(
            conn, network_id=lure.id, project_id=THEIRS, cidr="198.51.100.0/24", enable_dhcp=False
        )
        return here.nets.create_port(
            conn,
            network_id=lure.id,
            project_id=THEIRS,
            mac="52:54:00:00:00:01",
            device_id=node["uuid"],
            device_owner="baremetal:none",
        )

    port = await here.nets.db.write(bait)

    def plug(conn: Any) -> tuple[str | None, dict[str, Any]]:
        machine = store.get_node(conn, node["uuid"])
        cards = store.ports_of(conn, node["uuid"])
        made = here.own.plug_provisioning(conn, machine, cards[0], None)
        return made, here.own.static_data(conn, machine, cards)

    made, data = await here.nets.db.write(plug)
    assert made not in (None, port.id)
    assert "198.51.100" not in str(data)
    await here.nets.db.write(
        lambda conn: here.own.unplug_provisioning(conn, store.get_node(conn, node["uuid"]))
    )
    assert await here.now(port) == port
