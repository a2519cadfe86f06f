"""A conductor as a process of its own, to be killed by a test: `conductor.py URL HOST KIND LOG`."""

import asyncio
import os
import sys
import time

from ingot.kit.db.database import Database
from ingot.kit.tasks import fencing
from ingot.kit.tasks.clock import SystemClock
from ingot.workflow import ClusterDispatcher, Engine, LocalDispatcher, Workflow


async def main(url, host, kind, path):
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what, op, step):
        os.write(log, f"{time.monotonic()} {what} {op.subject} {host} {step}\n".encode())

    async def command(op, step):
        fencing.check()
        note("begin", op, step)
        await asyncio.sleep(0.05)
        note("end", op, step)

    async def orders(op):
        for _number in range(100):
            await command(op, op.epoch)
            await asyncio.sleep(0.03)

    async def long(op, _input):
        await op.step("orders", lambda context: orders(op))

    async def story(op, _input):
        for number in range(4):
            name = f"command-{number}"
            await op.step(name, lambda context, name=name: command(op, name))
        await op.wait("agent", deadline=60)
        await op.step("write", lambda context: command(op, "write"))

    db = Database(url)
    workflows = [Workflow("deploy", None, story), Workflow("long", None, long)]
    engine = Engine(db, SystemClock(), workflows, host, beat=0.5, dead=4)
    bodies = {"cluster": ClusterDispatcher, "local": LocalDispatcher}
    await bodies[kind](engine, most=10).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
