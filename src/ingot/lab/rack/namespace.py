"""The rack's network: one namespace with a bridge, a tap for each machine, and the BMCs' addresses.

Everything lives inside the namespace, so that nothing of the rack can reach, or be reached from,
the host's networks. There is no route out of it on purpose.
"""

import ctypes
import os
import subprocess
from pathlib import Path

from ingot.lab.rack.types import RackError, RackSpec

_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")


def enter_namespace(name: str) -> None:
    """Move the calling thread, and the threads and children it starts later, into the namespace.

    Call it on the main thread before any other thread exists. Sockets that are open already stay
    in the namespace in which they were made: open the API's listener first, enter afterwards.
    """
    path = _NAMESPACES / name
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RackError(f"network namespace {name!r}: {error.strerror}; is the rack up?") from error
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise RackError(f"cannot enter network namespace {name!r}: {os.strerror(code)}")
    finally:
        os.close(fd)


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
