"""Where the crowds meet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests import postgres
from tests.baremetal.api_support import world
from tests.races.metal import Site


@pytest.fixture(params=["sqlite", "postgresql"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Three controllers on PostgreSQL, one on SQLite."""
    url = None
    if request.param == "postgresql":
        if why := postgres.missing():
            pytest.skip(why)
        url = request.getfixturevalue("postgres_url")
    async with AsyncExitStack() as stack:
        worlds = [
            await stack.enter_async_context(world(tmp_path, url=url))
            for _ in range(3 if url else 1)  # with one key
        ]
        yield Site(worlds)


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    """One that only this test stops."""
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.server(durable=True) as running:
        yield running
