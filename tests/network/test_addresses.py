"""What is taken as an address: no zones, no control characters, the subnet's own family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.agents.dhcp.dnsmasq.config import render
from ingot.kit.faults import Fault
from ingot.services.network import Networks, ipam

from .conftest import Api, flat, subnet

pytestmark = pytest.mark.anyio

ZONE = "fe80::1%y\nconf-script=id -un >pwned;true\n#"
ROUTE = {"destination": "10.0.0.0/8", "nexthop": "192.0.2.9"}


@pytest.mark.parametrize("zone", [ZONE, "fe80::1%eth0", "fe80::1%\x7f"])
async def test_no_address_has_a_zone(api: Api, zone: str) -> None:
    net = await flat(api)
    sub = await subnet(api, net["id"])
    six = await subnet(api, net["id"], "2001:db8::/64", ip_version=6)
    changes: list[dict[str, Any]] = [
        {"host_routes": [{**ROUTE, "nexthop": zone}]},
        {"host_routes": [{**ROUTE, "destination": f"{zone}/64"}]},
        {"dns_nameservers": [zone]},
        {"gateway_ip": zone},
        {"allocation_pools": [{"start": zone, "end": zone}]},
    ]
    for values in changes:
        for one in (sub, six):
            await api.put(f"/v2.0/subnets/{one['id']}", {"subnet": values}, status=400)
        body = {"network_id": net["id"], "cidr": "2001:db8:1::/64", "ip_version": 6, **values}
        await api.post("/v2.0/subnets", {"subnet": body}, status=400)
    body = {"network_id": net["id"], "cidr": f"{zone}/64", "ip_version": 6}
    await api.post("/v2.0/subnets", {"subnet": body}, status=400)
    own = f"2001:db8::55{zone[7:]}"
    ports: list[dict[str, Any]] = [
        {"fixed_ips": [{"ip_address": own}]},
        {"fixed_ips": [{"subnet_id": six["id"], "ip_address": own}]},
        {"allowed_address_pairs": [{"ip_address": zone}]},
    ]
    for values in ports:
        await api.post("/v2.0/ports", {"port": {"network_id": net["id"], **values}}, status=400)
    group = (await api.get("/v2.0/security-groups"))["security_groups"][0]["id"]
    rule = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv6"}
    rule["remote_ip_prefix"] = f"{zone}/128"
    await api.post("/v2.0/security-group-rules", {"security_group_rule": rule}, status=400)


async def test_routes_are_of_the_subnets_family_and_in_normal_form(api: Api) -> None:
    net = await flat(api)
    route = {"destination": "10.1.2.3/8", "nexthop": "192.0.2.9"}
    sub = await subnet(api, net["id"], host_routes=[route])
    assert sub["host_routes"] == [ROUTE]
    six = await subnet(api, net["id"], "2001:db8::/64", ip_version=6)
    six_route = {"destination": "2001:DB8:1::/48", "nexthop": "2001:DB8::9"}
    path = f"/v2.0/subnets/{six['id']}"
    changed = await api.put(path, {"subnet": {"host_routes": [six_route]}})
    assert changed["subnet"]["host_routes"] == [
        {"destination": "2001:db8:1::/48", "nexthop": "2001:db8::9"}
    ]
    for one, wrong in ((sub, six_route), (six, ROUTE), (sub, {**ROUTE, "nexthop": "2001:db8::9"})):
        body = {"subnet": {"host_routes": [wrong]}}
        await api.put(f"/v2.0/subnets/{one['id']}", body, status=400)


async def test_name_servers_of_the_other_family_are_not_told_by_dhcp(
    api: Api, nets: Networks
) -> None:
    """dnsmasq refuses its whole configuration for one IPv6 address in an IPv4 option."""
    net = await flat(api)
    servers = ["2001:db8::53", "192.0.2.53"]
    sub = await subnet(api, net["id"], dns_nameservers=servers)
    assert sub["dns_nameservers"] == servers
    (plan,) = await nets.db.read(nets.dhcp_plans)
    assert plan.ranges[0].dns == ("192.0.2.53",)
    assert "2001:db8" not in render(plan, Path("/srv"))


async def test_numbers_without_end_are_refused(api: Api) -> None:
    net = await flat(api)
    digits = "9" * 5000
    header = {"If-Match": f"revision_number={digits}"}
    body: dict[str, Any] = {"network": {"name": "x"}}
    await api("PUT", f"/v2.0/networks/{net['id']}", body, headers=header, status=400)
    group = (await api.get("/v2.0/security-groups"))["security_groups"][0]["id"]
    for protocol in (digits, "9" * 20, 10**4000):
        rule = {"security_group_id": group, "direction": "ingress", "protocol": protocol}
        await api.post("/v2.0/security-group-rules", {"security_group_rule": rule}, status=400)


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.text(max_size=30),
        st.builds("{}%{}".format, st.ip_addresses(v=6).map(str), st.text(max_size=10)),
        st.builds("{}%{}/64".format, st.ip_addresses(v=6).map(str), st.text(max_size=10)),
    )
)
def test_a_text_that_is_taken_is_one_plain_word(text: str) -> None:
    for read in (ipam.address, ipam.network):
        try:
            found = str(read(text))
        except Fault:
            continue
        assert "%" not in found and found.isprintable() and " " not in found
