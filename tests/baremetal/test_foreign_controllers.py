"""A stored password goes only to the address for which it was given: who may not hand machines out cannot send it elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, project, system, world

from ingot.kit.auth.policy import Caller
from ingot.services.baremetal import store

pytestmark = pytest.mark.anyio
INFO = {
    "redfish_address": "https://10.0.0.1",
    "redfish_username": "admin",
    "redfish_password": "operator's",
    "ipmi_password": "operator's too",
    "deploy_kernel": "http://k",
}
MASKED = {**INFO, "redfish_password": "******", "ipmi_password": "******"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def enrolled(api: World) -> str:
    node = await api.node(driver="redfish", owner="p1", driver_info=INFO)
    return node["uuid"]


async def whole(api: World, uuid: str) -> dict[str, Any]:
    """driver_info as drivers get it."""
    vault = api.baremetal.ctx.vault
    return await api.db.read(
        lambda conn: store.driver_info(conn, vault, store.get_node(conn, uuid))
    )


async def patch(api: World, uuid: str, *changes: tuple[str, str, Any]) -> dict[str, Any]:
    body = [
        {"op": op, "path": path, **({} if op == "remove" else {"value": value})}
        for op, path, value in changes
    ]
    reply = await api.ask("PATCH", f"/v1/nodes/{uuid}", body)
    assert reply.status == 200, reply.json
    return reply.json["driver_info"]


@pytest.mark.parametrize("caller", [project("member"), project("admin")])
@pytest.mark.parametrize(
    "change",
    [
        ("replace", "/driver_info/redfish_address", "https://10.6.6.6"),
        ("add", "/driver_info/redfish_verify_ca", False),
        ("add", "/driver_info/ipmi_address", "10.6.6.6"),
        ("add", "/driver_info/ipmi_port", 6666),
        ("add", "/driver_info/ipmi_terminal_port", 6666),
        ("add", "/driver_info/REDFISH_ADDRESS", "https://10.6.6.6"),
        ("replace", "/driver_info", {**MASKED, "redfish_address": "https://10.6.6.6"}),
        ("remove", "/driver_info/redfish_address", None),
    ],
)
async def test_an_owner_cannot_send_the_operators_password_elsewhere(
    api: World, caller: Caller, change: tuple[str, str, Any]
) -> None:
    uuid = await enrolled(api)
    api.become(caller)
    shown = await patch(api, uuid, change)
    told = await whole(api, uuid)
    assert "operator's" not in str(told.values()).replace("operator's too", "operator's")
    assert "redfish_password" not in shown and "redfish_password" not in told
    assert shown["deploy_kernel"] == "http://k" and shown["redfish_username"] == "admin"
    # And not by putting the address back, or the mask.
    shown = await patch(
        api,
        uuid,
        ("add", "/driver_info/redfish_address", INFO["redfish_address"]),
        ("add", "/driver_info/redfish_password", "******"),
    )
    assert (await whole(api, uuid)).get("redfish_password") != INFO["redfish_password"]


async def test_its_own_password_comes_with_the_address(api: World) -> None:
    uuid = await enrolled(api)
    api.become(project("member"))
    shown = await patch(
        api,
        uuid,
        ("replace", "/driver_info/redfish_address", "https://10.6.6.6"),
        ("replace", "/driver_info/redfish_password", "mine"),
    )
    told = await whole(api, uuid)
    assert shown["redfish_password"] == "******" and told["redfish_password"] == "mine"
    assert "ipmi_password" not in told


async def test_what_leads_nowhere_else_leaves_the_password(api: World) -> None:
    uuid = await enrolled(api)
    api.become(project("member"))
    await patch(
        api,
        uuid,
        ("replace", "/driver_info/deploy_kernel", "http://k2"),
        ("replace", "/driver_info/redfish_address", INFO["redfish_address"]),
        ("add", "/driver_info/redfish_username", "other"),
        ("add", "/extra/a", 1),
    )
    assert (await whole(api, uuid))["redfish_password"] == INFO["redfish_password"]


async def test_an_operator_moves_a_controller_with_its_password(api: World) -> None:
    uuid = await enrolled(api)
    for number, caller in enumerate((system(), system("member"))):
        api.become(caller)
        address = f"https://10.0.1.{number}"
        await patch(api, uuid, ("replace", "/driver_info/redfish_address", address))
        assert (await whole(api, uuid))["redfish_password"] == INFO["redfish_password"]
