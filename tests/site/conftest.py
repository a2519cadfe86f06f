"""One cloud for all tests of a file: one process, one fleet, started once.

Not for the session: its event loop and the threads of that loop would stay for the files that the same
worker runs after it, and those of the wire enter a namespace before any thread is started.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.site.server import IMAGE, Site, site


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A cloud with eight machines, a network, an image and two flavors."""
    async with site(tmp_path_factory.mktemp("site"), 8, small_store=True) as made:
        made.network = await made.make_network("wide", "192.0.2.0/24", "192.0.2.10", "192.0.2.99")
        made.image = await made.make_image("debian")
        answer = await made.upload(made.image, IMAGE)
        assert answer.status == 204, answer
        yield made
