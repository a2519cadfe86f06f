"""Who changed what, and who was refused: a record of every request that is more than a look.

`kit.asgi` notes each one where operations are dispatched, so no service can forget it; a log-in adds who it says
it is. Notes wait in memory and go out together (twice a second): a change costs its client nothing, and a process
that is killed loses half a second of records, no change. They go to the database, and where the operator wants it
to a file and to a webhook. Records carry the fields of CADF (DSP0262); bodies never, only the names of what changed.

Refused requests and log-ins that are alike are counted (`kit.refusals`): whoever tries passwords or ids cannot fill a
disk. Records wait for a database that cannot be written to, as many as there is room for; those beyond are counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from ingot.kit import log
from ingot.kit.audit.records import AUTHENTICATE, Entry, Stored
from ingot.kit.audit.refusals import SECONDS, Refusals
from ingot.kit.db import errors as db_errors
from ingot.kit.db.database import (
    BulkStatement,
    Database,
    from_json,
    json_column,
    metadata,
    timestamp,
    to_json,
)
from ingot.kit.faults import Fault
from ingot.kit.http import untrusted
from ingot.kit.tasks.clock import Clock

_log = log.get("audit")

#: Seconds between two writings, and records in one.
PAUSE = 0.5
BATCH = 500
#: Records that wait for a database that cannot be written to; the oldest are dropped (and counted) beyond it.
MOST_WAITING = 10_000
#: Characters of each text of a record.
LONGEST = 255

audit = sa.Table(
    "audit",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("client", sa.Text),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target_type", sa.Text, nullable=False),
    sa.Column("target_id", sa.Text),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("user_id", sa.Text),
    sa.Column("user_name", sa.Text),
    sa.Column("project_id", sa.Text),
    json_column("data", nullable=False),
    sa.Index("ix_audit_at", "at"),
    sa.Index("ix_audit_target_id_id", "target_id", "id"),
    sa.Index("ix_audit_user_id_id", "user_id", "id"),
    sa.Index("ix_audit_project_id_id", "project_id", "id"),
    sqlite_autoincrement=True,
)


#: Where records go beside the database: an awaitable taker of a batch, which never raises. It is given an empty one
#: now and then, to try again what it could not take.
Taker = Callable[[Sequence[Entry]], Awaitable[None]]


class Audit:
    """Takes records at once, and writes them by and by; `open` before use, `close` at the end."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        host: str,
        takers: Iterable[Taker] = (),
        *,
        keep: bool = True,
    ) -> None:
        """keep: in the database too."""
        self._db = db
        self._clock = clock
        self._host = host
        self._takers = tuple(takers)
        self._keep = keep
        self._waiting: deque[Entry] = deque()  # for the database
        self._untold: deque[Entry] = deque(maxlen=MOST_WAITING)  # for the takers
        self._lost = 0
        self._lost_ever = 0
        self._stuck = False  # the last writing failed, and that was told
        self._singly = 0  # of those that wait, the first so many are written one by one
        self._come = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._refusals = Refusals()
        self._minute = float("-inf")

    async def open(self) -> None:
        self._writer = asyncio.create_task(self._write_for_ever(), name="audit")

    async def close(self) -> None:
        """Write what waits, and end."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            self._writer = None
        self._settle_refused()
        await self._write_all()
        if self._waiting:
            _log.error("audit records are lost with this process", count=len(self._waiting))

    def text(self) -> bytes:
        """How it is with the records, in Prometheus's text format."""
        return (
            "# HELP ingot_audit_records_waiting Audit records that could not be written yet.\n"
            "# TYPE ingot_audit_records_waiting gauge\n"
            f"ingot_audit_records_waiting {len(self._waiting)}\n"
            "# HELP ingot_audit_records_lost_total Audit records that will never be written.\n"
            "# TYPE ingot_audit_records_lost_total counter\n"
            f"ingot_audit_records_lost_total {self._lost_ever}\n"
        ).encode()

    def note(self, entry: Entry) -> None:
        """Take a record. Never waits and never fails."""
        entry = _plain_entry(entry)
        entry.at = timestamp(self._clock.now())
        entry.host = self._host
        if entry.status >= 400 and not self._is_new(entry):
            return
        self._take(entry)

    def _take(self, entry: Entry) -> None:
        _tell(entry)
        self._untold.append(entry)
        if self._keep:
            self._waiting.append(entry)
            self._drop_oldest()
        self._come.set()

    def _drop_oldest(self) -> None:
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._lost += 1
            self._lost_ever += 1

    def _is_new(self, entry: Entry) -> bool:
        """Whether a refusal is told by itself."""
        now = self._clock.monotonic()
        if now - self._minute >= SECONDS:
            self._settle_refused()
            self._minute = now
        return self._refusals.is_new(entry)

    def _settle_refused(self) -> None:
        """Tell how many more there were of each sort."""
        for entry in self._refusals.settle(timestamp(self._clock.now())):
            self._take(entry)

    # -- writing -----------------------------------------------------------------------------

    async def _write_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SECONDS):
                    await self._come.wait()
            except TimeoutError:
                pass
            await self._clock.sleep(PAUSE)
            self._come.clear()
            if self._clock.monotonic() - self._minute >= SECONDS:
                self._settle_refused()
            await self._write_all()

    async def _write_all(self) -> None:
        """To the takers first: they hear also of what a database cannot be told just now."""
        told = list(self._untold)
        self._untold.clear()
        for taker in self._takers:
            await taker(told)
        while self._waiting and await self._write_some():
            pass

    async def _write_some(self) -> bool:
        """Write a batch; False when it must wait."""
        most = 1 if self._singly else BATCH
        batch = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        lost = 0 if self._singly else self._lost
        rows = [*batch, self._confession(lost)] if lost else batch
        try:
            await self._db.write(lambda conn: _insert(conn, rows), serializable=False)
        except Exception as error:
            if not db_errors.is_of_values(error):
                self._put_back(batch)
                self._tell_stuck(error)
                return False
            if len(rows) > 1:  # one of them stands in the way of the others
                self._singly = len(batch)
                self._put_back(batch)
                return True
            self._lost_ever += 1
            _tell_dropped(batch[0], error)
        self._tell_free()
        self._lost -= lost
        self._singly = max(0, self._singly - 1)
        return True

    def _put_back(self, batch: list[Entry]) -> None:
        self._waiting.extendleft(reversed(batch))
        self._drop_oldest()
        self._come.set()

    def _tell_stuck(self, error: Exception) -> None:
        """Once, not at every trial."""
        if not self._stuck:
            why = error.text if isinstance(error, Fault) else untrusted.words(repr(error))
            _log.warning("audit records wait", count=len(self._waiting), why=why)
        self._stuck = True

    def _tell_free(self) -> None:
        if self._stuck:
            _log.info("audit records are written again", lost=self._lost)
        self._stuck = False

    def _confession(self, lost: int) -> Entry:
        return Entry(
            at=timestamp(self._clock.now()),
            host=self._host,
            service="audit",
            action="lose",
            target_type="audit/records",
            status=500,
            data={"count": lost, "reason": "the database could not be written to for too long"},
        )


_INSERT = BulkStatement.insert(audit, *(c.name for c in audit.c if c is not audit.c.id))


def _insert(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    rows = [{**msgspec.structs.asdict(one), "data": to_json(one.data)} for one in entries]
    _INSERT.run(conn, rows)


def _plain_entry(entry: Entry) -> Entry:
    """The record with all its texts as `_plain` makes them."""
    return Entry(**{name: _plain(value) for name, value in msgspec.structs.asdict(entry).items()})


def _plain(value: Any) -> Any:
    """A text (or what is in a list or JSON object) on one short line; no NULs or the like, which no database keeps."""
    if isinstance(value, str):
        # What is so already stays as it is: records are looked for by names and ids.
        as_it_is = value.isprintable() and len(value) <= LONGEST
        return value if as_it_is else untrusted.words(value, LONGEST)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {_plain(name): _plain(inner) for name, inner in items}
    if isinstance(value, list):
        return [_plain(inner) for inner in cast("list[Any]", value)]
    return value


def _tell_dropped(entry: Entry, error: Exception) -> None:
    _log.error(
        "an audit record cannot be stored",
        action=f"{entry.action} {entry.target_type}",
        target=entry.target_id,
        request=entry.request_id,
        why=untrusted.words(repr(error)),
    )


def _tell(entry: Entry) -> None:
    """The same as a line of the log."""
    values: dict[str, Any] = {
        "who": entry.user_name or entry.user_id,
        "client": entry.client,
        "action": f"{entry.action} {entry.target_type}",
        "target": entry.target_id or entry.data.get("name"),
        "status": entry.status,
        "request": entry.request_id,
        "reason": entry.data.get("reason"),
        "count": entry.data.get("count"),
    }
    kept = {name: value for name, value in values.items() if value is not None}
    if entry.refused_login:
        _log.warning("log-in refused", **kept)
    elif entry.action == AUTHENTICATE:
        _log.debug("log-in", **kept)
    elif entry.status >= 400:
        _log.info("change refused", **kept)
    else:
        _log.info("change", **kept)


def delete_oldest(conn: sa.Connection, most: int, limit: int) -> int:
    """Delete up to `limit` of the oldest so that at most `most` records stay; gives the number deleted."""
    newest = sa.select(sa.func.max(audit.c.id)).scalar_subquery()
    old = sa.select(audit.c.id).where(audit.c.id <= newest - most).order_by(audit.c.id).limit(limit)
    return conn.execute(sa.delete(audit).where(audit.c.id.in_(old.scalar_subquery()))).rowcount


# -- reading ------------------------------------------------------------------------------------


def query(
    conn: sa.Connection,
    *,
    user: str | None = None,
    target: str | None = None,
    project_id: str | None = None,
    service: str | None = None,
    request_id: str | None = None,
    since: str | None = None,
    until: str | None = None,
    failed: bool = False,
    before: int | None = None,
    limit: int = 1000,
) -> list[Stored]:
    """Records, newest first. user: id or name. since, until: stored times. failed: only what was refused."""
    statement = sa.select(audit)
    if user is not None:
        statement = statement.where((audit.c.user_id == user) | (audit.c.user_name == user))
    for column, value in (
        (audit.c.target_id, target),
        (audit.c.project_id, project_id),
        (audit.c.service, service),
        (audit.c.request_id, request_id),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if since is not None:
        statement = statement.where(audit.c.at >= since)
    if until is not None:
        statement = statement.where(audit.c.at < until)
    if failed:
        statement = statement.where(audit.c.status >= 400)
    if before is not None:
        statement = statement.where(audit.c.id < before)
    rows = conn.execute(statement.order_by(audit.c.id.desc()).limit(limit)).mappings()
    return [Stored(**{**row, "data": from_json(row["data"])}) for row in map(dict, rows)]


def cadf(entry: Entry) -> dict[str, Any]:
    """A record as CADF's JSON has it."""
    data = dict(entry.data)
    event: dict[str, Any] = {
        "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
        "eventType": "activity",
        "eventTime": entry.at,
        "action": entry.action,
        "outcome": "success" if entry.status < 400 else "failure",
        "reason": {"reasonType": "HTTP", "reasonCode": str(entry.status)},
        "initiator": {
            "typeURI": "service/security/account/user",
            "id": entry.user_id or "unknown",
            "name": entry.user_name,
            "project_id": entry.project_id,
            "request_id": entry.request_id,
            "host": {"address": entry.client, "agent": data.pop("agent", None)},
        },
        "target": {"typeURI": f"service/{entry.target_type}", "id": entry.target_id or "unknown"},
        "observer": {"typeURI": f"service/{entry.service}", "id": entry.host, "name": "ingot"},
        "requestPath": data.pop("path", None),
    }
    if "reason" in data:
        event["reason"]["policyType"] = data.pop("reason")
    if "name" in data:
        event["target"]["name"] = data.pop("name")
    if isinstance(entry, Stored):
        event["id"] = str(entry.id)
    event["attachments"] = [
        {"name": name, "typeURI": "xs:string", "content": value} for name, value in data.items()
    ]
    return event
