"""Lists cost the same number of queries for one node and for many, and secrets are masked everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from api_support import World, project, world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingot.services.baremetal.api import nodes
from ingot.services.baremetal.nodes import chassis, masking
from ingot.services.baremetal.ports import (
    editing as port_editing,
)
from ingot.services.baremetal.ports import (
    portgroups,
    volumes,
)
from ingot.services.baremetal.ports import (
    resources as port_resources,
)
from tests import postgres


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.server() as running:
        yield running


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def either(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """The API on either database."""
    if request.param == "sqlite":
        async with world(tmp_path) as made:
            yield made
        return
    running: postgres.Server = request.getfixturevalue("server")
    url = running.create()
    async with world(tmp_path, url=url) as made:
        yield made
    running.drop(url)


@contextmanager
def statements(api: World) -> Iterator[list[str]]:
    """All statements that are run inside, but for the question whether an idle connection still lives."""
    seen: list[str] = []
    end = api.db.on_statement(lambda text: seen.append(text) if text != "SELECT 1" else None)
    try:
        yield seen
    finally:
        end()


async def fill(api: World, count: int) -> None:
    def change(conn: sa.Connection) -> None:
        for number in range(count):
            node = api.baremetal.create_node(
                conn, {"driver": "fake-hardware", "name": f"n{number}-{count}"}
            )
            api.baremetal.set_traits(conn, node.uuid, ["CUSTOM_A", "CUSTOM_B"])

    await api.db.write(change)


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/nodes", "/v1/nodes/detail", "/v1/nodes?fields=uuid,traits"])
async def test_no_query_for_each_row(either: World, path: str) -> None:
    counts: list[int] = []
    for more in (1, 50):
        await fill(either, more)
        with statements(either) as seen:
            reply = await either.ask("GET", path)
        counts.append(len(seen))
        assert len(reply.json["nodes"]) == more + (0 if more == 1 else 1)
    assert counts[1] <= counts[0] <= 2, seen
    brief = path == "/v1/nodes"
    assert all("driver_info" not in text for text in seen) or not brief


@pytest.mark.anyio
async def test_kept_statements_are_counted(either: World) -> None:
    """One node is read by a kept statement, which runs on the driver's own cursor."""
    node = await either.node(name="n0")
    with statements(either) as seen:
        await either.ask("GET", f"/v1/nodes/{node['uuid']}")
    assert seen and all(text.startswith("SELECT") for text in seen), seen


@pytest.mark.anyio
async def test_pages_by_every_sort_key(api: World) -> None:
    await fill(api, 3)
    await api.ask("PUT", "/v1/nodes/n1-3/maintenance")
    for key in sorted(nodes._SORTABLE):
        for direction in ("asc", "desc"):
            path: str | None = f"/v1/nodes?limit=1&sort_key={key}&sort_dir={direction}"
            seen: list[str] = []
            while path:
                reply = await api.ask("GET", path)
                assert reply.status == 200, (path, reply.json)
                seen += [node["uuid"] for node in reply.json["nodes"]]
                path = reply.json.get("next")
                path = path.split("/baremetal", 1)[1] if path else None
            assert len(set(seen)) == len(seen) == 3, (key, direction)


async def hang(api: World, uuid: str, first: int, count: int) -> None:
    """Ports, port groups, connectors and targets on a node, and chassis, `count` of each."""
    ctx = api.baremetal.ctx

    def change(conn: sa.Connection) -> None:
        node = api.baremetal.get_node(conn, uuid)
        for number in range(first, first + count):
            tail = f"{number // 256:02x}:{number % 256:02x}"
            group = portgroups.create_portgroup(ctx, conn, node, {})
            port = {"address": f"52:54:00:00:{tail}", "portgroup_uuid": group}
            port_editing.create_port(ctx, conn, node, port)
            connector = {"type": "ip", "connector_id": str(number)}
            volumes.create(ctx, conn, port_resources.CONNECTOR, node, connector)
            target = {"volume_type": "x", "volume_id": "x", "boot_index": number}
            volumes.create(ctx, conn, port_resources.TARGET, node, target)
            chassis.create_chassis(ctx, conn, {})

    await api.db.write(change)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/v1/ports", 1),
        ("/v1/ports/detail", 1),
        ("/v1/portgroups", 1),
        ("/v1/portgroups/detail", 1),
        ("/v1/volume/connectors?detail=true", 1),
        ("/v1/volume/targets?detail=true", 1),
        ("/v1/chassis/detail", 1),
        # The node is looked up first.
        ("/v1/nodes/n0/ports/detail", 2),
        ("/v1/nodes/n0/portgroups?sort_key=name", 2),
        ("/v1/nodes/n0/volume/targets", 2),
    ],
)
async def test_no_query_for_each_part(either: World, path: str, most: int) -> None:
    api = either
    node = await api.node(name="n0", owner="p1")
    first = 0
    for more in (1, 50):
        await hang(api, node["uuid"], first, more)
        first += more
        with statements(api) as seen:
            reply = await api.ask("GET", path)
        assert len(next(iter(reply.json.values()))) == first
        assert len(seen) == most, seen
    # Nor for those who see only their project's.
    if "chassis" not in path:
        api.become(project("reader"))
        with statements(api) as seen:
            assert len(next(iter((await api.ask("GET", path)).json.values()))) == first
        assert len(seen) == most, seen


@pytest.mark.anyio
async def test_a_thousand_at_most(api: World) -> None:
    await fill(api, 1001)
    reply = await api.ask("GET", "/v1/nodes?limit=5000&fields=name")
    assert len(reply.json["nodes"]) == 1000
    rest = await api.ask("GET", reply.json["next"].split("/baremetal", 1)[1])
    assert [node["name"] for node in rest.json["nodes"]] == ["n1000-1001"]
    assert "next" not in rest.json


# -- masking -------------------------------------------------------------------------------------

keys = st.sampled_from(["a", "b", "my_password", "api_token", "image_url", "address"])
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
documents = st.dictionaries(
    keys,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    ),
)


def whole(shown: dict[str, Any], sealed: dict[str, Any]) -> dict[str, Any]:
    return {**shown, **sealed}


def secrets_in(value: Any) -> list[Any]:
    found: list[Any] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if masking.is_secret(key):
                found.append(item)
            else:
                found += secrets_in(item)
    elif isinstance(value, list):
        for item in value:
            found += secrets_in(item)
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents)
def test_nothing_is_lost_and_nothing_shows(document: dict[str, Any]) -> None:
    shown, sealed = masking.part(document, (), None)
    assert whole(shown, sealed) == document
    assert all(item in (None, "", masking.MASK) for item in secrets_in(shown))
    # Sent back as it was shown, everything stays.
    again, kept = masking.part(shown, (), sealed)
    assert (again, kept) == (shown, sealed)
