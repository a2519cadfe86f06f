"""What happened, as rows and as a live stream: the timeline of every deploy, clean, inspection and release.

`record` writes a row in the caller's transaction; after the commit the row is pushed to the `EventHub`s of
this process. A hub also pushes what is only worth seeing live (a step that has just begun, progress between
two stored rows); such events carry no id. On PostgreSQL a hub reads the rows of other processes by a short
poll, but only while somebody is subscribed.

Progress is thinned out by its sender (`ProgressSampler`): stored at most every 2 s, pushed at most 5 times a second.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.db.database import (
    BulkStatement,
    Database,
    after_commit,
    from_json,
    metadata,
    timestamp,
    to_json,
)
from ingot.kit.tasks.clock import Clock, SystemClock

log = logging.getLogger(__name__)

KINDS = (
    "operation.started",
    "step.started",
    "step.progress",
    "step.done",
    "step.retry",
    "step.failed",
    "wait.started",
    "wait.done",
    "operation.done",
    "operation.failed",
    "note",
)

#: From what is usual to what is worst.
SEVERITIES = ("info", "warning", "error")

events = sa.Table(
    "events",
    metadata,
    # SQLite gives ever-growing numbers only to INTEGER PRIMARY KEY AUTOINCREMENT.
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("operation_id", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("step", sa.Text),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Index("ix_events_subject_id", "subject", "id"),
    sa.Index("ix_events_operation_id_id", "operation_id", "id"),
    sa.Index("ix_events_at", "at"),
    sqlite_autoincrement=True,
)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event; `id` is None for events that are pushed live without being stored.

    data: where known `duration` (seconds), `done` and `total` with `unit`, `rate` (units per second),
    `eta` (seconds left), `expected` (median seconds of this step on this model), `attempt`, `cause`,
    `next_action`, `log`, `rule` (what the step's author says of its deadline).
    """

    at: str
    subject: str
    kind: str
    title: str
    id: int | None = None
    operation_id: str | None = None
    step: str | None = None
    data: dict[str, Any] = {}
    project_id: str | None = None
    severity: str = "info"


Publisher = Callable[[Event], None]


@dataclass
class Binding:
    """What this process has attached to one database: its clock and those who want to know of commits."""

    clock: Clock = field(default_factory=SystemClock)
    publishers: list[Publisher] = field(default_factory=list[Publisher])
    kicks: list[Callable[[str], None]] = field(default_factory=list[Callable[[str], None]])


#: By the pool: engines that differ only in options (reads and transactions on PostgreSQL) share it.
_bindings: weakref.WeakKeyDictionary[sa.Pool, Binding] = weakref.WeakKeyDictionary()
_guard = threading.Lock()


def binding(conn: sa.Connection) -> Binding:
    """The binding of a connection's database; made when it is missing."""
    with _guard:
        found = _bindings.get(conn.engine.pool)
        if found is None:
            found = _bindings[conn.engine.pool] = Binding()
        return found


async def bind(db: Database, clock: Clock) -> Binding:
    """Attach a clock to a database, so that code with only a connection knows the time."""
    found = await db.read(binding)
    found.clock = clock
    return found


def now(conn: sa.Connection) -> str:
    """The time of the database's clock, as it is stored."""
    return timestamp(binding(conn).clock.now())


# -- writing ------------------------------------------------------------------------------------


def record(
    conn: sa.Connection,
    subject: str,
    kind: str,
    title: str,
    *,
    operation_id: str | None = None,
    step: str | None = None,
    data: dict[str, Any] | None = None,
    project_id: str | None = None,
    severity: str = "info",
    at: datetime | None = None,
) -> Event:
    """Write one event in this transaction; it is pushed to watchers after the commit.

    severity: "info", "warning" or "error".
    """
    event = Event(
        at=timestamp(at) if at else now(conn),
        subject=subject,
        kind=kind,
        title=title,
        operation_id=operation_id,
        step=step,
        data=data or {},
        project_id=project_id,
        severity=severity,
    )
    return record_all(conn, [event])[0]


_INSERT = BulkStatement.insert(
    events, *(c.name for c in events.c if c is not events.c.id), returning="id"
)


def record_all(
    conn: sa.Connection, new: Sequence[Event], already_pushed: Iterable[int] = ()
) -> list[Event]:
    """Write many events.

    already_pushed: positions in `new` of events that this process pushed live before they were stored.
    """
    if not new:
        return []
    rows = [
        {
            "at": event.at,
            "subject": event.subject,
            "operation_id": event.operation_id,
            "kind": event.kind,
            "title": event.title,
            "step": event.step,
            "data": to_json(event.data),
            "project_id": event.project_id,
            "severity": event.severity,
        }
        for event in new
    ]
    numbers = _INSERT.numbers(conn, rows)
    stored = [
        msgspec.structs.replace(event, id=number)
        for event, number in zip(new, numbers, strict=True)
    ]
    publishers = binding(conn).publishers
    if publishers:
        quiet = frozenset(already_pushed)
        after_commit(conn, lambda: _announce(publishers, stored, quiet))
    return stored


def _announce(publishers: list[Publisher], stored: list[Event], quiet: frozenset[int]) -> None:
    for publisher in list(publishers):
        owner = getattr(publisher, "__self__", None)
        for position, event in enumerate(stored):
            if position not in quiet:
                publisher(event)
            elif isinstance(owner, EventHub):
                owner.mark_seen(event)


# -- reading ------------------------------------------------------------------------------------


def query(
    conn: sa.Connection,
    *,
    subject: str | None = None,
    operation_id: str | None = None,
    project_id: str | None = None,
    after: int | None = None,
    before: int | None = None,
    since: str | None = None,
    until: str | None = None,
    kinds: Sequence[str] | None = None,
    severities: Sequence[str] = SEVERITIES,
    newest_first: bool = False,
    limit: int = 1000,
) -> list[Event]:
    """Stored events in the order of their ids; page with `after` (or `before` when newest first)."""
    statement = sa.select(events)
    for column, value in (
        (events.c.subject, subject),
        (events.c.operation_id, operation_id),
        (events.c.project_id, project_id),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if after is not None:
        statement = statement.where(events.c.id > after)
    if before is not None:
        statement = statement.where(events.c.id < before)
    if since is not None:
        statement = statement.where(events.c.at >= since)
    if until is not None:
        statement = statement.where(events.c.at < until)
    if len(severities) < len(SEVERITIES):
        statement = statement.where(events.c.severity.in_(severities))
    if kinds is not None:
        statement = statement.where(events.c.kind.in_(kinds))
    order = events.c.id.desc() if newest_first else events.c.id.asc()
    rows = conn.execute(statement.order_by(order).limit(limit)).mappings()
    return [_from_row(dict(row)) for row in rows]


def _from_row(row: dict[str, Any]) -> Event:
    return Event(**{**row, "data": from_json(row["data"])})


def last_id(conn: sa.Connection) -> int:
    """The highest id stored so far; 0 when there is none."""
    return conn.execute(sa.select(sa.func.coalesce(sa.func.max(events.c.id), 0))).scalar_one()


# -- live ---------------------------------------------------------------------------------------


class Subscription:
    """One watcher's bounded queue; iterate it, or take all that has come by `batch`.

    When the watcher is too slow the oldest are dropped. dropped: how many were lost; the stored ones can be
    read again with `query(after=...)`.
    """

    def __init__(self, wanted: Callable[[Event], bool] | None, size: int) -> None:
        """wanted: None for all."""
        self.wanted = wanted
        self.dropped = 0
        self._size = size
        self._queue: deque[Event] = deque()
        self._ended = False
        self._sleeper: asyncio.Future[None] | None = None
        self._held: list[Event] | None = None  # what came live during the catch-up
        self._caught: set[int] = set()  # ids that came with the catch-up

    def offer(self, event: Event) -> None:
        if self._held is not None:
            self._held.append(event)
        elif event.id not in self._caught:
            self._put(event)

    def hold(self) -> None:
        self._held = []

    def catch_up(self, event: Event) -> None:
        assert event.id is not None
        self._caught.add(event.id)
        self._put(event)

    def release(self) -> None:
        held, self._held = self._held or [], None
        for event in held:
            self.offer(event)
        newest = max(self._caught, default=0)
        self._caught = {number for number in self._caught if number > newest - 1000}

    def end(self) -> None:
        self._ended = True
        self._wake()

    async def batch(self, seconds: float | None = None) -> list[Event] | None:
        """All events that have come, as soon as there is one; [] after so many seconds, None at the end."""
        if not self._queue and not self._ended:
            await self._sleep(seconds)
        if not self._queue and self._ended:
            return None
        events = list(self._queue)
        self._queue.clear()
        return events

    async def _sleep(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._sleeper = loop.create_future()
        alarm = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._sleeper
        finally:
            self._sleeper = None
            if alarm is not None:
                alarm.cancel()

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    def _put(self, event: Event) -> None:
        if self.wanted is not None and not self.wanted(event):
            return
        if len(self._queue) >= self._size:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(event)
        self._wake()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            if self._ended:
                raise StopAsyncIteration
            await self._sleep(None)
        return self._queue.popleft()


class EventHub:
    """Pushes events to the watchers in this process; `open` before use, `close` at the end."""

    #: Rows of PostgreSQL can become visible out of the order of their ids; we look back this long.
    LOOK_BACK = 5.0
    POLL = 0.1
    #: A watcher rests so long after each batch, the longer the more there are: a hundred in a storm of events
    #: then cost the server some 2,000 writes a second, and wait 50 ms at the most.
    PAUSE_A_WATCHER = 0.0005
    MOST_PAUSE = 0.1

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self.clock = clock
        #: Those of one subject under its name, those of all under None: an event meets few that it is not for.
        self._watchers: dict[str | None, set[Subscription]] = {}
        self._binding: Binding | None = None
        self._poller: asyncio.Task[None] | None = None
        self._seen: dict[int, float] = {}
        self._floor = 0

    async def open(self) -> None:
        self._binding = await bind(self._db, self.clock)
        self._binding.publishers.append(self.publish)

    async def close(self) -> None:
        if self._binding is not None:
            self._binding.publishers.remove(self.publish)
            self._binding = None
        self._stop_poll()
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end()

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return sum(map(len, self._watchers.values()))

    async def rest(self) -> None:
        """What a watcher does between two batches: events that come meanwhile go together."""
        await self.clock.sleep(min(self.MOST_PAUSE, self.PAUSE_A_WATCHER * self.watchers))

    def publish(self, event: Event) -> None:
        """Push to all watchers at once; stored events also come here by themselves after their commit."""
        if event.id is not None:
            if event.id in self._seen:
                return
            self.mark_seen(event)
        for place in (None, event.subject):
            for watcher in self._watchers.get(place, ()):
                watcher.offer(event)

    def mark_seen(self, event: Event) -> None:
        """Remember that a stored event was pushed already, so that the poll leaves it out."""
        if self._poller is not None and event.id is not None:
            self._seen[event.id] = self.clock.monotonic()

    @asynccontextmanager
    async def subscribe(
        self,
        *,
        subject: str | None = None,
        operation_id: str | None = None,
        project_id: str | None = None,
        wanted: Callable[[Event], bool] | None = None,
        after: int | None = None,
        size: int = 1000,
    ) -> AsyncGenerator[Subscription, None]:
        """Watch events that match; `after` gives stored events with a higher id first.

        async with hub.subscribe(subject="node:…", after=last) as live:
            async for event in live: ...
        """

        def matches(event: Event) -> bool:
            return (
                (operation_id is None or event.operation_id == operation_id)
                and (project_id is None or event.project_id == project_id)
                and (wanted is None or wanted(event))
            )

        picky = any(one is not None for one in (operation_id, project_id, wanted))
        watcher = Subscription(matches if picky else None, size)
        self._watchers.setdefault(subject, set()).add(watcher)
        try:
            if not self._db.is_sqlite and self._poller is None:
                self._floor = await self._db.read(last_id)
                self._poller = asyncio.create_task(self._poll())
            if after is not None:
                watcher.hold()
                await self._catch_up(watcher, after, subject, operation_id)
                watcher.release()
            yield watcher
        finally:
            self._leave(subject, watcher)

    def _leave(self, subject: str | None, watcher: Subscription) -> None:
        beside = self._watchers[subject]
        beside.discard(watcher)
        if not beside:
            del self._watchers[subject]
        if not self._watchers:
            self._stop_poll()

    async def _catch_up(
        self,
        watcher: Subscription,
        after: int,
        subject: str | None,
        operation_id: str | None,
    ) -> None:
        while True:
            page = await self._db.scan(
                lambda conn, start=after: query(
                    conn, subject=subject, operation_id=operation_id, after=start, limit=500
                )
            )
            for event in page:
                watcher.catch_up(event)
            if page:
                after = page[-1].id or after
            if len(page) < 500:
                return

    def _stop_poll(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
            self._poller = None
            self._seen.clear()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self.POLL)
            try:
                rows = await self._db.read(lambda conn: query(conn, after=self._floor, limit=5000))
            except Exception:  # the database may be away for a moment; watchers wait
                log.exception("events could not be read")
                continue
            for event in rows:
                self.publish(event)
            self._raise_floor()

    def _raise_floor(self) -> None:
        old = self.clock.monotonic() - self.LOOK_BACK
        done = [number for number, seen in self._seen.items() if seen < old]
        for number in done:
            del self._seen[number]
        self._floor = max([self._floor, *done])


class ProgressSampler:
    """Decides for one step's progress what is stored and what is pushed, and computes rate and time left."""

    STORE_EVERY = 2.0
    PUSH_EVERY = 0.2

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._first: float | None = None
        self._stored = self._began
        self._pushed = float("-inf")

    def measure(
        self, done: float, total: float | None
    ) -> tuple[float | None, float | None, bool, bool]:
        """(rate per second, seconds left, store it, push it) for a new reading."""
        moment = self._clock.monotonic()
        if self._first is None:
            self._first = done
            self._began = moment
        elapsed = moment - self._began
        rate = (done - self._first) / elapsed if elapsed > 0 and done > self._first else None
        left = (total - done) / rate if rate and total is not None else None
        finished = total is not None and done >= total
        store = moment - self._stored >= self.STORE_EVERY
        push = finished or moment - self._pushed >= self.PUSH_EVERY
        if store:
            self._stored = moment
        if push:
            self._pushed = moment
        return rate, left, store, push
