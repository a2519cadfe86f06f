"""Databases for the workflow tests: SQLite, and a private PostgreSQL server."""

import pytest

from ingot.kit.db.database import Database


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
