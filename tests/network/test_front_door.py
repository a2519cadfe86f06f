"""The verbs that other services use inside their own transactions, and what DHCP is told of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from ingot.agents.dhcp.plans import DhcpHost
from ingot.kit.faults import Fault, Kind
from ingot.services.network import Network, Networks, Port, Subnet

pytestmark = pytest.mark.anyio

NIC = "52:54:00:00:00:01"


async def provider(nets: Networks) -> Network:
    return await nets.db.write(
        lambda conn: nets.ensure_flat_network(
            conn,
            "provider",
            "wire1",
            "192.0.2.0/24",
            ("192.0.2.10", "192.0.2.20"),
            "192.0.2.1",
            ["192.0.2.53"],
            project_id="p-admin",
        )
    )


async def make_port(nets: Networks, network: Network, **more: str) -> Port:
    return await nets.db.write(
        lambda conn: nets.create_port(conn, network_id=network.id, project_id="p-one", **more)
    )


async def test_bootstrap_twice_is_once(nets: Networks) -> None:
    first, again = await provider(nets), await provider(nets)
    assert first == again and len(first.subnets) == 1
    (subnet,) = await nets.db.read(lambda conn: nets.subnets_of(conn, first.id))
    assert (subnet.gateway_ip, list(subnet.dns_nameservers)) == ("192.0.2.1", ["192.0.2.53"])
    found = await nets.db.read(lambda conn: nets.find_network(conn, "provider", "p-one"))
    assert found.id == first.id
    assert [n.id for n in await nets.db.read(lambda conn: nets.networks(conn, "p-one"))] == [
        first.id
    ]
    with pytest.raises(Fault) as caught:
        await nets.db.read(lambda conn: nets.find_network(conn, "none"))
    assert caught.value.kind == Kind.MISSING


async def test_life_of_a_vif(nets: Networks) -> None:
    network = await provider(nets)
    kicks: list[int] = []
    nets.on_change(lambda: kicks.append(1))
    port = await make_port(nets, network, device_id="server", name="eth0")
    assert port.fixed_ips[0].ip_address == "192.0.2.10" and not port.bound
    (plan,) = await nets.db.read(nets.dhcp_plans)
    assert plan.hosts == ()  # a made-up MAC: nobody can ask with it

    def bind(conn: sa.Connection) -> Port:
        return nets.bind_port(conn, port.id, host_id="node", mac=NIC.upper(), profile={"a": 1})

    bound = await nets.db.write(bind)
    assert (bound.mac_address, bound.host_id, bound.vif_type) == (NIC, "node", "other")
    assert bound.device_id == "server" and bound.bound
    (plan,) = await nets.db.read(nets.dhcp_plans)
    assert plan.hosts == (DhcpHost(NIC, "192.0.2.10"),)
    assert plan.ranges[0].router == "192.0.2.1" and plan.ranges[0].dns == ("192.0.2.53",)
    assert plan.boot and plan.boot.script_url == "http://192.0.2.1:8088/boot.ipxe"
    assert plan.generation == await nets.db.read(nets.generation)
    assert len(kicks) == 2

    assert (await nets.db.write(bind)).revision_number == bound.revision_number
    assert [p.id for p in await nets.db.read(lambda c: nets.ports_of_device(c, "server"))] == [
        port.id
    ]
    freed = await nets.db.write(lambda conn: nets.unbind_port(conn, port.id))
    assert not freed.bound and freed.mac_address != NIC and freed.fixed_ips == port.fixed_ips
    (plan,) = await nets.db.read(nets.dhcp_plans)
    assert plan.hosts == ()
    for _ in range(2):
        await nets.db.write(lambda conn: nets.delete_port(conn, port.id))
    with pytest.raises(Fault) as caught:
        await nets.db.read(lambda conn: nets.get_port(conn, port.id))
    assert caught.value.kind == Kind.MISSING


async def test_one_mac_once(nets: Networks) -> None:
    network = await provider(nets)
    await make_port(nets, network, mac=NIC, host_id="node")
    other = await make_port(nets, network)
    with pytest.raises(Fault, match=r"mac address .* is in use"):
        await nets.db.write(lambda conn: nets.bind_port(conn, other.id, host_id="n", mac=NIC))


async def test_what_comes_back_is_what_is_stored(nets: Networks) -> None:
    """Each verb's answer is made without reading it all again."""
    network = await nets.db.write(
        lambda c: nets.create_network(c, project_id="p", physical_network="wire1", tags=["a b"])
    )
    assert network == await nets.db.read(lambda c: nets.get_network(c, network.id))

    def add_subnets(conn: sa.Connection) -> list[Subnet]:
        cidrs = [f"198.51.100.{32 * place}/27" for place in range(4)]
        given = {"network_id": network.id, "project_id": "p"}
        return [nets.create_subnet(conn, cidr=cidr, **given) for cidr in cidrs]

    subnets = await nets.db.write(add_subnets)
    assert subnets == await nets.db.read(lambda c: nets.subnets_of(c, network.id))
    known = await nets.db.read(lambda c: nets.get_network(c, network.id))
    assert list(known.subnets) == [subnet.id for subnet in subnets]

    requests = [{"subnet_id": subnets[place].id} for place in (2, 0, 3, 1)]
    port = await nets.db.write(
        lambda c: nets.create_port(c, network_id=network.id, project_id="p", fixed_ips=requests)
    )
    assert [ip.subnet_id for ip in port.fixed_ips] == [request["subnet_id"] for request in requests]
    assert port.port_security_enabled is True
    assert port == await nets.db.read(lambda c: nets.get_port(c, port.id))
    changes = {"fixed_ips": [requests[3], requests[0]], "tags": ["x"], "mac_address": NIC}
    changed = await nets.db.write(lambda c: nets.update_port(c, port, changes))
    assert changed.fixed_ips == (port.fixed_ips[3], port.fixed_ips[0])
    assert (changed.tags, changed.revision_number) == (["x"], port.revision_number + 1)
    assert changed == await nets.db.read(lambda c: nets.get_port(c, port.id))
    assert await nets.db.read(lambda c: nets.get_port(c, port.id)) in await nets.db.read(
        lambda c: nets.ports_of_device(c, "")
    )
    with pytest.raises(Fault) as caught:
        await nets.db.write(lambda c: nets.create_port(c, network_id=port.id, project_id="p"))
    assert caught.value.details["type"] == "NetworkNotFound"


async def test_a_port_takes_few_statements(nets: Networks) -> None:
    """Each is a round trip on PostgreSQL, and gives the interpreter up on SQLite."""
    network = await provider(nets)
    await make_port(nets, network)
    told: list[str] = []
    end = nets.db.on_statement(told.append)
    port = await make_port(nets, network, device_id="node")
    assert len(told) <= 2 + 9, told  # with BEGIN and COMMIT; one of them counts it for its project
    told.clear()
    await nets.db.write(lambda c: nets.bind_port(c, port.id, host_id="node", mac=NIC))
    assert len(told) <= 2 + 7, told
    told.clear()
    await nets.db.write(lambda c: nets.delete_port(c, port.id))
    assert len(told) <= 2 + 4, told
    end()


async def test_a_rolled_back_change_tells_nobody(nets: Networks) -> None:
    network = await provider(nets)
    kicks: list[int] = []
    nets.on_change(lambda: kicks.append(1))
    before = await nets.db.read(nets.generation)

    def fail(conn: sa.Connection) -> None:
        nets.create_port(conn, network_id=network.id, project_id="p")
        raise RuntimeError("later in the same transaction")

    with pytest.raises(RuntimeError):
        await nets.db.write(fail)
    assert not kicks and await nets.db.read(nets.generation) == before
    given = {(await make_port(nets, network)).fixed_ips[0].ip_address for _ in range(11)}
    assert given == {f"192.0.2.{last}" for last in range(10, 21)}


async def test_exhaustion(nets: Networks) -> None:
    network = await provider(nets)
    for _ in range(11):
        await make_port(nets, network)
    with pytest.raises(Fault) as caught:
        await make_port(nets, network)
    assert caught.value.details["type"] == "IpAddressGenerationFailure"


async def test_network_data(nets: Networks) -> None:
    network = await provider(nets)
    port = await make_port(nets, network)
    by_dhcp = await nets.db.read(lambda conn: nets.network_data(conn, [port.id]))
    link = {
        "id": f"tap{port.id[:11]}",
        "vif_id": port.id,
        "type": "phy",
        "ethernet_mac_address": port.mac_address,
        "mtu": 1500,
    }
    assert by_dhcp["links"] == [link]
    assert by_dhcp["networks"] == [
        {"id": "network0", "link": link["id"], "type": "ipv4_dhcp", "network_id": network.id}
    ]
    assert by_dhcp["services"] == [{"type": "dns", "address": "192.0.2.53"}]
    static = await nets.db.read(lambda conn: nets.network_data(conn, [port.id], static=True))
    (entry,) = static["networks"]
    assert (entry["type"], entry["ip_address"], entry["netmask"]) == (
        "ipv4",
        "192.0.2.10",
        "255.255.255.0",
    )
    assert entry["routes"] == [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]


async def test_only_wires_of_this_host_get_plans(nets: Networks) -> None:
    await provider(nets)
    await nets.db.write(
        lambda conn: nets.create_network(conn, project_id="p", physical_network="far away")
    )
    plans = await nets.db.read(nets.dhcp_plans)
    assert [plan.name for plan in plans] == ["wire1"]
    (subnet,) = await nets.db.read(
        lambda conn: nets.subnets_of(conn, nets.find_network(conn, "provider").id)
    )
    await nets.db.write(lambda conn: nets.update_subnet(conn, subnet, {"enable_dhcp": False}))
    (plan,) = await nets.db.read(nets.dhcp_plans)
    assert plan.ranges == () and plan.hosts == ()
    assert replace(plan, generation=0).name == "wire1"
