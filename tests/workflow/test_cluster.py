"""Several processes on PostgreSQL: one is killed with kill -9, the other finishes everything."""

import asyncio
import collections
import functools
import gc
import signal as signal_numbers
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.kit.tasks.clock import SystemClock
from ingot.workflow import (
    ClusterDispatcher,
    Engine,
    Workflow,
    forget_conductor,
    list_conductors,
    live_operations,
    operation,
    operations,
    signal,
    start,
)
from ingot.workflow.tables import steps

Order = collections.namedtuple("Order", "at subject host step")

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def until(condition, seconds):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def conductor(url, host, kind, log):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "conductor.py"),
        url,
        host,
        kind,
        str(log),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"ready\n"
    return process


def _said_by_the_queue(conn):
    """What the sessions of the queue of jobs said last."""
    query = "SELECT query FROM pg_stat_activity WHERE application_name = 'ingot jobs'"
    return set(conn.execute(sa.text(query)).scalars())


def _orders(log):
    """The commands that were begun, in the order of their times."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    begun = [Order(float(at), *rest) for at, what, *rest in lines if what == "begin"]
    return sorted(begun, key=lambda one: one.at)


def overlaps(log, killed_at):
    """Commands given to a machine while another living conductor's command was under way."""
    under_way, found = {}, []
    for line in sorted(log.read_text().splitlines(), key=lambda line: float(line.split()[0])):
        moment, what, subject, host, _step = line.split()
        if what == "end":
            under_way.pop((subject, host), None)
            continue
        others = [owner for node, owner in under_way if node == subject and owner != host]
        if any(owner != "a" or float(moment) < killed_at for owner in others):
            found.append(line)
        under_way[subject, host] = moment
    return found


@pytest.mark.parametrize("kind", ["cluster", "local"])
@pytest.mark.timeout(180)
async def test_kill_9_during_50_operations(postgres_url, kind, tmp_path):
    log = tmp_path / "commands"
    db = Database(postgres_url)
    await db.create_all()
    processes = [await conductor(postgres_url, host, kind, log) for host in "ab"]
    try:
        subjects = [f"node:{number}" for number in range(50)]
        await db.write(lambda conn: [start(conn, "deploy", one, None) for one in subjects])

        async def under_way():
            query = sa.select(sa.func.count()).select_from(steps)
            both = log.exists() and {line.split()[3] for line in log.read_text().splitlines()}
            enough = await db.read(lambda conn: conn.execute(query).scalar_one()) > 40
            return enough and both == {"a", "b"}

        await until(under_way, 60)
        processes[0].kill()
        await processes[0].wait()
        killed_at = time.monotonic()

        async def told_and_ended():
            live = await db.read(live_operations)
            for subject, row in live.items():
                if row.waiting_for == "agent" and row.owner is None and row.wake_at:
                    await db.write(lambda conn, subject=subject: signal(conn, subject, "agent"))
            return not live

        await until(told_and_ended, 90)
        print(f"all ended {time.monotonic() - killed_at:.1f} s after kill -9 ({kind})")
        rows = await db.read(lambda conn: operations(conn, limit=100))
        assert len(rows) == 50
        assert {row.state for row in rows} == {"done"}
        assert max(row.epoch for row in rows) > 2, "nothing was taken over"
        assert overlaps(log, killed_at) == []
        after = [line.split() for line in log.read_text().splitlines()]
        assert sum(1 for _, what, *_ in after if what == "begin") <= 250 + 10
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await db.close()


async def test_api_process_starts_and_signals(postgres_url):
    """A process without workers hands its work to one that has them."""

    async def story(op, _input):
        return await op.wait("agent", deadline=60)

    workflow = Workflow("deploy", None, story)
    worker_db, api_db = Database(postgres_url), Database(postgres_url)
    await worker_db.create_all()
    worker = ClusterDispatcher(Engine(worker_db, SystemClock(), [workflow], "worker"))
    api = ClusterDispatcher(Engine(api_db, SystemClock(), [workflow], "api"), work=False)
    async with worker, api:
        op_id = await api_db.write(lambda conn: start(conn, "deploy", "node:1", None))

        async def is_waiting():
            row = await api_db.read(lambda conn: operation(conn, op_id))
            return row.state == "waiting"

        await until(is_waiting, 20)
        began = time.monotonic()
        await api_db.write(lambda conn: signal(conn, "node:1", "agent", {"x": 1}))

        async def is_done():
            return not (await api_db.read(lambda conn: operation(conn, op_id))).live

        await until(is_done, 20)
        print(f"woken and ended in {time.monotonic() - began:.3f} s")
        row = await api_db.read(lambda conn: operation(conn, op_id))
        assert (row.state, row.result) == ("done", {"x": 1})
        said = await api_db.read(_said_by_the_queue)
        # Never a transaction of more than one statement: a process that is stopped in one keeps its locks.
        assert said and not said & {"BEGIN", "COMMIT"}, said
    await worker_db.close()
    await api_db.close()


@pytest.mark.timeout(240)
async def test_stopped_and_continued(postgres_url, tmp_path):
    """A process that stood still gives no order of what others have taken over, not even one."""
    log = tmp_path / "commands"
    db = Database(postgres_url)
    await db.create_all()
    first = await conductor(postgres_url, "a", "cluster", log)
    processes = [first]
    try:
        subjects = [f"node:{number}" for number in range(8)]
        await db.write(lambda conn: [start(conn, "long", one, None) for one in subjects])
        orders = functools.partial(_orders, log)

        async def all_begun(host):
            return {one.subject for one in orders() if one.host == host} == set(subjects)

        await until(functools.partial(all_begun, "a"), 60)
        processes.append(await conductor(postgres_url, "b", "cluster", log))
        first.send_signal(signal_numbers.SIGSTOP)
        await until(functools.partial(all_begun, "b"), 60)
        gone = await db.read(list_conductors)
        assert {row.host: row.gone for row in gone} == {"a": True, "b": False}
        first.send_signal(signal_numbers.SIGCONT)

        async def all_ended():
            back = not any(row.gone for row in await db.read(list_conductors))
            return back and not await db.read(live_operations)

        await until(all_ended, 90)
        newest = dict.fromkeys(subjects, 0)
        for one in orders():
            # The step of an order is the claim's epoch here: none of an older claim may follow.
            assert int(one.step) >= newest[one.subject], one
            newest[one.subject] = int(one.step)
        rows = await db.read(lambda conn: operations(conn, limit=100))
        assert {row.state for row in rows} == {"done"}
        first.kill()
        await first.wait()

        async def is_missed():
            rows = await db.read(list_conductors)
            return {row.host: row.gone for row in rows} == {"a": True, "b": False}

        await until(is_missed, 60)
        assert not await db.write(lambda conn: forget_conductor(conn, "b"))
        assert await db.write(lambda conn: forget_conductor(conn, "a"))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await db.close()


async def test_a_job_that_others_have_removed_ends_without_a_word(postgres_url, caplog):
    """As after a takeover by mistake: its operation goes on or is somebody else's, and nothing is wrong."""
    began, gate = asyncio.Event(), asyncio.Event()

    async def work(_step):
        began.set()
        await gate.wait()

    async def story(op, _input):
        await op.step("work", work)

    db = Database(postgres_url)
    await db.create_all()
    engine = Engine(db, SystemClock(), [Workflow("deploy", None, story)], "a")
    removed = sa.text("DELETE FROM procrastinate_jobs WHERE status = 'doing'")
    cut = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ingot jobs'"
    )
    left = sa.text("SELECT count(*) FROM procrastinate_jobs")
    for harm in (removed, cut):
        began.clear()
        gate.clear()
        # There is room for one operation: the job of the other is in work until it can be taken on.
        async with ClusterDispatcher(engine, most=1):
            await db.write(lambda conn: start(conn, "deploy", "node:1", None))
            async with asyncio.timeout(60):
                await began.wait()
            await db.write(lambda conn: start(conn, "deploy", "node:2", None))

            async def waits():
                return await db.read(lambda conn: conn.execute(left).scalar_one()) > 0

            async def harmed(harm=harm):
                rows = await db.write(lambda conn: conn.execute(harm).rowcount)
                return rows > 0

            await until(waits, 60)
            await until(harmed, 60)
            gate.set()

            async def ended():
                return not await db.read(live_operations)

            async def none_left():
                return not await waits()

            await until(ended, 60)
            await until(none_left, 60)
    gc.collect()  # what asyncio has to say of tasks whose errors nobody saw, it says now
    told = [record for record in caplog.records if "ob was not found" in record.getMessage()]
    told += [
        record
        for record in caplog.records
        if record.exc_info and record.name.startswith(("asyncio", "procrastinate"))
    ]
    assert not told, [record.getMessage() for record in told]
    await db.close()
