"""One cloud for all tests of this folder: one process, one fleet, started once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.site.server import IMAGE, Site, site


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A cloud with eight machines, a network, an image and two flavors."""
    async with site(tmp_path_factory.mktemp("site"), 8, small_store=True) as made:
        made.network = await made.make_network("wide", "192.0.2.0/24", "192.0.2.10", "192.0.2.99")
        made.image = await made.make_image("debian")
        answer = await made.upload(made.image, IMAGE)
        assert answer.status == 204, answer
        yield made
