"""Every route of every service, tried without rights: the forgotten one would be the open one.

Routes that are open by design are in `open_routes.txt`, each with its reason.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingot.app.build import build
from ingot.app.cloud import Cloud
from ingot.kit.api.operations import Operation, Service
from ingot.settings import load

from .asgi import ask

pytestmark = pytest.mark.anyio

OPEN = Path(__file__).with_name("open_routes.txt")


def open_by_design() -> dict[str, str]:
    """ "listener service METHOD path" -> reason."""
    found: dict[str, str] = {}
    for line in OPEN.read_text().splitlines():
        route, mark, reason = line.partition(" # ")
        if not line.startswith("#") and route.strip():
            assert mark and reason.strip(), f"{line!r} gives no reason"
            found[" ".join(route.split())] = reason.strip()
    return found


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    """The whole cloud, its API role only, in its own process but on no socket."""
    settings = load(None, {}, state=str(tmp_path), roles=["api"])
    settings.identity.password_cost = 10
    settings.provisioning.listen = "127.0.0.1:1"  # named, not bound
    made = build(settings)
    await made.open()
    yield made
    await made.close()


def versions_of(service: Service, operation: Operation) -> list[dict[str, str]]:
    """Headers that ask for the lowest and the highest microversion at which the row is there."""
    if service.versions is None:
        return [{}]
    known = service.versions
    low = max(known.minimum.minor, operation.since)
    high = known.maximum.minor if operation.until is None else operation.until
    name = known.service_type
    return [
        {"OpenStack-API-Version": f"{name} {known.minimum.major}.{minor}"}
        for minor in sorted({low, min(high, known.maximum.minor)})
    ]


async def test_only_what_is_listed_is_open(cloud: Cloud) -> None:
    found = {
        f"{listener} {service.name} {operation.method} {service.prefix}{operation.path}"
        for listener, web in (("api", cloud.listeners.api()), ("boot", cloud.listeners.boot()))
        for service in web.services
        for operation in service.operations
        if operation.rule is None
    }
    listed = set(open_by_design())
    assert not found - listed, "open without a reason in open_routes.txt"
    assert not listed - found, "listed in open_routes.txt, but not open or not there any more"


@pytest.mark.parametrize("token", [None, "gAAAAABnot-a-token"], ids=["no token", "a bad token"])
async def test_every_other_route_answers_401(cloud: Cloud, token: str | None) -> None:
    web = cloud.listeners.api()
    tried = 0
    wrong: list[str] = []
    for service in web.services:
        for operation in service.operations:
            if operation.rule is None:
                continue
            path = service.prefix + re.sub(r"\{[^}]*\}", "x", operation.path)
            for headers in versions_of(service, operation):
                if token:
                    headers["X-Auth-Token"] = token
                status, _ = await ask(web.asgi, operation.method, path, headers)
                tried += 1
                if status != 401:
                    wrong.append(f"{operation.method} {path} {headers}: {status}")
    assert not wrong, "\n".join(wrong)
    assert tried > 150


async def test_the_boot_listener_serves_nothing_that_needs_rights(cloud: Cloud) -> None:
    """Booting machines have no tokens; whatever needs one has no business on their network."""
    closed = [
        f"{operation.method} {operation.path}"
        for service in cloud.listeners.boot().services
        for operation in service.operations
        if operation.rule is not None
    ]
    assert closed == []
