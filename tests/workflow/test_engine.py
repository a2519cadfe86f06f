"""The engine's rules one by one, on both databases."""

import asyncio
import contextlib
import itertools
from datetime import timedelta

import pytest
import sqlalchemy as sa

from ingot.kit.db.database import delete_older
from ingot.kit.faults import Fault, Kind, Locked
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import SystemClock, VirtualClock
from ingot.workflow import (
    ONCE,
    Engine,
    LocalDispatcher,
    Loop,
    Workflow,
    cancel,
    estimate,
    live_operation,
    live_operations,
    operation,
    operations,
    signal,
    start,
    steps,
)
from ingot.workflow.testing import drive, settle

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def running(db, *workflows, clock=None, host="h", **options):
    engine = Engine(db, clock or SystemClock(), workflows, host, **options)
    async with LocalDispatcher(engine) as dispatcher:
        yield dispatcher


async def begin(db, kind="w", subject="node:1", input=None, **options):
    return await db.write(lambda conn: start(conn, kind, subject, input, **options))


async def reach(db, op_id, wanted=lambda row: not row.live, seconds=20):
    async with asyncio.timeout(seconds):
        while True:
            row = await db.read(lambda conn: operation(conn, op_id))
            if wanted(row):
                return row
            await asyncio.sleep(0.01)


def waiting(row):
    return row.state == "waiting"


async def nothing(context):
    return None


async def test_one_live_operation_per_subject(db):
    async def story(op, _input):
        await op.wait("go", deadline=60)

    async with running(db, Workflow("w", None, story)):
        op_id = await begin(db)
        with pytest.raises(Locked) as caught:
            await begin(db)
        assert op_id in caught.value.text
        await reach(db, op_id, waiting)
        assert (await db.read(lambda conn: live_operation(conn, "node:1"))).id == op_id
        assert set(await db.read(lambda conn: live_operations(conn, ["node:1", "x"]))) == {"node:1"}
        assert await db.write(lambda conn: signal(conn, op_id, "go"))
        assert (await reach(db, op_id)).state == "done"
        assert not await db.write(lambda conn: signal(conn, "node:1", "go")), "nobody is there"
        assert (await reach(db, await begin(db), waiting)).id != op_id
        assert await db.write(lambda conn: cancel(conn, "node:1", "enough", by="me"))
        row = (await db.read(lambda conn: operations(conn, "node:1", 1)))[0]
        row = await reach(db, row.id)
        assert (row.state, row.fault.kind, row.fault.text) == ("aborted", "aborted", "enough")


async def test_a_rolled_back_start_starts_nothing(db):
    told = []

    async def story(op, _input):
        told.append(op.id)

    async with running(db, Workflow("w", None, story)):

        def change(conn):
            start(conn, "w", "node:1", None)
            raise ValueError("changed my mind")

        with pytest.raises(ValueError, match="changed"):
            await db.write(change)
        op_id = await begin(db)
        await reach(db, op_id)
        assert told == [op_id]


async def test_transient_faults_are_retried_until_the_deadline(db):
    clock = VirtualClock()
    attempts = []

    async def flaky(context):
        attempts.append((context.attempt, clock.monotonic()))
        if len(attempts) < 4:
            raise Fault("BMC is busy", kind=Kind.BUSY, retry_after=7)
        return "ok"

    async def dead(context):
        raise Fault("BMC does not answer", kind=Kind.UNREACHABLE, next_action="Check its cable.")

    async def story(op, kind):
        work = flaky if kind == "flaky" else dead
        return await op.step("power on", work, deadline=100)

    async with running(db, Workflow("w", str, story), clock=clock) as dispatcher:
        first = await begin(db, input="flaky")
        second = await begin(db, subject="node:2", input="dead")

        async def done():
            return not await db.read(live_operations)

        await drive(db, clock, [dispatcher.engine], done)
        row = await db.read(lambda conn: operation(conn, first))
        assert row.result == "ok"
        assert [attempt for attempt, _ in attempts] == [1, 2, 3, 4]
        gaps = [b[1] - a[1] for a, b in itertools.pairwise(attempts)]
        assert all(7 <= gap < 9 for gap in gaps), gaps
        row = await db.read(lambda conn: operation(conn, second))
        assert row.state == "failed"
        assert row.fault.kind == "timed out"
        assert "power on" in row.fault.text
        assert "BMC does not answer" in row.fault.text
        assert row.fault.next_action == "Check its cable."


async def test_step_deadline_names_the_step(db):
    async def hang(context):
        await asyncio.Event().wait()

    async def story(op, _input):
        await op.step("inspect", hang, deadline=0.2)

    async with running(db, Workflow("w", None, story)):
        row = await reach(db, await begin(db))
        assert (row.state, row.fault.kind) == ("failed", "timed out")
        assert "inspect" in row.fault.text


async def test_abort_while_a_step_runs(db):
    entered, release = asyncio.Event(), asyncio.Event()
    ended = []

    async def slow(context):
        entered.set()
        await release.wait()
        ended.append("slow")

    async def story(op, abortable):
        await op.step("slow", slow, abortable=abortable)
        await op.step("next", nothing)

    async with running(db, Workflow("w", bool, story)):
        for abortable, expected in ((True, []), (False, ["slow"])):
            entered.clear()
            op_id = await begin(db, input=abortable)
            await entered.wait()
            await db.write(lambda conn: cancel(conn, "node:1", "stop it"))
            if not abortable:
                release.set()
            row = await reach(db, op_id)
            assert row.state == "aborted"
            assert ended == expected
            labels = [step.label for step in await db.read(lambda c, i=op_id: steps(c, i))]
            assert labels == ["slow"]


async def test_a_changed_workflow_stops_loudly_and_tells_its_owner(db):
    failed = []

    async def old(op, _input):
        await op.step("a", nothing)
        await op.wait("go", deadline=60)

    async def new(op, _input):
        await op.step("b", nothing)

    async with running(db, Workflow("w", None, old)):
        op_id = await begin(db)
        await reach(db, op_id, waiting)
    tell = Workflow("w", None, new, on_failure=lambda conn, op, fault: failed.append(fault.text))
    async with running(db, tell):
        await db.write(lambda conn: signal(conn, "node:1", "go"))
        row = await reach(db, op_id)
        assert row.state == "failed"
        assert "changed" in row.fault.text
        assert failed


async def test_a_broken_on_failure_leaves_no_lock(db):
    clock = VirtualClock()

    async def story(op, _input):
        raise Fault("no", kind=Kind.REFUSED)

    def broken(conn, op, fault):
        raise RuntimeError("a bug in on_failure")

    async with running(db, Workflow("w", None, story, on_failure=broken), clock=clock) as one:
        op_id = await begin(db)

        async def done():
            return not await db.read(live_operations)

        await drive(db, clock, [one.engine], done)
        assert (await db.read(lambda conn: operation(conn, op_id))).state == "failed"


async def test_signals_before_the_wait_and_latest(db):
    gate = asyncio.Event()

    async def hold(context):
        await gate.wait()

    async def story(op, _input):
        await op.step("hold", hold)
        first = await op.wait("beat", deadline=60, latest=True)
        second = await op.wait("other", deadline=60)
        return [first, second]

    async with running(db, Workflow("w", None, story)):
        op_id = await begin(db)
        for number in range(3):
            await db.write(lambda conn, n=number: signal(conn, "node:1", "beat", n))
        gate.set()
        await reach(db, op_id, lambda row: row.waiting_for == "other")
        await db.write(lambda conn: signal(conn, "node:1", "other", "x"))
        assert (await reach(db, op_id)).result == [2, "x"]


async def test_wall_clock_jumps_do_not_end_or_prolong_waits(db):
    class Jumping(VirtualClock):
        offset = timedelta(0)

        def now(self):
            return super().now() + self.offset

    clock = Jumping()

    async def story(op, _input):
        await op.wait("go", deadline=1000)

    async with running(db, Workflow("w", None, story), clock=clock) as dispatcher:
        op_id = await begin(db)
        await settle(db, [dispatcher.engine])
        clock.offset = timedelta(days=2)

        async def elapsed():
            return clock.monotonic() > 900

        await drive(db, clock, [dispatcher.engine], elapsed)
        assert (await db.read(lambda conn: operation(conn, op_id))).live, "ended by the jump ahead"
        clock.offset = timedelta(days=-5)

        async def done():
            return not await db.read(live_operations)

        await drive(db, clock, [dispatcher.engine], done)
        assert clock.monotonic() < 2500, "prolonged by the jump back"


async def test_learned_estimates(db):
    async def story(op, _input):
        await op.step("a", nothing)

    async with running(db, Workflow("w", None, story)):
        for number in range(25):
            await begin(db, subject=f"node:{number}", profile="r640")

        async def done():
            return not await db.read(live_operations)

        async with asyncio.timeout(20):
            while not await done():
                await asyncio.sleep(0.02)
        known = await db.read(lambda conn: estimate(conn, "w", "a", "r640"))
        assert known.count == 25
        assert 0 <= known.p50 <= known.p99 < 20
        assert await db.read(lambda conn: estimate(conn, "w", "a", "other")) is None


async def test_events_are_pushed_and_kept(db):
    hub = events.EventHub(db, SystemClock())
    await hub.open()

    async def work(context):
        for done in range(5):
            await context.progress(done * 100, 400)
        context.log("half way")

    async def story(op, _input):
        await op.step("write", work)

    async with running(db, Workflow("w", None, story, title="Deploy")):
        async with hub.subscribe(subject="node:1", after=0) as live:
            op_id = await begin(db)
            kinds = []
            async with asyncio.timeout(20):
                async for event in live:
                    kinds.append(event.kind)
                    if event.kind == "operation.done":
                        break
        assert kinds[:2] == ["operation.started", "step.started"]
        assert "step.progress" in kinds
        assert kinds[-2:] == ["step.done", "operation.done"]
        assert len([kind for kind in kinds if kind == "step.started"]) == 1, "pushed twice"
        kept = await db.read(lambda conn: events.query(conn, operation_id=op_id))
        assert [event.kind for event in kept] == [
            "operation.started",
            "step.started",
            "step.done",
            "operation.done",
        ]
        assert kept[2].data["log"] == ["half way"]
        assert kept[-1].title == "Deploy"
        gone = await db.write(
            lambda conn: delete_older(
                conn, events.events, SystemClock().now() + timedelta(days=1), 100
            )
        )
        assert gone >= 4
    await hub.close()


async def test_once_and_caught_faults(db):
    async def refuse(context):
        raise Fault("away", kind=Kind.UNREACHABLE)

    async def story(op, _input):
        try:
            await op.step("try", refuse, retry=ONCE)
        except Fault as fault:
            await op.sleep(0.05, name="breathe")  # told again from the record after this
            return str(fault.kind)

    async with running(db, Workflow("w", None, story)):
        assert (await reach(db, await begin(db))).result == "unreachable"


async def test_loop_shows_its_status():
    clock = VirtualClock()
    runs = []

    async def fn():
        runs.append(clock.monotonic())
        if len(runs) == 2:
            raise Fault("DHCP is away", next_action="Start it.")

    loop = Loop("dhcp", 30, fn, clock=clock)
    await loop.start()
    for _ in range(20):
        await asyncio.sleep(0)
    loop.kick()
    for _ in range(20):
        await asyncio.sleep(0)
    assert runs == [0, 0]
    assert "DHCP is away" in loop.status.error
    clock.advance(31)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (len(runs), loop.status.error, loop.status.failures) == (3, None, 1)
    await loop.stop()


async def test_tables_have_no_leftovers(db):
    """Signals of ended operations are gone."""
    from ingot.workflow.tables import signals

    async def story(op, _input):
        await op.wait("go", deadline=60)

    async with running(db, Workflow("w", None, story)):
        op_id = await begin(db)
        await reach(db, op_id, waiting)

        def twice(conn):
            signal(conn, "node:1", "go")
            signal(conn, "node:1", "go")
            signal(conn, "node:1", "other")

        await db.write(twice)
        await reach(db, op_id)
        count = sa.select(sa.func.count()).select_from(signals)
        assert await db.read(lambda conn: conn.execute(count).scalar_one()) == 0


async def test_a_commit_that_fails_takes_no_other_with_it(db):
    """Operations share their commits; what an author's function raises is for its own operation."""
    together = 10
    tries: list[str] = []

    async def story(op, number):
        def change(conn):
            tries.append(op.id)
            events.record(conn, op.subject, "note", f"of {number}")
            if number == 3:
                raise Fault("not this one", kind=Kind.REFUSED)

        await op.commit("change", change)

    subjects = {f"node:{number}": number for number in range(together)}
    ids = await db.write(
        lambda conn: [start(conn, "w", one, number) for one, number in subjects.items()]
    )
    async with running(db, Workflow("w", None, story)):
        rows = [await reach(db, op_id) for op_id in ids]
    assert [row.state for row in rows] == ["failed" if n == 3 else "done" for n in range(together)]
    assert "not this one" in rows[3].fault.text
    told = await db.read(lambda conn: events.query(conn, kinds=["note"]))
    kept = sorted(event.subject for event in told)
    assert kept == [one for one, number in sorted(subjects.items()) if number != 3], "once each"
    assert len(tries) > together, "they were never written together: the test shows nothing"
