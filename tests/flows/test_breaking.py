"""Every step of every workflow broken over simulated machines, on both databases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from ingot.services.baremetal.workflows import Timing
from tests.flows.breaking import STORIES, Breaker, Report, Story, everything, learn, run, some
from tests.flows.site import Site, site

pytestmark = pytest.mark.anyio

#: Seconds of the controller's clock, which runs ten times as fast.
TIMING = Timing(
    agent=300, inspection=300, write=600, clean_step=600, power=180, agent_silence=60, poll=0.5
)


async def _is_uefi(here: Site, uuid: str) -> bool:
    return "uefi" in str((await here.node(uuid)).properties["capabilities"])


async def break_all(
    database: str,
    *,
    whole: bool,
    most: int = 2000,
    stories: Sequence[Story] = STORIES,
    **fields: Any,
) -> Report:
    """Break these workflows on nodes with these fields."""
    breaker, report = Breaker(), Report()
    # More machines than needed cost next to nothing until they are switched on.
    async with site(
        most,
        database=database,
        timing=TIMING,
        hurry=10,
        probe=breaker.probe,
        protocols=("redfish", "ipmi") if whole else ("redfish",),
        seed=3,
    ) as here:
        # Machines of both kinds boot alike, but only UEFI ones have a boot loader installed.
        enrolled = await here.enrol("manageable", **fields)
        uuids = [uuid for uuid in enrolled if await _is_uefi(here, uuid)]
        seen = await learn(here, breaker, uuids[: len(STORIES)])
        cases = [case for story in stories for case in everything(story, seen[story.kind])]
        chosen = cases if whole else some(cases)
        rest = uuids[len(STORIES) :]
        assert len(chosen) <= len(rest), f"{len(chosen)} cases need as many machines"
        await run(here, breaker, list(zip(rest, chosen, strict=False)), report)
    return report


@pytest.mark.timeout(900)
async def test_every_step_is_killed_and_failed_once(database: str) -> None:
    report = await break_all(database, whole=False, most=400)
    assert not report.problems, "\n".join(report.problems)
    assert report.healed > 80
    assert report.failed > 40
    print(report)


@pytest.mark.timeout(900)
async def test_boots_by_virtual_media_are_broken_too() -> None:
    """The same, where each boot has a medium with a token of its own."""
    chosen = [story for story in STORIES if story.kind in ("inspect", "deploy")]
    report = await break_all(
        "", whole=False, most=150, stories=chosen, boot_interface="redfish-virtual-media"
    )
    assert not report.problems, "\n".join(report.problems)
    assert report.healed > 10 and report.failed > 5
    print(report)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
async def test_every_step_is_broken_in_every_way(database: str) -> None:
    report = await break_all(database, whole=True, most=int(os.environ.get("MOST", "1200")))
    assert not report.problems, "\n".join(report.problems)
    print(report)
