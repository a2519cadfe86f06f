"""Who may be at a machine's console by now: asked when somebody comes, and again and again while they stay.

A websocket's ticket carries its caller; a TCP port, which asks nobody for a token, stands for whoever opened it
and for the owner and lessee of that time.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Still
from ingot.kit.auth.policy import Caller, Policy
from ingot.kit.faults import Unauthenticated, Unavailable
from ingot.services.baremetal.consoles import store as console_store
from ingot.services.baremetal.consoles.tickets import Ticket, node_ticket
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.policies import target


class Grant(Protocol):
    """What a kind of ticket stands for."""

    @property
    def still(self) -> Still:
        """Who the ticket's caller is by now."""
        ...

    def good(self, conn: sa.Connection, ticket: Ticket, caller: Caller) -> bool:
        """Whether that caller may (still) be at that machine's console."""
        ...


async def by_now(still: Still, caller: Caller, last: Caller | None) -> Caller | None:
    """Who a caller is by now; None once nothing is left of their right. last: as of the look before."""
    try:
        return await still(caller)
    except Unauthenticated:
        return None
    except Unavailable:
        if last is None:
            raise
        return last  # nobody can say so just now


class PortOwner(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who opened a TCP port, without the token, which the port outlasts."""

    user: str = ""
    project: str = ""
    domain: str = ""
    system: bool = False
    roles: tuple[str, ...] = ()

    @classmethod
    def of(cls, caller: Caller) -> PortOwner:
        return cls(
            caller.user_id or "",
            caller.project_id or "",
            caller.domain_id or "",
            caller.system,
            tuple(sorted(caller.roles)),
        )

    def caller(self) -> Caller:
        return Caller(
            user_id=self.user or None,
            project_id=self.project or None,
            domain_id=self.domain or None,
            system=self.system,
            roles=frozenset(self.roles),
        )


class NodeGrant:
    """Right by a node: its owner, its lessee, and the system."""

    def __init__(self, ctx: Context, policy: Policy, still: Still) -> None:
        self._ctx = ctx
        self._policy = policy
        self.still = still

    def good(self, conn: sa.Connection, ticket: Ticket, caller: Caller) -> bool:
        """The console is on, since before the ticket was made, and the caller may see it."""
        if not node_ticket(conn, ticket):
            return False
        whose = console_store.owner_and_lessee(conn, ticket.node)
        return whose is not None and self._allows("get_console", caller, *whose)

    async def lost(self, node_uuids: list[str]) -> dict[str, str]:
        """Those of some nodes whose TCP ports must be closed, with when they were opened."""
        rows = await self._ctx.db.read(lambda conn: console_store.opened(conn, node_uuids))
        return {row.node_uuid: row.created_at for row in rows if not await self._holds(row)}

    async def _holds(self, row: Any) -> bool:
        if row.opened_by is None:  # opened before it was noted by whom: nobody answers for it
            return False
        if (row.was_owner, row.was_lessee) != (row.owner, row.lessee):
            return False
        opener = msgspec.json.decode(row.opened_by, type=PortOwner).caller()
        caller = await by_now(self.still, opener, opener)
        return caller is not None and self._allows(
            "set_console_state", caller, row.owner, row.lessee
        )

    def _allows(self, verb: str, caller: Caller, owner: str | None, lessee: str | None) -> bool:
        place = target(owner, lessee, self._ctx.settings.service_project)
        return self._policy.allows("baremetal:node:get", caller, place) and self._policy.allows(
            f"baremetal:node:{verb}", caller, place
        )
