"""What a rack is: values read from a rack file, complete with defaults, and nothing that runs.

Sizes: memory in MiB, disks in GiB (as the Bare Metal API counts local_gb), addresses as text.
"""

import uuid
from typing import Literal

import msgspec

Firmware = Literal["bios", "uefi"]
PxeSource = Literal["rom", "firmware"]
BmcKind = Literal["ipmi", "redfish", "redfish-sim"]
Accel = Literal["auto", "tcg", "kvm"]
PowerAction = Literal["on", "off", "cycle", "reset", "soft"]

# Version 5 UUIDs derived from this one: a machine keeps its identity from run to run.
RACK_NAMESPACE = uuid.UUID("5b0c7f0e-8d0a-4a7e-9d5b-7d2f5f1a1e60")


class RackError(Exception):
    """A rack that cannot be read, built or reached; the text says why and what to do next."""


class BmcSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine's management controller: kind of protocol, address and credentials."""

    kind: BmcKind
    address: str
    port: int
    username: str
    password: str


class MachineSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine with everything filled in."""

    name: str
    index: int
    firmware: Firmware
    pxe: PxeSource
    cpus: int
    memory_mb: int
    disks_gb: tuple[int, ...]
    mac: str
    uuid: str
    serial: str
    bmc: BmcSpec

    @property
    def tap(self) -> str:
        """Name of the tap device inside the namespace (15 characters at most)."""
        return f"tap{self.index}"


class RackSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole rack. `name` is also the network namespace's name."""

    name: str
    accel: Accel
    bridge: str
    address: str
    """The host's own address on the provisioning network, with prefix length."""
    machines: tuple[MachineSpec, ...]

    def machine(self, name: str) -> MachineSpec:
        """The machine of that name; `RackError` lists the names when there is none."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        known = ", ".join(machine.name for machine in self.machines)
        raise RackError(f"no machine named {name!r} in rack {self.name!r}; it has: {known}")
