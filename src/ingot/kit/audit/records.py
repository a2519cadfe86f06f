"""An audit record: who did what to what, from where, and what came of it."""

from __future__ import annotations

from typing import Any

import msgspec

#: The action of log-ins.
AUTHENTICATE = "authenticate"


class Entry(msgspec.Struct, kw_only=True):
    """One record.

    client: the address it came from. status: of the answer (HTTP). data: method and path (as the table of operations
    has it), and where they are known `fields` that were given, `name`, `reason` (why it was refused), `roles`,
    `scope`, `agent`; of those that were refused alike `count` and the times of the `first` and the `last`.
    """

    at: str = ""
    host: str = ""
    request_id: str | None = None
    client: str | None = None
    service: str
    action: str
    target_type: str
    target_id: str | None = None
    status: int
    user_id: str | None = None
    user_name: str | None = None
    project_id: str | None = None
    data: dict[str, Any] = {}

    @property
    def refused_login(self) -> bool:
        return self.action == AUTHENTICATE and self.status >= 400


class Stored(Entry, kw_only=True):
    """A record with its number in the database."""

    id: int


__all__ = ["AUTHENTICATE", "Entry", "Stored"]
