"""Sushy as a second reader of the same trees: what both can read must be the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.trees import TREES
from tests.trees.operations import running
from tests.trees.server import PASSWORD, USER
from tools.conformance.environments import find_uv

pytestmark = [pytest.mark.anyio, pytest.mark.nightly]
SCRIPT = Path(__file__).parents[2] / "trees" / "second_reader.py"


@pytest.mark.parametrize("name", TREES)
async def test_sushy_reads_the_same(name: str) -> None:
    tree = TREES[name]()
    async with running(tree) as run:
        theirs = await second(run.server.base, tree.system)
        told: Any = await run.bench.registry.inspect("redfish", "redfish").inspect(run.access)
        settings: Any = None
        if "BIOS" not in tree.absent:
            found = await run.bench.registry.bios("redfish").settings(run.access)
            settings = {one.name: one.value for one in found}
    ours = told["inventory"]
    assert theirs["power"] == "On" and theirs["uuid"] == tree.uuid
    assert theirs["memory_gib"] == ours["memory"]["physical_mb"] >> 10
    mode = ours["boot"].get("current_boot_mode")
    assert theirs["mode"] == {"uefi": "UEFI", "bios": "Legacy", None: None}[mode]
    if _is_read(theirs["cpus"]):
        assert theirs["cpus"] == ours["cpu"]["count"]
    if settings is not None and _is_read(theirs["settings"]):
        assert {key: str(value) for key, value in theirs["settings"].items()} == settings
    if _is_read(theirs["macs"]):
        mine = {one["mac_address"] for one in ours["interfaces"]}
        more = set(theirs["macs"]) - mine
        # It knows nothing of the controller's own card, and takes words for an address.
        assert mine <= set(theirs["macs"]) and all(
            mac[-2:] in ("71", "9f") or " " in mac for mac in more
        )


def _is_read(value: object) -> bool:
    return not (isinstance(value, str) and value.startswith("!"))


async def second(address: str, path: str) -> dict[str, Any]:
    words = (find_uv(), "run", "--no-project", "--with", "sushy>=5.5", "python", str(SCRIPT))
    child = await asyncio.create_subprocess_exec(
        *words,
        *(address, path, USER, PASSWORD),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
    )
    out, err = await asyncio.wait_for(child.communicate(), 240)
    assert child.returncode == 0, err.decode()[-2000:]
    return json.loads(out)
