"""What allocations, deploy templates and runbooks share: things with a uuid and a name of their own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.baremetal import guards, listing, schemas
from ingot.baremetal.api.common import Handlers, PageQuery
from ingot.baremetal.patching import Change
from ingot.baremetal.policies import owned
from ingot.kit.db import raw_json
from ingot.kit.faults import Invalid, Missing
from ingot.kit.paging import next_link
from ingot.kit.policy import Target
from ingot.kit.versions import FieldTable
from ingot.kit.web import Call, Reply


class RecordQuery(PageQuery, kw_only=True):
    fields: list[str] | None = None
    detail: str | None = None


class Records(Handlers):
    """Base of handlers of one such resource.

    table: with id, uuid and name. path: its collection below /v1. thing: what people call one. json: its
    JSON columns, all unsortable. brief: what a list shows of each.
    """

    table: sa.Table
    path: str
    thing: str
    fields: FieldTable
    brief: tuple[str, ...]
    json: frozenset[str]
    hidden: frozenset[str] = frozenset()

    def look_up(self, conn: sa.Connection, call: Call, ident: str) -> sa.RowMapping:
        """The row behind a uuid or name; 400 for what is neither, 404 when it is not there."""
        for column, text in self.spellings(call, ident):
            query = sa.select(self.table).where(self.table.c[column] == text)
            row = conn.execute(query).mappings().first()
            if row is not None:
                return row
        if not guards.logical_name(ident):
            raise Invalid(f"Expected a logical name or UUID but received {ident}.")
        raise self.missing(ident)

    def missing(self, ident: str) -> Missing:
        return Missing(f"{self.thing} {ident} could not be found.")

    def owned_by(self, owner: str | None) -> Target:
        """What rules about one of them are decided on."""
        return owned(self.thing.lower(), owner, self.ctx.settings.service_project)

    # -- showing -----------------------------------------------------------------------------

    def wanted(self, call: Call, fields: list[str] | None, detail: bool | None) -> tuple[str, ...]:
        names = listing.fields_wanted(fields, detail, self.fields, self.brief, call.version)
        return self.fields.names(call.version) if names is None else names

    def wire(self, call: Call, row: sa.RowMapping, names: Collection[str]) -> dict[str, Any]:
        """A row as the API shows it."""
        one: dict[str, Any] = {
            name: raw_json(row[name]) if name in self.json else row[name] for name in names
        }
        one["links"] = listing.links(call.base_url, f"{self.path}/{row['uuid']}")
        return one

    def shown(self, conn: sa.Connection, call: Call, uuid: str) -> dict[str, Any]:
        """One that was just written."""
        row = conn.execute(sa.select(self.table).where(self.table.c.uuid == uuid)).mappings().one()
        return self.wire(call, row, self.fields.names(call.version))

    def listed(
        self,
        conn: sa.Connection,
        call: Call,
        query: Any,
        names: tuple[str, ...],
        where: Sequence[sa.ColumnElement[bool]] = (),
    ) -> Reply:
        """A page of them."""
        if query.sort_key:
            listing.acceptable([query.sort_key], self.fields, call.version)
        if query.marker is not None:
            schemas.uuid("marker", query.marker)
        page = self.page(query, listing.sortable(self.table, self.json | self.hidden))
        select = sa.select(self.table).where(*where)
        select = listing.paged(conn, select, self.table, page, self.thing, self.table.c.uuid)
        rows = conn.execute(select).mappings().all()
        body: dict[str, Any] = {self.path: [self.wire(call, row, names) for row in rows]}
        if rows and len(rows) == page.limit:
            body["next"] = next_link(call, rows[-1]["uuid"], page.limit)
        return Reply(body)


def patchable(changes: Sequence[Change], allowed: Collection[str]) -> None:
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
