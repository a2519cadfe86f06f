"""The same workflows on PostgreSQL: chosen tests of the API and the front door, run again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from ingot.kit.db.database import Database
from ingot.kit.tasks.clock import SystemClock
from ingot.services.network import Networks, NetworkSettings
from tests import postgres

from .conftest import WIRES
from .test_api import (
    test_addresses,
    test_bulk_is_all_or_nothing,
    test_pages,
    test_query_language,
    test_quotas,
    test_security_groups,
    test_tags,
    test_who_sees_and_does_what,
)
from .test_front_door import (
    test_a_port_takes_few_statements,
    test_life_of_a_vif,
    test_one_mac_once,
    test_what_comes_back_is_what_is_stored,
)

__all__ = [
    "test_a_port_takes_few_statements",
    "test_addresses",
    "test_bulk_is_all_or_nothing",
    "test_life_of_a_vif",
    "test_one_mac_once",
    "test_pages",
    "test_query_language",
    "test_quotas",
    "test_security_groups",
    "test_tags",
    "test_what_comes_back_is_what_is_stored",
    "test_who_sees_and_does_what",
]

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as running:
        yield running


@pytest.fixture
async def nets(server: postgres.Server) -> AsyncIterator[Networks]:
    url = server.create()
    db = Database(url)
    await db.create_all()
    yield Networks(db, SystemClock(), NetworkSettings(wires=WIRES))
    await db.close()
    server.drop(url)
