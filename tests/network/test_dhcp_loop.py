"""From a committed row to a machine's address: the loop between our rows and a real dnsmasq."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ingot.agents.dhcp.dnsmasq import Dnsmasq
from ingot.agents.dhcp.plans import DhcpChange, DhcpPlan
from ingot.kit.faults import Failed, TimedOut
from ingot.kit.tasks.clock import SystemClock
from ingot.services.network import Networks, NetworkSettings, ProvisioningWire
from ingot.services.network.loops import DhcpLoop, ServerStatus
from tests.hostd.conftest import machine, wire
from tests.hostd.wire import SERVER_IP, Machine, Wire

from .test_front_door import NIC, make_port, provider

__all__ = ["machine", "wire"]

pytestmark = pytest.mark.anyio


# The wire comes first: threads that are started before it live outside of its namespace.
@pytest.fixture
async def served(wire: Wire, nets: Networks, tmp_path: Path) -> AsyncIterator[DhcpLoop]:
    here = ProvisioningWire("srv0", SERVER_IP, f"http://{SERVER_IP}:8088")
    nets.settings = NetworkSettings(wires={"wire1": here})
    dnsmasq = Dnsmasq(tmp_path / "dhcp", SystemClock(), lambda *_: None)
    loop = DhcpLoop(nets, dnsmasq, SystemClock(), "here")
    await loop.start()
    yield loop
    await loop.stop()
    await dnsmasq.close()


async def test_from_row_to_address(served: DhcpLoop, nets: Networks, machine: Machine) -> None:
    network = await provider(nets)
    await served.reached(await nets.db.read(nets.generation))
    assert await machine.ask(1, NIC) is None
    port = await make_port(nets, network)
    await nets.db.write(lambda conn: nets.bind_port(conn, port.id, host_id="node", mac=NIC))
    await served.reached(await nets.db.read(nets.generation))
    ack = await machine.lease(NIC)
    assert ack is not None and ack.ip == port.fixed_ips[0].ip_address
    await nets.db.write(lambda conn: nets.unbind_port(conn, port.id))
    await served.reached(await nets.db.read(nets.generation))
    assert await machine.ask(1, NIC) is None
    # The same address for another machine.
    other = "52:54:00:00:00:02"
    await nets.db.write(lambda conn: nets.bind_port(conn, port.id, host_id="node", mac=other))
    await served.reached(await nets.db.read(nets.generation))
    moved = await machine.lease(other)
    assert moved is not None and (moved.kind, moved.ip) == (5, ack.ip)
    (agent,) = nets.agents()
    assert agent["alive"] and agent["configurations"]["interface"] == "srv0"


class Broken:
    """A host daemon that can't."""

    async def apply(self, plan: DhcpPlan) -> int:
        raise Failed("The interface is gone.", next_action="Bring it back.")

    async def amend(self, change: DhcpChange) -> int | None:
        return None

    async def keep_only(self, names: Collection[str]) -> None:
        return None

    def status(self) -> Sequence[ServerStatus]:
        return []


async def test_a_fault_shows_in_the_loops_status(nets: Networks) -> None:
    nets.settings = replace(nets.settings)
    loop = DhcpLoop(nets, Broken(), SystemClock())
    await provider(nets)
    await loop.loop.once()
    assert loop.loop.status.error == "The interface is gone. Bring it back."
    with pytest.raises(TimedOut, match="DHCP has not followed"):
        await loop.reached(await nets.db.read(nets.generation), deadline=0.05)
