"""What an inspection writes beside what clients patch at the same moment: both stay."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from ingot.drivers.machine.types import Identity
from ingot.services.baremetal.workflows.inspection_results import write_findings
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import Op
from tests.baremetal.api_support import world
from tests.baremetal.drafts import data
from tests.baremetal.working import working
from tests.races.crowd import Ask, crowd
from tests.races.metal import Site

pytestmark = pytest.mark.anyio
ROUNDS = 30


@dataclass
class _Told:
    """An operation as far as a case asks it."""

    subject: str
    kind: str = "inspect"
    requested_by: str = ""
    project_id: str | None = None


@pytest.mark.postgres
async def test_an_inspection_and_patches_of_properties(tmp_path: Path, postgres_url: str) -> None:
    async with (
        working(tmp_path, url=postgres_url) as api,
        world(tmp_path, url=postgres_url) as other,
    ):
        uuid = (await api.node(name="n1"))["uuid"]
        case = NodeTask(api.deps, cast("Op", _Told(f"node:{uuid}")))
        site = Site([other])

        async def inspect() -> None:
            """As steps of operations write: each with another amount of memory."""
            for n in range(ROUNDS):
                sent = data()
                sent["inventory"]["memory"]["physical_mb"] = 1024 * (n + 1)

                def change(conn: Any, sent: Any = sent) -> None:
                    write_findings(case, conn, sent, Identity(), ("memory",), ())

                await api.db.write(change, serializable=False)

        asks: list[tuple[Any, Ask]] = [
            (f"k{n}", site.patch(f"/v1/nodes/{uuid}", ("add", f"/properties/k{n}", n)))
            for n in range(4 * ROUNDS)
        ]
        _, answers = await asyncio.gather(inspect(), crowd(asks, 4))
        found = (await site.get(f"/v1/nodes/{uuid}"))["properties"]
        answers.civil(409).kept(name for name in found if name.startswith("k"))
        assert found["memory_mb"] == 1024 * ROUNDS
