import asyncio

import pytest

from ingot.kit import events
from ingot.kit.clock import SystemClock
from ingot.kit.db import Database
from ingot.kit.faults import Fault, Kind
from ingot.workflow import Engine, LocalDispatcher, Workflow, operation, signal, start, steps

pytestmark = pytest.mark.anyio


async def story(op, input):
    async def work(context):
        return {"n": 1, "attempt": context.attempt}

    await op.step("a", work)
    await op.step("b", work, commit=lambda conn, result: None)
    got = await op.wait("agent", deadline=30, what="the agent")
    await op.commit("c", lambda conn: 7)
    await op.sleep(0.05, name="nap")
    return got


async def ended(db, op_id):
    async with asyncio.timeout(10):
        while True:
            row = await db.read(lambda c: operation(c, op_id))
            if not row.live:
                return row
            await asyncio.sleep(0.005)


async def test_it(tmp_path):
    db = Database.at(tmp_path / "x.db")
    await db.create_all()
    hub = events.EventHub(db, SystemClock())
    await hub.open()
    engine = Engine(db, SystemClock(), [Workflow("deploy", None, story)], "h1")
    async with LocalDispatcher(engine):
        op_id = await db.write(lambda c: start(c, "deploy", "node:1", {"x": 1}))
        async with asyncio.timeout(5):
            while (await db.read(lambda c: operation(c, op_id))).state != "waiting":
                await asyncio.sleep(0.005)
        assert await db.write(lambda c: signal(c, "node:1", "agent", {"hello": 1}))
        row = await ended(db, op_id)
        assert row.state == "done", row
        assert row.result == {"hello": 1}
        print([s.label for s in await db.read(lambda c: steps(c, op_id))])
        for e in await db.read(lambda c: events.query(c)):
            print(e)

        async def bad(op, input):
            async def boom(ctx):
                raise Fault("no", kind=Kind.REFUSED)

            await op.step("x", boom)

        engine.add(Workflow("bad", None, bad))
        op_id = await db.write(lambda c: start(c, "bad", "node:1", {"x": 1}))
        row = await ended(db, op_id)
        assert row.state == "failed"
        print(row)
    await db.close()
