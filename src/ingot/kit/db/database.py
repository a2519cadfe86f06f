"""Connections and transactions: every difference between SQLite and PostgreSQL is here and in `kept`.

A transaction is a synchronous function of a connection. On SQLite it runs in the one writer thread
(`BEGIN IMMEDIATE`, WAL), on PostgreSQL by `run_sync` over asyncpg; so nobody can await hardware while
holding SQLite's only write lock, and there is one code path for both. What must happen only when the
transaction has really ended (waking a worker, telling watchers) is registered with `after_commit`.

Tables of all services hang on one `metadata`. JSON columns are text: `json_column()`; write them with
`to_json`, read them as `msgspec.Raw` (pass-through to a reply) or with `from_json`. Times are stored as
ISO texts with microseconds in UTC ("2026-01-01T00:00:00.000000+00:00") so that both databases sort and
compare them alike; see `timestamp()`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError

from ingot.kit import log
from ingot.kit.db.errors import (
    Contended,
    DatabaseFileReplaced,
    DatabaseUnavailable,
    NoRoom,
    ReadOnly,
    as_fault,
    is_away,
    was_ended,
)
from ingot.kit.db.gate import Gate
from ingot.kit.db.prepared import BulkStatement, PreparedStatement, among
from ingot.kit.db.sqlitefile import DatabaseFile, prepare
from ingot.kit.db.urls import connector

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = [
    "BulkStatement",
    "Contended",
    "Database",
    "DatabaseUnavailable",
    "IntegrityError",
    "NoRoom",
    "PreparedStatement",
    "ReadOnly",
    "after_commit",
    "among",
    "delete_older",
    "from_json",
    "json_column",
    "metadata",
    "partial_index",
    "raw_json",
    "timestamp",
    "to_json",
    "when",
]

_log = log.get("database")
#: So long after a write that found no room the database counts as full, unless another found some.
_FULL_SECONDS = 15.0
#: A small change may still find room between large ones that do not.
_CALM_SECONDS = 1.0

T = TypeVar("T")
Transaction = Callable[[sa.Connection], T]

#: All tables of all services. Foreign keys to another service are written as strings.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Where an index keeps its condition.
_CONDITION = "condition"
#: Seconds for which an idle connection to PostgreSQL is trusted.
_LOOK_AFTER = 1.0
#: Connections to PostgreSQL for reads, and as many for transactions.
_MOST = 10
#: Seconds for which somebody waits for one of them.
_TURN_SECONDS = 30.0
#: So many seconds may a transaction stand still before PostgreSQL ends it: a process that was stopped in the middle
#: of one (SIGSTOP, a sleeping host) must not keep its locks from those who take its work over.
STILL = 10.0
#: So often is a transaction begun that PostgreSQL ends because another one was in its way, and so many seconds long.
_TRIES = 50
_TRY_SECONDS = 25.0
#: What a serializable transaction reads by an index is noted by its pages; what it reads row after row, which is what
#: PostgreSQL does with small and with new tables, is the whole table, and then any other insert is in its way.
_WRITING = ("enable_seqscan = off", "jit = off")
#: The advisory lock of those that were ended: they run one after the other, over all processes.
_LANE = 0x1A607
#: So long does one wait for it: who holds it may have been stopped, and the lane only makes it likelier to get through.
_LANE_SECONDS = 5.0

_encoder = msgspec.json.Encoder()


def to_json(value: object) -> str:
    """JSON text for a JSON column."""
    return _encoder.encode(value).decode()


def from_json(text: str | None) -> Any:
    """The value of a JSON column; None for NULL."""
    return None if text is None else msgspec.json.decode(text)


def raw_json(text: str | None) -> msgspec.Raw:
    """A JSON column passed through to a reply without being parsed."""
    return msgspec.Raw(b"null" if text is None else text.encode())


def json_column(name: str, **options: Any) -> sa.Column[str]:
    """A column that holds JSON as text."""
    return sa.Column(name, sa.Text, **options)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """An index of the rows that meet a condition (SQL)."""
    # PostgreSQL's option is added where tables are made in it: to name it here would load PostgreSQL's half of
    # SQLAlchemy, 2.5 MiB, into every process.
    return sa.Index(
        name, *columns, unique=unique, sqlite_where=sa.text(where), info={_CONDITION: where}
    )


@event.listens_for(metadata, "before_create")
def _tell_postgres(_target: object, conn: sa.Connection, **_: Any) -> None:
    if conn.dialect.name != "postgresql":
        return
    for index in (index for table in metadata.tables.values() for index in table.indexes):
        if _CONDITION in index.info:
            index.dialect_options["postgresql"]["where"] = sa.text(index.info[_CONDITION])


def timestamp(moment: datetime) -> str:
    """A time as it is stored: UTC with microseconds and offset; sorts as text."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def when(text: str | None) -> datetime | None:
    """A stored time as a datetime."""
    return None if text is None else datetime.fromisoformat(text)


def delete_older(conn: sa.Connection, table: sa.Table, before: datetime, limit: int) -> int:
    """Delete up to `limit` rows whose `at` is older than `before`; gives the number deleted."""
    old = sa.select(table.c.id).where(table.c.at < timestamp(before)).limit(limit)
    return conn.execute(sa.delete(table).where(table.c.id.in_(old.scalar_subquery()))).rowcount


def after_commit(conn: sa.Connection, action: Callable[[], None]) -> None:
    """Run `action` on the event loop once this transaction has been committed; never when it was not."""
    cast("list[Callable[[], None]]", conn.info.setdefault("after_commit", [])).append(action)


_BEGIN = {
    (name, serializable): PreparedStatement(sa.text(text))
    for name, serializable, text in (
        ("sqlite", True, "BEGIN IMMEDIATE"),
        ("sqlite", False, "BEGIN IMMEDIATE"),
        ("postgresql", True, "BEGIN ISOLATION LEVEL SERIALIZABLE"),
        ("postgresql", False, "BEGIN"),
    )
}
_COMMIT, _ROLLBACK, _LIMIT_WAIT, _ENTER_LANE, _END_LIMIT, _LEAVE_LANE = (
    PreparedStatement(sa.text(text))
    for text in (
        "COMMIT",
        "ROLLBACK",
        f"SET lock_timeout = '{_LANE_SECONDS:.0f}s'",
        f"SELECT pg_advisory_lock({_LANE})",
        "RESET lock_timeout",
        f"SELECT pg_advisory_unlock({_LANE})",
    )
)


class _ConnectionPool:
    """Connections to PostgreSQL that stay open between uses.

    To fetch one from SQLAlchemy's pool and give it back costs twice what a short query does. `most` are open
    at the same time; who comes when all are in use waits for one.
    """

    def __init__(self, engine: AsyncEngine, most: int, settings: Sequence[str] = ()) -> None:
        """settings: of PostgreSQL, each of which every connection begins with."""
        self._engine = engine
        self._settings = settings
        self._free: list[tuple[AsyncConnection, float]] = []
        self._turns = asyncio.Semaphore(most)

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What `work` gives. A connection that was lost, or whose user went away, is not used again."""
        if self._turns.locked():
            async with asyncio.timeout(_TURN_SECONDS):
                await self._turns.acquire()
        else:
            await self._turns.acquire()
        try:
            return await self._run(await self._one(), work)
        finally:
            self._turns.release()

    async def _run(
        self, conn: AsyncConnection, work: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        whole = False
        try:
            result = await work(conn)
            whole = True
            return result
        except Exception as error:
            # What is read only may be so for this session alone: another server is the first one now.
            whole = not (is_away(error) or isinstance(as_fault(error), ReadOnly))
            if not whole:
                await self.close()
            raise
        finally:
            if whole and not conn.invalidated:
                self._free.append((conn, time.monotonic()))
            else:
                await conn.close()

    async def _one(self) -> AsyncConnection:
        while self._free:
            conn, since = self._free.pop()
            if time.monotonic() - since < _LOOK_AFTER or await _lives(conn):
                return conn
            await self.close()
        made = await self._engine.connect()
        try:
            for setting in self._settings:
                await made.exec_driver_sql(f"SET {setting}")
        except BaseException:
            await made.close()
            raise
        return made

    async def close(self) -> None:
        """Close those that are not in use."""
        free, self._free = self._free, []
        for conn, _ in free:
            await conn.close()


async def _lives(conn: AsyncConnection) -> bool:
    """Whether a connection that was idle can be used: a restarted database has dropped it."""
    try:
        await conn.exec_driver_sql("SELECT 1")
        await conn.rollback()
    except (DBAPIError, OSError):
        await conn.close()
        return False
    return True


class Database:
    """One database: `read` and `write` take a synchronous function of a connection.

    url: `sqlite:////path/file.db` or `postgresql://user:password@host/name`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._postgres: AsyncEngine | None = None
        self._sqlite: sa.Engine | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="db-write")
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="db-read")
        self._local = threading.local()
        self._open: list[sa.Connection] = []
        self._guard = threading.Lock()
        self._writing: set[asyncio.Task[Any]] = set()
        self._lane = asyncio.Lock()
        self._gate = Gate(_MOST)
        self._full: tuple[float, str] | None = None
        self._file = DatabaseFile(url if self.is_sqlite else "")
        if self.is_sqlite:
            # An error that is logged has the statement, never its values: they may be secrets, and long.
            self._sqlite = sa.create_engine(
                url,
                poolclass=sa.NullPool,
                connect_args={"check_same_thread": False},
                hide_parameters=True,
            )
            event.listen(self._sqlite, "connect", prepare)  # pyright: ignore[reportUnknownMemberType]
        else:
            # Only clusters need the asyncio half of SQLAlchemy (extra "postgres").
            from sqlalchemy.ext.asyncio import create_async_engine

            self._postgres = create_async_engine(
                "postgresql+asyncpg://",
                poolclass=sa.NullPool,
                hide_parameters=True,
                connect_args={
                    "async_creator_fn": connector(url),
                    "prepared_statement_cache_size": 500,  # all of ours
                    "server_settings": {
                        "idle_in_transaction_session_timeout": f"{STILL * 1000:.0f}"
                    },
                },
            )
            # As on SQLite reads see the newest state at each statement, and `_write` says BEGIN and COMMIT itself:
            # SQLAlchemy's own take three times as long.
            plain = self._postgres.execution_options(isolation_level="AUTOCOMMIT")
            self._reads = _ConnectionPool(plain, _MOST)
            self._writes = _ConnectionPool(plain, _MOST, _WRITING)

    # -- use ---------------------------------------------------------------------------------

    async def read(self, query: Transaction[T]) -> T:
        """Run a short query. On SQLite it runs right here (tens of microseconds). Raises Away."""
        if self._postgres is None:
            return self._read(query)
        try:
            return await self._reads.run(lambda conn: conn.run_sync(query))
        except Exception as error:
            if not is_away(error):
                raise
        try:
            # It may have been started again; the lines to it were given up, this one is new.
            return await self._reads.run(lambda conn: conn.run_sync(query))
        except Exception as error:
            if not is_away(error):
                raise
            raise DatabaseUnavailable(error) from error

    async def scan(self, query: Transaction[T]) -> T:
        """Run a query that may take longer than a millisecond: on SQLite in a reader thread."""
        if self._postgres is not None:
            return await self.read(query)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)

    async def write(self, change: Transaction[T], *, serializable: bool = True) -> T:
        """Run a transaction; its return value comes back after the commit.

        An exception rolls everything back and is raised here. On PostgreSQL it is SERIALIZABLE: what it read and
        decided by is still so when it commits, or it is run again; so it must change nothing but the database and
        its own variables. A violated constraint is run again once too, so that its own check can tell what stands
        in the way. `serializable=False` (READ COMMITTED) is for what changes rows only by conditional updates or
        after locking them. SQLite has one writer, and both are the same.

        A caller who goes away (is cancelled) does not stop a transaction that has begun, and what was to follow
        its commit follows. Raises Away, Contended.
        """
        task = asyncio.ensure_future(self._write_and_tell(change, serializable))
        self._writing.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    async def single(self, change: Transaction[T]) -> T:
        """Run a change that is one statement, with reads before or after it: BEGIN and COMMIT are not needed.

        On SQLite it is a transaction like others. Nothing follows its commit. Raises Away.
        """
        if self._postgres is None:
            return await self.write(change)
        try:
            return await self._writes.run(lambda conn: conn.run_sync(change))
        except Exception as error:
            if (fault := as_fault(error)) is error:
                raise
            self._note(fault)
            raise fault from error

    async def _write_and_tell(self, change: Transaction[T], serializable: bool) -> T:
        try:
            if self._postgres is not None:
                result, actions = await self._write_postgres(change, serializable)
            else:
                loop = asyncio.get_running_loop()
                result, actions = await loop.run_in_executor(self._writer, self._write, change)
        except DatabaseUnavailable as away:
            self._note(away)
            raise
        if self._full is not None and time.monotonic() - self._full[0] > _CALM_SECONDS:
            self._full = None
            _log.info("the database writes again")
        for action in actions:
            action()
        return result

    async def _write_postgres(
        self, change: Transaction[T], serializable: bool
    ) -> tuple[T, list[Callable[[], None]]]:
        if not serializable:
            return await self._tried(change, False)
        try:
            async with self._gate.entered(_TURN_SECONDS):
                return await self._tried(change, True)
        except TimeoutError as error:
            raise DatabaseUnavailable(error) from error

    async def _tried(
        self, change: Transaction[T], serializable: bool
    ) -> tuple[T, list[Callable[[], None]]]:
        until = time.monotonic() + _TRY_SECONDS
        violated = False
        for tried in range(_TRIES):
            try:
                if not tried and not (serializable and self._gate.alone):
                    return await self._writes.run(
                        lambda conn: conn.run_sync(_transact, change, serializable)
                    )
                # One of each process waits in the lane, so that others find free connections.
                async with self._lane:
                    return await self._writes.run(
                        lambda conn: conn.run_sync(_transact_in_lane, change, serializable)
                    )
            except IntegrityError:
                if violated or not serializable:
                    raise
                violated = True
            except Exception as error:
                if (fault := as_fault(error)) is not error:
                    raise fault from error
                if not was_ended(error):
                    raise
                if serializable:
                    self._gate.clashed()
                if tried == _TRIES - 1 or time.monotonic() > until:
                    raise Contended(error) from error
        raise AssertionError

    def _note(self, fault: Exception) -> None:
        """Tell of a full disk once, not with each request that meets it."""
        if isinstance(fault, NoRoom):
            if self._full is None:
                _log.error("the database cannot write", cause=fault.text, then=fault.next_action)
            self._full = (time.monotonic(), fault.text)

    @property
    def full(self) -> str:
        """Why nothing can be written, as the last write of a short while ago told it; "" when all is well."""
        if self._file.is_misplaced:
            return DatabaseFileReplaced().text
        if self._full is None or time.monotonic() - self._full[0] > _FULL_SECONDS:
            return ""
        return self._full[1]

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has seen it; nobody else needs a warning

    def on_statement(self, note: Callable[[str], None]) -> Callable[[], None]:
        """Call `note` with the text of each statement from now on; call what this gives back to end it.

        Kept statements, BEGIN and COMMIT are among them. `note` is called in whatever thread runs the statement.
        Not told of: what prepares a new connection.
        """
        engine = self._sqlite if self._postgres is None else self._postgres.sync_engine
        assert engine is not None

        def listener(_conn: Any, _cursor: Any, text: str, *_: Any) -> None:
            note(text)

        event.listen(engine, "before_cursor_execute", listener)  # pyright: ignore[reportUnknownMemberType]
        return lambda: event.remove(engine, "before_cursor_execute", listener)  # pyright: ignore[reportUnknownMemberType]

    # -- life --------------------------------------------------------------------------------

    async def create_all(self) -> None:
        """Create all tables that are missing (tests; production migrates)."""
        await self.write(metadata.create_all)

    async def close(self) -> None:
        if self._postgres is not None:
            await self._reads.close()
            await self._writes.close()
            await self._postgres.dispose()
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        for conn in self._open:
            conn.close()
        self._open.clear()

    @classmethod
    def at(cls, path: Path) -> Database:
        """The SQLite database in a file; the folder is made when missing."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(f"sqlite:///{path.absolute()}")

    # -- inside ------------------------------------------------------------------------------

    def _connection(self) -> sa.Connection:
        """This thread's own connection, opened at its first use and kept."""
        conn: sa.Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            assert self._sqlite is not None
            conn = self._sqlite.connect().execution_options(isolation_level="AUTOCOMMIT")
            # So that nobody's commit (a migration's) ends what `_write` has begun; to the driver it is nothing.
            conn.begin()
            self._local.conn = conn
            with self._guard:
                self._open.append(conn)
            self._file.opened()
        return conn

    def _read(self, query: Transaction[T]) -> T:
        # Autocommit: each statement sees the newest state, and no snapshot stays open behind our back.
        try:
            return query(self._connection())
        except DBAPIError as error:
            if (fault := as_fault(error)) is error:
                raise
            raise fault from error

    def _write(self, change: Transaction[T]) -> tuple[T, list[Callable[[], None]]]:
        try:
            conn = self._connection()
            self._file.require()
            return _transact(conn, change, True)
        except DBAPIError as error:
            if (fault := as_fault(error)) is error:
                raise
            raise fault from error


def _transact(
    conn: sa.Connection, change: Transaction[T], serializable: bool
) -> tuple[T, list[Callable[[], None]]]:
    """The outcome, and what is to follow the commit."""
    _BEGIN[conn.dialect.name, serializable].change(conn, {})
    try:
        conn.info.pop("after_commit", None)
        result = change(conn)
        _COMMIT.change(conn, {})
    except BaseException:
        if not conn.invalidated and not _ended_by_itself(conn):
            _ROLLBACK.change(conn, {})
        raise
    return result, cast("list[Callable[[], None]]", conn.info.pop("after_commit", []))


def _ended_by_itself(conn: sa.Connection) -> bool:
    """A full disk can have ended SQLite's transaction."""
    return not getattr(conn.connection.dbapi_connection, "in_transaction", True)


def _transact_in_lane(
    conn: sa.Connection, change: Transaction[T], serializable: bool
) -> tuple[T, list[Callable[[], None]]]:
    """The same, after and before others that were in somebody's way too.

    The lock is taken before BEGIN: the snapshot of a transaction that waits for it would be old.
    """
    inside = _enter_lane(conn)
    try:
        return _transact(conn, change, serializable)
    finally:
        if inside and not conn.invalidated:
            _LEAVE_LANE.first(conn, {})


def _enter_lane(conn: sa.Connection) -> bool:
    _LIMIT_WAIT.change(conn, {})
    try:
        _ENTER_LANE.first(conn, {})
    except DBAPIError as error:
        if not isinstance(as_fault(error), Contended):
            raise
        return False
    finally:
        if not conn.invalidated:
            _END_LIMIT.change(conn, {})
    return True
