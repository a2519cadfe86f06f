"""The agent's logs are kept where an operation fails, or always, or never; how it ends stays the same."""

from __future__ import annotations

import asyncio
import tarfile
from pathlib import Path

import pytest

from ingot.lab.sim import ALWAYS
from ingot.services.baremetal.inspection.rules.checking import read_rule
from ingot.services.baremetal.inspection.rules.store import add_rule
from tests.flows.site import Site, site
from tests.flows.test_steps import ERASE, begin, told

pytestmark = pytest.mark.anyio
KEEP = "keep the agent's logs"


def kept(here: Site) -> list[Path]:
    rules = here.deps.agent_logs
    assert rules is not None
    return sorted(rules.folder.glob("*.tar.gz"))


async def failing_clean(here: Site, uuid: str) -> None:
    name = (await here.node(uuid)).name or ""
    here.fleet.inject(name, {"erase_errors": ALWAYS})
    await begin(here, uuid, "manageable", "clean", steps=[ERASE])
    assert await here.rest(uuid) == "clean failed", await here.story(uuid)
    reason = await here.db.read(lambda conn: here.baremetal.last_error(conn, uuid))
    assert "The agent says" in str(reason), "the cause is told, whatever became of the logs"
    await here.db.write(lambda conn: here.baremetal.set_maintenance(conn, uuid, False))


async def test_logs_of_a_failure_are_kept_and_the_oldest_go() -> None:
    async with site(1, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("manageable")
        found: list[Path] = []
        for number in range(3):
            await failing_clean(here, uuid)
            new = [file for file in kept(here) if file not in found]
            assert len(new) == 1 and len(kept(here)) == min(number + 1, 2)
            found += new
            await asyncio.sleep(0.02)  # files are told apart by their times
        file = found[-1]
        assert file.name.startswith(f"{uuid}_clean_") and file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
        with tarfile.open(file) as archive:
            assert {"journal", "inventory"} <= set(archive.getnames())
        assert KEEP in await told(here, uuid, "clean")


async def test_logs_of_a_failed_inspection_are_kept() -> None:
    """The agent has posted its data and not called yet when the rule ends it all."""
    refuse = {
        "description": "none of ours",
        "conditions": [],
        "actions": [{"op": "fail", "args": {"msg": "there is no such machine here"}}],
    }
    async with site(1, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("manageable")
        rule = read_rule(refuse)
        await here.db.write(lambda conn: add_rule(conn, here.deps.vault, rule, here.deps.now()))
        await here.verb(uuid, "inspect")
        assert await here.rest(uuid) == "inspect failed", await here.story(uuid)
        reason = str(await here.db.read(lambda conn: here.baremetal.last_error(conn, uuid)))
        assert "there is no such machine here" in reason
        (file,) = kept(here)
        assert file.name.startswith(f"{uuid}_inspect_")
        with tarfile.open(file) as archive:
            assert "journal" in archive.getnames()
        (machine,) = here.fleet.machines.values()
        assert machine.power == "off", "no agent is left running"


async def test_a_good_inspection_keeps_logs_where_always_is_said() -> None:
    async with site(1, protocols=("redfish",), logs="always") as here:
        (uuid,) = await here.enrol("manageable")
        await here.verb(uuid, "inspect")
        assert await here.rest(uuid) == "manageable", await here.story(uuid)
        (file,) = kept(here)
        assert file.name.startswith(f"{uuid}_inspect_")


async def test_a_good_end_keeps_logs_only_where_always_is_said() -> None:
    for logs, count in (("always", 1), ("on_failure", 0)):
        async with site(1, protocols=("redfish",), logs=logs) as here:
            (uuid,) = await here.enrol("manageable")
            await begin(here, uuid, "manageable", "clean", steps=[ERASE])
            assert await here.rest(uuid) == "manageable", await here.story(uuid)
            assert len(kept(here)) == count


async def test_logs_that_cannot_be_kept_change_nothing() -> None:
    async with site(1, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("manageable")
        rules = here.deps.agent_logs
        assert rules is not None
        rules.folder.write_text("in the way")
        await failing_clean(here, uuid)
        assert KEEP in await told(here, uuid, "clean") and rules.folder.is_file()
    async with site(1, protocols=("redfish",), logs="never") as here:
        (uuid,) = await here.enrol("manageable")
        await failing_clean(here, uuid)
        assert KEEP not in await told(here, uuid, "clean") and not kept(here)
