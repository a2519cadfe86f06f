"""Shared by all tests: asyncio is the one event loop that Ingot runs on."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
