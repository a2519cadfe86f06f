"""One port's change reaches DHCP alone, whatever the number of others; nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from ingot.agents.dhcp.plans import DhcpChange, DhcpHost, DhcpPlan
from ingot.kit.tasks.clock import SystemClock
from ingot.services.network import Networks
from ingot.services.network.loops import DhcpLoop, ServerStatus
from ingot.services.network.types import Network

from .test_front_door import NIC, make_port, provider

pytestmark = pytest.mark.anyio

OTHER = "52:54:00:00:00:0b"


class Hosts:
    """A host daemon that keeps what it is told. deaf: it has lost everything and says so."""

    def __init__(self) -> None:
        self.plans: list[DhcpPlan] = []
        self.changes: list[DhcpChange] = []
        self.hosts: set[DhcpHost] = set()
        self.deaf = False

    async def apply(self, plan: DhcpPlan) -> int:
        self.plans.append(plan)
        self.hosts = set(plan.hosts)
        self.deaf = False
        return plan.generation

    async def amend(self, change: DhcpChange) -> int | None:
        if self.deaf:
            return None
        self.changes.append(change)
        self.hosts = self.hosts.difference(change.gone) | set(change.put)
        return change.generation

    async def keep_only(self, names: Collection[str]) -> None:
        return None

    def status(self) -> Sequence[ServerStatus]:
        return []


class Site:
    """A network, its loop, which runs when it is told, and a daemon."""

    def __init__(self, nets: Networks) -> None:
        self.nets = nets
        self.hostd = Hosts()
        self.loop = DhcpLoop(nets, self.hostd, SystemClock())

    async def change(self, verb: Callable[..., Any], *args: Any, **values: Any) -> Any:
        """A verb of the front door, and the loop's run after it."""
        done = await self.nets.db.write(lambda conn: verb(conn, *args, **values))
        await self.follow()
        return done

    async def follow(self) -> None:
        await self.loop.once()
        await self.loop.reached(await self.nets.db.read(self.nets.generation))

    async def agree(self) -> None:
        """What the daemon has is what all rows say."""
        plans = await self.nets.db.read(self.nets.dhcp_plans)
        assert self.hostd.hosts == {host for plan in plans for host in plan.hosts}


@pytest.fixture
async def network(nets: Networks) -> Network:
    return await provider(nets)


@pytest.fixture
async def here(nets: Networks, network: Network) -> Site:
    made = Site(nets)
    await made.follow()
    return made


async def test_a_port_alone(here: Site, nets: Networks, network: Network) -> None:
    for _ in range(5):
        await make_port(nets, network)
    port = await make_port(nets, network)
    await here.follow()
    assert here.hostd.changes[-1].put == (), "made-up MACs are no machines"
    await here.change(nets.bind_port, port.id, host_id="node", mac=NIC)
    ip = port.fixed_ips[0].ip_address
    assert here.hostd.changes[-1].put == (DhcpHost(NIC, ip),)
    await here.change(nets.bind_port, port.id, host_id="node", mac=OTHER)
    newest = here.hostd.changes[-1]
    assert (newest.put, newest.gone) == ((DhcpHost(OTHER, ip),), (DhcpHost(NIC, ip),))
    await here.change(nets.delete_port, port.id)
    assert here.hostd.changes[-1].gone == (DhcpHost(OTHER, ip),)
    assert len(here.hostd.plans) == 1, "only the start read all rows"
    await here.agree()


async def test_several_changes_go_together(here: Site, nets: Networks, network: Network) -> None:
    ports = [await make_port(nets, network) for _ in range(4)]
    for number, port in enumerate(ports):
        mac = f"52:54:00:00:01:{number:02x}"
        await nets.db.write(
            lambda conn, port=port, mac=mac: nets.bind_port(conn, port.id, host_id="n", mac=mac)
        )
    await nets.db.write(lambda conn: nets.delete_port(conn, ports[0].id))
    await here.follow()
    (change,) = here.hostd.changes
    assert len(change.put) == 3 and change.gone == ()
    await here.agree()


async def test_a_subnet_changes_everything(here: Site, nets: Networks, network: Network) -> None:
    port = await make_port(nets, network)
    await here.change(nets.bind_port, port.id, host_id="node", mac=NIC)
    (subnet,) = await nets.db.read(lambda conn: nets.subnets_of(conn, network.id))
    await here.change(nets.update_subnet, subnet, {"enable_dhcp": False})
    assert len(here.hostd.plans) == 2 and here.hostd.hosts == set()
    subnet = await nets.db.read(lambda conn: nets.get_subnet(conn, subnet.id))
    await here.change(nets.update_subnet, subnet, {"enable_dhcp": True})
    await here.agree()
    assert here.hostd.hosts


async def test_who_has_lost_all_is_told_all(here: Site, nets: Networks, network: Network) -> None:
    port = await make_port(nets, network)
    here.hostd.deaf = True
    await nets.db.write(lambda conn: nets.bind_port(conn, port.id, host_id="node", mac=NIC))
    await here.loop.once()
    await here.loop.once()  # the kick that the refusal asked for
    assert len(here.hostd.plans) == 2
    await here.agree()


async def test_forgotten_changes_mean_all_rows(
    here: Site, nets: Networks, network: Network
) -> None:
    port = await make_port(nets, network)
    await nets.db.write(lambda conn: nets.bind_port(conn, port.id, host_id="node", mac=NIC))
    await nets.db.write(lambda conn: nets.forget_dhcp_changes(conn, -60))
    await here.follow()
    assert len(here.hostd.plans) == 2
    await here.agree()
    # What changes nothing for DHCP is told as nothing.
    await here.change(nets.bind_port, port.id, host_id="node", mac=NIC, profile={"a": 1})
    assert len(here.hostd.plans) == 2
    assert (here.hostd.changes[-1].put, here.hostd.changes[-1].gone) == ((), ())


async def test_another_process_changes_it(here: Site, nets: Networks, network: Network) -> None:
    elsewhere = Networks(nets.db, SystemClock(), nets.settings)
    port = await make_port(elsewhere, network)
    await nets.db.write(lambda conn: elsewhere.bind_port(conn, port.id, host_id="n", mac=NIC))
    await here.follow()
    assert len(here.hostd.plans) == 1, "it needs no second look at all rows"
    await here.agree()
    assert len(here.hostd.hosts) == 1
