"""How many statements an order for a server sends: nothing is read twice for one step."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.compute.cloud import cloud

pytestmark = pytest.mark.anyio


async def test_an_order_that_finds_no_machine_reads_each_thing_once(
    tmp_path: Path, database: str
) -> None:
    async with cloud(tmp_path, 1, database=database) as here:
        flavor = await here.flavor()

        async def order() -> None:
            body = {"name": "s", "flavorRef": flavor, "imageRef": here.image_id, "networks": "none"}
            told = await here.post("/servers", {"server": body}, version="2.64")
            await here.server_is(told["server"]["id"], "ERROR")

        await order()  # tokens and roles are known by now
        texts: list[str] = []
        stop = here.db.on_statement(texts.append)
        await order()
        stop()
        # The test asks for the server again and again until it rests.
        found = [re.match(r"SELECT\s.*?\sFROM\s+(\w+)", text, re.DOTALL) for text in texts]
        reads = Counter(match[1] for match in found if match)
        once = ("flavors", "compute_quotas", "identity_users", "identity_assignments")
        assert {name: reads[name] for name in once} == dict.fromkeys(once, 1), reads
        # The project, and its domain which is the user's too.
        assert reads["identity_projects"] == 2, reads
        # As it is ordered, and as it is looked at before a machine is touched.
        assert reads["image_images"] == 2 and not reads["image_members"], reads
        # At the most: before and after a place by chance, how many are free, and what it holds at the end.
        assert reads["nodes"] <= 4, reads
