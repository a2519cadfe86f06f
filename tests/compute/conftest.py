"""What the compute service's tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str:
    """A database's URL; empty for SQLite in the cloud's own folder."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
