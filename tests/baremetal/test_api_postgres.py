"""The same API on PostgreSQL: reading, paging, filters, conflicts, verbs and claims."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, project, world

from tests import postgres

pytestmark = pytest.mark.anyio
INSTANCE = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.server() as server:
        made = server.create()
        yield made
        server.drop(made)


@pytest.fixture
async def api(tmp_path: Path, url: str) -> AsyncIterator[World]:
    async with world(tmp_path, url=url) as made:
        yield made


async def test_the_thread_of_a_node(api: World) -> None:
    for number in range(5):
        await api.node(
            name=f"n{number}",
            owner="p1" if number % 2 else None,
            resource_class="x" * number or None,
        )
    await api.ask("PUT", "/v1/nodes/n1/traits", {"traits": ["CUSTOM_B", "CUSTOM_A"]})
    one = (await api.ask("GET", "/v1/nodes/n1")).json
    assert one["traits"] == ["CUSTOM_A", "CUSTOM_B"] and one["maintenance"] is False
    listed = (await api.ask("GET", "/v1/nodes/detail")).json["nodes"]
    assert one in listed
    seen: list[str] = []
    path: str | None = "/v1/nodes?limit=2&sort_key=resource_class&sort_dir=desc"
    while path:
        reply = await api.ask("GET", path)
        seen += [node["name"] for node in reply.json["nodes"]]
        following = reply.json.get("next")
        path = following.split("/baremetal", 1)[1] if following else None
    assert seen == ["n4", "n3", "n2", "n1", "n0"]
    found = await api.ask("GET", "/v1/nodes?maintenance=false&associated=false&retired=false")
    assert len(found.json["nodes"]) == 5
    api.become(project("reader"))
    assert len((await api.ask("GET", "/v1/nodes")).json["nodes"]) == 2


async def test_races_end_in_one_winner(api: World) -> None:
    """Same name, same machine, same node's lock: one wins, the others are told so."""
    body = {"driver": "fake-hardware", "name": "race"}
    replies = await asyncio.gather(*(api.ask("POST", "/v1/nodes", body) for _ in range(6)))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 5
    await api.force("race", provision_state="available", power_state="power off")
    uuid = (await api.ask("GET", "/v1/nodes/race")).json["uuid"]

    def take(number: int) -> Any:
        other = f"{INSTANCE[:-1]}{number}"
        return api.db.write(lambda conn: api.baremetal.claim(conn, uuid, other))

    assert sorted(await asyncio.gather(*(take(n) for n in range(6)))) == [False] * 5 + [True]
    verb = {"target": "manage"}
    await api.force("race", provision_state="enroll")
    path = "/v1/nodes/race/states/provision"
    replies = await asyncio.gather(*(api.ask("PUT", path, verb) for _ in range(6)))
    assert sorted(reply.status for reply in replies) == [202] + [409] * 5
