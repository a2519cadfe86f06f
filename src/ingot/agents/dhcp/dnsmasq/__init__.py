"""DHCP and TFTP by dnsmasq: one supervised process per provisioning wire, written from plans.

    dnsmasq = Dnsmasq(state / "dhcp", clock, on_event)
    generation = await dnsmasq.apply(plan)
    await dnsmasq.close()

Dnsmasq runs as root with few capabilities; giving it a user of its own is not built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from ingot.agents.dhcp.dnsmasq.checks import find_loader, required_packages
from ingot.agents.dhcp.dnsmasq.server import OnEvent, Server, Status
from ingot.agents.dhcp.plans import DhcpChange, DhcpPlan
from ingot.kit.tasks.clock import Clock

__all__ = ["Dnsmasq", "OnEvent", "Server", "Status", "find_loader", "required_packages"]


class Dnsmasq:
    """All DHCP servers of this host. folder: for their files, one folder per wire below it."""

    def __init__(self, folder: Path, clock: Clock, on_event: OnEvent) -> None:
        self._folder = folder
        self._clock = clock
        self._on_event = on_event
        self._servers: dict[str, Server] = {}

    async def apply(self, plan: DhcpPlan) -> int:
        """Bring a plan into force; returns the generation that its wire has reached. See `Server.apply`."""
        server = self._servers.get(plan.name)
        if server is None:
            server = Server(plan.name, self._folder / plan.name, self._clock, self._on_event)
            self._servers[plan.name] = server
        return await server.apply(plan)

    async def amend(self, change: DhcpChange) -> int | None:
        """Bring one change into force; None when the wire has not what it continues. See `Server.amend`."""
        server = self._servers.get(change.name)
        return None if server is None else await server.amend(change)

    async def keep_only(self, names: Collection[str]) -> None:
        """End the servers of wires that have no plan any more."""
        for name in [name for name in self._servers if name not in names]:
            await self._servers.pop(name).close()

    def status(self) -> list[Status]:
        return [self._servers[name].status for name in sorted(self._servers)]

    async def close(self) -> None:
        """End all servers."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))
        self._servers.clear()
