"""Learned deadlines as people see them: `ingot watch` tells the time left, `ingot deadlines` lists what was learned."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
from pathlib import Path
from typing import Any

import pytest

from ingot.workflow.timing import ENOUGH
from tests.site.server import INGOT, Site, clean_environment, run, site

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(150)]

#: As somebody has told it: the vendor that an inspection finds makes another model of it.
MODEL = {"resource_class": "r640", "properties": {"vendor": "Acme"}}
WAIT = "wait for inspection data"
#: Patience with inspections before there is history. What is learned does not go below a minute.
PATIENCE = 240


async def inspect(here: Site, uuid: str) -> None:
    await here.verb(uuid, "inspect")
    state = await here.node_in(uuid, "manageable", "inspect failed", deadline=90)
    assert state["provision_state"] == "manageable", state["last_error"]


async def enrolled(here: Site, machine: str) -> str:
    uuid = await here.enrol(machine, **MODEL)
    await here.verb(uuid, "manage")
    await here.node_in(uuid, "manageable")
    return uuid


async def on_a_terminal(here: Site, *words: str) -> str:
    """What `ingot WORDS` shows on a terminal until it ends."""
    ours, theirs = pty.openpty()
    child = await asyncio.create_subprocess_exec(
        str(INGOT), *words, cwd=here.folder, env=clean_environment(), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = asyncio.create_task(asyncio.to_thread(_all_of, ours))
    try:
        assert await asyncio.wait_for(child.wait(), 100) == 0
        return await shown
    finally:
        if child.returncode is None:
            child.kill()
        await shown
        os.close(ours)


def _all_of(terminal: int) -> str:
    said = b""
    while True:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # nobody holds the other end any more
            more = b""
        if not more:
            return said.decode()
        said += more


async def test_time_left_and_deadlines_come_from_history(tmp_path: Path) -> None:
    """Twenty inspections of one model; then the next is watched."""
    patience = {"inspection": PATIENCE, "boots": 2}
    machines = {"speed": 100, "protocols": ("redfish",)}
    async with site(tmp_path, ENOUGH + 1, machines=machines, deadlines=patience) as here:
        assert here.fleet is not None
        clouds = ("--clouds", str(here.state / "clouds.yaml"))

        async def deadlines(*words: str) -> list[dict[str, Any]]:
            code, out, err = await run("deadlines", *words, "-f", "json", *clouds, cwd=tmp_path)
            assert (code, err) == (0, "")
            return json.loads(out)

        assert await deadlines() == []
        names = list(here.fleet.machines)
        *uuids, new = await asyncio.gather(*(enrolled(here, name) for name in names))
        await asyncio.gather(*(inspect(here, uuid) for uuid in uuids[:-1]))
        (early,) = [one for one in await deadlines("--work", "inspect") if one["step"] == WAIT]
        assert (early["count"], early["learned"]) == (ENOUGH - 1, False)
        assert early["deadline"] == early["default"] == PATIENCE
        await inspect(here, uuids[-1])

        (known,) = [one for one in await deadlines("--work", "inspect") if one["step"] == WAIT]
        took = sorted([await waited(here, uuid) for uuid in uuids])
        assert known["profile"] == "redfish/r640/Acme"
        assert (known["count"], known["late"], known["learned"]) == (ENOUGH, 0, True)
        assert known["p50"] == took[ENOUGH // 2]
        assert known["p99"] == max(took[-2], known["p50"] * 1.25)
        assert (known["default"], known["deadline"]) == (PATIENCE, max(60, 2 * known["p99"]))
        code, _, err = await run("deadlines", "--model", "nobody's", *clouds, cwd=tmp_path)
        assert code == 1 and "there is no model" in err
        code, text, _ = await run("deadlines", *clouds, cwd=tmp_path)
        (line,) = [line for line in text.splitlines() if f"inspect  {WAIT}" in line]
        assert code == 0 and re.search(rf" {ENOUGH} .* learned +4 min$", line), text

        # Kept in the database, and not only in the process that saw it.
        await here.stop()
        await here.start(tmp_path / "ingot.toml")
        path = "/v1/events?newest=true&limit=1"
        (newest,) = (await here.ask("/timeline", "GET", path, status=200)).body["events"]
        since = ("--since", str(newest["id"]))
        words = ("watch", f"node:{new}", "--until-idle", *since, *clouds)
        watched = asyncio.create_task(on_a_terminal(here, *words))
        await inspect(here, new)
        shown = await watched
        left = re.search(r"the inspection data \(about (\d+) s left, at most (\d+) s\)", shown)
        assert left is not None, shown
        assert int(left[1]) == round(known["p50"])
        assert abs(int(left[2]) - known["deadline"]) <= 1
        # Steps, which only a terminal shows when they begin, tell the same; the first may be over before we watch.
        begun = re.findall(r"(\w[\w \[\]]*) \(about \d+ s left, at most (?:6|30) s\)", shown)
        assert begun, shown


async def waited(here: Site, uuid: str) -> float:
    """Seconds for which the node's inspection waited for the machine, by its record."""
    path = f"/v1/operations?subject=node:{uuid}"
    told = (await here.ask("/timeline", "GET", path, status=200)).body["operations"]
    (operation,) = [one["id"] for one in told if one["kind"] == "inspect"]
    whole = await here.ask("/timeline", "GET", f"/v1/operations/{operation}", status=200)
    (wait,) = [one for one in whole.body["operation"]["steps"] if one["name"].startswith(WAIT)]
    return wait["duration"]
