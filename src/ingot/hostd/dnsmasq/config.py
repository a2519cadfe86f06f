"""dnsmasq's files, from a plan. Pure: a plan in, texts out.

Only known MACs get an answer (`dhcp-ignore=tag:!known`), and only the address that their row has: ranges are
static, the lease file is kept out of the way, clients are told apart by MAC alone, since firmware, iPXE and
operating systems send different client ids from the same card.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from ingot.hostd.plans import DhcpBoot, DhcpHost, DhcpPlan, DhcpRange

#: DHCP option 93, client architecture -> our client kind (RFC 4578 and IANA's registry).
ARCHITECTURES = {0: "bios", 6: "uefi-ia32", 7: "uefi-x64", 9: "uefi-x64", 11: "uefi-arm64"}
#: The same for UEFI HTTP boot.
HTTP_ARCHITECTURES = {16: "uefi-x64", 19: "uefi-arm64"}

_NAME = re.compile(r"[^A-Za-z0-9-]")
_DOMAIN = re.compile(r"[^A-Za-z0-9.-]")


def render(plan: DhcpPlan, folder: Path) -> str:
    """dnsmasq.conf. folder: holds `hosts/`, `tftp/` and `reread`."""
    lines = [
        "# Written by ingot from its database; changes made here are lost.",
        "port=0",
        "no-resolv",
        "no-hosts",
        "keep-in-foreground",
        "user=root",
        "group=root",
        "log-facility=-",
        "log-dhcp",
        f"interface={plan.interface}",
        "except-interface=lo",
        # Only this interface's sockets. Not bind-interfaces: with it and tftp-single-port, dnsmasq 2.90
        # sends files to nowhere ("Network is unreachable").
        "bind-dynamic",
        "dhcp-authoritative",
        "dhcp-ignore=tag:!known",
        "dhcp-ignore-clid",
        "dhcp-no-override",
        "leasefile-ro",
        "no-ping",
        # Read first at every SIGHUP, so its line in the log tells that the signal has arrived.
        f"dhcp-hostsfile={folder / 'reread'}",
        f"dhcp-hostsdir={folder / 'hosts'}",
    ]
    for at, range_ in enumerate(plan.ranges):
        lines += _range(f"range{at}", range_)
    if plan.boot is not None:
        lines += _boot(plan.boot, plan.listen, folder)
    return "\n".join(lines) + "\n"


def _range(tag: str, range_: DhcpRange) -> list[str]:
    cidr = ipaddress.IPv4Network(range_.cidr)
    lines = [
        f"dhcp-range=set:{tag},{cidr.network_address},static,{cidr.netmask},"
        f"{max(range_.lease_seconds, 120)}",
        # An option without value is not sent; otherwise dnsmasq names itself.
        _option(tag, "option:router", range_.router or ""),
        _option(tag, "option:dns-server", ",".join(range_.dns)),
    ]
    if range_.domain:
        lines.append(_option(tag, "option:domain-name", _DOMAIN.sub("", range_.domain)))
    if range_.mtu:
        lines.append(_option(tag, "option:mtu", str(range_.mtu)))
    if range_.routes:
        # A client that reads classless routes ignores the router option: name it here too (RFC 3442).
        hops = list(range_.routes) + ([("0.0.0.0/0", range_.router)] if range_.router else [])
        text = ",".join(f"{to},{hop}" for to, hop in hops)
        lines.append(_option(tag, "option:classless-static-route", text))
    return lines


def _option(tag: str, name: str, value: str) -> str:
    return f"dhcp-option=tag:{tag},{name}" + (f",{value}" if value else "")


def _boot(boot: DhcpBoot, listen: str, folder: Path) -> list[str]:
    """Who already runs iPXE gets the script; others their architecture's loader."""
    lines = [
        "enable-tftp",
        f"tftp-root={folder / 'tftp'}",
        "tftp-single-port",
        "dhcp-match=set:ipxe,175",
        "dhcp-userclass=set:ipxe,iPXE",
        f"dhcp-boot=tag:ipxe,{boot.script_url},,{listen}",
        # iPXE's own option "no-pxedhcp": saves the 3 s in which it waits for a proxy's offer.
        "dhcp-option-force=tag:ipxe,encap:175,176,1b",
    ]
    for number, kind in ARCHITECTURES.items():
        if kind in boot.loaders:
            lines.append(f"dhcp-match=set:{kind},option:client-arch,{number}")
    for number, kind in HTTP_ARCHITECTURES.items():
        if kind in boot.loaders:
            lines.append(f"dhcp-match=set:http-{kind},option:client-arch,{number}")
    for kind, file in boot.loaders.items():
        lines.append(f"dhcp-boot=tag:!ipxe,tag:{kind},{file},,{listen}")
        if kind in HTTP_ARCHITECTURES.values():
            tags = f"tag:!ipxe,tag:http-{kind}"
            lines.append(f"dhcp-boot={tags},{boot.loader_url}/{file},,{listen}")
            # The firmware takes the offer for HTTP boot only with the class that it sent.
            lines.append(f"dhcp-option-force={tags},option:vendor-class,HTTPClient")
    return lines


def host_file(host: DhcpHost) -> tuple[str, str]:
    """Name and content of a host's file. The name has the address too: a move is a new file."""
    name = f"{host.mac.replace(':', '-')}_{host.ip}"
    parts = [host.mac, *(f"set:{tag}" for tag in host.tags), host.ip]
    if hostname := _NAME.sub("", host.hostname)[:63]:
        parts.append(hostname)
        name += f"_{hostname}"
    return name, ",".join(parts) + "\n"


def headstone_file(mac: str, number: int) -> tuple[str, str]:
    """Name and content of the file that has a machine ignored from now on."""
    return f"{mac.replace(':', '-')}_gone{number}", f"{mac},ignore\n"
