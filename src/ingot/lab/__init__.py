"""The virtual rack (`ingot lab`): machines to develop, test and show a cloud on.

Real ones are QEMU machines behind OpenIPMI's `ipmi_sim` or sushy-tools on a bridge in a network
namespace (`Rack`). Simulated ones are in `ingot.lab.sim`.
"""

from ingot.lab.rack.client import MachineStatus, Rack, RackStatus
from ingot.lab.rack.enrol import enrol_file
from ingot.lab.rack.packages import Package, missing_packages, required_packages
from ingot.lab.rack.types import BmcSpec, MachineSpec, RackError, RackSpec

__all__ = [
    "BmcSpec",
    "MachineSpec",
    "MachineStatus",
    "Package",
    "Rack",
    "RackError",
    "RackSpec",
    "RackStatus",
    "enrol_file",
    "missing_packages",
    "required_packages",
]
