"""Values that go into drivers and come out of them. Plain, frozen, with no cloud words.

The strings of the enums are those of the Bare Metal API, so that they can be stored and shown
as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


def _empty() -> Mapping[str, object]:
    return MappingProxyType({})


class PowerState(StrEnum):
    """What a machine's power is. ERROR: the controller gave an answer that is neither."""

    ON = "power on"
    OFF = "power off"
    ERROR = "error"


class PowerTarget(StrEnum):
    """What can be asked of a machine's power. SOFT_* ask the operating system first."""

    ON = "power on"
    OFF = "power off"
    REBOOT = "rebooting"
    SOFT_REBOOT = "soft rebooting"
    SOFT_OFF = "soft power off"

    @property
    def final(self) -> PowerState:
        """The power state in which the machine must be afterwards."""
        off = (PowerTarget.OFF, PowerTarget.SOFT_OFF)
        return PowerState.OFF if self in off else PowerState.ON


class BootDevice(StrEnum):
    """Boot devices by their names in the Bare Metal API."""

    PXE = "pxe"
    DISK = "disk"
    CDROM = "cdrom"
    BIOS = "bios"
    SAFE = "safe"
    WANBOOT = "wanboot"
    FLOPPY = "floppy"
    USB = "usb"
    UEFIHTTP = "uefihttp"


class BootMode(StrEnum):
    """Firmware mode."""

    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True)
class Access:
    """How to reach one machine: a node's driver_info with its secrets in plain text.

    driver: hardware type, for example "redfish".
    options: values as `Registry.access` typed them (int, bool, str); unknown extras are kept.
    key: any stable name of the machine (the node's uuid), for logs, fakes and gates.
    """

    driver: str
    options: Mapping[str, object] = field(default_factory=_empty, repr=False)
    key: str = ""

    def text(self, name: str, default: str = "") -> str:
        value = self.options.get(name)
        return default if value is None else str(value)

    def number(self, name: str, default: int) -> int:
        value = self.options.get(name)
        return default if value is None or value == "" else int(str(value))

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.options.get(name)
        if value is None:
            return default
        return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes")


@dataclass(frozen=True)
class StatusReading:
    """What one question to a controller tells. health: as `Management.health` gives it."""

    power: PowerState
    health: str


@dataclass(frozen=True)
class PowerOutcome:
    """What `Power.set` did.

    issued: whether a command that changes power went to the device.
    before, after: the states read before and (verified) after.
    commands: the device's own names of the commands sent, in order, for the timeline.
    """

    issued: bool
    before: PowerState
    after: PowerState
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class BootChoice:
    """Boot device as the controller reports it; None where it does not say."""

    device: BootDevice | None
    persistent: bool | None = None
    mode: BootMode | None = None


@dataclass(frozen=True)
class Identity:
    """Who a machine says it is. Empty text where it does not say; MACs lower case with colons."""

    uuid: str = ""
    serial: str = ""
    manufacturer: str = ""
    model: str = ""
    macs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sensor:
    """One reading. kind: "temperature", "fan", "voltage", "current", "power", "supply", "drive" or "other".

    value: number in `unit` or None for a discrete sensor; health: "ok", "warning", "critical"
    or "unknown"; context: where it is measured, in Redfish's words (PhysicalContext), "" where that is not told.
    """

    name: str
    kind: str
    value: float | None
    unit: str
    health: str
    context: str = ""


class IndicatorState(StrEnum):
    """What a light shows."""

    OFF = "off"
    ON = "on"
    BLINKING = "blinking"
    UNKNOWN = "unknown"


class Component(StrEnum):
    """Parts of a machine that may have a light."""

    CHASSIS = "chassis"
    SYSTEM = "system"
    DISK = "disk"
    POWER = "power"
    NIC = "nic"


@dataclass(frozen=True)
class Indicator:
    """A light: its name within its component, and the states that may be asked of it."""

    name: str
    readonly: bool = False
    states: tuple[IndicatorState, ...] = (IndicatorState.OFF, IndicatorState.ON)


class MediaDevice(StrEnum):
    """Kinds of virtual drives."""

    CDROM = "cdrom"
    DISK = "disk"
    FLOPPY = "floppy"


@dataclass(frozen=True)
class MediaSlot:
    """A virtual drive of a controller. image: the URL that is in it, "" when it is empty.

    media_types, transfer: the device's own words, where it says them.
    """

    device: str
    inserted: bool = False
    image: str = ""
    media_types: tuple[str, ...] = ()
    write_protected: bool | None = None
    transfer: str = ""


@dataclass(frozen=True)
class BiosSetting:
    """A firmware setting. All but name and value come from the attribute registry, if there is one.

    attribute_type: "Enumeration", "String", "Integer", "Boolean" or "Password".
    """

    name: str
    value: str | None
    attribute_type: str | None = None
    allowable_values: tuple[str, ...] | None = None
    lower_bound: int | None = None
    upper_bound: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    read_only: bool | None = None
    reset_required: bool | None = None
    unique: bool | None = None


@dataclass(frozen=True)
class FirmwareComponent:
    """A part with firmware: "bios", "bmc", "nic:<id>" …, and the version that it runs now."""

    component: str
    current_version: str | None
    vendor: str | None = None
    model: str | None = None
    serial_number: str | None = None


#: Kinds of work in which a step may be offered.
STEP_KINDS = ("clean", "deploy", "service")


@dataclass(frozen=True)
class StepInfo:
    """A step that an interface offers. priority 0: only on request. argsinfo as in the API.

    kinds: of work in which it is offered, of "clean", "deploy", "service", "verify"; a step that is
        described otherwise in another kind has two rows.
    requires_ramdisk: the agent must be up in the machine while it runs.
    in_band: the agent carries it out (then requires_ramdisk too), not the driver's `run`.
    """

    interface: str
    step: str
    priority: int = 0
    abortable: bool = False
    argsinfo: Mapping[str, object] | None = None
    requires_ramdisk: bool = False
    kinds: tuple[str, ...] = STEP_KINDS
    in_band: bool = False


@dataclass(frozen=True)
class StepOutcome:
    """What a step has come to so far.

    done: nothing is left to do. Otherwise the workflow records `memo` (JSON-able, no secrets),
        switches the machine off and on when `restart` says so, waits `wait` seconds and calls
        `resume` with the memo; over and over until it is done or its deadline is reached.
    note: a line for the timeline, such as the device's own words for where it is.
    raid_config: the logical disks as they are now, from RAID steps that are done
        ({"logical_disks": [...]}); None where the step does not tell.
    """

    done: bool = True
    memo: Mapping[str, object] = field(default_factory=dict[str, object])
    restart: bool = False
    wait: float = 10.0
    note: str = ""
    raid_config: Mapping[str, object] | None = None


DONE = StepOutcome()


@dataclass(frozen=True)
class VendorMethod:
    """A vendor passthru method as GET …/vendor_passthru/methods shows it.

    is_async: the client gets 202 at once and the call is an operation of its own; otherwise it waits
        for the reply. attach: a reply of bytes is sent as a file. required: arguments without which
        the call is refused with 400 before anything is done.
    """

    name: str
    http_methods: tuple[str, ...]
    description: str
    is_async: bool = True
    attach: bool = False
    require_exclusive_lock: bool = True
    required: tuple[str, ...] = ()


@dataclass(frozen=True)
class PortFacts:
    """A bare-metal port or port group, as far as choosing one for a VIF needs it.

    kind: "port" or "portgroup". vif: the id of the VIF that it already carries, if any.
    """

    id: str
    mac: str
    kind: str = "port"
    physical_network: str | None = None
    pxe_enabled: bool = True
    portgroup_id: str | None = None
    standalone_ports_supported: bool = True
    vif: str | None = None


@dataclass(frozen=True)
class VifFacts:
    """A VIF to be attached: its id, its network's physical networks, an explicit request if any."""

    id: str
    physical_networks: frozenset[str] = frozenset()
    port_id: str | None = None
    portgroup_id: str | None = None
