"""Networks, subnets, ports, groups' rules keep the contract of all declared resources (`tests/contracts`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.kit.api.resource import Resource
from ingot.kit.db.database import Database
from ingot.kit.http.server import WebApp
from ingot.kit.tasks.clock import SystemClock
from ingot.services.network import Networks, NetworkSettings, ProvisioningWire
from ingot.services.network.api import make_service, resources
from ingot.services.network.types import Network
from tests.contracts.client import CALLERS, Client, authenticate
from tests.contracts.documents import Documents
from tests.contracts.resource import CHECKS, Sample

pytestmark = pytest.mark.anyio

Check = Callable[[Client, Sample], Awaitable[None]]
#: A flat network has a wire of its own.
WIRES = {
    f"wire{at}": ProvisioningWire("ign-none0", "192.0.2.1", "http://192.0.2.1:8088")
    for at in range(400)
}
QUOTAS = {"network": -1, "subnet": -1, "port": -1, "security_group": -1, "security_group_rule": -1}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def nets(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Networks]:
    if request.param == "sqlite":
        db = Database.at(tmp_path / "ingot.db")
    else:
        db = Database(request.getfixturevalue("postgres_url"))
    await db.create_all()
    yield Networks(db, SystemClock(), NetworkSettings(wires=WIRES, quotas=QUOTAS))
    await db.close()


@pytest.fixture
def client(nets: Networks) -> Client:
    service = make_service(nets, authenticate)
    made = Client(None, nets.db, "/network", Documents(service))
    made.app = WebApp([service], audit=made.audit.append).asgi
    return made


def resource(nets: Networks, name: str) -> Resource:
    return next(one for one in resources(nets) if one.name == name)


async def network_of_member(nets: Networks, **more: Any) -> Network:
    project = CALLERS["member"].project_id or ""
    return await nets.db.write(
        lambda conn: nets.create_network(conn, project_id=project, name="theirs", **more)
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_networks(nets: Networks, client: Client, check: Check) -> None:
    sample = Sample(
        resource(nets, "network"),
        lambda at: {"name": f"net {at}", "description": f"the {at}."},
        {"name": "another"},
    )
    await check(client, sample)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_subnets(nets: Networks, client: Client, check: Check) -> None:
    network = await network_of_member(nets)

    def body(at: int) -> dict[str, Any]:
        cidr = f"10.{at // 250}.{at % 250}.0/24"
        return {"network_id": network.id, "cidr": cidr, "ip_version": 4, "name": f"subnet {at}"}

    await check(client, Sample(resource(nets, "subnet"), body, {"name": "another"}))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_ports(nets: Networks, client: Client, check: Check) -> None:
    network = await network_of_member(nets)

    def body(at: int) -> dict[str, Any]:
        return {"network_id": network.id, "name": f"port {at}", "device_id": f"machine {at}"}

    derived = frozenset({"mac_address"})
    await check(client, Sample(resource(nets, "port"), body, {"name": "another"}, derived=derived))
