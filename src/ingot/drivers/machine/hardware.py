"""The table: hardware type -> capability -> named interfaces, the first being the default.

Names and orders follow the Bare Metal API's usual ones (upstream's documentation of hardware types), so that an
operator's node definitions work unchanged. Factories import their family when first used: a
process that only serves the API loads no driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.registry import Factory, HardwareType, InterfaceSpec, Registry

if TYPE_CHECKING:
    from ingot.drivers.machine.options import Option

Row = tuple[InterfaceSpec, ...]


def build_registry(
    context: DriverContext,
    *,
    enabled_hardware_types: Iterable[str] | None = None,
    enabled_interfaces: Mapping[str, Iterable[str]] | None = None,
    default_interfaces: Mapping[str, str] | None = None,
) -> Registry:
    """The registry over all hardware types of this file."""
    return Registry(
        context,
        hardware_types(),
        enabled_hardware_types=enabled_hardware_types,
        enabled_interfaces=enabled_interfaces,
        default_interfaces=default_interfaces,
    )


def hardware_types() -> tuple[HardwareType, ...]:
    """All hardware types, in the order in which they are shown."""
    return (_redfish(), _idrac(), _ipmi(), _manual(), _fake())


def _redfish() -> HardwareType:
    from ingot.drivers.machine.ipmi.interfaces import CONSOLES
    from ingot.drivers.machine.redfish import interfaces as redfish

    return HardwareType(
        "redfish",
        "Servers with a Redfish service in their controller.",
        {
            **_generic(),
            "power": (redfish.POWER,),
            "management": (redfish.MANAGEMENT, _noop_management()),
            "boot": (*redfish.BOOTS, redfish.MEDIA_BOOT, redfish.HTTPS_BOOT),
            "console": (_no("console"), *CONSOLES),
            "raid": (redfish.RAID, _no("raid"), _agent("raid")),
            "bios": (redfish.BIOS, _no("bios")),
            "firmware": (redfish.FIRMWARE, _no("firmware")),
            "vendor": (redfish.VENDOR, _no("vendor")),
            "inspect": (_agent("inspect"), redfish.INSPECT, _no("inspect")),
        },
    )


def _idrac() -> HardwareType:
    """Dell's controllers speak Redfish like others; upstream has names of its own for their interfaces.

    The plain names are good besides: settings that enable those alone leave this type whole.
    """
    from ingot.drivers.machine.redfish import interfaces as redfish

    dells = {spec.make: replace(spec, name=f"idrac-{spec.name}") for spec in redfish.DELLS}
    return HardwareType(
        "idrac",
        "Dell servers with an iDRAC, by Redfish; the same as redfish under upstream's names.",
        {
            capability: tuple(
                name
                for spec in row
                for name in ([dells[spec.make], spec] if spec.make in dells else [spec])
            )
            for capability, row in _redfish().interfaces.items()
        },
    )


def _ipmi() -> HardwareType:
    from ingot.drivers.machine.ipmi import interfaces as ipmi

    return HardwareType(
        "ipmi",
        "Servers with an IPMI 2.0 controller, by ipmitool.",
        {
            **_generic(),
            "power": (ipmi.POWER,),
            "management": (ipmi.MANAGEMENT, _noop_management()),
            "boot": ipmi.BOOTS,
            "console": (*ipmi.CONSOLES, _no("console")),
            "vendor": (ipmi.VENDOR, _no("vendor")),
        },
    )


def _manual() -> HardwareType:
    return HardwareType(
        "manual-management",
        "Machines without a usable controller; a human switches them.",
        {
            **_generic(),
            "power": (InterfaceSpec("power", "manual", _manual_power), _fake_spec("power")),
            "management": (_noop_management(), _fake_spec("management")),
            "boot": _network_boots(_manual_boot),
            "deploy": (*_deploys(), _no("deploy", "noop")),
        },
    )


def _fake() -> HardwareType:
    generic = _generic()
    table: dict[str, Row] = {name: (_fake_spec(name), *generic[name]) for name in generic}
    table["power"] = (_fake_spec("power"),)
    table["management"] = (_fake_spec("management"), _noop_management())
    table["boot"] = (_fake_spec("boot"), *_network_boots(_fake_ipxe_boot))
    table["network"] = (*generic["network"][1:], *generic["network"][:1], _fake_spec("network"))
    table["vendor"] = (_fake_spec("vendor"), _no("vendor"))
    table["storage"] = (*generic["storage"], _fake_spec("storage"))
    table["console"] = (_fake_spec("console"), _fake_web_console(), _no("console"))
    return HardwareType("fake-hardware", "Imaginary machines, for tests and rehearsals.", table)


def _generic() -> dict[str, Row]:
    return {
        "boot": (),
        "deploy": _deploys(),
        "inspect": (_agent("inspect"), _no("inspect")),
        "network": (
            InterfaceSpec("network", "flat", _flat_network),
            InterfaceSpec("network", "noop", _noop_network),
        ),
        "storage": (
            _no("storage", "noop"),
            InterfaceSpec("storage", "external", _external_storage),
        ),
        "console": (_no("console"),),
        "raid": (_no("raid"), _agent("raid")),
        "bios": (_no("bios"),),
        "firmware": (_no("firmware"),),
        "vendor": (_no("vendor"),),
        "rescue": (_agent("rescue"), _no("rescue")),
    }


def _deploys() -> Row:
    from ingot.drivers.machine.agent.interfaces import AGENT_OPTIONS

    return (
        InterfaceSpec("deploy", "direct", _direct_deploy, AGENT_OPTIONS),
        InterfaceSpec("deploy", "ramdisk", _ramdisk_deploy, _ramdisk_options()),
        InterfaceSpec("deploy", "custom-agent", _custom_deploy, AGENT_OPTIONS),
    )


def _network_boots(make: Factory) -> Row:
    """The ways over the network, for types whose management interface sets the boot device."""
    names = ("ipxe", "pxe", "http-ipxe", "http")
    return tuple(InterfaceSpec("boot", name, make, _ramdisk_options()) for name in names)


def _ramdisk_options() -> tuple[Option, ...]:
    from ingot.drivers.machine.agent.interfaces import RAMDISK_OPTIONS

    return RAMDISK_OPTIONS


def _direct_deploy(context: DriverContext) -> object:
    from ingot.drivers.machine.agent.interfaces import DirectDeploy

    return DirectDeploy()


def _ramdisk_deploy(context: DriverContext) -> object:
    from ingot.drivers.machine.agent.interfaces import RamdiskDeploy

    return RamdiskDeploy()


def _custom_deploy(context: DriverContext) -> object:
    from ingot.drivers.machine.agent.interfaces import CustomAgentDeploy

    return CustomAgentDeploy()


def _external_storage(context: DriverContext) -> object:
    from ingot.drivers.machine.none import ExternalStorage

    return ExternalStorage()


def _agent(capability: str) -> InterfaceSpec:
    def make(context: DriverContext) -> object:
        from ingot.drivers.machine.agent import interfaces

        kinds = {
            "inspect": interfaces.AgentInspect,
            "raid": interfaces.AgentRaid,
            "rescue": interfaces.AgentRescue,
        }
        return kinds[capability]()

    return InterfaceSpec(capability, "agent", make)


def _no(capability: str, name: str | None = None) -> InterfaceSpec:
    def make(context: DriverContext) -> object:
        from ingot.drivers.machine import none

        kinds: dict[str, type[object]] = {
            "inspect": none.NoInspect,
            "console": none.NoConsole,
            "deploy": none.NoDeploy,
            "raid": none.NoRaid,
            "bios": none.NoBios,
            "firmware": none.NoFirmware,
            "vendor": none.NoVendor,
            "rescue": none.NoRescue,
            "storage": none.NoStorage,
        }
        return kinds[capability]()

    return InterfaceSpec(capability, name or f"no-{capability}", make)


def _flat_network(context: DriverContext) -> object:
    from ingot.drivers.machine.flat.network import FlatNetwork

    return FlatNetwork()


def _noop_network(context: DriverContext) -> object:
    from ingot.drivers.machine.flat.network import NoopNetwork

    return NoopNetwork()


def _manual_power(context: DriverContext) -> object:
    from ingot.drivers.machine.manual.power import ManualPower

    return ManualPower()


def _make_noop_management(context: DriverContext) -> object:
    from ingot.drivers.machine.manual.power import NoopManagement

    return NoopManagement()


def _noop_management() -> InterfaceSpec:
    return InterfaceSpec("management", "noop", _make_noop_management)


def _manual_boot(context: DriverContext) -> object:
    from ingot.drivers.machine.ipxe.boot import IpxeBoot
    from ingot.drivers.machine.manual.power import NoopManagement

    return IpxeBoot(NoopManagement())


def _fake_ipxe_boot(context: DriverContext) -> object:
    from ingot.drivers.machine.fake.machine import FakeManagement
    from ingot.drivers.machine.ipxe.boot import IpxeBoot

    return IpxeBoot(FakeManagement(context))


def _fake_spec(capability: str, name: str = "fake") -> InterfaceSpec:
    from ingot.drivers.machine.fake import hardware as fake
    from ingot.drivers.machine.fake import machine, settings
    from ingot.drivers.machine.fake.base import OPTIONS, PREFIXES

    def make(context: DriverContext) -> object:
        touching = {
            "power": machine.FakePower,
            "management": machine.FakeManagement,
            "boot": machine.FakeBoot,
            "deploy": fake.FakeDeploy,
            "inspect": fake.FakeInspect,
            "console": fake.FakeConsole,
            "raid": settings.FakeRaid,
            "bios": settings.FakeBios,
            "firmware": settings.FakeFirmware,
            "vendor": fake.FakeVendor,
            "rescue": fake.FakeRescue,
        }
        plain = {"network": fake.FakeNetwork, "storage": fake.FakeStorage}
        return plain[capability]() if capability in plain else touching[capability](context)

    options, prefixes = (OPTIONS, PREFIXES) if capability == "power" else ((), ())
    return InterfaceSpec(capability, name, make, options, prefixes)


def _fake_web_console() -> InterfaceSpec:
    def make(context: DriverContext) -> object:
        from ingot.drivers.machine.fake.hardware import FakeWebsocketConsole

        return FakeWebsocketConsole(context)

    return InterfaceSpec("console", "fake-websocket", make)
