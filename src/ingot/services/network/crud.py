"""List, show, create, update and delete of any resource of this API, told once.

A resource (see `resources`) says what it is; the manners of the API (envelopes, bulk, paging, fields, If-Match,
quotas, who sees what) are here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import next_link
from ingot.kit.auth.policy import Caller
from ingot.kit.db.database import IntegrityError
from ingot.kit.faults import Fault, Invalid, Kind
from ingot.services.network import filters, store
from ingot.services.network.faults import missing
from ingot.services.network.schemas import given, read

if TYPE_CHECKING:
    from ingot.services.network.service import Networks

T = TypeVar("T")

#: Never more in one bulk request.
MOST_BULK = 500


class Resource(ABC):
    """What one kind of resource adds to the common manners.

    name, plural: as in bodies ("security_group"); path: as in URLs ("security-groups").
    columns: wire name -> column, where they differ. sealed: fields that only a creation may name.
    """

    name: str
    plural: str
    path: str
    collection: store.Collection[Any]
    shape: type[Any]
    filters: Mapping[str, filters.Filter]
    columns: Mapping[str, str] = {}
    sortable: tuple[str, ...]
    sealed: tuple[str, ...] = ()
    taggable = True
    #: Verbs whose transactions lock what they are about first (`hold`), or make what only counters, locks and unique
    #: constraints decide on (`create`): a crowd waits in a queue where serializable ones would be run again and again.
    locking: frozenset[str] = frozenset()

    def __init__(self, nets: Networks) -> None:
        self.nets = nets

    @abstractmethod
    def visible(self, caller: Caller) -> store.Where:
        """What a caller sees who does not see everything."""

    @abstractmethod
    def wire(self, row: Any, see_all: bool) -> dict[str, Any]: ...

    @abstractmethod
    def create(self, conn: sa.Connection, call: Call, item: Any, project_id: str) -> Any: ...

    @abstractmethod
    def update(self, conn: sa.Connection, call: Call, row: Any, values: dict[str, Any]) -> Any: ...

    @abstractmethod
    def delete(self, conn: sa.Connection, call: Call, row: Any) -> None: ...

    def target(self, conn: sa.Connection, row: Any) -> dict[str, object]:
        """What policy rules may look at."""
        return {"project_id": row.project_id}

    def hold(self, conn: sa.Connection, verb: str, id: str, *where: store.Where) -> Any:
        """Lock a resource for one of the `locking` verbs; 404 when there is none that meets the conditions.

        Gives it where it is read with the lock, else None.
        """
        raise NotImplementedError

    def before_list(self, call: Call) -> Callable[[sa.Connection], None] | None:
        """A change that must have happened before a list is read; None when there is none to do."""
        return None

    def require(
        self,
        call: Call,
        verb: str,
        target: Mapping[str, object],
        values: Mapping[str, Any],
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """The rule of the verb, and those of each named attribute that is not at its default."""
        rule = f"{verb}_{self.name}"
        call.require(rule, target)
        for name, value in values.items():
            attribute = f"{rule}:{name}"
            if attribute in call.policy.rules and value != (defaults or {}).get(name):
                call.require(attribute, target)


def see_all(call: Call) -> bool:
    return call.allows("see_all")


def scope(resource: Resource, call: Call) -> tuple[store.Where, ...]:
    return () if see_all(call) else (resource.visible(call.caller),)


def find(conn: sa.Connection, resource: Resource, call: Call, id: str) -> Any:
    """The row a caller names; 404 when there is none or it is not theirs to see."""
    row = store.get(conn, resource.collection, id, *scope(resource, call))
    if row is None:
        raise missing(resource.collection.what, id)
    return row


def find_for(
    conn: sa.Connection, resource: Resource, call: Call, id: str, verb: str = "update"
) -> Any:
    """The same as it stays until the transaction ends."""
    # SQLite has one writer, which this is.
    row: Any = None
    if verb in resource.locking and conn.dialect.name != "sqlite":
        row = resource.hold(conn, verb, id, *scope(resource, call))
    return find(conn, resource, call, id) if row is None else row


async def write(
    nets: Networks, change: Callable[[sa.Connection], T], *, serializable: bool = True
) -> T:
    """A transaction; when another one took the same value first, once more, so that the checks tell."""
    try:
        return await nets.db.write(change, serializable=serializable)
    except IntegrityError:
        try:
            return await nets.db.write(change, serializable=serializable)
        except IntegrityError as again:
            raise Fault(
                "The request conflicts with another one that came at the same time.",
                kind=Kind.CONFLICT,
                internal=str(again),
                next_action="Try again.",
            ) from None


class Crud:
    """The handlers of one resource."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.nets = resource.nets

    async def index(self, call: Call) -> Reply:
        resource = self.resource
        query = filters.parse(call, resource.filters, resource.sortable)
        prepare = resource.before_list(call)
        if prepare is not None:
            await write(self.nets, prepare)
        where = (*scope(resource, call), *query.where)
        # A page may begin after a row that the query does not give, but not after one that is somebody else's.
        seen = scope(resource, call)
        rows, more = await self.nets.db.scan(lambda conn: self._page(conn, query, where, seen))
        everything = see_all(call)
        body: dict[str, Any] = {
            resource.plural: [_pick(resource.wire(row, everything), query.fields) for row in rows]
        }
        links = _links(call, query, rows, more)
        if links:
            body[f"{resource.plural}_links"] = links
        return Reply(body)

    def _page(
        self,
        conn: sa.Connection,
        query: filters.Query,
        where: tuple[store.Where, ...],
        seen: tuple[store.Where, ...],
    ) -> tuple[list[Any], bool]:
        table = self.resource.collection.table
        order = filters.ordering(table, self.resource.columns, query)
        if query.marker is not None:
            columns = [expression.label(name) for name, expression, _ in order]
            found = conn.execute(sa.select(*columns).where(table.c.id == query.marker, *seen))
            last = found.mappings().first()
            if last is None:
                raise Invalid(f"Invalid marker: {query.marker} could not be found.")
            where = (*where, filters.after(order, cast("Mapping[str, Any]", last)))
        by = [expression.desc() if down else expression.asc() for _, expression, down in order]
        sorted_by = by if query.sort or query.marker or query.limit else ()
        limit = query.limit or filters.MOST
        rows = store.select(
            conn, self.resource.collection, *where, order=sorted_by, limit=limit + 1
        )
        more = len(rows) > limit
        rows = rows[:limit]
        return (rows[::-1] if query.reverse else rows), more

    async def show(self, call: Call) -> Reply:
        row = await self.nets.db.read(
            lambda conn: find(conn, self.resource, call, call.params["id"])
        )
        wanted = tuple(value for name, value in call.args if name == "fields" and value)
        return self._reply(call, row, wanted)

    async def create(self, call: Call) -> Reply:
        items, bulk = self._items(call.body)
        rows = await self._write("create", lambda conn: self._create(conn, call, items))
        if not bulk:
            return self._reply(call, rows[0])
        everything = see_all(call)
        wires = [self.resource.wire(row, everything) for row in rows]
        return Reply({self.resource.plural: wires})

    def _items(self, body: dict[str, Any]) -> tuple[list[Any], bool]:
        resource = self.resource
        if set(body) == {resource.name}:
            return [read(resource.shape, body[resource.name], resource.name)], False
        if set(body) == {resource.plural} and isinstance(body[resource.plural], list):
            items = cast("list[object]", body[resource.plural])
            if not items:
                raise Invalid(f"{resource.plural} is empty.")
            if len(items) > MOST_BULK:
                raise Invalid(f"At most {MOST_BULK} {resource.plural} in one request.")
            return [read(resource.shape, item, resource.plural) for item in items], True
        raise Invalid(
            f"The body must have {resource.name!r} (one) or {resource.plural!r} (several), and nothing else."
        )

    def _create(self, conn: sa.Connection, call: Call, items: list[Any]) -> list[Any]:
        projects = [_project(call, item) for item in items]
        made = [
            self.resource.create(conn, call, item, project_id)
            for item, project_id in zip(items, projects, strict=True)
        ]
        for project_id in sorted(set(projects)):
            self.nets.check_quota(conn, project_id, self.resource.name, projects.count(project_id))
        return made

    async def update(self, call: Call) -> Reply:
        resource = self.resource
        if set(call.body) != {resource.name}:
            raise Invalid(f"The body must have {resource.name!r}, and nothing else.")
        item = read(resource.shape, call.body[resource.name], resource.name)
        values = given(item)
        for name in ("project_id", "tenant_id"):
            if getattr(item, name) is not msgspec.UNSET:
                raise Invalid(f"Cannot update read-only attribute {name}.")
        for name in resource.sealed:
            if name in values:
                raise Invalid(f"Cannot update read-only attribute {name}.")

        def change(conn: sa.Connection) -> Any:
            row = find_for(conn, resource, call, call.params["id"])
            check_revision(call, row.revision_number)
            return resource.update(conn, call, row, values)

        return self._reply(call, await self._write("update", change))

    async def delete(self, call: Call) -> Reply:
        def change(conn: sa.Connection) -> None:
            row = find_for(conn, self.resource, call, call.params["id"], "delete")
            check_revision(call, row.revision_number)
            self.resource.delete(conn, call, row)

        await self._write("delete", change)
        return Reply()

    async def _write(self, verb: str, change: Callable[[sa.Connection], T]) -> T:
        serializable = verb not in self.resource.locking
        return await write(self.nets, change, serializable=serializable)

    def _reply(self, call: Call, row: Any, fields: tuple[str, ...] = ()) -> Reply:
        wire = self.resource.wire(row, see_all(call))
        return Reply({self.resource.name: _pick(wire, fields)})


def _project(call: Call, item: Any) -> str:
    """The project a new resource belongs to."""
    wanted = item.project_id or item.tenant_id or call.caller.project_id
    if not wanted:
        raise Invalid("The token has no project: say project_id in the request.")
    if wanted != call.caller.project_id:
        call.require("for_other_project")
    return str(wanted)


def check_revision(call: Call, revision: int) -> None:
    """If-Match: revision_number=N guards against changing what somebody else has changed."""
    header = call.header("If-Match")
    if not header:
        return
    name, _, number = header.strip().strip('"').partition("=")
    if name != "revision_number" or not number.isdecimal() or len(number) > 20:
        raise Invalid("If-Match must be revision_number=N.")
    if int(number) != revision:
        raise Fault(
            f"RevisionNumberConstraintFailed: expected {number}, the resource has {revision}.",
            kind=Kind.PRECONDITION,
            details={"type": "RevisionNumberConstraintFailed"},
            next_action="Read the resource again and repeat the change.",
        )


def _pick(wire: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: wire[name] for name in fields if name in wire} if fields else wire


def _links(call: Call, query: filters.Query, rows: list[Any], more: bool) -> list[dict[str, str]]:
    """Links to the pages around this one."""
    links: list[dict[str, str]] = []
    if not rows or (query.limit is None and not more):
        return links
    limit = query.limit or filters.MOST
    forward = more or query.reverse
    backward = query.marker is not None if not query.reverse else more
    plain = [(name, value) for name, value in call.args if name != "page_reverse"]
    call.args[:] = plain
    if forward:
        links.append({"rel": "next", "href": next_link(call, rows[-1].id, limit)})
    if backward:
        href = next_link(call, rows[0].id, limit) + "&page_reverse=True"
        links.append({"rel": "previous", "href": href})
    return links
