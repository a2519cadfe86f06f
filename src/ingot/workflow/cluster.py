"""The dispatcher of a cluster: which process advances an operation.

What a process has itself made ready it takes on itself, as long as it has less than `OWN` in hand: a claim costs a
tenth of a job, and requests come to all processes alike. For the rest there are jobs of Procrastinate on PostgreSQL,
which are fetched by whoever has room. A job says that some operations should be taken on: up to `BATCH` of one
conductor group, which is its queue. It carries their ids only, and ends when they are claimed. Everything that matters lives in our own rows, so its
table is disposable: a job whose operations another has claimed finds nothing to do, the reconcile loop defers one
for whatever is due and has none, and jobs left behind by dead workers are removed.

Processes that only serve the API use it with work=False: they defer jobs for what their transactions start.
Upgrades of Procrastinate's own schema between its versions are not handled here: `prepare` only makes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit.db.database import Database, DatabaseUnavailable, timestamp, when
from ingot.kit.tasks.cancellation import cancel_and_wait

from . import store
from .engine import Engine
from .pacing import TOGETHER, Pacing
from .tasks import Tasks

if TYPE_CHECKING:
    import procrastinate
    import psycopg

log = logging.getLogger(__name__)

TASK = "ingot.advance"
#: So many operations are in hand before a process leaves new ones of its own to whoever fetches them first.
OWN = 50
#: So many operations are in one job.
BATCH = 8
#: Jobs that a worker has in hand: one is fetched while the operations of another are claimed.
_AHEAD = 2
#: An arbitrary number that all processes agree on; held while the schema is made.
_SCHEMA_LOCK = 7_461_120_018

_QUEUED = sa.text(
    "SELECT jsonb_array_elements_text(args->'operation_ids') FROM procrastinate_jobs "
    "WHERE status = 'todo'"
)
# Jobs in the hands of workers that have not beaten for a while, or that were pruned.
_DROP_STALLED = sa.text(
    "DELETE FROM procrastinate_jobs WHERE status = 'doing' AND (worker_id IS NULL OR worker_id IN "
    "(SELECT id FROM procrastinate_workers "
    "WHERE last_heartbeat < now() - make_interval(secs => :seconds)))"
)


async def prepare(db: Database) -> None:
    """Make Procrastinate's tables when they are missing; safe when many processes start at once."""
    import psycopg
    from procrastinate.schema import SchemaManager

    async with await psycopg.AsyncConnection.connect(db.url) as conn:
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
        row = await (await conn.execute("SELECT to_regclass('procrastinate_jobs')")).fetchone()
        if row is None or row[0] is None:
            await conn.execute(SchemaManager.get_schema())


async def _single(conn: psycopg.AsyncConnection[Any]) -> None:
    """Each query is a transaction of its own.

    In one around it a process that is stopped before its COMMIT would keep jobs locked, and everybody else waiting,
    for as long as it stands still.
    """
    await conn.set_autocommit(True)


class ClusterDispatcher:
    """Runs an engine's operations as Procrastinate jobs; `start` and `stop`, `async with`, or `run`.

    most: operations advanced here at the same time. poll: seconds between looks for due operations and for
    jobs whose lock has become free. work=False: only defer jobs (API processes).
    """

    def __init__(
        self, engine: Engine, *, most: int = 200, poll: float = 0.5, work: bool = True
    ) -> None:
        if engine.db.is_sqlite:
            raise ValueError("the cluster's dispatcher needs PostgreSQL")
        self.engine = engine
        self._most = most
        self._pacing = Pacing(engine.saver)
        self._starting = asyncio.Lock()
        self._active = 0
        self._room = asyncio.Event()
        self._poll = poll
        self._work = work
        self._app: procrastinate.App | None = None
        self._worker: asyncio.Task[None] | None = None
        self._tasks = Tasks()
        self._kicked: set[str] = set()
        self._in_line: list[str] = []  # of them those that are being taken on, or get jobs
        self._deferring = False
        self._scan = asyncio.Event()
        self._dropped: set[tuple[str, str]] = set()

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        import procrastinate

        from .jobs import Jobs

        await prepare(self.engine.db)
        connector = procrastinate.PsycopgConnector(
            conninfo=self.engine.db.url,
            min_size=2,
            max_size=10,
            kwargs={"application_name": "ingot jobs"},
            configure=_single,
        )
        self._app = procrastinate.App(connector=connector)
        self._app.job_manager = Jobs(connector, self.engine.clock, lambda: self.engine.stopping)

        @self._app.task(name=TASK)
        async def advance(operation_ids: Sequence[str] = (), operation_id: str = "") -> None:
            # Before a job was for several operations it carried the id of one.
            # Where the database is away the scan says so, and defers a new job when it is back.
            with contextlib.suppress(DatabaseUnavailable):
                await self._advance(operation_ids or [operation_id])

        await self._app.open_async()
        if self._work:
            await self.engine.open()
        else:
            await self.engine.bind()
        await self.engine.db.read(lambda conn: store.add_kick(conn, self.kick))
        if not self._work:
            return
        self._worker = asyncio.create_task(self._work_jobs(self._app))
        loops = (self.engine.keep(self._scan.set), self._reconcile(), self._sweep())
        self._tasks.loops(loops)

    async def stop(self, grace: float = 0) -> None:
        """Stop; steps under way get `grace` seconds, then their operations are given back."""
        with contextlib.suppress(Exception):
            await self.engine.db.read(lambda conn: store.remove_kick(conn, self.kick))
        self.engine.stopping = True
        if self._worker is not None:
            self._worker.cancel()  # it fetches no more jobs, and waits for those it has
        await self._tasks.cancel()
        if self._work:
            await self.engine.close(grace)
        if self._worker is not None:
            await cancel_and_wait([self._worker])
        if self._app is not None:
            await self._app.close_async()

    async def run(self) -> None:
        await self.start()
        try:
            await self._tasks.join(*([self._worker] if self._worker else []))
        finally:
            await self.stop()

    async def __aenter__(self) -> ClusterDispatcher:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- waking ------------------------------------------------------------------------------------

    def kick(self, op_id: str) -> None:
        """Something was committed for this operation; hints of one moment go out together."""
        if op_id in self.engine.running:
            self._tasks.spawn(self.engine.check_abort(op_id))
        self._kicked.add(op_id)
        if not self._deferring:
            self._deferring = True
            self._tasks.spawn(self._defer_kicked())

    async def _defer_kicked(self) -> None:
        try:
            while self._kicked:
                ids, self._kicked = list(self._kicked), set()
                self._in_line = ids
                ids = await self._take(ids) if self._work else ids
                if not ids:
                    continue
                moment = timestamp(self.engine.clock.now())
                rows = await self.engine.db.read(
                    lambda conn, ids=ids, moment=moment: store.due(conn, moment, None, 1000, ids)
                )
                await self._defer(rows)
        except DatabaseUnavailable:
            pass  # the scan says so, and defers them when the database is back
        finally:
            self._deferring = False
            self._in_line = []

    async def _defer(self, rows: list[store.Row]) -> None:
        """Jobs for these operations."""
        import psycopg
        from procrastinate import exceptions, jobs

        groups: dict[str, list[str]] = {}
        for row in rows:
            groups.setdefault(row["group_name"], []).append(row["id"])
        new = [
            jobs.Job(
                queue=queue(group),
                lock=None,
                queueing_lock=None,
                task_name=TASK,
                task_kwargs={"operation_ids": [*ids[first : first + BATCH]]},
            )
            for group, ids in groups.items()
            for first in range(0, len(ids), BATCH)
        ]
        if new:
            assert self._app is not None
            try:
                await self._app.job_manager.batch_defer_jobs_async(new)
            except exceptions.ConnectorException as error:
                if isinstance(cause := error.__cause__, psycopg.OperationalError):
                    raise DatabaseUnavailable(cause) from error
                raise

    # -- working -----------------------------------------------------------------------------------

    async def _advance(self, ids: Sequence[str]) -> None:
        """The work of a job: take these operations on, as soon as there is room for them."""
        while ids:
            while self._active >= self._most:
                self._room.clear()
                await self._room.wait()
            async with self._starting:
                few = max(0, min(self._most - self._active, TOGETHER))
                await self._begin(ids[:few])
            ids = ids[few:]

    async def _take(self, ids: list[str]) -> list[str]:
        """Take on what there is room for, of what was made ready here; gives the others."""
        left: list[str] = []
        own = min(OWN, self._most)
        while ids and self._active < own:
            async with self._starting:
                few = max(0, min(own - self._active, TOGETHER))
                taken = await self._begin(ids[:few])
            left += [op_id for op_id in ids[:few] if op_id not in taken]
            ids = ids[few:]
        return left + ids

    async def _begin(self, ids: Sequence[str]) -> set[str]:
        """Claim those of a few operations that are there to be claimed, and advance them."""
        if not ids:
            return set()
        await self._pacing.turn()
        claims = await self.engine.claim(len(ids), only=ids)
        for claim in claims:
            self._active += 1
            self.engine.spawn(claim).add_done_callback(self._ended)
        return {claim.operation.id for claim in claims}

    def _ended(self, _: object) -> None:
        self._active -= 1
        self._room.set()

    async def _work_jobs(self, app: procrastinate.App) -> None:
        from procrastinate import exceptions

        queues = [queue(group) for group in self.engine.groups or ()]
        only: dict[str, Any] = {"queues": queues} if queues else {}
        while True:
            try:
                await app.run_worker_async(
                    **only,
                    name=self.engine.host,
                    concurrency=_AHEAD,
                    fetch_job_polling_interval=self._poll,
                    shutdown_graceful_timeout=10,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    update_heartbeat_interval=self.engine.membership.beat,
                    stalled_worker_timeout=self.engine.membership.dead,
                )
                return
            except exceptions.ConnectorException as error:
                # Procrastinate's worker ends when the database goes away; ours does not.
                log.warning(
                    "dispatcher: the queue of jobs cannot be used (%s); trying again",
                    " ".join(str(error.__cause__ or error).split()),
                )
                await asyncio.sleep(1)
            except Exception:
                log.exception("dispatcher: the worker broke; starting it again")
                await asyncio.sleep(1)

    async def _reconcile(self) -> None:
        """Jobs for what is due and has none: timers, orphans, lost hints."""
        while True:
            pause = self._poll
            try:
                pause = await self._reconcile_once()
            except DatabaseUnavailable as away:
                log.warning("dispatcher: all stands still: %s", away.text)
            except Exception:
                log.exception("dispatcher: the reconcile scan failed; trying again")
            self._scan.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._scan.wait()

    async def _reconcile_once(self) -> float:
        engine = self.engine
        moment = engine.clock.now()
        rows = await engine.db.read(
            lambda conn: store.due(conn, timestamp(moment), engine.groups, 1000)
        )
        rows += await engine.abandoned()
        if rows:
            queued = await engine.db.read(lambda conn: set(conn.execute(_QUEUED).scalars()))
            queued |= self._kicked | set(self._in_line)
            await self._defer([row for row in rows if row["id"] not in queued])
        await engine.check_aborts()
        wake = await engine.db.read(lambda conn: store.next_wake(conn, engine.groups))
        until = when(wake) if wake else None
        if until is None:
            return self._poll
        ahead = (until - moment + timedelta(milliseconds=1)).total_seconds()
        return max(0.02, min(ahead, self._poll))

    async def _sweep(self) -> None:
        """Now and then: jobs of dead workers, clock jumps."""
        while True:
            await asyncio.sleep(max(self.engine.membership.beat / 2, 0.1))
            try:
                seconds = self.engine.membership.dead
                await self.engine.db.write(
                    lambda conn, seconds=seconds: (
                        conn.execute(_DROP_STALLED, {"seconds": seconds}).rowcount
                    ),
                    serializable=False,
                )
                await self.engine.mend_clock_jumps()
            except DatabaseUnavailable:
                pass  # the scan says so
            except Exception:
                log.exception("dispatcher: the sweep failed; trying again")


def queue(group: str) -> str:
    """The name of a conductor group's queue."""
    return f"group {group}" if group else "default"
