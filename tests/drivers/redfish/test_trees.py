"""The redfish drivers on trees of real controllers in small: the conformance kit and every operation."""

from __future__ import annotations

import random

import pytest

from ingot.drivers.machine.testing import (
    check_boot_device,
    check_credentials,
    check_identity,
    check_options,
    check_power,
    check_reboot,
    check_silence,
)
from tests.trees import TREES
from tests.trees.operations import GOOD, HONEST, UNKNOWN, row, running
from tests.trees.page import committed, page

pytestmark = pytest.mark.anyio
ROWS = committed()


@pytest.mark.parametrize("name", TREES)
async def test_conforms(name: str) -> None:
    """Cut and packed in another way each time; a failure tells the seed."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    async with running(TREES[name](), seed) as run:
        bench = run.bench
        check_options(bench)
        await check_power(bench)
        await check_reboot(bench)
        if ROWS[name]["boot once"] == ROWS[name]["boot for ever"] == GOOD:
            await check_boot_device(bench)
        await check_identity(bench)
        await check_credentials(bench)
        await check_silence(bench)


@pytest.mark.parametrize("name", TREES)
async def test_operations_are_what_the_page_says(name: str) -> None:
    """`make docs` writes docs/reference/controllers.md again."""
    assert await row(TREES[name]) == ROWS.get(name)


def test_the_page_is_of_these_trees() -> None:
    assert list(ROWS) == list(TREES)
    assert {word for found in ROWS.values() for word in found.values()} == {GOOD, HONEST, UNKNOWN}
    from tests.trees.page import PAGE

    assert PAGE.read_text() == page(ROWS), "run `make docs`"
