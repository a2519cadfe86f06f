"""The ramdisk's addresses from a boot medium: the plan, and its commands carried out in a network namespace."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from ingot.builders.recipes.ramdisk import network_data
from ingot.builders.recipes.ramdisk.network_data import plan
from ingot.drivers.machine.vmedia import iso

MAC, OTHER, THIRD = (f"52:54:00:00:00:0{number}" for number in (1, 2, 3))
CARDS = {MAC: "ens3", OTHER: "ens4"}
EVERYWHERE = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}


def phy(mac: str, ident: str = "one", **more: Any) -> dict[str, Any]:
    return {"id": ident, "type": "phy", "ethernet_mac_address": mac, **more}


def static(link: str = "one", **more: Any) -> dict[str, Any]:
    given = {"ip_address": "10.0.0.5", "netmask": "255.255.255.0", "routes": [EVERYWHERE]}
    return {"id": "n", "link": link, "network_id": "n", "type": "ipv4", **given, **more}


def document(links: list[Any], networks: list[Any], *dns: str) -> dict[str, Any]:
    services = [{"type": "dns", "address": address} for address in dns]
    return {"links": links, "networks": networks, "services": services}


def words(made: network_data.Plan) -> list[str]:
    return [" ".join(command) for command in made.commands]


def test_a_card_by_its_mac() -> None:
    made = plan(document([phy(MAC.upper(), mtu=1400)], [static()]), CARDS, {})
    assert words(made) == [
        "ip link set dev ens3 mtu 1400",
        "ip link set dev ens3 up",
        "ip addr replace 10.0.0.5/24 dev ens3",
        "ip route replace default via 10.0.0.1 dev ens3 metric 100 onlink",
    ]
    assert (made.given, made.ask, made.missing) == (["ens3"], [], [])


def test_what_is_done_is_done_once_and_what_is_missing_is_told() -> None:
    wanted = document(
        [phy(MAC), phy(THIRD, "two"), phy("52:54:00:00:00:09", "unused")],
        [static(), static("two")],
    )
    first = plan(wanted, CARDS, {})
    assert first.done == {"one": "ens3"} and first.missing == [f"two ({THIRD})"]
    second = plan(wanted, {**CARDS, THIRD: "ens5"}, first.done)
    assert second.missing == [] and all("ens3" not in text for text in words(second))
    assert "ip addr replace 10.0.0.5/24 dev ens5" in words(second)


def test_other_kinds_of_networks() -> None:
    six = {"ip_address": "2001:db8::5", "netmask": "ffff:ffff:ffff:ffff::", "type": "ipv6"}
    gateway = {"network": "::", "netmask": "::", "gateway": "2001:db8::1"}
    made = plan(document([phy(MAC)], [static(**six, routes=[gateway])]), CARDS, {})
    assert words(made)[1:] == [
        "ip addr replace 2001:db8::5/64 dev ens3 nodad",
        "ip -6 route replace default via 2001:db8::1 dev ens3 metric 100 onlink",
    ]
    with_length = static(ip_address="2001:db8::5/48", netmask=None, type="ipv6", routes=[])
    made = plan(document([phy(MAC)], [with_length]), CARDS, {})
    assert "ip addr replace 2001:db8::5/48 dev ens3 nodad" in words(made)
    for kind in ("ipv6_slaac", "ipv6_dhcp"):
        bare = {"id": "n", "link": "one", "network_id": "n", "type": kind}
        made = plan(document([phy(MAC)], [bare]), CARDS, {})
        assert words(made) == ["ip link set dev ens3 up"] and made.given == ["ens3"]
    by_dhcp = {"id": "n", "link": "one", "network_id": "n", "type": "ipv4_dhcp"}
    made = plan(document([phy(MAC)], [by_dhcp]), CARDS, {})
    assert (made.ask, made.given) == (["ens3"], [])


def test_routes_that_lead_to_one_network_only() -> None:
    route = {"network": "10.9.0.0", "netmask": "255.255.0.0", "gateway": "10.0.0.9"}
    made = plan(document([phy(MAC)], [static(routes=[route])]), CARDS, {})
    assert words(made)[-1] == "ip route replace 10.9.0.0/16 via 10.0.0.9 dev ens3 metric 100 onlink"


def test_a_vlan_on_a_bond_whose_links_come_later_in_the_list() -> None:
    vlan = {"id": "v", "type": "vlan", "vlan_link": "b", "vlan_id": 42, "vlan_mac_address": MAC}
    bond = {"id": "b", "type": "bond", "bond_mode": "802.3ad", "bond_links": ["one", "two"]}
    links = [vlan, {**bond, "ethernet_mac_address": MAC}, phy(MAC), phy(OTHER, "two")]
    made = plan(document(links, [static("v")]), CARDS, {})
    assert words(made) == [
        "ip link set dev ens3 up",
        "ip link set dev ens4 up",
        f"ip link add lag0 address {MAC} type bond mode 802.3ad miimon 100",
        "ip link set dev ens3 down",
        "ip link set dev ens3 master lag0",
        "ip link set dev ens4 down",
        "ip link set dev ens4 master lag0",
        "ip link set dev lag0 up",
        f"ip link add link lag0 name lag0.42 address {MAC} type vlan id 42",
        "ip link set dev lag0.42 up",
        "ip addr replace 10.0.0.5/24 dev lag0.42",
        "ip route replace default via 10.0.0.1 dev lag0.42 metric 100 onlink",
    ]
    assert made.given == ["lag0.42"]
    half = plan(document(links, [static("v")]), {MAC: "ens3"}, {})
    assert half.missing and "bond" not in " ".join(words(half))


def test_name_servers_of_all_places() -> None:
    near = {"type": "dns", "address": "10.0.0.2"}
    nets = [static(services=[near], routes=[{**EVERYWHERE, "services": [near]}])]
    told = document([phy(MAC)], nets, "10.0.0.3", "10.0.0.2")
    assert network_data.name_servers(told) == ["10.0.0.3", "10.0.0.2"]


@pytest.fixture
def namespace() -> Iterator[Callable[..., str]]:
    """Runs programs in a network namespace with a card `ens3` that has the MAC `MAC`."""
    name = f"ingot-nd-{os.getpid()}"

    def run(*command: str) -> str:
        inside = ["ip", "netns", "exec", name, *command]
        return subprocess.run(inside, check=True, capture_output=True, text=True).stdout

    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        run("ip", "link", "add", "ens3", "address", MAC, "type", "veth", "peer", "name", "far")
        run("ip", "link", "set", "dev", "far", "up")
        yield run
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace")
@pytest.mark.skipif(not shutil.which("ip"), reason="needs iproute2")
def test_the_commands_do_what_they_say(namespace: Callable[..., str]) -> None:
    six = {"ip_address": "2001:db8::5", "netmask": "ffff:ffff:ffff:ffff::", "type": "ipv6"}
    gateway = {"network": "::", "netmask": "::", "gateway": "2001:db8::1"}
    nets = [static(), static(**six, routes=[gateway])]
    for command in plan(document([phy(MAC, mtu=1400)], nets), CARDS, {}).commands:
        namespace(*command)
    (card,) = json.loads(namespace("ip", "-j", "addr", "show", "dev", "ens3"))
    addresses = {f"{a['local']}/{a['prefixlen']}" for a in card["addr_info"]}
    assert {"10.0.0.5/24", "2001:db8::5/64"} <= addresses and card["mtu"] == 1400
    (route,) = json.loads(namespace("ip", "-j", "route", "show", "default"))
    assert (route["gateway"], route["dev"], route["metric"]) == ("10.0.0.1", "ens3", 100)
    (route,) = json.loads(namespace("ip", "-6", "-j", "route", "show", "default"))
    assert route["gateway"] == "2001:db8::1"


def test_only_config_drives_are_looked_into(tmp_path: Path) -> None:
    def drive(label: str) -> Path:
        disc: Any = pycdlib.PyCdlib()
        disc.new(interchange_level=3, rock_ridge="1.09", vol_ident=label)
        out = io.BytesIO()
        disc.write_fp(out)
        disc.close()
        (tmp_path / label).write_bytes(out.getvalue())
        return tmp_path / label

    found = network_data.is_config_drive
    assert found(drive(iso.CONFIG_LABEL)) and found(drive("CONFIG-2"))
    assert not found(drive(iso.LABEL)) and not found(tmp_path / "nothing")
    (tmp_path / "short").write_bytes(b"x")
    assert not found(tmp_path / "short")
    assert iso.NAME.decode().splitlines() == [network_data.NAME]
