"""What one tenant can learn of another's things, and what clients send that says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Api, flat, subnet

pytestmark = pytest.mark.anyio
ABSENT = "00000000-0000-4000-8000-000000000000"


async def one_of_each(api: Api) -> dict[str, str]:
    """Things of one project that another one does not see; their ids by collection."""
    net = await flat(api)
    sub = await subnet(api, net["id"])
    made = {"networks": net["id"], "subnets": sub["id"]}
    body = {"port": {"network_id": net["id"], "name": "m"}}
    made["ports"] = (await api.post("/v2.0/ports", body))["port"]["id"]
    group = await api.post("/v2.0/security-groups", {"security_group": {"name": "m"}})
    made["security-groups"] = group["security_group"]["id"]
    made["security-group-rules"] = group["security_group"]["security_group_rules"][0]["id"]
    return made


async def test_a_foreign_marker_is_like_none(api: Api) -> None:
    made = await one_of_each(api)
    for name in ("a", "z"):
        await api.post("/v2.0/security-groups", {"security_group": {"name": name}}, who="member")
    for collection, ident in made.items():
        for sort in ("", "&sort_key=project_id&sort_dir=desc", "&limit=1", "&page_reverse=True"):
            said: list[Any] = []
            for marker in (ident, ABSENT):
                path = f"/v2.0/{collection}?marker={marker}{sort}"
                reply = await api("GET", path, who="member")
                said.append((reply.status_code, reply.text.replace(marker, "ID")))
            assert said[0] == said[1] and said[0][0] == 400, (collection, sort, said)
        # Its own user goes on from it, also where a filter does not give it.
        await api.get(f"/v2.0/{collection}?marker={ident}&description=none")


async def test_an_own_marker_serves(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.post("/v2.0/security-groups", {"security_group": {"name": name}}, who="member")
    path = "/v2.0/security-groups?sort_key=name&limit=2"
    first = (await api.get(path, who="member"))["security_groups"]
    rest = await api.get(f"{path}&marker={first[-1]['id']}", who="member")
    assert [g["name"] for g in [*first, *rest["security_groups"]]] == ["a", "b", "c", "default"]


async def test_limits_below_what_is_used(api: Api) -> None:
    """What the stock client sends: check_limit always, force by its option."""
    net = await flat(api, shared=True)
    await subnet(api, net["id"])
    for _ in range(2):
        await api.post("/v2.0/ports", {"port": {"network_id": net["id"]}}, who="member")
    path = "/v2.0/quotas/p-one"
    await api.put(path, {"quota": {"port": 3, "network": 3, "check_limit": True}})
    low: dict[str, Any] = {"port": 1}
    for more in ({}, {"check_limit": True}, {"force": False}):
        reply = await api.put(path, {"quota": {**low, **more}}, status=400)
        assert "already used 2" in reply["NeutronError"]["message"]
    assert (await api.get(path))["quota"]["port"] == 3
    await api.put(path, {"quota": {**low, "force": True}})
    details = (await api.get(f"{path}/details"))["quota"]
    assert details["port"] == {"limit": 1, "used": 2, "reserved": 0}
    assert set(details["network"]) == {"limit", "used", "reserved"}
    await api.put(path, {"quota": {"port": -1}})


async def test_what_says_nothing_is_taken(api: Api) -> None:
    net = await flat(api)
    await subnet(api, net["id"], service_types=[])
    body = {"network_id": net["id"], "extra_dhcp_opts": [], "dns_name": ""}
    made = (await api.post("/v2.0/ports", {"port": body}))["port"]
    await api.put(f"/v2.0/ports/{made['id']}", {"port": {"extra_dhcp_opts": None}})
    for field, value in (("dns_name", "x"), ("extra_dhcp_opts", [{"opt_name": "a"}])):
        await api.post("/v2.0/ports", {"port": {**body, field: value}}, status=400)


async def test_a_vlan_network_is_refused_by_its_type(api: Api) -> None:
    body = {
        "provider:network_type": "vlan",
        "provider:physical_network": "wire1",
        "provider:segmentation_id": 7,
    }
    reply = await api.post("/v2.0/networks", {"network": body}, status=400)
    assert "vlan" in reply["NeutronError"]["message"]
