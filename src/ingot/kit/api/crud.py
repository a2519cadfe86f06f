"""List, show, create, update and delete of any resource, told once.

A resource says what it is (`resource`), a style how its API speaks (`styles`); rights, envelopes, pages, quotas,
If-Match and concealment are here. Every statement about a caller's rows carries what the caller sees, so that
nothing is read first and judged afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from msgspec import UNSET

from ingot.kit.api import filters, rows, shapes
from ingot.kit.api.fields import Row
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.api.paging import links
from ingot.kit.api.quotas import Quotas
from ingot.kit.api.resource import Resource, Values, Where
from ingot.kit.api.revisions import check_revision
from ingot.kit.api.tags import tag_operations
from ingot.kit.db.tx import Transactions, Tx
from ingot.kit.faults import Forbidden, Invalid

T = TypeVar("T")
Body = dict[str, Any]

#: Never more in one bulk request.
MOST_BULK = 500


def operations(
    resource: Resource, transactions: Transactions, quotas: Quotas | None = None
) -> list[Operation]:
    """The operations of a resource. quotas: of its service, where it counts what projects have."""
    crud, style, rules = Crud(resource, transactions, quotas), resource.style, resource.rule
    many, one = style.root + resource.collection, style.root + resource.one
    name, plural = resource.name.replace("_", " "), resource.plural.replace("_", " ")
    common: dict[str, Any] = {"late": True, "since": resource.since, "until": resource.until}
    reading: dict[str, Any] = {**common, "late": not rules.early}
    made: dict[str, list[Operation]] = {
        "index": [
            Operation("GET", many, crud.index, rules.index, title=f"List {plural}",
                      shape=shapes.many(resource), **reading)
        ],
        "create": [
            Operation("POST", many, crud.create, rules.create, title=f"Create a {name}", body=Body,
                      status=style.created, max_body=style.max_body,
                      shape=shapes.created(resource), creates=True, **common)
        ],
        "show": [
            Operation("GET", one, crud.show, rules.show, title=f"Show a {name}",
                      shape=shapes.one(resource, ""), **reading)
        ],
        "update": [
            Operation(style.update, one, crud.update, rules.update, title=f"Update a {name}",
                      body=Body, status=style.updated, max_body=style.max_body,
                      shape=shapes.one(resource, "update"), **common)
        ],
        "delete": [
            Operation("DELETE", one, crud.delete, rules.delete, title=f"Delete a {name}",
                      status=style.deleted, **common)
        ],
    }  # fmt: skip
    found = [row for verb, rows_ in made.items() if verb in resource.verbs for row in rows_]
    return [*found, *(tag_operations(crud) if resource.tags else ())]


class Crud:
    """The handlers of one resource."""

    def __init__(
        self, resource: Resource, transactions: Transactions, quotas: Quotas | None = None
    ) -> None:
        self.resource = resource
        self.transactions = transactions
        self.quotas = quotas
        if resource.quota and quotas is None:
            raise ValueError(f"{resource.name}: its service has no quotas")

    # -- handlers ------------------------------------------------------------------------------

    async def index(self, call: Call) -> Reply:
        resource = self.resource
        resource.hooks.allowed(call)
        call.require(resource.rule.index, self._about_caller(call))
        query = filters.parse(resource, call)
        prepare = resource.hooks.before_list(call)
        if prepare is not None:
            await self.transactions.write(prepare)
        found, more = await self.transactions.scan(lambda tx: self._page(tx, call, query))
        renderer = shapes.renderer(resource, call.version.minor)
        shown = [renderer.one(call, row, query.fields) for row in found]
        body: Body = {resource.plural: shown}
        ids = [str(row[resource.id]) for row in found]
        body.update(links(call, resource.style, resource.plural, query, ids, more))
        return Reply(body)

    async def show(self, call: Call) -> Reply:
        def query(tx: Tx) -> Row:
            return self.find(tx, call, self.resource.rule.show)

        self.resource.hooks.allowed(call)
        row = await self.transactions.read(query)
        wanted = self.resource.style.fields
        fields = (
            [value for name, value in call.args if name == "fields" and value] if wanted else ()
        )
        return self._reply(call, row, fields)

    async def create(self, call: Call) -> Reply:
        resource = self.resource
        resource.hooks.allowed(call)
        items, bulk = self._items(call)

        def create(tx: Tx) -> list[Row]:
            made = [self._create(tx, call, item) for item in items]
            resource.hooks.finished(tx, call, made)
            return made

        made = await self._write("create", create)
        if not bulk:
            return self._reply(call, made[0])
        renderer = shapes.renderer(resource, call.version.minor)
        return Reply({resource.plural: [renderer.one(call, row) for row in made]})

    async def update(self, call: Call) -> Reply:
        self.resource.hooks.allowed(call)
        values = self._read(call, "update", self._inner(call))
        return self._reply(
            call, await self._write("update", lambda tx: self._update(tx, call, values))
        )

    async def delete(self, call: Call) -> Reply:
        self.resource.hooks.allowed(call)
        await self._write("delete", lambda tx: self._delete(tx, call))
        return Reply()

    # -- one thing -----------------------------------------------------------------------------

    def find(self, tx: Tx, call: Call, rule: str, *, lock: str = "") -> Row:
        """The row that the path names, if the caller sees it and the rule lets them; Missing or Forbidden."""
        return self._found(tx, call, rule, lock)[0]

    def _found(
        self, tx: Tx, call: Call, rule: str, lock: str = ""
    ) -> tuple[Row, Mapping[str, object]]:
        """The same, with what rules look at of it."""
        resource, ident = self.resource, call.params[self.resource.ident]
        seen = resource.seen(call)
        where = (*seen, *self._inside(tx, call))
        row = rows.backing(resource).get(tx, resource, ident, where, lock)
        if row is None:
            if resource.style.hidden == "forbidden":
                # To who sees only their own, foreign and missing are alike; who may not at all is told so first.
                call.require(rule, resource.about(None, tx))
                if seen:
                    raise Forbidden("You are not authorized to perform the requested action.")
            raise resource.style.missing(resource.name, ident)
        target = resource.about(row, tx)
        call.require(rule, target)
        return row, target

    def _inside(self, tx: Tx, call: Call) -> tuple[Where, ...]:
        """What the path says of the parent, as a condition; Missing where the caller sees no such parent."""
        parent = self.resource.parent
        if parent is None:
            return ()
        self.parent_row(tx, call)
        return (self.resource.table.c[parent.column] == call.params[parent.resource.ident],)

    def parent_row(self, tx: Tx, call: Call, *, lock: str = "") -> Row:
        """The parent that the path names, if the caller sees it."""
        parent = self.resource.parent
        assert parent is not None
        above = Crud(parent.resource, self.transactions, self.quotas)
        return above.find(tx, call, parent.resource.rule.show, lock=lock)

    def _page(self, tx: Tx, call: Call, query: filters.Query) -> tuple[Sequence[Row], bool]:
        resource = self.resource
        seen = (*resource.seen(call), *self._inside(tx, call))
        order = filters.ordering(resource, query)
        where = (*seen, *query.where)
        if query.marker is not None:
            # A page may begin after a row that the filters leave out, but not after one that the caller cannot see.
            last = rows.marked(tx, resource, query.marker, seen, order)
            if last is None:
                raise Invalid(f"Invalid marker: {query.marker} could not be found.")
            where = (*where, filters.after(order, last))
        by = [expression.desc() if down else expression.asc() for _, expression, down in order]
        limit = query.limit or resource.style.most
        found = rows.backing(resource).select(tx, resource, where, by, limit + 1)
        more, found = len(found) > limit, found[:limit]
        return (found[::-1] if query.reverse else found), more

    # -- changes -------------------------------------------------------------------------------

    def _create(self, tx: Tx, call: Call, given: Row) -> Row:
        resource = self.resource
        values = dict(given)
        if resource.parent is not None:
            # Locked: it cannot go while something is put into it.
            values[resource.parent.column] = self.parent_row(tx, call, lock="update")[
                resource.parent.resource.id
            ]
        self._own(call, values)
        values = resource.hooks.prepare(tx, call, values)
        target = resource.about(values, tx)
        call.require(resource.rule.create, target)
        self._require(call, "create", values, target)
        for field in resource.fields:
            start = field.starting(values)
            if field.read is None and field.source not in values and start is not UNSET:
                values[field.source] = start
        if resource.tags:
            values.setdefault("tags", [])
        values = resource.hooks.validate(tx, call, values, None)
        if resource.rows is None:
            values[resource.id] = values.get(resource.id) or resource.style.new_id()
        if resource.quota and self.quotas is not None:
            self.quotas.take(tx, values[resource.owner], resource.quota)
        row = rows.backing(resource).insert(tx, resource, call, values)
        resource.hooks.created(tx, call, row)
        return row

    def _own(self, call: Call, values: Values) -> None:
        """Whose it will be: the caller's, or whom the body names where policies let it."""
        owner = self.resource.owner
        if not owner or (self.resource.parent and owner not in self.resource.table.c):
            return
        own = getattr(call.caller, owner, None)
        if self.resource.style.tenant_id:
            wanted = values.pop("project_id", None) or values.pop("tenant_id", None) or own
            values.pop("tenant_id", None)
        else:
            wanted = values.get(owner) or own
        if not wanted:
            raise Invalid(f"The token has no {owner}: say it in the request.")
        if wanted != own and self.resource.style.tenant_id:
            call.require("for_other_project")
        values[owner] = wanted

    def _update(self, tx: Tx, call: Call, given: Values) -> Row:
        resource = self.resource
        before, target = self._found(tx, call, resource.rule.update, "update")
        self.check_revision(call, before)
        self._require(call, "update", given, target)
        values = dict(given)
        values = resource.hooks.validate(tx, call, values, before)
        after = rows.backing(resource).update(tx, resource, call, before, values)
        if after is None:
            raise resource.style.missing(resource.name, str(before[resource.id]))
        resource.hooks.updated(tx, call, before, after)
        return after

    def _delete(self, tx: Tx, call: Call) -> None:
        resource = self.resource
        row = self.find(tx, call, resource.rule.delete, lock="delete")
        self.check_revision(call, row)
        resource.hooks.deleted(tx, call, row)
        if not rows.backing(resource).delete(tx, resource, call, row):
            raise resource.style.missing(resource.name, str(row[resource.id]))
        if resource.quota and self.quotas is not None:
            self.quotas.give_back(tx, str(row[resource.owner]), resource.quota)

    def check_revision(self, call: Call, row: Row) -> None:
        """If-Match, where the style knows revisions."""
        if self.resource.style.revisions:
            check_revision(call, row["revision_number"])

    def _require(
        self, call: Call, verb: str, given: Mapping[str, Any], target: Mapping[str, object]
    ) -> None:
        """The rules of each field that a change names, or to which a creation gives another value than the usual."""
        resource = self.resource
        for field in resource.fields:
            if not field.rule or field.source not in given:
                continue
            usual = field.starting(given) if field.usual is UNSET else field.usual
            if verb == "update" or given[field.source] != usual:
                call.require(field.rule.format(verb=verb), target)

    async def _write(self, verb: str, change: Callable[[Tx], T]) -> T:
        serializable = verb not in self.resource.unlocked
        return await self.transactions.write(change, serializable=serializable)

    # -- bodies and replies --------------------------------------------------------------------

    def _inner(self, call: Call) -> object:
        """What a body says of one thing."""
        resource, given = self.resource, call.body
        if set(given) != {resource.name}:
            raise Invalid(f"The body must have {resource.name!r}, and nothing else.")
        return given[resource.name]

    def _items(self, call: Call) -> tuple[Sequence[Row], bool]:
        resource, given = self.resource, call.body
        if resource.several and set(given) != {resource.plural}:
            raise Invalid(f"The body must have {resource.plural!r}, and nothing else.")
        if not resource.several and not (resource.style.bulk and set(given) == {resource.plural}):
            if resource.style.bulk and set(given) != {resource.name}:
                raise Invalid(
                    f"The body must have {resource.name!r} (one) or {resource.plural!r} (several), and "
                    "nothing else."
                )
            return [self._read(call, "create", self._inner(call))], False
        items = given[resource.plural]
        if not isinstance(items, list) or not items:
            raise Invalid(f"{resource.plural} must be a list, and not empty.")
        several = cast("list[object]", items)
        if len(several) > MOST_BULK:
            raise Invalid(f"At most {MOST_BULK} {resource.plural} in one request.")
        return [self._read(call, "create", item) for item in several], True

    def _read(self, call: Call, verb: str, given: object) -> Values:
        """The values of a body. What only a creation may name is told as such."""
        resource = self.resource
        if verb == "update":
            named = cast("Body", given) if isinstance(given, dict) else {}
            later = {field.name for field in resource.given("update", call.version.minor)}
            first = {field.name for field in resource.given("create", call.version.minor)}
            if resource.style.tenant_id:
                first |= {"project_id", "tenant_id"}
            if resource.tags_given:
                first.add("tags")
            for name in named:
                if name in first - later:
                    raise Invalid(f"Cannot update read-only attribute {name}.")
        return shapes.read(resource, verb, call, cast("object", given))

    def _reply(self, call: Call, row: Row, fields: Any = ()) -> Reply:
        shown = shapes.renderer(self.resource, call.version.minor).one(call, row, fields)
        return Reply({self.resource.name: shown})

    def _about_caller(self, call: Call) -> Mapping[str, object]:
        """What the rule of a list looks at: the caller's own."""
        owner = self.resource.owner
        return self.resource.about({owner: getattr(call.caller, owner, None)}) if owner else {}
