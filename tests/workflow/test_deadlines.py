"""Deadlines that are learned: a hang is found, a slow machine is not failed, freaks and slow sites mislead nobody."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from ingot.kit.db.database import Database
from ingot.kit.tasks.clock import VirtualClock
from ingot.workflow import Engine, LocalDispatcher, Workflow, estimate, operation, start, steps
from ingot.workflow.history import Run
from ingot.workflow.learned import learned
from ingot.workflow.testing import drive
from ingot.workflow.timing import ENOUGH, Estimate, judge, learned_deadline

pytestmark = pytest.mark.anyio

DEFAULT = 600.0


def done(*seconds: float) -> list[Run]:
    return [Run(one, f"node:{number}") for number, one in enumerate(seconds)]


def late(*seconds: float, machines: int = 9) -> list[Run]:
    return [Run(one, f"node:{number % machines}", late=True) for number, one in enumerate(seconds)]


def limit(runs: list[Run], **bounds: float) -> float:
    return learned_deadline(DEFAULT, bounds.get("most"), judge(runs), bounds.get("least"))


# -- the rule ---------------------------------------------------------------------------------------


def test_the_default_holds_before_there_is_history() -> None:
    assert limit([]) == DEFAULT
    assert limit(done(*[50.0] * (ENOUGH - 1))) == DEFAULT


def test_a_hang_is_found_within_twice_the_learned_p99() -> None:
    runs = done(*(40.0 + number % 41 for number in range(100)))
    known = judge(runs)
    assert known is not None and known.p99 == 80.0
    assert limit(runs) == 160.0


@pytest.mark.parametrize("usual", [20.0, 50.0, 110.0])
def test_a_machine_twice_as_slow_as_its_peers_has_its_time(usual: float) -> None:
    alike = done(*[usual] * ENOUGH)
    assert limit(alike) >= 2 * usual * 1.2


def test_one_freak_decides_nothing() -> None:
    plain, freak = done(*[50.0] * 30), done(*[50.0] * 30, 5000.0)
    assert limit(freak) == limit(plain)


def test_one_hanging_machine_does_not_stretch_the_deadline_of_the_others() -> None:
    good = done(*[50.0] * 30)
    assert limit(good + late(*[125.0] * 20, machines=1)) == limit(good)
    assert limit(good + late(125.0, 125.0)) == limit(good)


def test_a_site_where_all_are_slow_learns_it_from_its_failures() -> None:
    assert limit(late(DEFAULT, DEFAULT)) == 2 * DEFAULT
    assert limit(late(DEFAULT, DEFAULT, 2 * DEFAULT)) == 4 * DEFAULT
    # Never beyond the author's ceiling, and not on one machine's word.
    assert limit(late(*[4 * DEFAULT] * 9)) == 4 * DEFAULT
    assert limit(late(DEFAULT, DEFAULT, machines=1)) == DEFAULT


def test_bounds_of_the_author_hold() -> None:
    quick = done(*[0.1] * ENOUGH)
    assert limit(quick) == 30.0
    assert limit(quick, least=200.0) == 200.0
    assert limit(done(*[500.0] * ENOUGH), most=700.0) == 700.0
    assert learned_deadline(10.0, None, Estimate(0.1, 0.1, 50)) == 10.0


# -- in the engine, in virtual time -----------------------------------------------------------------


class Site:
    """Machines of one model whose step takes as long as `seconds` says."""

    def __init__(self, db: Database) -> None:
        self.db, self.clock = db, VirtualClock()
        self.seconds: dict[str, float] = {}

    async def story(self, op, _input):
        async def work(context):
            await context.clock.sleep(self.seconds.get(op.subject, 50.0))
            return {"bytes": 1000}

        key = f"1 {op.subject.partition('/')[2] or 'deploy.erase'}"
        similar = key.split()[1]
        await op.step("work", work, key=key, deadline=200, similar=similar)

    async def run(self, *subjects: str) -> list[tuple[str, float]]:
        """State and virtual seconds of the step of each."""
        ids = [
            await self.db.write(lambda conn, s=s: start(conn, "w", s, None, profile="r640"))
            for s in subjects
        ]

        async def over() -> bool:
            rows = [await self.db.read(lambda conn, i=i: operation(conn, i)) for i in ids]
            return all(row is not None and not row.live for row in rows)

        await drive(self.db, self.clock, [self.engine], over)
        found = []
        for op_id in ids:
            row = await self.db.read(lambda conn, i=op_id: operation(conn, i))
            (step,) = await self.db.read(lambda conn, i=op_id: steps(conn, i))
            found.append((row.state, step.duration))
        # What is known is remembered for a minute.
        self.clock.advance(61)
        return found


@contextlib.asynccontextmanager
async def a_site(path: Path):
    db = Database.at(path)
    await db.create_all()
    site = Site(db)
    site.engine = Engine(
        db, site.clock, [Workflow("w", None, site.story)], "h", beat=5000, dead=15000
    )
    async with LocalDispatcher(site.engine, poll=4000, scan=4000):
        yield site
    await db.close()


async def test_hangs_are_found_and_slow_machines_finish(tmp_path: Path) -> None:
    async with a_site(tmp_path / "a.db") as site:
        await site.run(*(f"node:{number}" for number in range(ENOUGH)))
        known = await site.db.read(
            lambda conn: estimate(conn, "w", "work", "r640", similar="deploy.erase")
        )
        assert known is not None and known.count == ENOUGH and known.p50 == pytest.approx(50, 0.1)
        site.seconds |= {"node:slow": 100.0, "node:hangs": 1e9}
        (slow, _), (hangs, took) = await site.run("node:slow", "node:hangs")
        assert (slow, hangs) == ("done", "failed")
        assert took <= 2 * known.p99 + 1
        # Another step of the same name has a history of its own.
        site.seconds["node:1/deploy.burnin"] = 180.0
        assert (await site.run("node:1/deploy.burnin"))[0][0] == "done"


async def test_what_was_learned_is_listed(tmp_path: Path) -> None:
    async with a_site(tmp_path / "a.db") as site:
        assert await learned(site.db) == []
        await site.run(*(f"node:{number}" for number in range(ENOUGH)))
        await site.run("node:1/deploy.burnin")
        burnin, erase = await learned(site.db)
        assert burnin["similar"] == "deploy.burnin" and burnin["count"] == 1
        assert (burnin["deadline"], burnin["learned"]) == (200, False)
        known = await site.db.read(
            lambda conn: estimate(conn, "w", "work", "r640", similar="deploy.erase")
        )
        assert known is not None
        assert erase == {
            "kind": "w",
            "profile": "r640",
            "step": "work",
            "similar": "deploy.erase",
            "count": ENOUGH,
            "late": 0,
            "p50": known.p50,
            "p99": known.p99,
            "deadline": 2 * known.p99,
            "default": 200,
            "learned": True,
            "bytes": None,
        }
        assert await learned(site.db, kind="other") == []
        assert await learned(site.db, profile="r650") == []


async def test_where_everything_is_slow_the_third_run_succeeds(tmp_path: Path) -> None:
    async with a_site(tmp_path / "a.db") as site:
        site.seconds = {f"node:{number}": 300.0 for number in range(4)}
        first = await site.run("node:0", "node:1")
        assert [state for state, _ in first] == ["failed", "failed"]
        assert [state for state, _ in await site.run("node:2", "node:0")] == ["done", "done"]


async def test_history_counts_per_byte_where_amounts_are_told(tmp_path: Path) -> None:
    async with a_site(tmp_path / "a.db") as site:
        await site.run(*(f"node:{number}" for number in range(3)))
        known = await site.db.read(lambda conn: estimate(conn, "w", "work", "r640", amount=4000))
        assert known is not None and known.p50 == pytest.approx(200, 0.1)


@pytest.mark.parametrize(("lost", "seconds"), [(False, 100), (True, 160)])
async def test_a_wait_in_which_another_controller_is_lost_lasts_longer(
    tmp_path: Path, lost: bool, seconds: float
) -> None:
    """Once: what it waits for may hang in the one that is lost, until its own patience ends."""

    async def story(op, _input):
        await op.wait("call", deadline=100)

    db = Database.at(tmp_path / "a.db")
    await db.create_all()
    clock = VirtualClock()
    here, there = (
        Engine(db, clock, [Workflow("w", None, story)], host, beat=5, dead=15)
        for host in ("here", "there")
    )
    async with LocalDispatcher(here, poll=4000, scan=4000):
        await there.open()
        op_id = await db.write(lambda conn: start(conn, "w", "node:1", None))

        async def over() -> bool:
            row = await db.read(lambda conn: operation(conn, op_id))
            if clock.monotonic() < 30 or not lost:
                await there.beat()
            return row is not None and not row.live

        await drive(db, clock, [here, there], over)
        row = await db.read(lambda conn: operation(conn, op_id))
        assert row is not None and "did not come within" in str(row.fault)
        assert clock.monotonic() == pytest.approx(seconds, abs=2)
    await db.close()
