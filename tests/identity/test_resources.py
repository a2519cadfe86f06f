"""The resources of Identity that are declared by the API kit keep the contract of all (`tests/contracts`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingot.kit.api.crud import operations
from ingot.kit.api.operations import Service
from ingot.kit.api.resource import Resource
from ingot.kit.db.database import Database
from ingot.kit.http.server import WebApp
from ingot.kit.tasks.clock import SystemClock
from ingot.services.identity import CatalogueEntry, Identity, IdentitySettings, tables
from ingot.services.identity.api import credentials, envelope, limits
from ingot.services.identity.catalogue import stable_id
from tests.contracts.client import CALLERS, Client, authenticate
from tests.contracts.documents import Documents
from tests.contracts.resource import CHECKS, Sample, asks_for_roles

pytestmark = pytest.mark.anyio

Check = Callable[[Client, Sample], Awaitable[None]]
IMAGE = stable_id("image")


def _people(conn: sa.Connection) -> None:
    for caller in CALLERS.values():
        key = {"id": caller.project_id, "name": caller.project_id, "domain_id": "default"}
        if not conn.execute(sa.select(tables.projects.c.id).filter_by(id=key["id"])).first():
            conn.execute(tables.projects.insert().values(tags="[]", extra="{}", **key))
        user = {"id": caller.user_id, "name": caller.user_id, "domain_id": "default"}
        conn.execute(tables.users.insert().values(extra="{}", **user))
    registered = {"service_id": IMAGE, "resource_name": "image", "default_limit": 1}
    for at in range(110):
        conn.execute(
            tables.registered_limits.insert().values(
                {**registered, "id": f"r{at}", "resource_name": f"kept-{at}"}
            )
        )


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def identity(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Identity]:
    if request.param == "sqlite":
        db = Database.at(tmp_path / "identity.db")
    else:
        db = Database(request.getfixturevalue("postgres_url"))
    await db.create_all()
    await db.write(_people)
    settings = IdentitySettings(state_dir=tmp_path, password_cost=10)
    made = Identity(db, SystemClock(), settings, [CatalogueEntry("image", "glance", "/image")])
    yield made
    await made.close()
    await db.close()


def client_of(identity: Identity, resource: Resource, who: str) -> Client:
    service = Service(
        name="identity",
        prefix="/identity",
        operations=operations(resource, identity.transactions),
        envelope=envelope,
        policy=identity.policy,
        authenticator=authenticate,
    )
    client = Client(None, identity.db, "/identity", Documents(service), who=who)
    client.app = WebApp([service], audit=client.audit.append).asgi
    return client


async def _keep(client: Client, sample: Sample, check: Check) -> None:
    # Who may do what here hangs on more than a role in a project: `rights.txt` has the table.
    if check is not asks_for_roles:
        await check(client, sample)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_credentials(identity: Identity, check: Check) -> None:
    found = credentials.resource(identity)
    sample = Sample(found, lambda at: {"type": "totp", "blob": f"seed {at}"}, {"blob": "another"})
    await _keep(client_of(identity, found, "member"), sample, check)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_registered_limits(identity: Identity, check: Check) -> None:
    await identity.db.write(lambda conn: conn.execute(tables.registered_limits.delete()))
    found = limits.registered_limits(identity)

    def body(at: int) -> dict[str, object]:
        return {"service_id": IMAGE, "resource_name": f"image-{at}", "default_limit": 5}

    if check.__name__ != "hides_from_rivals":  # everybody may read them
        await _keep(
            client_of(identity, found, "admin"), Sample(found, body, {"default_limit": 7}), check
        )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_limits(identity: Identity, check: Check) -> None:
    found = limits.limits(identity)

    def body(at: int) -> dict[str, object]:
        place = {"service_id": IMAGE, "resource_name": f"kept-{at if at < 100 else 100 + at % 7}"}
        return {**place, "project_id": "p-admin", "resource_limit": 5}

    await _keep(
        client_of(identity, found, "admin"), Sample(found, body, {"resource_limit": 7}), check
    )
