"""What must be true before dnsmasq can serve a wire; each fault says what to do."""

from __future__ import annotations

import errno
import ipaddress
import shutil
import socket
from pathlib import Path
from typing import Any, cast

from ingot.agents.dhcp.plans import DhcpPlan
from ingot.kit.faults import Failed

#: Debian packages, and why.
PACKAGES = {
    "dnsmasq-base": "answers DHCP and TFTP on provisioning networks",
    "ipxe": "the loaders that machines fetch first: undionly.kpxe, ipxe.efi, snponly.efi",
    "util-linux": "setpriv: dnsmasq ends with us and keeps few privileges",
}

#: Where Debian's ipxe package puts loaders, on amd64 and arm64.
LOADER_FOLDERS = (Path("/usr/lib/ipxe"), Path("/boot"))

DHCP_PORT = 67
TFTP_PORT = 69


def required_packages() -> dict[str, str]:
    """Debian packages that this service needs -> the reason."""
    return dict(PACKAGES)


def binary() -> str:
    """The path of dnsmasq; Debian keeps it where a plain user's PATH does not look."""
    found = shutil.which("dnsmasq", path="/usr/sbin:/usr/local/sbin:/usr/bin:/sbin")
    if found is None:
        raise Failed(
            "dnsmasq is not installed, so no machine can boot from the network.",
            next_action="Install it: apt-get install dnsmasq-base.",
        )
    return found


def check_interface(plan: DhcpPlan) -> None:
    """The wire's interface is there and has our address."""
    # A tenth of a program's memory and start, and only who serves DHCP needs it.
    from pyroute2 import IPRoute  # pyright: ignore[reportMissingTypeStubs]

    with cast("Any", IPRoute()) as netlink:  # its calls are made up at run time
        index: list[int] = list(netlink.link_lookup(ifname=plan.interface))
        if not index:
            raise Failed(
                f"The interface {plan.interface} of physical network {plan.name} does not exist here.",
                next_action="Create it, or correct the interface in the settings.",
            )
        found: list[str | None] = [
            dict(entry["attrs"]).get("IFA_ADDRESS")
            for entry in netlink.get_addr(index=index[0], family=socket.AF_INET)
        ]
    if plan.listen not in found:
        raise Failed(
            f"The interface {plan.interface} of physical network {plan.name} does not have the "
            f"address {plan.listen} (it has {', '.join(map(str, found)) or 'none'}).",
            next_action=f"Add it: ip address add {plan.listen}/{_prefix(plan)} dev {plan.interface}.",
        )


def _prefix(plan: DhcpPlan) -> int:
    for range_ in plan.ranges:
        cidr = ipaddress.ip_network(range_.cidr)
        if ipaddress.ip_address(plan.listen) in cidr:
            return cidr.prefixlen
    return 24


def check_ports(plan: DhcpPlan) -> None:
    """Nobody else answers DHCP or TFTP on the wire. Ask only while our own server is down."""
    wanted = [("DHCP", "0.0.0.0", DHCP_PORT)]
    if plan.boot is not None:
        wanted.append(("TFTP", plan.listen, TFTP_PORT))
    for what, host, port in wanted:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                device = plan.interface.encode()
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
                probe.bind((host, port))
            except PermissionError:
                raise Failed(
                    f"No right to open port {port} ({what}) on {plan.interface}.",
                    next_action="Run ingot as root, or give it CAP_NET_ADMIN, CAP_NET_RAW and "
                    "CAP_NET_BIND_SERVICE.",
                ) from None
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise Failed(
                    f"Port {port} on {plan.interface} is in use: another {what} server runs there.",
                    next_action=f"Find it with: ss -lunp 'sport = {port}', and stop it.",
                ) from None


def find_loader(name: str) -> Path:
    """The file of a loader, links followed."""
    for folder in LOADER_FOLDERS:
        path = folder / name
        if path.is_file():
            return path.resolve()
    raise Failed(
        f"The loader {name} is not installed (looked in {', '.join(map(str, LOADER_FOLDERS))}).",
        next_action="Install it: apt-get install ipxe; or name another loader in the settings.",
    )
