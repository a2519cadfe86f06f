"""The rack's network: one namespace with a bridge, a tap for each machine, and the BMCs' addresses.

Everything lives inside the namespace, so that nothing of the rack can reach, or be reached from,
the host's networks. There is no route out of it on purpose.
"""

import subprocess
from pathlib import Path

from ingot.lab.rack.types import RackError, RackSpec

_NAMESPACES = Path("/run/netns")


def exists(name: str) -> bool:
    """Whether a namespace of that name is there."""
    return (_NAMESPACES / name).exists()


def create(spec: RackSpec) -> None:
    """Make the namespace with bridge, BMC addresses and taps. One of that name must not exist."""
    _ip("netns", "add", spec.name)
    lines = [
        "link set lo up",
        f"link add {spec.bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
        f"addr add {spec.address} dev {spec.bridge}",
        f"link set {spec.bridge} up",
    ]
    lines += [f"addr add {machine.bmc.address}/32 dev lo" for machine in spec.machines]
    for machine in spec.machines:
        if machine.bmc.kind != "redfish":  # libvirt makes its own taps
            lines.append(f"tuntap add dev {machine.tap} mode tap")
            lines.append(f"link set {machine.tap} master {spec.bridge} up")
    _ip("-n", spec.name, "-batch", "-", stdin="\n".join(lines) + "\n")


def remove(name: str) -> None:
    """Delete the namespace and all that is in it; no fault when it is gone already."""
    if exists(name):
        _ip("netns", "delete", name)


def _ip(*args: str, stdin: str = "") -> None:
    done = subprocess.run(
        ["ip", *args], input=stdin, capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode != 0:
        raise RackError(f"ip {' '.join(args)}: {done.stderr.strip()}")
