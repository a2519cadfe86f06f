#!/usr/bin/python3
"""In the agent ramdisk: addresses from the boot medium instead of DHCP.

`init` runs this again and again until it ends with 0: cards and the medium may appear late. What is done
is done once. The document is OpenStack's network_data.json (links, networks, services), on a medium labelled
`config-2`. Standard library only: this is a file of the ramdisk.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RUN = Path("/run/net")
SYS = Path("/sys")
LABEL = b"config-2"
#: First line of /.disk/info of our media: a config drive on a disk is the business of another system.
NAME = "Ingot boot medium"
IGNORED = ("loop", "ram", "zram", "dm-", "md")
#: Rank of the first network's routes; below those of cards that DHCP serves (200 and more).
METRIC = 100


@dataclass
class Plan:
    """commands: programs with their arguments, in order. done: ids of the links that they set up, with the
    device's name. given: devices that have their addresses. ask: devices that ask DHCP. missing: what is not
    there yet, told: what is done, in words.
    """

    commands: list[list[str]] = field(default_factory=list[list[str]])
    done: dict[str, str] = field(default_factory=dict[str, str])
    given: list[str] = field(default_factory=list[str])
    ask: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])
    told: list[str] = field(default_factory=list[str])


def plan(document: Mapping[str, Any], cards: Mapping[str, str], done: Mapping[str, str]) -> Plan:
    """What is to be done now. cards: MAC -> device of those that are there. done: of earlier runs."""
    made = Plan(done=dict(done))
    used = {str(net["link"]) for net in document["networks"]}
    waiting = [link for link in document["links"] if link["id"] not in done]
    # A link may stand on others that come later in the list; each round sets up at least one, or none is left.
    while True:
        ready = [link for link in waiting if _possible(link, cards, made.done)]
        if not ready:
            break
        for link in ready:
            waiting.remove(link)
            _set_up(made, link, cards)
            for rank, net in enumerate(document["networks"]):
                if str(net["link"]) == link["id"]:
                    _give(made, made.done[link["id"]], net, METRIC + rank)
    wanted = used | {str(link.get("vlan_link")) for link in document["links"]}
    for link in waiting:
        if link["id"] in wanted:
            made.missing.append(f"{link['id']} ({_mac(link) or link['type']})")
    return made


def _mac(link: Mapping[str, Any]) -> str:
    return str(link.get("ethernet_mac_address") or link.get("vlan_mac_address") or "").lower()


def _possible(link: Mapping[str, Any], cards: Mapping[str, str], done: Mapping[str, str]) -> bool:
    if link["type"] == "vlan":
        return link["vlan_link"] in done
    if link["type"] == "bond":
        return all(member in done for member in link["bond_links"])
    return _mac(link) in cards


def _set_up(made: Plan, link: Mapping[str, Any], cards: Mapping[str, str]) -> None:
    kind, ident = link["type"], str(link["id"])
    if kind == "vlan":
        parent = made.done[link["vlan_link"]]
        name = f"{parent[:10]}.{link['vlan_id']}"
        make = ["ip", "link", "add", "link", parent, "name", name, "address", _mac(link)]
        made.commands.append([*make, "type", "vlan", "id", str(link["vlan_id"])])
    elif kind == "bond":
        # Not bond0, which the kernel makes by itself, in a mode of its own.
        name = f"lag{sum(device.startswith('lag') for device in made.done.values())}"
        made.commands += _bond(name, link, [made.done[member] for member in link["bond_links"]])
    else:
        name = cards[_mac(link)]
    if link.get("mtu"):
        made.commands.append(["ip", "link", "set", "dev", name, "mtu", str(int(link["mtu"]))])
    made.commands.append(["ip", "link", "set", "dev", name, "up"])
    made.done[ident] = name


def _bond(name: str, link: Mapping[str, Any], members: Iterable[str]) -> list[list[str]]:
    make = ["ip", "link", "add", name, "address", _mac(link), "type", "bond"]
    make += ["mode", str(link["bond_mode"]), "miimon", str(link.get("bond_miimon") or 100)]
    if link.get("bond_xmit_hash_policy"):
        make += ["xmit_hash_policy", str(link["bond_xmit_hash_policy"])]
    commands = [make]
    for member in members:
        commands.append(["ip", "link", "set", "dev", member, "down"])
        commands.append(["ip", "link", "set", "dev", member, "master", name])
    return commands


def _give(made: Plan, device: str, net: Mapping[str, Any], metric: int) -> None:
    """One network's address and routes."""
    kind = net["type"]
    if kind == "ipv4_dhcp":
        made.ask.append(device)
        return
    made.given.append(device)
    if not net.get("ip_address"):
        # Routers tell the address (SLAAC); no DHCPv6 client is here.
        made.told.append(f"{device} waits for routers to tell it an address ({kind})")
        return
    found = ipaddress.ip_interface(_with_length(net["ip_address"], net.get("netmask")))
    words = ["ip", "addr", "replace", str(found), "dev", device]
    made.commands.append(words if found.version == 4 else [*words, "nodad"])
    made.told.append(f"{device} has {found} from the boot medium")
    for route in net.get("routes", ()):
        to = ipaddress.ip_network(_with_length(route["network"], route["netmask"]), strict=False)
        where = "default" if to.prefixlen == 0 else str(to)
        family = ["-6"] if to.version == 6 else []
        words = ["ip", *family, "route", "replace", where, "via", str(route["gateway"])]
        made.commands.append([*words, "dev", device, "metric", str(metric), "onlink"])


def _with_length(address: str, netmask: str | None) -> str:
    """ADDRESS/LENGTH of an address that may have its length already, and a network mask."""
    address = address.split("%")[0]
    if "/" in address or netmask is None:
        return address
    return f"{address}/{int(ipaddress.ip_address(netmask)).bit_count()}"


def name_servers(document: Mapping[str, Any]) -> list[str]:
    """All DNS servers that the document names, each once, in its order."""
    services = list(document["services"])
    for net in document["networks"]:
        services += net.get("services", ())
        for route in net.get("routes", ()):
            services += route.get("services", ())
    return list(dict.fromkeys(str(s["address"]) for s in services if s["type"] == "dns"))


def cards() -> dict[str, str]:
    """MAC -> device of the cards at which udev has looked: before that a card may still change its name."""
    found: dict[str, str] = {}
    for path in sorted((SYS / "class/net").iterdir()):
        index = (path / "ifindex").read_text().strip()
        if not (path / "device").exists() or not Path(f"/run/udev/data/n{index}").exists():
            continue
        own = path / "bonding_slave/perm_hwaddr"
        mac = (own if own.exists() else path / "address").read_text().strip()
        found[mac.lower()] = path.name
    return found


def from_medium(point: Path) -> bytes | None:
    """The document on our medium; None while it is in no drive. point: a folder to mount it on."""
    for path in sorted((SYS / "block").iterdir()):
        device = Path("/dev") / path.name
        if path.name.startswith(IGNORED) or not is_config_drive(device):
            continue
        point.mkdir(parents=True, exist_ok=True)
        mount = ["mount", "-t", "iso9660", "-o", "ro", str(device), str(point)]
        if subprocess.run(mount, check=False).returncode:
            continue
        try:
            if (point / ".disk/info").read_text().splitlines()[:1] == [NAME]:
                return (point / "openstack/latest/network_data.json").read_bytes()
        except OSError:
            continue
        finally:
            subprocess.run(["umount", str(point)], check=False)
    return None


def is_config_drive(device: Path) -> bool:
    """By the volume descriptor of an ISO image; a drive without a medium cannot be read."""
    try:
        with device.open("rb") as file:
            file.seek(16 * 2048)
            head = file.read(2048)
    except OSError:
        return False
    return head[1:6] == b"CD001" and head[40:72].strip().lower() == LABEL


def say(text: str) -> None:
    uptime = Path("/proc/uptime").read_text().split()[0]
    print(f"ingot-ramdisk [{uptime}s] network: {text}", flush=True)


def apply(document: Mapping[str, Any], there: Mapping[str, str]) -> bool:
    """Set up what can be set up now; whether all is."""
    notes = RUN / "static.json"
    done: dict[str, str] = json.loads(notes.read_text()) if notes.exists() else {}
    made = plan(document, there, done)
    for command in made.commands:
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        if ended.returncode:
            say(f"{' '.join(command)}: {ended.stderr.strip() or ended.returncode}")
    for text in made.told:
        say(text)
    for device in made.ask:
        (RUN / f"{device}.ask").touch()
    for device in made.given:
        (RUN / f"{device}.bound").touch()
    notes.write_text(json.dumps(made.done))
    return not made.missing


def main() -> int:
    kept = RUN / "network_data.json"
    if not kept.exists():
        content = from_medium(RUN / "medium")
        if content is None:
            return 1
        kept.write_bytes(content)
        lines = [f"nameserver {server}\n" for server in name_servers(json.loads(content))]
        with Path("/etc/resolv.conf").open("a") as file:
            file.writelines(lines)
    return 0 if apply(json.loads(kept.read_bytes()), cards()) else 1


if __name__ == "__main__":
    sys.exit(main())
