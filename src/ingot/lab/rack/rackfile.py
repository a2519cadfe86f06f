"""Rack files: TOML in, complete `RackSpec` out, with errors that name the file and the key."""

import ipaddress
import re
import tomllib
import uuid
from pathlib import Path

import msgspec

from ingot.lab.rack.types import (
    RACK_NAMESPACE,
    Accel,
    BmcKind,
    BmcSpec,
    Firmware,
    MachineSpec,
    PxeSource,
    RackError,
    RackSpec,
)

BUILT_IN = """
name = "ingot-lab"

[[machine]]
name = "node-1"
firmware = "bios"
bmc.kind = "ipmi"

[[machine]]
name = "node-2"
firmware = "uefi"
bmc.kind = "redfish"

[[machine]]
name = "node-3"
firmware = "uefi"
bmc.kind = "redfish"
"""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PORTS: dict[BmcKind, int] = {"ipmi": 623, "redfish": 8000, "redfish-sim": 8000}


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Bmc(_Strict, frozen=True):
    kind: BmcKind
    address: str | None = None
    port: int | None = None
    username: str = "admin"
    password: str | None = None


class _Machine(_Strict, frozen=True):
    name: str
    bmc: _Bmc
    firmware: Firmware = "uefi"
    pxe: PxeSource | None = None
    cpus: int | None = None
    memory_mb: int | None = None
    disks_gb: tuple[int, ...] | None = None
    mac: str | None = None
    uuid: str | None = None
    serial: str | None = None


class _Network(_Strict, frozen=True):
    bridge: str = "prov0"
    address: str = "172.30.0.1/24"
    bmc_network: str = "172.30.1.0/24"


class _Defaults(_Strict, frozen=True):
    pxe: PxeSource = "rom"
    cpus: int = 2
    memory_mb: int = 3072
    disks_gb: tuple[int, ...] = (10,)


class _File(_Strict, frozen=True):
    name: str = "ingot-lab"
    accel: Accel = "auto"
    network: _Network = _Network()
    defaults: _Defaults = _Defaults()
    machine: tuple[_Machine, ...] = ()


def load(path: Path | None, password: str, name: str | None = None) -> RackSpec:
    """The rack of a TOML file, or the built-in rack of three machines.

    `password` is used for every BMC whose entry gives none; `name` replaces the file's own name
    of the rack. Raises `RackError`.
    """
    if path is None:
        return parse(BUILT_IN, "built-in rack", password, name)
    try:
        text = path.read_text()
    except OSError as error:
        raise RackError(f"rack file {path}: {error.strerror}") from error
    return parse(text, str(path), password, name)


def parse(text: str, origin: str, password: str, name: str | None = None) -> RackSpec:
    """A `RackSpec` from TOML text; `origin` is what errors call it."""
    try:
        raw = msgspec.convert(tomllib.loads(text), _File)
        return _complete(msgspec.structs.replace(raw, name=name or raw.name), password)
    except tomllib.TOMLDecodeError as error:
        raise RackError(f"{origin}: not TOML: {error}") from error
    except (msgspec.ValidationError, ValueError) as error:
        raise RackError(f"{origin}: {error}") from error


def _complete(raw: _File, password: str) -> RackSpec:
    if not _NAME.fullmatch(raw.name):
        raise ValueError(f"name: {raw.name!r} must be lower-case letters, digits and dashes")
    if not raw.machine:
        raise ValueError("machine: a rack needs at least one [[machine]]")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,13}", raw.network.bridge):
        raise ValueError(f"network.bridge: {raw.network.bridge!r} is no interface name")
    address = ipaddress.IPv4Interface(raw.network.address)
    bmcs = ipaddress.IPv4Network(raw.network.bmc_network)
    if bmcs.overlaps(address.network):
        raise ValueError("network.bmc_network: overlaps network.address")
    if len(raw.machine) > min(200, bmcs.num_addresses - 12):
        raise ValueError(f"machine: too many for BMC network {bmcs}")
    machines = tuple(
        _machine(raw, index, machine, str(bmcs[10 + index]), password)
        for index, machine in enumerate(raw.machine, start=1)
    )
    for label, values in (
        ("name", [machine.name for machine in machines]),
        ("mac", [machine.mac for machine in machines]),
        ("uuid", [machine.uuid for machine in machines]),
        ("bmc.address", [machine.bmc.address for machine in machines]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"machine.{label}: used twice: {', '.join(twice)}")
    return RackSpec(
        name=raw.name,
        accel=raw.accel,
        bridge=raw.network.bridge,
        address=str(address),
        machines=machines,
    )


def _machine(raw: _File, index: int, machine: _Machine, address: str, password: str) -> MachineSpec:
    def wrong(key: str, why: str) -> ValueError:
        return ValueError(f"machine {machine.name!r}: {key}: {why}")

    defaults = raw.defaults
    if not _NAME.fullmatch(machine.name):
        raise wrong("name", "must be lower-case letters, digits and dashes")
    mac = (machine.mac or f"52:54:00:49:4e:{index:02x}").lower()
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
        raise wrong("mac", f"{mac!r} is no unicast MAC address")
    pxe = machine.pxe or (defaults.pxe if machine.firmware == "uefi" else "rom")
    if machine.firmware == "bios" and pxe == "firmware":
        raise wrong("pxe", 'BIOS firmware has no network stack of its own; use "rom"')
    identity = uuid.UUID(machine.uuid) if machine.uuid else _identity(raw.name, machine.name)
    memory = defaults.memory_mb if machine.memory_mb is None else machine.memory_mb
    cpus = defaults.cpus if machine.cpus is None else machine.cpus
    disks = defaults.disks_gb if machine.disks_gb is None else machine.disks_gb
    if memory < 128:
        raise wrong("memory_mb", "less than 128")
    if not 1 <= cpus <= 64:
        raise wrong("cpus", "not between 1 and 64")
    if any(size < 1 for size in disks) or len(disks) > 8:
        raise wrong("disks_gb", "wants up to 8 disks of at least 1 GB")
    return MachineSpec(
        name=machine.name,
        index=index,
        firmware=machine.firmware,
        pxe=pxe,
        cpus=cpus,
        memory_mb=memory,
        disks_gb=disks,
        mac=mac,
        uuid=str(identity),
        serial=machine.serial or f"LAB-{identity.hex[:12].upper()}",
        bmc=_bmc(machine, address, password),
    )


def _bmc(machine: _Machine, address: str, password: str) -> BmcSpec:
    bmc = machine.bmc
    if bmc.kind == "redfish-sim":
        raise ValueError(
            f"machine {machine.name!r}: bmc.kind: redfish-sim in front of a real machine is not "
            'built yet; use "redfish" (sushy-tools) or "ipmi" (ipmi_sim)'
        )
    secret = password if bmc.password is None else bmc.password
    if bmc.kind == "ipmi" and not 1 <= len(secret) <= 20:
        raise ValueError(f"machine {machine.name!r}: bmc.password: IPMI takes 1 to 20 characters")
    return BmcSpec(
        kind=bmc.kind,
        address=str(ipaddress.IPv4Address(bmc.address)) if bmc.address else address,
        port=bmc.port or _PORTS[bmc.kind],
        username=bmc.username,
        password=secret,
    )


def _identity(rack: str, machine: str) -> uuid.UUID:
    return uuid.uuid5(RACK_NAMESPACE, f"{rack}/{machine}")
