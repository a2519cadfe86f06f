"""The timeline over HTTP: operations, their steps, and events, as JSON or as a live stream (SSE).

Our own API (no OpenStack service has one): `ingot watch`, `ingot events` and the dashboard read it.

    GET /timeline/v1/operations?subject=node:<uuid>&live=true
    GET /timeline/v1/operations/{id}             with its steps
    GET /timeline/v1/events?subject=…&operation=…&after=…&limit=…
    GET /timeline/v1/deadlines?kind=…&profile=…  what was learned of them; administrators and system readers
    GET /timeline/v1/audit?user=…&target=…&…     who changed what and who was refused, newest first
    GET /timeline/v1/stream?subject=…&after=…    text/event-stream

Administrators and system readers see everything, members of a project what belongs to their project.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from ingot.kit.api.operations import Authenticator, Call, Operation, Reply, Service
from ingot.kit.audit import recorder as audit_recorder
from ingot.kit.auth.policy import Policy
from ingot.kit.db.database import Database, from_json, timestamp
from ingot.kit.faults import Fault, Invalid, Kind, Missing, Unauthenticated, Unavailable
from ingot.kit.http.server import plain_envelope
from ingot.kit.tasks import events
from ingot.kit.tasks.events import Event, EventHub
from ingot.workflow import store
from ingot.workflow.learned import learned
from ingot.workflow.types import OperationRow, StepRow

RULES = {
    "timeline:all": "role:admin or (role:reader and system_scope:all)",
    "timeline:own": "role:reader or role:member or role:admin",
}
#: A comment line now and then keeps proxies from closing a quiet stream.
KEEP_ALIVE_SECONDS = 15.0
#: So often the caller of a stream is asked whether they may still listen.
STILL_SECONDS = 3.0
#: Streams of one project (of one user, where somebody sees everything) that a process serves.
MOST_STREAMS = 200

#: How many are told at once.
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class OperationQuery(msgspec.Struct, forbid_unknown_fields=True):
    subject: str | None = None
    live: bool = False
    limit: Limit = 100


class EventQuery(msgspec.Struct, forbid_unknown_fields=True):
    """after, before: ids, both exclusive. since, until: times. severity: this one and what is worse."""

    subject: str | None = None
    operation: str | None = None
    after: int = 0
    before: int | None = None
    since: str | None = None
    until: str | None = None
    severity: Literal["info", "warning", "error"] = "info"
    limit: Limit = 500
    newest: bool = False


class DeadlineQuery(msgspec.Struct, forbid_unknown_fields=True):
    kind: str | None = None
    profile: str | None = None


class AuditQuery(msgspec.Struct, forbid_unknown_fields=True):
    """user: id or name. target: id. since, until: times. failed: only what was refused. cadf: in CADF's own form."""

    user: str | None = None
    target: str | None = None
    service: str | None = None
    request: str | None = None
    since: str | None = None
    until: str | None = None
    failed: bool = False
    before: int | None = None
    limit: Limit = 100
    cadf: bool = False


class StreamQuery(msgspec.Struct, forbid_unknown_fields=True):
    subject: str | None = None
    operation: str | None = None
    after: int | None = None


class Timeline:
    """The service; `hub` pushes what happens in this process. most_streams: of one project."""

    def __init__(self, db: Database, hub: EventHub, most_streams: int = MOST_STREAMS) -> None:
        self._most_streams = most_streams
        self._db = db
        self._hub = hub
        self._lines = Lines()
        self._streams: Counter[str] = Counter()

    def service(self, authenticator: Authenticator) -> Service:
        rule = "timeline:own"
        return Service(
            name="timeline",
            prefix="/timeline",
            operations=[
                Operation("GET", "/v1/operations", self.operations, rule, query=OperationQuery),
                Operation("GET", "/v1/operations/{id}", self.operation, rule),
                Operation("GET", "/v1/events", self.events, rule, query=EventQuery),
                Operation(
                    "GET", "/v1/deadlines", self.deadlines, "timeline:all", query=DeadlineQuery
                ),
                Operation("GET", "/v1/audit", self.audit, rule, query=AuditQuery),
                Operation("GET", "/v1/stream", self.stream, rule, query=StreamQuery),
            ],
            envelope=plain_envelope,
            policy=Policy(RULES),
            authenticator=authenticator,
        )

    async def operations(self, call: Call) -> Reply:
        query: OperationQuery = call.query
        rows = await self._db.scan(
            lambda conn: store.list_operations(
                conn,
                query.subject,
                query.limit,
                live=query.live,
                project=_project(call),
            )
        )
        return Reply({"operations": [_operation(row) for row in rows]})

    async def operation(self, call: Call) -> Reply:
        row = await self._db.read(lambda conn: store.operation(conn, call.params["id"]))
        if row is None or not _may_see(call, row.project_id):
            raise Missing(f"Operation {call.params['id']} could not be found.")
        steps = await self._db.read(lambda conn: store.list_steps(conn, row.id))
        return Reply({"operation": {**_operation(row), "steps": [_step(step) for step in steps]}})

    async def events(self, call: Call) -> Reply:
        query: EventQuery = call.query
        since, until = moment(query.since, "since"), moment(query.until, "until")
        found = await self._db.scan(
            lambda conn: events.query(
                conn,
                subject=query.subject,
                operation_id=query.operation,
                project_id=_project(call),
                after=query.after,
                before=query.before,
                since=since,
                until=until,
                severities=events.SEVERITIES[events.SEVERITIES.index(query.severity) :],
                limit=query.limit,
                newest_first=query.newest,
            )
        )
        return Reply({"events": found})

    async def deadlines(self, call: Call) -> Reply:
        query: DeadlineQuery = call.query
        return Reply({"deadlines": await learned(self._db, query.kind, query.profile)})

    async def audit(self, call: Call) -> Reply:
        query: AuditQuery = call.query
        since, until = moment(query.since, "since"), moment(query.until, "until")
        found = await self._db.scan(
            lambda conn: audit_recorder.query(
                conn,
                user=query.user,
                target=query.target,
                project_id=_project(call),
                service=query.service,
                request_id=query.request,
                since=since,
                until=until,
                failed=query.failed,
                before=query.before,
                limit=query.limit,
            )
        )
        return Reply(
            {"audit": [audit_recorder.cadf(one) for one in found] if query.cadf else found}
        )

    async def stream(self, call: Call) -> Reply:
        query: StreamQuery = call.query
        who = _project(call) or call.caller.user_id or ""
        if self._streams[who] >= self._most_streams:
            raise Fault(
                f"{self._most_streams} event streams are open already.",
                kind=Kind.TOO_MANY,
                next_action="Close some, or watch several subjects by one stream.",
                retry_after=STILL_SECONDS,
            )
        return Reply(
            stream=_StreamSlot(self._streams, who, self._live(query, call)),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _live(self, query: StreamQuery, call: Call) -> AsyncGenerator[bytes]:
        """Until the client leaves, or may not see these events any more."""
        subscription = self._hub.subscribe(
            subject=query.subject,
            operation_id=query.operation,
            project_id=_project(call),
            after=query.after,
        )
        async with subscription as live:
            yield b": ingot timeline\n\n"
            clock, asked = self._hub.clock, self._hub.clock.monotonic()
            said = asked
            while (batch := await live.batch(STILL_SECONDS)) is not None:
                now = clock.monotonic()
                if now - asked >= STILL_SECONDS:
                    if not await _still(call):
                        return
                    asked = clock.monotonic()
                if batch:
                    yield b"".join(map(self._lines.of, batch))
                elif now - said >= KEEP_ALIVE_SECONDS:
                    yield b": still here\n\n"
                if batch or now - said >= KEEP_ALIVE_SECONDS:
                    said = now
                await self._hub.rest()


class _StreamSlot:
    """A stream that counts from its request to its end, also where nobody ever reads it."""

    def __init__(self, taken: Counter[str], who: str, source: AsyncGenerator[bytes]) -> None:
        self._taken = taken
        self._who = who
        self._source = source
        self._open = True
        taken[who] += 1

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._source)

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._taken[self._who] -= 1
            if not self._taken[self._who]:
                del self._taken[self._who]
        await self._source.aclose()


async def _still(call: Call) -> bool:
    """Whether the caller may see what they saw when they came."""
    try:
        caller = await call.still()
    except Unauthenticated:
        return False
    except Unavailable:
        return True  # nobody can say so just now; nothing can be taken away just now either
    now = dataclasses.replace(call, caller=caller)
    return now.allows("timeline:own") and _project(now) == _project(call)


class Lines:
    """Events as lines of a stream, each encoded once for all who watch."""

    KEPT = 1024

    def __init__(self) -> None:
        self._made: OrderedDict[int, tuple[Event, bytes]] = OrderedDict()

    def of(self, event: Event) -> bytes:
        # While the event is kept here its id() is nobody else's.
        known = self._made.get(id(event))
        if known is not None:
            return known[1]
        line = _sse(event)
        self._made[id(event)] = (event, line)
        if len(self._made) > self.KEPT:
            self._made.popitem(last=False)
        return line


def _sse(event: Event) -> bytes:
    head = f"id: {event.id}\n" if event.id is not None else ""
    return head.encode() + b"data: " + msgspec.json.encode(event) + b"\n\n"


def moment(text: str | None, name: str) -> str | None:
    """A time of a query (ISO 8601, UTC where it has no offset) as it is stored. Invalid when it is none."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return timestamp(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise Invalid(
            f"{name}: {text[:40]!r} is no time.", next_action="Write it as 2026-01-31T12:00:00Z."
        ) from None


def _may_see(call: Call, project_id: str | None) -> bool:
    return call.allows("timeline:all") or (
        project_id is not None and project_id == call.caller.project_id
    )


def _project(call: Call) -> str | None:
    """Only what is this project's; None for everything."""
    if call.allows("timeline:all"):
        return None
    return call.caller.project_id or "no project"


def _operation(row: OperationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "subject": row.subject,
        "state": row.state,
        "step": row.step,
        "waiting_for": row.what or row.waiting_for,
        "wake_at": row.wake_at,
        "profile": row.profile,
        "project_id": row.project_id,
        "request_id": row.request_id,
        "requested_by": row.requested_by,
        "created_at": row.created_at,
        "ended_at": row.ended_at,
        "fault": row.fault,
    }


def _step(row: StepRow) -> dict[str, Any]:
    return {
        "name": row.label,
        "sort": row.sort,
        "state": row.state,
        "attempt": row.attempt,
        "started_at": row.started_at,
        "deadline_at": row.deadline_at,
        "ended_at": row.ended_at,
        "duration": row.duration,
        "result": from_json(row.result),
        "fault": row.fault,
    }
