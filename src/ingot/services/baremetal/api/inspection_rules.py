"""Inspection rules: create, list, show, patch, delete; since 1.96, for the system's own people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import next_link
from ingot.kit.api.versions import Field, FieldTable
from ingot.kit.faults import Invalid
from ingot.services.baremetal import links, paging_store
from ingot.services.baremetal.api.common import Handlers, PageQuery, location
from ingot.services.baremetal.api.nodes import FieldsQuery
from ingot.services.baremetal.inspection.rules import checking
from ingot.services.baremetal.inspection.rules import store as rule_store
from ingot.services.baremetal.nodes import node_fields, patching, schemas
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.tables import inspection_rules

RULE = FieldTable(
    [
        Field("uuid"),
        Field("created_at"),
        Field("updated_at"),
        Field("description"),
        Field("priority"),
        Field("sensitive"),
        Field("phase"),
        Field("conditions"),
        Field("actions"),
    ]
)
RULE_BRIEF = ("uuid", "priority", "phase", "description")
_SAID = ("conditions", "actions")
_SORTABLE = paging_store.sortable(inspection_rules, {*_SAID, "sealed"})


class RuleListQuery(PageQuery, kw_only=True):
    fields: list[str] | None = None
    detail: str | None = None
    phase: str | None = None


class InspectionRules(Handlers):
    """Handlers of /v1/inspection_rules."""

    async def list(self, call: Call) -> Reply:
        query: RuleListQuery = call.query
        detail = None if query.detail is None else schemas.flag("detail", query.detail)
        wanted = node_fields.fields_wanted(query.fields, detail, RULE, RULE_BRIEF, call.version)
        page = self.page(query, _SORTABLE)

        def find(conn: sa.Connection) -> list[dict[str, Any]]:
            rows = rule_store.page_of_rules(conn, page, query.phase)
            return [_shown(call, row, wanted) for row in rows]

        found = await self.scan(find)
        body: dict[str, Any] = {"inspection_rules": found}
        if len(found) == page.limit:
            last = found[-1]["links"][0]["href"].rpartition("/")[2]
            body["next"] = next_link(call, last, page.limit)
        return Reply(body)

    async def show(self, call: Call) -> Reply:
        query: FieldsQuery = call.query
        wanted = None
        if query.fields is not None:
            wanted = node_fields.fields_wanted(query.fields, None, RULE, RULE_BRIEF, call.version)
        uuid = _ident(call)
        return await self.read(lambda conn: Reply(self._one(conn, call, uuid, wanted)))

    def _one(
        self, conn: sa.Connection, call: Call, uuid: str, wanted: tuple[str, ...] | None = None
    ) -> dict[str, Any]:
        rule_store.get_rule(conn, self.ctx.vault, uuid)
        return _shown(call, rule_store.row_of(conn, uuid), wanted)

    async def create(self, call: Call) -> Reply:
        rule = checking.rule_of(call.body)

        def change(conn: sa.Connection) -> Reply:
            rule_store.add_rule(conn, self.ctx.vault, rule, self.ctx.now())
            shown = self._one(conn, call, rule.uuid)
            return Reply(shown, headers=location(call, f"inspection_rules/{rule.uuid}"))

        return await self.write(change)

    async def patch(self, call: Call) -> Reply:
        changes: Sequence[PatchOperation] = call.body
        patching.checked(changes, call.version.minor)
        uuid = _ident(call)

        def change(conn: sa.Connection) -> Reply:
            before = rule_store.get_rule(conn, self.ctx.vault, uuid)
            document = checking.document_of(before)
            for one in changes:
                _allowed(one, document, before.sensitive)
            after = checking.read_rule(patching.apply(document, changes))
            if before.sensitive and not after.sensitive:
                raise _stays_sensitive(changes[-1])
            rule_store.update_rule(conn, self.ctx.vault, after, self.ctx.now())
            return Reply(self._one(conn, call, uuid))

        return await self.write(change)

    async def delete(self, call: Call) -> Reply:
        uuid = _ident(call)
        await self.write(lambda conn: rule_store.delete_rule(conn, uuid))
        return Reply()

    async def delete_all(self, _call: Call) -> Reply:
        await self.write(rule_store.delete_all_rules)
        return Reply()


def _ident(call: Call) -> str:
    return schemas.uuid("inspection_rule_uuid", call.params["id"])


def _allowed(change: PatchOperation, document: dict[str, Any], sensitive: bool) -> None:
    if change.root not in document:
        if change.op == "add" and change.whole:
            raise Invalid(
                f"Adding a new attribute ({change.path}) to the root of the resource is not allowed"
            )
        raise Invalid(
            f"Couldn't apply patch '{change.op} {change.path}'. Reason: no such attribute"
        )
    if change.root == "uuid":
        raise Invalid("A rule's uuid cannot be changed.")
    if change.root == "sensitive" and sensitive and change.op == "remove":
        raise _stays_sensitive(change)


def _stays_sensitive(change: PatchOperation) -> Invalid:
    return Invalid(
        f"Couldn't apply patch '{change.op} {change.path}'. Reason: Inspection rules cannot have the "
        "sensitive flag unset."
    )


def _shown(call: Call, row: sa.RowMapping, wanted: tuple[str, ...] | None) -> dict[str, Any]:
    """A rule on the wire. What a sensitive one says is not told."""
    shown: dict[str, Any] = {}
    for name in RULE.names(call.version) if wanted is None else wanted:
        value = row[name]
        if name in _SAID and value is not None:
            value = msgspec.Raw(value.encode())
        shown[name] = bool(value) if name == "sensitive" else value
    shown["links"] = links.links(call.base_url, f"inspection_rules/{row['uuid']}")
    return shown
