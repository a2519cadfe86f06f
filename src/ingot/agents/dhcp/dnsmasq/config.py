"""dnsmasq's files, from a plan. Pure: a plan in, texts out.

Only known MACs get an answer (`dhcp-ignore=tag:!known`), and only the address that their row has: ranges are
static, the lease file is kept out of the way, clients are told apart by MAC alone, since firmware, iPXE and
operating systems send different client ids from the same card.

A line of these files can be a command, run as root. So nothing here relies on others to have checked a text: what is
no address, or would begin a line of its own, is left out.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from ingot.agents.dhcp.plans import DhcpBoot, DhcpHost, DhcpPlan, DhcpRange
from ingot.kit import log

_log = log.get("dnsmasq")

#: DHCP option 93, client architecture -> our client kind (RFC 4578 and IANA's registry).
ARCHITECTURES = {0: "bios", 6: "uefi-ia32", 7: "uefi-x64", 9: "uefi-x64", 11: "uefi-arm64"}
#: The same for UEFI HTTP boot.
HTTP_ARCHITECTURES = {16: "uefi-x64", 19: "uefi-arm64"}

_NAME = re.compile(r"[^A-Za-z0-9-]")
_DOMAIN = re.compile(r"[^A-Za-z0-9.-]")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})*")
_TAG = re.compile(r"[A-Za-z0-9_-]+")


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
    return "".join(f"{line}\n" for line in lines if _is_line(line))


def _is_line(text: str) -> bool:
    if text.isprintable():
        return True
    _log.warning("a line with control characters is left out of dnsmasq's configuration", line=text)
    return False


def _is_v4(text: str, network: bool = False) -> bool:
    """An address (or network) of IPv4, and nothing else."""
    try:
        ipaddress.IPv4Network(text, strict=False) if network else ipaddress.IPv4Address(text)
    except ValueError:
        _log.warning("what is no IPv4 address is left out of dnsmasq's configuration", text=text)
        return False
    return True


def is_plain(host: DhcpHost) -> bool:
    """A host whose file has one line that means what it says."""
    try:
        ipaddress.IPv4Address(host.ip)
    except ValueError:
        return False
    return _MAC.fullmatch(host.mac) is not None and all(map(_TAG.fullmatch, host.tags))


def _range(tag: str, range_: DhcpRange) -> list[str]:
    cidr = ipaddress.IPv4Network(range_.cidr)
    router = range_.router if range_.router and _is_v4(range_.router) else ""
    routes = [(to, hop) for to, hop in range_.routes if _is_v4(to, network=True) and _is_v4(hop)]
    lines = [
        f"dhcp-range=set:{tag},{cidr.network_address},static,{cidr.netmask},"
        f"{max(range_.lease_seconds, 120)}",
        # An option without value is not sent; otherwise dnsmasq names itself.
        _option(tag, "option:router", router),
        _option(tag, "option:dns-server", ",".join(filter(_is_v4, range_.dns))),
    ]
    if range_.domain:
        lines.append(_option(tag, "option:domain-name", _DOMAIN.sub("", range_.domain)))
    if range_.mtu:
        lines.append(_option(tag, "option:mtu", str(range_.mtu)))
    if routes:
        # A client that reads classless routes ignores the router option: name it here too (RFC 3442).
        hops = routes + ([("0.0.0.0/0", router)] if router else [])
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


def tombstone_file(mac: str, number: int) -> tuple[str, str]:
    """Name and content of the file that has a machine ignored from now on."""
    return f"{mac.replace(':', '-')}_gone{number}", f"{mac},ignore\n"
