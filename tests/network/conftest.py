"""The network service on a real database, behind a fake authenticator: the token's text says who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from ingot.kit.auth.policy import ANONYMOUS, Caller
from ingot.kit.db.database import Database
from ingot.kit.http.server import WebApp
from ingot.kit.tasks.clock import SystemClock
from ingot.services.network import Networks, NetworkSettings, ProvisioningWire
from ingot.services.network.api import make_service

CALLERS = {
    "admin": Caller(
        user_id="u-admin",
        project_id="p-admin",
        roles=frozenset({"admin", "manager", "member", "reader"}),
    ),
    "member": Caller(user_id="u-one", project_id="p-one", roles=frozenset({"member", "reader"})),
    "other": Caller(user_id="u-two", project_id="p-two", roles=frozenset({"member", "reader"})),
    "reader": Caller(user_id="u-three", project_id="p-one", roles=frozenset({"reader"})),
    "norole": Caller(user_id="u-four", project_id="p-one"),
}

WIRES = {
    "wire1": ProvisioningWire("ign-none0", "192.0.2.1", "http://192.0.2.1:8088"),
    "wire2": ProvisioningWire("ign-none1", "198.51.100.1", "http://198.51.100.1:8088"),
}


async def authenticate(header: Callable[[str], str | None]) -> Caller:
    return CALLERS.get(header("X-Auth-Token") or "", ANONYMOUS)


@pytest.fixture
async def nets(tmp_path: Path) -> AsyncIterator[Networks]:
    db = Database.at(tmp_path / "ingot.db")
    await db.create_all()
    yield Networks(db, SystemClock(), NetworkSettings(wires=WIRES))
    await db.close()


class Api:
    """Calls with a token; `ok` fails the test on another status."""

    def __init__(self, conductor: falcon.testing.ASGIConductor) -> None:
        self._conductor = conductor

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: str = "admin",
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        reply = await self._conductor.simulate_request(
            method,
            f"/network{path}",
            json=body,
            headers={"X-Auth-Token": who, **(headers or {})},
        )
        if status is not None:
            assert reply.status_code == status, reply.text
        return reply

    async def post(self, path: str, body: Any, *, who: str = "admin", status: int = 201) -> Any:
        return (await self("POST", path, body, who=who, status=status)).json

    async def get(self, path: str, *, who: str = "admin", status: int = 200) -> Any:
        return (await self("GET", path, who=who, status=status)).json

    async def put(self, path: str, body: Any, *, who: str = "admin", status: int = 200) -> Any:
        return (await self("PUT", path, body, who=who, status=status)).json

    async def delete(self, path: str, *, who: str = "admin", status: int = 204) -> Any:
        reply = await self("DELETE", path, who=who, status=status)
        return reply.json if reply.text else None


@pytest.fixture
async def api(nets: Networks) -> AsyncIterator[Api]:
    app = WebApp([make_service(nets, authenticate)]).asgi
    async with falcon.testing.ASGIConductor(app) as conductor:
        yield Api(conductor)


async def flat(api: Api, wire: str = "wire1", **more: Any) -> dict[str, Any]:
    """A network on a wire."""
    body = {
        "name": wire,
        "provider:network_type": "flat",
        "provider:physical_network": wire,
        **more,
    }
    return (await api.post("/v2.0/networks", {"network": body}))["network"]


async def subnet(
    api: Api, network_id: str, cidr: str = "192.0.2.0/24", **more: Any
) -> dict[str, Any]:
    body = {"network_id": network_id, "cidr": cidr, "ip_version": 4, **more}
    return (await api.post("/v2.0/subnets", {"subnet": body}))["subnet"]
