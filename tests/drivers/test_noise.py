"""Drivers before controllers that answer with anything: a little of `noise.py`."""

import random
from typing import Any

import pytest

from tests.drivers import noise

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("part", [noise.redfish, noise.ipmi])
async def test_noise_ends_in_faults(part: Any) -> None:
    tally = noise.Tally()
    seed = random.randrange(1 << 32)
    await part(6000, seed, tally)
    assert tally.inputs >= 6000
    assert len(tally.faults) > 1, "nothing was refused"
    assert not tally.broken, f"seed {seed}:\n" + "\n".join(tally.broken.values())
