"""The harness over a workflow with every feature: whatever breaks, the operation ends and nothing is left."""

import contextlib
import shutil

import pytest
import sqlalchemy as sa

from ingot.kit.db.database import Database, metadata
from ingot.kit.faults import Fault
from ingot.workflow import Workflow
from ingot.workflow.testing import Scenario, exercise

pytestmark = pytest.mark.anyio

things = sa.Table(
    "test_things",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("writes", sa.Integer, nullable=False),
)


class World:
    """A machine with a network port, power and a disk."""

    def __init__(self, clock):
        self.clock = clock
        self.attached = False
        self.power = False
        self.writes = 0
        self.calls = []

    def scenario(self):
        return Scenario(
            workflows=[Workflow("deploy", None, self.deploy, self.succeeded, self.failed)],
            kind="deploy",
            prepare=lambda conn: conn.execute(
                sa.insert(things).values(id="1", state="deploying", writes=0)
            ),
            answer=lambda signal: {"from": signal},
            invariants=self.invariants,
        )

    async def deploy(self, op, _input):
        await op.step("attach", self.attach, undo=self.detach, deadline=60)
        await op.step("power on", self.power_on, undo=self.power_off, deadline=120, abortable=False)
        agent = await op.wait(
            "agent",
            deadline=600,
            what="the agent's call",
            commit_waiting=lambda conn: self.set_state(conn, "wait call-back"),
            commit_resumed=lambda conn, payload: self.set_state(conn, "deploying"),
        )
        assert agent == {"from": "agent"}
        for number in range(2):
            with contextlib.suppress(Fault):  # the author may live with a failed step
                await op.step("nicety", self.nicety, key=str(number), deadline=10)
            op.check_aborted()
        await op.step("write", self.write, commit=self.count_write, deadline=300)
        await op.commit("mark", lambda conn: self.set_state(conn, "written"))
        await op.sleep(30, name="cool down")
        await op.wait("boot", deadline=300)
        return {"writes": self.writes}

    async def attach(self, context):
        self.attached = True

    async def detach(self, context, result):
        self.attached = False

    async def power_on(self, context):
        await self.clock.sleep(5)
        self.power = True
        return {"power": True}

    async def power_off(self, context, result):
        await self.clock.sleep(2)
        self.power = False

    async def nicety(self, context):
        await context.progress(1, 2)

    async def write(self, context):
        await self.clock.sleep(100)
        self.writes += 1
        return 1024

    def count_write(self, conn, result):
        assert result == 1024
        conn.execute(sa.update(things).values(writes=things.c.writes + 1))

    def set_state(self, conn, state):
        conn.execute(sa.update(things).values(state=state))

    def succeeded(self, conn, op, result):
        self.set_state(conn, "active")

    def failed(self, conn, op, fault):
        assert fault.text
        self.set_state(conn, "deploy failed")

    def invariants(self, conn, operation):
        row = conn.execute(sa.select(things)).one()
        if operation.state == "done":
            assert row.state == "active"
            assert row.writes == 1, "the commit of a step was not exactly once"
            assert self.attached
            assert self.power
            assert self.writes <= 2
        else:
            assert row.state == "deploy failed"
            assert not self.power, "power was not undone"
            assert not self.attached, "the port was not undone"


@pytest.fixture
def make_database(request, url, tmp_path):
    """A fresh database for each run, made from one template."""
    template = tmp_path / "template.db"

    @contextlib.asynccontextmanager
    async def sqlite():
        path = tmp_path / "run.db"
        for old in tmp_path.glob("run.db*"):
            old.unlink()
        if template.exists():
            shutil.copy(template, path)
        db = Database(f"sqlite:///{path}")
        if not template.exists():
            await db.create_all()
            await db.write(lambda conn: None)
        yield db
        await db.close()

    @contextlib.asynccontextmanager
    async def postgres():
        db = Database(url)
        await db.create_all()
        tables = ", ".join(table.name for table in metadata.sorted_tables)
        await db.write(lambda conn: conn.exec_driver_sql(f"TRUNCATE {tables} CASCADE").rowcount)
        yield db
        await db.close()

    return sqlite if url.startswith("sqlite") else postgres


@pytest.mark.timeout(300)
async def test_every_fault_at_every_place(make_database):
    outcomes = await exercise(make_database, lambda clock: World(clock).scenario())
    wrong = [
        (str(outcome.case), outcome.operation.state, outcome.operation.fault)
        for outcome in outcomes
        if (outcome.case.what == "aborted") != (outcome.operation.state == "aborted")
    ]
    assert wrong == []
    told = {}
    for outcome in outcomes:
        told.setdefault(outcome.case.what, []).append(outcome.operation.state)
    assert set(told["no signal"]) == {"failed"}
    assert set(told["killed in undo"]) <= {"failed", "done"}
    # Only the two niceties may fail without failing the operation.
    assert told["permanent fault"].count("done") == 2
    assert told["bug"].count("done") == 2
    assert len(outcomes) > 80
