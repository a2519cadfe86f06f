"""What all handlers share: finding a node that the caller may see, reading queries, waking transactions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import Page, page
from ingot.kit.auth.policy import Target
from ingot.kit.faults import Fault, Forbidden, Invalid, Kind, Locked, Missing, Unauthenticated
from ingot.kit.http.decoding import decode_body, too_large
from ingot.services.baremetal import store
from ingot.services.baremetal.boot import imagerights
from ingot.services.baremetal.context import By, Context
from ingot.services.baremetal.nodes import guards
from ingot.services.baremetal.nodes import lock_store as lockednode
from ingot.services.baremetal.nodes import store as node_store
from ingot.services.baremetal.orders import ACTS
from ingot.services.baremetal.policies import Redaction, target
from ingot.services.baremetal.types import Node

if TYPE_CHECKING:
    from ingot.services.baremetal.service import Baremetal

T = TypeVar("T")

NAMES_SINCE = 5
SUFFIX_UNTIL = 90
SMALL_BODY = 64 << 10
#: Kinds of operation that are over in a moment, and how often to look whether they are.
_MOMENTARY = ACTS | {"power", "boot mode", "secure boot", "virtual media", "vendor call"}
_LOOK_AGAIN = 0.1


@dataclass(frozen=True)
class NodeOwner:
    """A node as far as deciding about it needs."""

    uuid: str
    owner: str | None
    lessee: str | None


class Handlers:
    """Base of the handlers of one resource."""

    def __init__(self, baremetal: Baremetal) -> None:
        self.bm = baremetal
        self.ctx: Context = baremetal.ctx

    # -- transactions ------------------------------------------------------------------------

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        return await self.ctx.db.read(query)

    async def scan(self, query: Callable[[sa.Connection], T]) -> T:
        return await self.ctx.db.scan(query)

    async def write(self, change: Callable[[sa.Connection], T], *, serializable: bool = True) -> T:
        """A change. What is over in a moment is waited for, as upstream's conductors do: clients that
        ask for the next thing as soon as they see the state they waited for are not told 409.

        serializable: unless all that it decides by is of a node that it has locked first (`locked`), or is guarded
        by constraints."""
        return await self.patiently(lambda: self.ctx.db.write(change, serializable=serializable))

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The same for any transaction that asks whether a node is free."""
        clock = self.ctx.clock
        deadline = clock.monotonic() + self.ctx.settings.lock_wait
        while True:
            try:
                return await ask()
            except Locked as fault:
                if fault.details.get("kind") not in _MOMENTARY or clock.monotonic() >= deadline:
                    raise
            await clock.sleep(_LOOK_AGAIN)

    # -- who and what ------------------------------------------------------------------------

    def target(self, owner: str | None = None, lessee: str | None = None) -> Target:
        return target(owner, lessee, self.ctx.settings.service_project)

    def writer(self, call: Call) -> By:
        """Who changes a node, with the right by which the images are opened that the change names."""
        trusted = call.allows("service_role", self.target())
        return replace(by(call), right=imagerights.of(call.caller, trusted=trusted))

    def redaction(self, call: Call) -> Redaction:
        return Redaction(call.policy, call.caller, self.ctx.settings.service_project)

    def find(self, conn: sa.Connection, call: Call, ident: str, *rules: str) -> NodeOwner:
        """The node behind a uuid or name, if the caller may see it (404) and may do `rules` (403)."""
        found = self._look_up(conn, call, ident)
        self._may(call, ident, found.owner, found.lessee, rules)
        return found

    def locked(
        self, conn: sa.Connection, call: Call, ident: str, *rules: str
    ) -> lockednode.LockedNode:
        """As `find`, with the node locked until the transaction ends, and then read."""
        found = self._look_up(conn, call, ident, lock=True)
        self._may(call, ident, found.owner, found.lessee, rules)
        return lockednode.read(conn, found.uuid)

    def _may(
        self,
        call: Call,
        ident: str,
        owner: str | None,
        lessee: str | None,
        rules: Sequence[str],
    ) -> None:
        place = self.may_see(call, ident, owner, lessee)
        for rule in rules:
            call.require(rule, place)

    def may_see(self, call: Call, ident: str, owner: str | None, lessee: str | None) -> Target:
        """What rules of the node are decided on; Missing for those who may not know of it."""
        place = self.target(owner, lessee)
        if not call.allows("baremetal:node:get", place):
            if call.caller.anonymous:
                raise Unauthenticated("The request you have made requires authentication.")
            raise Missing(f"Node {ident} could not be found.")
        return place

    def node(self, conn: sa.Connection, call: Call, ident: str, *rules: str) -> Node:
        """As `find`, with the whole node."""
        for _, text in self.spellings(call, ident):
            node = store.find_node(conn, text)
            if node is not None:
                self._may(call, ident, node.owner, node.lessee, rules)
                return node
        raise self.absent(call, ident)

    def standing(
        self, conn: sa.Connection, call: Call, ident: str, *rules: str
    ) -> store.NodeForAction:
        """As `node`, with all that a verb must know."""
        for _, text in self.spellings(call, ident):
            found = store.find_for_action(conn, text)
            if found is not None:
                self._may(call, ident, found.node.owner, found.node.lessee, rules)
                return found
        raise self.absent(call, ident)

    def _look_up(
        self, conn: sa.Connection, call: Call, ident: str, *, lock: bool = False
    ) -> NodeOwner:
        for column, text in self.spellings(call, ident):
            row = node_store.owner_by(conn, column, text, lock=lock)
            if row is not None:
                return NodeOwner(*row)
        raise self.absent(call, ident)

    def spellings(self, call: Call, ident: str) -> list[tuple[str, str]]:
        """(column, value) by which a node is looked up; names only where they are known."""
        minor = call.version.minor
        texts = spelt(ident, minor)
        return [
            ("uuid" if ids.is_uuid(text) else "name", text)
            for text in texts
            if minor >= NAMES_SINCE or ids.is_uuid(text)
        ]

    def absent(self, call: Call, ident: str) -> Fault:
        if not guards.logical_name(ident, max(call.version.minor, 10)):
            return Invalid(f"Expected a logical name or UUID but received {ident}.")
        return Missing(f"Node {ident} could not be found.")

    def listing_project(self, call: Call, kind: str, project: str | None = None) -> str | None:
        """The project to which a list is limited; None for everything."""
        place = self.target()
        if not self.confined(call, kind):
            return project
        own = call.caller.project_id
        if not own or (project and project != own):
            raise Forbidden(f"Policy does not allow baremetal:{kind}:list_all to be performed.")
        call.require(f"baremetal:{kind}:list", place)
        return own

    def confined(self, call: Call, kind: str) -> bool:
        """Whether the caller sees only what is its project's, not all."""
        return not call.allows(f"baremetal:{kind}:list_all", self.target())

    def page(self, query: Any, sortable: frozenset[str], default: str = "id") -> Page:
        return page(
            query.limit,
            query.marker,
            query.sort_key,
            query.sort_dir,
            most=self.ctx.settings.max_limit,
            sortable=sortable,
            default_key=default,
        )


def spelt(ident: str, minor: int) -> tuple[str, ...]:
    """What may be meant by an identifier of a path, the likeliest first.

    Older microversions cut a suffix `.json`; a name may really end so.
    """
    if minor <= SUFFIX_UNTIL and ident.endswith(".json"):
        return *ids.spellings(ident.removesuffix(".json")), ident
    return ids.spellings(ident)


def by(call: Call) -> By:
    return By(call.caller.user_id or "", call.caller.project_id, call.request_id)


def location(call: Call, path: str) -> dict[str, str]:
    return {"Location": f"{call.base_url}/v1/{path}"}


def accepted(call: Call, path: str = "") -> Reply:
    """An empty reply; it must not claim to be JSON, since stock clients would try to read it."""
    more = location(call, path) if path else {}
    return Reply(headers={"Content-Type": "text/plain", **more})


def needs(call: Call, since: int, what: str) -> None:
    """406 for what this microversion does not know yet."""
    if call.version.minor < since:
        raise Fault(
            f"Request not acceptable: {what} needs at least API version 1.{since}.",
            kind=Kind.VERSION,
        )


async def optional_body(call: Call, shape: type[T]) -> T | None:
    """The body of a request that may have none."""
    data = b""
    async for chunk in call.stream():
        data += chunk
        if len(data) > SMALL_BODY:
            raise too_large(SMALL_BODY)
    return cast("T", decode_body(data, shape, 25)) if data.strip() else None


class PageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Paging parameters of all lists."""

    limit: int | None = None
    marker: str | None = None
    sort_key: str | None = None
    sort_dir: str | None = None
