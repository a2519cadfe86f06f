"""What allocations, deploy templates and runbooks share: things with a uuid, a name and an owner of their own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call
from ingot.kit.auth.policy import Target
from ingot.kit.faults import Invalid
from ingot.services.baremetal.api.common import PageQuery
from ingot.services.baremetal.api.parts import Listed
from ingot.services.baremetal.nodes import guards
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.policies import owned
from ingot.services.baremetal.ports import store as port_store


class RecordQuery(PageQuery, kw_only=True):
    fields: list[str] | None = None
    detail: str | None = None


class Records(Listed):
    """Base of handlers of one such resource."""

    def look_up(self, conn: sa.Connection, call: Call, ident: str) -> sa.RowMapping:
        """The row behind a uuid or name; 400 for what is neither, 404 when it is not there."""
        for column, text in self.spellings(call, ident):
            row = port_store.find_by(conn, self.resource, column, text)
            if row is not None:
                return row
        if not guards.logical_name(ident):
            raise Invalid(f"Expected a logical name or UUID but received {ident}.")
        raise self.resource.missing(ident)

    def owned_by(self, owner: str | None) -> Target:
        """What rules about one of them are decided on."""
        return owned(self.resource.noun.lower(), owner, self.ctx.settings.service_project)

    def wanted_of_one(self, call: Call) -> tuple[str, ...] | None:
        """The fields of a single one: those asked for, else all."""
        return None if call.query.fields is None else self.fields(call, None)


def patchable(changes: Sequence[PatchOperation], allowed: Collection[str]) -> None:
    """400 for a patch of anything else."""
    for change in changes:
        if change.root not in allowed:
            raise Invalid(
                f"Cannot patch {change.path}. Only the following can be updated: "
                f"{', '.join(allowed)}"
            )


def given(body: msgspec.Struct) -> dict[str, Any]:
    """What the client named of a body."""
    return {
        name: value
        for name, value in msgspec.structs.asdict(body).items()
        if value is not msgspec.UNSET
    }
