"""What an outside Nova is told of its servers: what happened to their machines and ports without its doing."""

from __future__ import annotations

from typing import Literal, Protocol

import sqlalchemy as sa

#: As Nova calls them. power-update: tag POWER_ON or POWER_OFF. network-changed: tag is a port's id.
Name = Literal["power-update", "network-changed"]


class ServerEvents(Protocol):
    """Whoever tells Nova."""

    def tell(self, conn: sa.Connection, name: Name, server: str, tag: str) -> None:
        """Tell it once this transaction has been committed."""
        ...

    async def close(self) -> None:
        """End what is under way."""
        ...


class Untold:
    """Where there is no outside Nova."""

    def tell(self, conn: sa.Connection, name: Name, server: str, tag: str) -> None:
        return None

    async def close(self) -> None:
        return None


UNTOLD = Untold()


def power(events: ServerEvents, conn: sa.Connection, server: str | None, state: str) -> None:
    """A machine's power, as `power on` or `power off`; server: what is on it."""
    if server is not None and state in ("power on", "power off"):
        events.tell(conn, "power-update", server, state.upper().replace(" ", "_"))
