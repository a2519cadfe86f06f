"""Shared by all tests: asyncio is the one event loop that Ingot runs on."""

import pytest
from hypothesis import HealthCheck, settings


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# A busy machine may take long over an example; what counts is whether it holds.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
