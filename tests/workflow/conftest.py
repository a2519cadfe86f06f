"""Databases for the workflow tests: SQLite, and a private PostgreSQL server."""

import sys
from pathlib import Path

import pytest

from ingot.kit.db import Database

sys.path.insert(0, str(Path(__file__).parent.parent))

import postgres


@pytest.fixture(scope="session")
def postgres_server():
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    with postgres.server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server):
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ingot.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
async def db(url, anyio_backend):
    database = Database(url)
    await database.create_all()
    yield database
    await database.close()
