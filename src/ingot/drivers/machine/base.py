"""The capabilities: one Protocol each. What a workflow may ask of a machine.

All methods are async where they may touch a device and take an `Access`. They return values of
`types.py` or raise a fault of `faults.py`, nothing else. None keeps state about a machine beyond
connections and pace; none knows a node, an operation or a database. Cancelling a call is safe.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol, TypeGuard, runtime_checkable

from ingot.drivers.machine.types import (
    Access,
    BiosSetting,
    BootChoice,
    BootDevice,
    BootMode,
    Component,
    FirmwareComponent,
    Identity,
    Indicator,
    IndicatorState,
    MediaDevice,
    MediaSlot,
    PortFacts,
    PowerOutcome,
    PowerState,
    PowerTarget,
    Sensor,
    StatusReading,
    StepInfo,
    StepOutcome,
    VendorMethod,
    VifFacts,
)

CAPABILITIES = (
    "power",
    "management",
    "boot",
    "deploy",
    "inspect",
    "network",
    "storage",
    "console",
    "raid",
    "bios",
    "firmware",
    "vendor",
    "rescue",
)


@runtime_checkable
class Power(Protocol):
    """Power of one machine."""

    async def get(self, access: Access) -> PowerState:
        """Present power state."""
        ...

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        """Reach `target` and verify it within `timeout` seconds (default of the driver, 60).

        Reads first: on and off issue nothing when already there. Rebooting a machine that is
        off switches it on. Raises Refused when the state was not reached in time.
        """
        ...

    def supported(self) -> tuple[PowerTarget, ...]:
        """Targets that the driver knows."""
        ...


@runtime_checkable
class StatusPower(Protocol):
    """A `Power` whose controller tells power and health in one answer: what is asked of all, all the time."""

    async def read_status(self, access: Access) -> StatusReading: ...


@runtime_checkable
class StepRunner(Protocol):
    """An interface that offers steps. Any capability may; RAID, BIOS and firmware always do.

    A step is done again after a crash of ours in its middle: `run` looks first what is true already.
    """

    def steps(self) -> tuple[StepInfo, ...]: ...

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> StepOutcome:
        """Begin a step and, where that is short, end it. Unsupported for unknown steps; Refused
        when an argument is wrong. raid.create_configuration finds the node's target_raid_config in
        args["raid_config"].
        """
        ...

    async def resume(
        self,
        access: Access,
        step: str,
        args: Mapping[str, object],
        memo: Mapping[str, object],
    ) -> StepOutcome:
        """Look how a step goes on that is not done yet; memo: of the last outcome."""
        ...


def runs_steps(hand: object) -> TypeGuard[StepRunner]:
    """Whether an interface is a `StepRunner`: isinstance takes ten times longer, and is asked often."""
    kind = type(hand)
    if kind not in _RUNS_STEPS:
        _RUNS_STEPS[kind] = isinstance(hand, StepRunner)
    return _RUNS_STEPS[kind]


_RUNS_STEPS: dict[type, bool] = {}


@runtime_checkable
class Management(Protocol):
    """Boot device, firmware mode, secure boot, lights, NMI, virtual drives, sensors and identity.

    What a controller can't do is Unsupported; `none.PlainManagement` says so for everything rare.
    Interfaces with steps (clock, secure boot keys) are `StepRunner`s besides.
    """

    def supported_boot_devices(self, access: Access) -> tuple[BootDevice, ...]: ...

    async def get_boot_device(self, access: Access) -> BootChoice: ...

    async def set_boot_device(
        self,
        access: Access,
        device: BootDevice,
        persistent: bool = False,
        mode: BootMode | None = None,
    ) -> None:
        """Boot `device` next (or always). `mode` also asks for the firmware mode, if given."""
        ...

    def supported_boot_modes(self, access: Access) -> tuple[BootMode, ...]: ...

    async def get_boot_mode(self, access: Access) -> BootMode | None: ...

    async def set_boot_mode(self, access: Access, mode: BootMode) -> None: ...

    async def get_secure_boot(self, access: Access) -> bool | None:
        """Whether secure boot is on; None where the controller does not say."""
        ...

    async def set_secure_boot(self, access: Access, on: bool) -> None:
        """Takes force with the next start."""
        ...

    async def inject_nmi(self, access: Access) -> None:
        """Interrupt the processors so that the operating system dumps its state."""
        ...

    async def indicators(self, access: Access) -> Mapping[Component, Sequence[Indicator]]:
        """The lights of each component that has any."""
        ...

    async def get_indicator(
        self, access: Access, component: Component, name: str
    ) -> IndicatorState: ...

    async def set_indicator(
        self, access: Access, component: Component, name: str, state: IndicatorState
    ) -> None: ...

    async def media(self, access: Access) -> tuple[MediaSlot, ...]:
        """The virtual drives and what is in them."""
        ...

    async def attach_media(self, access: Access, device: MediaDevice, image_url: str) -> None:
        """Put an image into a drive of that kind, ejecting what else is in it."""
        ...

    async def detach_media(self, access: Access, devices: Sequence[MediaDevice] = ()) -> None:
        """Empty the drives of these kinds, all when none is named; harmless when empty."""
        ...

    async def sensors(self, access: Access) -> tuple[Sensor, ...]: ...

    async def identity(self, access: Access) -> Identity:
        """Who the controller says the machine is; for the wrong-machine proof."""
        ...

    async def health(self, access: Access) -> str:
        """The controller's roll-up: "ok", "warning", "critical" or "unknown"."""
        ...


@runtime_checkable
class EventSource(Protocol):
    """A `Management` whose controller can send events to a URL."""

    async def subscribe(self, access: Access, destination: str, context: str, owner: str) -> str:
        """The path of the subscription that sends to `destination`; one that is there already is kept.

        owner: what only our destinations for this machine contain: others with it are removed.
        """
        ...

    async def subscribed(self, access: Access, path: str) -> bool:
        """Whether the subscription is still there."""
        ...

    async def unsubscribe(self, access: Access, path: str) -> None:
        """Remove it; harmless when it is gone."""
        ...

    async def ask_for_event(self, access: Access) -> None:
        """Let the controller send an event now. Unsupported where it cannot."""
        ...


@runtime_checkable
class Boot(Protocol):
    """How a machine is brought into a ramdisk or into its disk.

    needs_dhcp: the machine finds its way by DHCP on a boot port.
    needs_iso: `prepare_ramdisk` wants the URL of an ISO.
    loader: what DHCP names to the machine: "ipxe", "grub", or "" for machines that need none.
    """

    needs_dhcp: bool
    needs_iso: bool
    loader: str

    async def prepare_ramdisk(
        self,
        access: Access,
        mode: BootMode | None = None,
        iso_url: str | None = None,
        *,
        drive_url: str | None = None,
        persistent: bool = False,
    ) -> None:
        """Arrange that the next start boots from the network or from `iso_url`.

        drive_url: a config drive's image for a second medium. persistent: every start, not only the
        next. Raises Unsupported for what this way cannot bring to the machine.
        """
        ...

    async def prepare_disk(self, access: Access, mode: BootMode | None = None) -> None:
        """Arrange that the machine boots its disk from now on."""
        ...

    async def clean_up(self, access: Access) -> None:
        """Eject what `prepare_ramdisk` inserted; harmless when nothing was."""
        ...


@runtime_checkable
class Deploy(StepRunner, Protocol):
    """Which deploy style it is; the work itself is the workflow's, with `agent.AgentClient`.

    uses_agent: needs the agent in the machine. writes_disk: puts an image on its disk. boots_ramdisk:
    the instance is a kernel and ramdisk or an ISO that the machine boots at every start.
    """

    uses_agent: bool
    writes_disk: bool
    boots_ramdisk: bool

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        """What `instance_info` lacks for this style; empty when it is complete."""
        ...


@runtime_checkable
class Inspect(Protocol):
    """uses_agent: boot the agent and wait for its data; otherwise call `inspect`."""

    uses_agent: bool

    async def inspect(self, access: Access) -> Mapping[str, object]:
        """Out-of-band inventory in the agent's shape ({"inventory": {...}}), or Unsupported."""
        ...


@runtime_checkable
class Network(Protocol):
    """accepts_vifs: VIFs may be attached. binds_ports: they need a real network port.

    separate_networks: provisioning and cleaning use networks other than the tenant's.
    """

    accepts_vifs: bool
    binds_ports: bool
    separate_networks: bool

    def choose_port(self, ports: Sequence[PortFacts], vif: VifFacts) -> PortFacts:
        """The port for `vif`; raises Refused with the reason when none fits."""
        ...


@runtime_checkable
class Storage(Protocol):
    """attaches_volumes: whether volume targets are meaningful with it."""

    attaches_volumes: bool


class ConsoleSession(Protocol):
    """An open serial console: read bytes, write bytes, close (twice is fine)."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks as they come; ends when the other side hangs up or after `aclose`."""
        ...

    async def send(self, data: bytes) -> None: ...

    async def aclose(self) -> None:
        """Detach and free the session at the device; leaves no process behind."""
        ...


@runtime_checkable
class Console(Protocol):
    """Serial console of one machine.

    kind: what GET …/states/console says of it: "socat" for a TCP port, "websocket" for one with a token;
        "" when there is no console.
    """

    kind: str

    async def open(self, access: Access) -> ConsoleSession:
        """Start a session; at most one per machine, an older one is deactivated."""
        ...


@runtime_checkable
class Raid(StepRunner, Protocol):
    """Steps create_configuration, delete_configuration, apply_configuration."""

    def logical_disk_properties(self) -> Mapping[str, str]:
        """Name -> description of what a logical disk's configuration may contain."""
        ...

    def problems(self, raid_config: Mapping[str, object]) -> tuple[str, ...]:
        """What is wrong with a target configuration; empty when nothing is."""
        ...


@runtime_checkable
class Bios(StepRunner, Protocol):
    """Steps apply_configuration ({"settings": [{"name", "value"}]}) and factory_reset."""

    async def settings(self, access: Access) -> tuple[BiosSetting, ...]:
        """All settings as they are now; read again after every step."""
        ...


@runtime_checkable
class Firmware(StepRunner, Protocol):
    """Step update ({"settings": [{"component", "url", "wait"?}]})."""

    async def components(self, access: Access) -> tuple[FirmwareComponent, ...]:
        """All parts whose firmware the controller tells of; read again after every step."""
        ...


@runtime_checkable
class Vendor(Protocol):
    def methods(self) -> tuple[VendorMethod, ...]: ...

    async def call(
        self, access: Access, method: str, http_method: str, args: Mapping[str, object]
    ) -> object:
        """JSON-able reply or None; Unsupported for an unknown method, Refused for bad arguments."""
        ...


@runtime_checkable
class Rescue(Protocol):
    """uses_agent: rescue boots the agent and calls finalize_rescue; otherwise out of band."""

    uses_agent: bool

    async def rescue(self, access: Access) -> None: ...

    async def unrescue(self, access: Access) -> None: ...
