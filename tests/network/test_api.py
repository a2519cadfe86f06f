"""The Networking API: what clients send, and what they must get back."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Api, flat, subnet

pytestmark = pytest.mark.anyio


async def port(api: Api, network_id: str, who: str = "admin", **more: Any) -> dict[str, Any]:
    body = {"port": {"network_id": network_id, **more}}
    return (await api.post("/v2.0/ports", body, who=who))["port"]


def kind(reply: Any) -> str:
    error = reply["NeutronError"]
    assert set(error) == {"type", "message", "detail"} and error["message"]
    return str(error["type"])


async def test_discovery(api: Api) -> None:
    root = await api.get("/", who="")
    assert root["versions"][0]["id"] == "v2.0"
    names = {r["name"] for r in (await api.get("/v2.0/", who=""))["resources"]}
    assert {"network", "subnet", "port", "security_group", "security_group_rule"} == names
    aliases = {e["alias"] for e in (await api.get("/v2.0/extensions"))["extensions"]}
    assert {"security-group", "port-security", "allowed-address-pairs", "quota_details"} <= aliases
    assert not aliases & {"router", "trunk", "floating-ip-port-forwarding", "qos"}
    one = (await api.get("/v2.0/extensions/standard-attr-tag"))["extension"]
    assert "subnet" in one["name"]
    assert kind(await api.get("/v2.0/extensions/router", status=404)) == "ExtensionNotFound"
    for absent in ("routers", "floatingips", "trunks"):
        assert kind(await api.get(f"/v2.0/{absent}", status=404)) == "HTTPNotFound"


async def test_a_network_and_its_form(api: Api) -> None:
    net = await flat(api, mtu="1400", shared=True)
    assert net["mtu"] == 1400 and net["shared"] is True and net["subnets"] == []
    assert net["provider:physical_network"] == "wire1" and net["tenant_id"] == "p-admin"
    assert net["created_at"].endswith("Z") and len(net["created_at"]) == 20
    sub = await subnet(api, net["id"], dns_nameservers=None, host_routes=None)
    assert sub["gateway_ip"] == "192.0.2.1"
    assert sub["allocation_pools"] == [{"start": "192.0.2.2", "end": "192.0.2.254"}]
    assert sub["dns_nameservers"] == [] and sub["host_routes"] == [] and sub["service_types"] == []
    seen = (await api.get(f"/v2.0/networks/{net['id']}", who="member"))["network"]
    assert seen["subnets"] == [sub["id"]] and "provider:network_type" not in seen
    changed = await api.put(f"/v2.0/networks/{net['id']}", {"network": {"name": "new"}})
    assert changed["network"]["name"] == "new" and changed["network"]["revision_number"] == 1
    assert kind(await api.post("/v2.0/networks", {"network": {"provider:physical_network": "wire1",
                "provider:network_type": "flat"}}, status=409)) == "FlatNetworkInUse"  # fmt: skip


async def test_bulk_is_all_or_nothing(api: Api) -> None:
    net = await flat(api)
    await subnet(api, net["id"])
    two = [{"network_id": net["id"], "name": f"p{i}", "tags": ["t"]} for i in range(2)]
    made = await api.post("/v2.0/ports", {"ports": two})
    assert [p["name"] for p in made["ports"]] == ["p0", "p1"] and made["ports"][0]["tags"] == ["t"]
    clash = [{"network_id": net["id"], "mac_address": "52:54:00:00:00:01"}] * 2
    assert kind(await api.post("/v2.0/ports", {"ports": clash}, status=409)) == "MacAddressInUse"
    assert len((await api.get("/v2.0/ports"))["ports"]) == 2


async def test_addresses(api: Api) -> None:
    net = await flat(api)
    sub = await subnet(
        api, net["id"], allocation_pools=[{"start": "192.0.2.10", "end": "192.0.2.11"}]
    )
    one = await port(api, net["id"])
    assert one["fixed_ips"] == [{"subnet_id": sub["id"], "ip_address": "192.0.2.10"}]
    request = {"ip_address": "192.0.2.10"}
    body = {"port": {"network_id": net["id"], "fixed_ips": [request]}}
    assert kind(await api.post("/v2.0/ports", body, status=409)) == "IpAddressAlreadyAllocated"
    await port(api, net["id"], fixed_ips=[{"subnet_id": sub["id"]}])
    body = {"port": {"network_id": net["id"]}}
    assert kind(await api.post("/v2.0/ports", body, status=409)) == "IpAddressGenerationFailure"
    # Outside of the pools an address may still be stated; our own DHCP server's may not.
    await port(api, net["id"], fixed_ips=[{"ip_address": "192.0.2.99"}])
    body = {"port": {"network_id": net["id"], "fixed_ips": [{"ip_address": "192.0.2.1"}]}}
    assert kind(await api.post("/v2.0/ports", body, status=409)) == "IpAddressAlreadyAllocated"
    # A freed address is given again; one that is kept stays.
    await api.delete(f"/v2.0/ports/{one['id']}")
    again = await port(api, net["id"])
    assert again["fixed_ips"][0]["ip_address"] == "192.0.2.10"
    more = {"port": {"fixed_ips": [{"subnet_id": sub["id"]}, {"ip_address": "192.0.2.50"}]}}
    changed = (await api.put(f"/v2.0/ports/{again['id']}", more))["port"]
    assert [ip["ip_address"] for ip in changed["fixed_ips"]] == ["192.0.2.10", "192.0.2.50"]


async def test_in_use(api: Api) -> None:
    net = await flat(api)
    sub = await subnet(api, net["id"])
    one = await port(api, net["id"])
    assert kind(await api.delete(f"/v2.0/networks/{net['id']}", status=409)) == "NetworkInUse"
    assert kind(await api.delete(f"/v2.0/subnets/{sub['id']}", status=409)) == "SubnetInUse"
    await api.delete(f"/v2.0/ports/{one['id']}")
    await api.delete(f"/v2.0/networks/{net['id']}")
    assert kind(await api.get(f"/v2.0/subnets/{sub['id']}", status=404)) == "SubnetNotFound"
    assert kind(await api.get(f"/v2.0/networks/{net['id']}", status=404)) == "NetworkNotFound"


async def test_binding_is_echoed(api: Api) -> None:
    net = await flat(api)
    await subnet(api, net["id"])
    profile = {"local_link_information": [{"switch_id": "a", "port_id": "1"}]}
    one = await port(
        api,
        net["id"],
        **{"binding:host_id": "node", "binding:vnic_type": "baremetal", "binding:profile": profile},
    )
    assert one["binding:vif_type"] == "other" and one["binding:profile"] == profile
    assert one["binding:vif_details"] == {"port_filter": False} and one["status"] == "ACTIVE"
    found = await api.get("/v2.0/ports?status=ACTIVE&binding:host_id=node")
    assert [p["id"] for p in found["ports"]] == [one["id"]]
    off = {"port": {"binding:host_id": "", "mac_address": None}}
    freed = (await api.put(f"/v2.0/ports/{one['id']}", off))["port"]
    assert freed["status"] == "DOWN" and freed["binding:vif_type"] == "unbound"
    assert freed["mac_address"] != one["mac_address"]


async def test_filters_by_number(api: Api) -> None:
    net = await flat(api, mtu=1400)
    found = (await api.get(f"/v2.0/networks?mtu=1400&mtu={2**63 - 1}"))["networks"]
    assert [one["id"] for one in found] == [net["id"]]
    for name in ("mtu", "revision_number"):
        for number in (2**63, -(2**63) - 1, 10**20, "9" * 5000, "x"):
            await api.get(f"/v2.0/networks?{name}={number}", status=400)
    match = {"If-Match": f"revision_number={'9' * 5000}"}
    body = {"network": {"name": "new"}}
    await api("PUT", f"/v2.0/networks/{net['id']}", body, headers=match, status=400)


async def test_query_language(api: Api) -> None:
    net = await flat(api)
    await subnet(api, net["id"])
    names = ["c", "a", "b", "a"]
    made = [await port(api, net["id"], name=name, device_id=f"d-{name}") for name in names]
    await api.put(f"/v2.0/ports/{made[0]['id']}/tags", {"tags": ["red", "big"]})
    await api.put(f"/v2.0/ports/{made[1]['id']}/tags", {"tags": ["red"]})

    async def ask(query: str) -> list[str]:
        return [p["id"] for p in (await api.get(f"/v2.0/ports?{query}"))["ports"]]

    ids = [p["id"] for p in made]
    assert set(await ask("name=a")) == {ids[1], ids[3]}
    assert set(await ask("name=a&name=b")) == {ids[1], ids[2], ids[3]}
    assert await ask("name=a&device_id=none") == []
    assert set(await ask("device_id=d-a&admin_state_up=True")) == {ids[1], ids[3]}
    address = made[2]["fixed_ips"][0]["ip_address"]
    assert await ask(f"fixed_ips=ip_address={address}") == [ids[2]]
    assert len(await ask("fixed_ips=ip_address_substr=192.0.2.")) == 4
    assert set(await ask("tags=red")) == {ids[0], ids[1]}
    assert await ask("tags=red,big") == [ids[0]]
    assert set(await ask("tags-any=big,blue")) == {ids[0]}
    assert set(await ask("not-tags=red")) == {ids[2], ids[3]}
    assert set(await ask("not-tags-any=big")) == {ids[1], ids[2], ids[3]}
    only = (await api.get("/v2.0/ports?fields=id&fields=name&name=b"))["ports"]
    assert only == [{"id": ids[2], "name": "b"}]
    for bad in ("colour=red", "sort_key=colour", "limit=-1", "limit=x", "marker=none",
                "admin_state_up=maybe", "sort_key=name&sort_dir=up", "fixed_ips=x=1",
                "&".join(["sort_key=name"] * 9)):  # fmt: skip
        assert kind(await api.get(f"/v2.0/ports?{bad}", status=400)) == "HTTPBadRequest"


async def test_pages(api: Api) -> None:
    net = await flat(api)
    for name in ("c", "a", "b", "a", "d"):
        await port(api, net["id"], name=name)
    names: list[str] = []
    path = "/v2.0/ports?sort_key=name&sort_dir=desc&limit=2"
    pages = 0
    while path:
        page = await api.get(path)
        pages += 1
        names += [p["name"] for p in page["ports"]]
        links = {link["rel"]: link["href"] for link in page.get("ports_links", [])}
        path = links["next"].partition("/network")[2] if "next" in links else ""
        last = links
    assert names == ["d", "c", "b", "a", "a"] and pages == 3
    back = await api.get(last["previous"].partition("/network")[2])
    assert [p["name"] for p in back["ports"]] == ["b", "a"]
    again = "&".join(
        ["sort_key=name&sort_dir=desc&sort_key=name&sort_dir=asc&sort_key=id&sort_dir=asc"] * 2
    )
    both = (await api.get(f"/v2.0/ports?{again}"))["ports"]
    assert [p["name"] for p in both] == ["d", "c", "b", "a", "a"]
    rest = (await api.get(f"/v2.0/ports?{again}&marker={both[2]['id']}"))["ports"]
    assert rest == both[3:]


async def test_who_sees_and_does_what(api: Api) -> None:
    shared = await flat(api, shared=True)
    await subnet(api, shared["id"])
    private = await flat(api, "wire2", project_id="p-two")
    assert [n["id"] for n in (await api.get("/v2.0/networks", who="member"))["networks"]] == [
        shared["id"]
    ]
    assert len((await api.get("/v2.0/networks", who="other"))["networks"]) == 2
    assert len((await api.get("/v2.0/networks"))["networks"]) == 2
    await api.get(f"/v2.0/networks/{private['id']}", who="member", status=404)
    mine = await port(api, shared["id"], who="member")
    assert mine["project_id"] == "p-one" and "binding:host_id" not in mine
    await api.get(f"/v2.0/ports/{mine['id']}", who="other", status=404)
    await api.get(f"/v2.0/ports/{mine['id']}", who="reader")
    await api.delete(f"/v2.0/ports/{mine['id']}", who="reader", status=403)
    await api.delete(f"/v2.0/ports/{mine['id']}", who="other", status=404)

    async def refused(path: str, body: Any, status: int = 403, who: str = "member") -> None:
        reply = await api.post(path, body, who=who, status=status)
        assert "NeutronError" in reply

    net = {"network_id": shared["id"]}
    await refused("/v2.0/ports", {"port": {**net, "fixed_ips": [{"ip_address": "192.0.2.9"}]}})
    await refused("/v2.0/ports", {"port": {**net, "mac_address": "52:54:00:00:00:09"}})
    await refused("/v2.0/ports", {"port": {**net, "binding:host_id": "x"}})
    await refused("/v2.0/ports", {"port": {**net, "project_id": "p-two"}})
    await refused("/v2.0/ports", {"port": net}, who="reader")
    await refused("/v2.0/ports", {"port": {"network_id": private["id"]}}, status=404)
    await refused("/v2.0/networks", {"network": {"shared": True}})
    await refused("/v2.0/networks", {"network": {"provider:network_type": "flat"}})
    await refused("/v2.0/subnets", {"subnet": {**net, "cidr": "203.0.113.0/24"}})
    await api.put(
        f"/v2.0/networks/{shared['id']}", {"network": {"name": "x"}}, who="member", status=403
    )
    await api.get("/v2.0/networks", who="", status=401)
    await api.get("/v2.0/networks", who="norole", status=403)
    assert await api.get("/v2.0/agents", who="member") == {"agents": []}


async def test_security_groups(api: Api) -> None:
    groups = (await api.get("/v2.0/security-groups", who="member"))["security_groups"]
    assert [g["name"] for g in groups] == ["default"]
    default = groups[0]
    assert default["ingot:enforced"] is False and len(default["security_group_rules"]) == 4
    assert (await api.get("/v2.0/security-groups", who="member"))["security_groups"] == groups
    path = "/v2.0/security-groups"
    again = await api.post(path, {"security_group": {"name": "default"}}, who="member", status=409)
    assert kind(again) == "SecurityGroupDefaultAlreadyExists"
    await api.delete(f"{path}/{default['id']}", who="member", status=409)
    # Administrators clear it away with its project; it is made anew when it is missed.
    await api.delete(f"{path}/{default['id']}")
    default = (await api.get(path, who="member"))["security_groups"][0]
    web = (await api.post(path, {"security_group": {"name": "web"}}, who="member"))[
        "security_group"
    ]
    assert len(web["security_group_rules"]) == 2
    rule = {
        "security_group_id": web["id"],
        "direction": "ingress",
        "protocol": "tcp",
        "port_range_min": "22",
        "port_range_max": 22,
        "remote_ip_prefix": "192.0.2.7/24",
    }
    rules = "/v2.0/security-group-rules"
    made = await api.post(rules, {"security_group_rule": rule}, who="member")
    assert made["security_group_rule"]["remote_ip_prefix"] == "192.0.2.0/24"
    twice = await api.post(rules, {"security_group_rule": rule}, who="member", status=409)
    assert kind(twice) == "SecurityGroupRuleExists"
    for wrong in (
        {"direction": "sideways"},
        {"ethertype": "IPX"},
        {"protocol": "nonsense"},
        {"protocol": 256},
        {"protocol": None},
        {"port_range_min": 23},
        {"port_range_max": 70000},
        {"remote_ip_prefix": "2001:db8::/32"},
        {"remote_ip_prefix": "x"},
    ):
        body = {"security_group_rule": {**rule, **wrong}}
        await api.post(rules, body, who="member", status=400)
    await api.post(rules, {"security_group_rule": rule}, who="other", status=404)
    net = await flat(api, shared=True)
    plain = await port(api, net["id"], who="member")
    assert plain["security_groups"] == [default["id"]]
    named = await port(api, net["id"], who="member", security_groups=[web["id"]])
    assert named["security_groups"] == [web["id"]]
    used = await api.delete(f"{path}/{web['id']}", who="member", status=409)
    assert kind(used) == "SecurityGroupInUse"
    found = await api.get(f"/v2.0/ports?security_groups={web['id']}", who="member")
    assert [p["id"] for p in found["ports"]] == [named["id"]]
    await api.put(f"/v2.0/ports/{named['id']}", {"port": {"security_groups": []}}, who="member")
    await api.delete(f"{path}/{web['id']}", who="member")
    await port(api, net["id"], port_security_enabled=False)
    body = {"port": {"network_id": net["id"], "security_groups": [web["id"]]}}
    assert kind(await api.post("/v2.0/ports", body, status=404)) == "SecurityGroupNotFound"


async def test_tags(api: Api) -> None:
    net = await flat(api)
    path = f"/v2.0/networks/{net['id']}/tags"
    assert await api.get(path) == {"tags": []}
    assert await api.put(path, {"tags": ["a", "b", "a"]}) == {"tags": ["a", "b"]}
    await api("PUT", f"{path}/c", status=201)
    await api("GET", f"{path}/c", status=204)
    await api.delete(f"{path}/a")
    await api.delete(f"{path}/a", status=404)
    assert (await api.get(path))["tags"] == ["b", "c"]
    await api.put(path, {"tags": [""]}, status=400)
    await api.put(path, {"tags": "a"}, status=400)
    await api.put(path, {"tags": [str(n) for n in range(51)]}, status=400)
    await api.delete(path)
    assert (await api.get(path))["tags"] == []


async def test_quotas(api: Api) -> None:
    net = await flat(api, shared=True)
    await subnet(api, net["id"])
    await api.put("/v2.0/quotas/p-one", {"quota": {"port": 1}})
    await port(api, net["id"], who="member")
    over = await api.post(
        "/v2.0/ports", {"port": {"network_id": net["id"]}}, who="member", status=409
    )
    assert kind(over) == "OverQuota"
    detail = (await api.get("/v2.0/quotas/p-one/details.json", who="member"))["quota"]["port"]
    assert detail == {"limit": 1, "used": 1, "reserved": 0}
    assert (await api.get("/v2.0/quotas/p-one/details"))["quota"]["port"] == detail
    await api.get("/v2.0/quotas/p-one", who="other", status=403)
    await api.put("/v2.0/quotas/p-one", {"quota": {"port": 9}}, who="member", status=403)
    await api.put("/v2.0/quotas/p-one", {"quota": {"router": 9}}, status=400)
    await api.put("/v2.0/quotas/p-one", {"quota": []}, status=400)
    assert len((await api.get("/v2.0/quotas"))["quotas"]) == 1
    await api.delete("/v2.0/quotas/p-one")
    assert (await api.get("/v2.0/quotas/p-one"))["quota"]["port"] == 500
    assert (await api.get("/v2.0/quotas/p-one/default"))["quota"]["port"] == 500


async def test_revisions_guard(api: Api) -> None:
    net = await flat(api)
    path, body = f"/v2.0/networks/{net['id']}", {"network": {"name": "x"}}
    await api("PUT", path, body, headers={"If-Match": "revision_number=0"}, status=200)
    await api("PUT", path, body, headers={"If-Match": "revision_number=0"}, status=412)
    await api("DELETE", path, headers={"If-Match": "revision_number=0"}, status=412)
    await api("DELETE", path, headers={"If-Match": "nonsense"}, status=400)
    await api("DELETE", path, headers={"If-Match": "revision_number=1"}, status=204)


BAD_NETWORKS: list[Any] = [
    {},
    {"network": None},
    {"network": []},
    {"network": {"name": 5}},
    {"network": {"name": "x" * 256}},
    {"network": {"name": "nul\x00"}},
    {"network": {"colour": "red"}},
    {"network": {"mtu": 10}},
    {"network": {"mtu": "big"}},
    {"network": {"shared": "perhaps"}},
    {"network": {"provider:network_type": "vlan"}},
    {"network": {"provider:segmentation_id": "7"}},
    {"network": {}, "other": {}},
    {"networks": []},
    {"networks": [5]},
]


@pytest.mark.parametrize("body", BAD_NETWORKS)
async def test_bad_networks(api: Api, body: Any) -> None:
    assert kind(await api.post("/v2.0/networks", body, status=400))


BAD_SUBNETS: list[Any] = [
    {"cidr": "192.0.2.0/33"},
    {"cidr": "x"},
    {},
    {"cidr": "192.0.2.0/24", "ip_version": 6},
    {"cidr": "192.0.2.0/24", "gateway_ip": "203.0.113.1"},
    {"cidr": "192.0.2.0/24", "gateway_ip": "192.0.2.255"},
    {"cidr": "192.0.2.0/24", "gateway_ip": "2001:db8::1"},
    {"cidr": "192.0.2.0/24", "dns_nameservers": ["x"]},
    {"cidr": "192.0.2.0/24", "host_routes": [{"destination": "x", "nexthop": "192.0.2.1"}]},
    {"cidr": "192.0.2.0/24", "allocation_pools": [{"start": "192.0.2.9"}]},
    {"cidr": "192.0.2.0/24", "allocation_pools": [{"start": "192.0.2.9", "end": "192.0.3.1"}]},
    {"cidr": "2001:db8::/64", "ipv6_ra_mode": "slaac"},
    {"cidr": "198.51.100.128/25"},
]


@pytest.mark.parametrize("body", BAD_SUBNETS)
async def test_bad_subnets(api: Api, body: Any) -> None:
    net = await flat(api)
    await subnet(api, net["id"], "198.51.100.0/24")
    assert kind(
        await api.post("/v2.0/subnets", {"subnet": {"network_id": net["id"], **body}}, status=400)
    )


BAD_PORTS: list[tuple[Any, int]] = [
    ({"network_id": None}, 400),
    ({"network_id": "none"}, 404),
    ({"mac_address": "x"}, 400),
    ({"mac_address": "01:00:00:00:00:01"}, 400),
    ({"fixed_ips": [{}]}, 400),
    ({"fixed_ips": [{"subnet_id": "none"}]}, 400),
    ({"fixed_ips": [{"ip_address": "203.0.113.9"}]}, 400),
    ({"fixed_ips": [{"ip_address": "192.0.2.255"}]}, 400),
    ({"fixed_ips": "192.0.2.9"}, 400),
    ({"security_groups": ["none"]}, 404),
    ({"allowed_address_pairs": [{"ip_address": "x"}]}, 400),
    ({"binding:vnic_type": "x"}, 400),
    ({"binding:profile": "x"}, 400),
    ({"extra_dhcp_opts": [{"opt_name": "x"}]}, 400),
    ({"port_security_enabled": False, "allowed_address_pairs": [{"ip_address": "192.0.2.4"}]}, 409),
]


@pytest.mark.parametrize(("body", "status"), BAD_PORTS)
async def test_bad_ports(api: Api, body: Any, status: int) -> None:
    net = await flat(api)
    await subnet(api, net["id"])
    assert kind(
        await api.post("/v2.0/ports", {"port": {"network_id": net["id"], **body}}, status=status)
    )


async def test_what_never_changes(api: Api) -> None:
    net = await flat(api)
    sub = await subnet(api, net["id"])
    one = await port(api, net["id"])
    for path, name, body in (
        (f"networks/{net['id']}", "network", {"project_id": "x"}),
        (f"networks/{net['id']}", "network", {"id": "x"}),
        (f"subnets/{sub['id']}", "subnet", {"cidr": "203.0.113.0/24"}),
        (f"ports/{one['id']}", "port", {"network_id": "x"}),
    ):
        await api.put(f"/v2.0/{path}", {name: body}, status=400)
    pools = [{"start": "192.0.2.100", "end": "192.0.2.110"}]
    changed = await api.put(
        f"/v2.0/subnets/{sub['id']}",
        {
            "subnet": {
                "gateway_ip": None,
                "allocation_pools": pools,
                "dns_nameservers": ["192.0.2.3"],
            }
        },
    )
    assert changed["subnet"]["gateway_ip"] is None
    assert changed["subnet"]["allocation_pools"] == pools
