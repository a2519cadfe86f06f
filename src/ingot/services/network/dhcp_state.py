"""What DHCP must know of networks, and who is woken when it changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit.db.database import Database, after_commit, timestamp
from ingot.kit.tasks.clock import Clock
from ingot.services.network import dhcp_store, store, tables
from ingot.services.network.dhcpplan import DhcpSnapshot
from ingot.services.network.types import NetworkSettings

if TYPE_CHECKING:
    from ingot.agents.dhcp.plans import DhcpChange, DhcpPlan

#: More changed ports than so many are read with all others.
MOST_CHANGES = 2000


class DhcpState:
    """The part of the Network service that DHCP servers read."""

    def __init__(self, db: Database, clock: Clock, settings: NetworkSettings) -> None:
        self.db = db
        self.clock = clock
        self.settings = settings
        self._listeners: list[Callable[[], None]] = []
        self._agents: Callable[[], list[dict[str, Any]]] | None = None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop after each committed change that DHCP must know."""
        self._listeners.append(listener)

    def kick(self) -> None:
        for listener in self._listeners:
            listener()

    def touch(
        self, conn: sa.Connection, port_id: str = "", project_id: str | None = None, **more: int
    ) -> int:
        """Count a change of what DHCP must know, of one port or of everything; its generation comes back.

        more: what a project has more by it, or (negative) less; as in `quota_store.count`.
        """
        after_commit(conn, self.kick)
        if project_id is None:
            return dhcp_store.note_change(conn, port_id, self.now())
        return dhcp_store.count_and_note(conn, port_id, self.now(), project_id, more)

    def generation(self, conn: sa.Connection) -> int:
        """The newest generation of what DHCP must know."""
        return dhcp_store.generation(conn)

    def dhcp_snapshot(self, conn: sa.Connection) -> DhcpSnapshot:
        """What the DHCP servers of this host must know now, from all rows."""
        generation = dhcp_store.generation(conn)
        wires = list(self.settings.wires)
        nets = store.select(conn, store.NETWORKS, tables.networks.c.physical_network.in_(wires))
        net_ids = [net.id for net in nets]
        subnets = store.select(conn, store.SUBNETS, tables.subnets.c.network_id.in_(net_ids))
        known = store.known_addresses(conn, net_ids)
        return DhcpSnapshot(generation, nets, subnets, known, self.settings)

    def dhcp_plans(self, conn: sa.Connection) -> tuple[DhcpPlan, ...]:
        """The same as plans, one per wire that carries a network."""
        return self.dhcp_snapshot(conn).plans()

    def dhcp_changes(
        self, conn: sa.Connection, snapshot: DhcpSnapshot
    ) -> tuple[DhcpChange, ...] | None:
        """What changed since the snapshot was made, which it then knows too; None when it must be made anew."""
        generation = dhcp_store.generation(conn)
        if generation == snapshot.generation:
            return ()
        changes = dhcp_store.changes(conn, snapshot.generation, MOST_CHANGES + 1)
        newest = max((change[1] for change in changes), default=0)
        ports = [port_id for port_id, _ in changes]
        # A generation without a row: counted by a process older than this table, or long forgotten.
        if newest < generation or len(ports) > MOST_CHANGES or "" in ports:
            return None
        return snapshot.apply(
            newest, ports, store.known_addresses(conn, snapshot.network_ids, ports)
        )

    def forget_dhcp_changes(self, conn: sa.Connection, seconds: float) -> None:
        """Those older than so many seconds: every snapshot is made anew sooner than that."""
        dhcp_store.forget_changes(conn, timestamp(self.clock.now() - timedelta(seconds=seconds)))

    def agents(self) -> list[dict[str, Any]]:
        """The DHCP servers of this host, as the API's agents; [] until a loop reports them."""
        return [] if self._agents is None else self._agents()

    def report_agents(self, source: Callable[[], list[dict[str, Any]]]) -> None:
        """Where `agents` comes from."""
        self._agents = source

    def now(self) -> str:
        """The time as rows hold it."""
        return timestamp(self.clock.now())
