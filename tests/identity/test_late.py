"""A token that has expired is good beside a service's own, and by itself for nothing: as Keystone's middleware has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from ingot.kit.faults import Unauthenticated
from ingot.kit.tasks.clock import SystemClock
from ingot.services.identity.outside import OutsideIdentity, OutsideSettings
from tests.identity.cloud import Cloud, running
from tests.identity.people import SECRET, Tenant, call, log_in

SECONDS = 4


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("cloud"), token_seconds=SECONDS) as cloud:
        yield cloud


class People:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.tenant = Tenant(cloud, "late")
        self.user = self.tenant.user()
        self.tenant.give(self.user, "member", "projects")
        self.service = self.tenant.user("nova")
        self.tenant.give(self.service, "service", "projects")
        self.plain = self.tenant.user("no-service")
        self.tenant.give(self.plain, "member", "projects")

    def expired(self) -> str:
        """A token of the user that is over, and was good."""
        token = self.tenant.enter(self.user, "projects")
        assert self.images(token) == 200
        time.sleep(SECONDS + 0.2)
        return token

    def images(self, token: str, service: str = "") -> int:
        headers = {"X-Auth-Token": token, **({"X-Service-Token": service} if service else {})}
        return requests.get(
            f"{self.cloud.url}/image/v2/images", headers=headers, timeout=10
        ).status_code


@pytest.fixture(scope="module")
def people(cloud: Cloud) -> People:
    return People(cloud)


def fresh_admin(people: People) -> str:
    cloud = people.cloud
    scope = {"project": {"id": cloud.bootstrap.admin_project_id}}
    return log_in(cloud, cloud.bootstrap.admin_user_id, scope, cloud.bootstrap.admin_password or "")


def test_with_a_services_token(cloud: Cloud, people: People) -> None:
    old = people.expired()
    service = people.tenant.enter(people.service, "projects")
    plain = people.tenant.enter(people.plain, "projects")
    assert people.images(old) == 401
    assert people.images(old, plain) == 401
    assert people.images(old, "nonsense") == 401
    assert people.images(old, service) == 200
    assert people.images("nonsense", service) == 401
    # The Identity API takes none, whoever brings it.
    headers = {"X-Service-Token": service}
    assert call(cloud, "GET", "/auth/projects", old, headers=headers).status_code == 401
    # And what was taken back is taken back.
    body = {"user": {"password": "another"}}
    assert call(cloud, "PATCH", f"/users/{people.user}", fresh_admin(people), json=body).ok
    assert people.images(old, people.tenant.enter(people.service, "projects")) == 401
    body = {"user": {"password": SECRET}}
    assert call(cloud, "PATCH", f"/users/{people.user}", fresh_admin(people), json=body).ok


def test_with_an_outside_keystone(cloud: Cloud, people: People) -> None:
    old = people.expired()
    service = people.tenant.enter(people.service, "projects")
    admin = {
        "auth_url": f"{cloud.url}/identity/v3",
        "username": "admin",
        "password": cloud.bootstrap.admin_password or "",
        "project_name": "admin",
    }

    async def ask(**headers: str) -> str | None:
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        try:
            return (await outside.authenticate(names.get)).user_id
        except Unauthenticated:
            return None

    async def all_of_it() -> list[Any]:
        return [
            await ask(X_Auth_Token=old),
            await ask(X_Auth_Token=old, X_Service_Token=service),
            await ask(X_Auth_Token=old),
        ]

    async def work() -> list[Any]:
        try:
            return await all_of_it()
        finally:
            await outside.close()

    outside = OutsideIdentity(SystemClock(), OutsideSettings(**admin))
    assert asyncio.run(work()) == [None, people.user, None]
