"""The trees, vendor by vendor: only what is their own is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.trees.build import (
    ABSENT,
    RESETS,
    V1,
    Json,
    Tree,
    Wanted,
    card,
    chip,
    gpu,
    link,
    refusal,
)

# -- Dell -----------------------------------------------------------------------------------------


def idrac8() -> Tree:
    """Early: no boot mode, no registry of the BIOS, levels of volumes by VolumeType alone."""
    tree = Tree("Dell iDRAC 8", "System.Embedded.1", "System.Embedded.1", "iDRAC.Embedded.1")
    tree.boot()
    tree.resets(["On", "ForceOff", "GracefulRestart", "GracefulShutdown", "PushPowerButton", "Nmi"])
    tree.chips({"CPU.Socket.1": chip(24, "x86-64"), "CPU.Socket.2": chip(24)}, Count=2)
    tree.memory(128)
    tree.cards({"NIC.Integrated.1-1-1": card("01"), "NIC.Integrated.1-2-1": card("02")})
    tree.firmware("2.4.3", "2.40.40.40", {"Installed-25227-2.40": {"Name": "iDRAC"}})
    tree.storage("RAID.Integrated.1-1", 4, raid=True)
    old = f"{tree.system}/Storage/RAID.Integrated.1-1/Volumes"
    volume = {"Name": "OS", "VolumeType": "Mirrored", "CapacityBytes": 100 << 30}
    tree.list(old, {"Disk.Virtual.0": volume})
    tree.media(tree.manager, {"CD": ["CD", "DVD"], "RemovableDisk": ["USBStick"]})
    tree.thermal(3, 6, 2)
    tree.docs[tree.chassis]["IndicatorLED"] = "Lit"
    tree.events()
    tree.absent = {"BIOS"}
    tree.wanted = Wanted(48, 128, None, ("01", "02"), disks=4, sensors=11)
    return tree


def _idrac(name: str, *, late: bool) -> Tree:
    """Cards without link, one switched off; a registry under three names; a disabled DPU slot."""
    tree = Tree(name, "System.Embedded.1", "System.Embedded.1", "iDRAC.Embedded.1")
    tree.boot(BootSourceOverrideMode="UEFI")
    tree.resets([*RESETS, "GracefulRestart", "PushPowerButton", "PowerCycle"])
    summary = {"Count": 2, "CoreCount": 36, "LogicalProcessorCount": 72}
    tree.chips(
        {"CPU.Socket.1": chip(36), "CPU.Socket.2": chip(36), "Video.Slot.2-1": gpu()}, **summary
    )
    tree.memory(512)
    off: Json = {
        "LinkStatus": None,
        "InterfaceEnabled": False,
        "Status": {"State": None, "Health": None},
    }
    down: Json = {
        "LinkStatus": "LinkDown",
        "InterfaceEnabled": True,
        "EthernetInterfaceType": "Physical",
    }
    tree.cards(
        {
            **{f"NIC.Embedded.{n}-1-1": card(f"0{n}", **down) for n in (1, 2)},
            **{f"NIC.Integrated.1-{n}-1": card(f"1{n}", **down) for n in (1, 2)},
            "NIC.Slot.5-1": card("51", **off),
        }
    )
    tree.bios(
        "BiosAttributeRegistry.v1_0_3", "BiosAttributeRegistry.v1_0_0", "BiosAttributeRegistry1.0"
    )
    tree.adapter("NIC.Embedded.1", "21.80.9")
    tree.adapter("NIC.Integrated.1", "21.80.16.95", SerialNumber="VNFCVBA14I00AD", Model="57414S")
    tree.firmware(
        "1.13.2",
        "7.10.30.00",
        {
            "Previous-108089-21.60__NIC.Integrated.1-1-1": {"Updateable": True},
            "Installed-108089-21.80.16.95__NIC.Integrated.1-1-1": {"Updateable": True},
            "Installed-108255-21.80.9__NIC.Embedded.1-1-1": {"Updateable": True},
            "Installed-159-1.13.2__BIOS.Setup.1-1": {"Name": "BIOS"},
        },
    )
    kinds = [{"SupportedRAIDTypes": ["RAID0", "RAID1", "RAID5", "RAID10"]}]
    tree.storage("RAID.SL.1-1", 4, raid=True, StorageControllers=kinds)
    tree.media(tree.system, {"1": ["CD", "DVD", "USBStick"], "2": ["CD", "DVD", "USBStick"]})
    tree.thermal(4, 6, 2)
    tree.docs[tree.system]["IndicatorLED"] = "Lit"
    tree.secure_boot()
    tree.events()
    ports = ("01", "02", "11", "12")
    tree.wanted = Wanted(72, 512, "uefi", ports, ("51",), 4, 12, 2)
    if late:
        tree.docs[tree.system]["@Redfish.Settings"] = {
            "SettingsObject": tree.put(f"{tree.system}/Settings"),
            "SupportedApplyTimes": ["OnReset"],
        }
    return tree


def idrac9() -> Tree:
    return _idrac("Dell iDRAC 9", late=False)


def idrac10() -> Tree:
    """A settings object of the System; "On" so soon after "ForceOff" is a conflict once."""
    tree = _idrac("Dell iDRAC 10", late=True)
    conflicts: list[str] = []

    def too_soon(
        server: Any, method: str, path: str, body: Json, _headers: Mapping[str, str]
    ) -> tuple[int, Json] | None:
        kind = body.get("ResetType")
        if kind == "ForceOff":
            conflicts.append(path)
        elif kind == "On" and conflicts:
            conflicts.clear()
            words = "The value On for ResetType is in conflict with the state of the server."
            return refusal(409, "Base.1.12.ActionParameterValueConflict", words)
        return None

    tree.quirks.append(too_soon)
    return tree


# -- HPE ------------------------------------------------------------------------------------------


def _ilo(name: str, family: str, version: str) -> Tree:
    """Threads in the processors alone, cards without a name, paths in small letters, a registry that is kept packed."""
    tree = Tree(name, "1", "1", "1")
    tree.boot(BootSourceOverrideMode="UEFI")
    tree.resets([*RESETS, "PushPowerButton"])
    tree.chips({"1": chip(24), "2": chip(24)}, Count=2, Model="Xeon")
    tree.memory(192)
    up: Json = {"Name": "", "LinkStatus": "LinkUp"}
    unknown: Json = {"Name": "", "LinkStatus": None, "Status": {"State": None, "Health": None}}
    tree.cards({"13": card("0d", **up), "14": card("0e", **up), "5": card("05", **unknown)})
    registry = f"BiosAttributeRegistry{family}"
    uri = f"{V1}/registrystore/registries/en/{registry.lower()}"
    tree.bios(registry, registry, registry, settings="settings", uri=uri)
    tree.adapter("DE080000", "16.35", SerialNumber="ILC220027S", Model="MCX512F")
    tree.firmware(
        f"{family[:3]} v2.34",
        version,
        {"1": {"Name": version[:5]}, "2": {"Name": "System ROM"}, "16": {"Name": "MCX512F"}},
    )
    tree.storage("DE00A000", 2, raid=True)
    tree.media(tree.manager, {"1": ["Floppy", "USBStick"], "2": ["CD", "DVD"]})
    tree.thermal(5, 5, 2)
    tree.docs[tree.system]["IndicatorLED"] = "Off"
    tree.secure_boot()
    tree.events()
    tree.wanted = Wanted(48, 192, "uefi", ("0d", "0e", "05"), (), 2, 12, 2)

    def strict(
        server: Any, method: str, path: str, body: Json, headers: Mapping[str, str]
    ) -> tuple[int, Json] | None:
        packed = "gzip" in headers.get("Accept-Encoding", "")
        if path == uri and not packed:
            return refusal(406, "Base.1.18.NotAcceptable", "Only gzip is there.")
        kind, state = body.get("ResetType"), server.system["PowerState"]
        if kind in ("On", "ForceOff") and (kind == "On") == (state == "On"):
            key = "iLO.2.14.InvalidOperationForSystemState"
            return refusal(
                400, key, "The operation was not successful due to the current power state."
            )
        return None

    tree.quirks.append(strict)
    return tree


def ilo5() -> Tree:
    return _ilo("HPE iLO 5", "U46.v1_2_34", "iLO 5 v3.11")


def ilo6() -> Tree:
    """As iLO 5, with the light and the sensors of newer schemas besides."""
    tree = _ilo("HPE iLO 6", "U58.v1_2_44", "iLO 6 v1.66")
    del tree.docs[tree.system]["IndicatorLED"]
    tree.docs[tree.system]["LocationIndicatorActive"] = False
    return tree


def cray() -> Tree:
    """EX235a: no override of the boot, GPUs among the processors, cards without an address."""
    tree = Tree("HPE Cray EX235a", "Node0", "Node0", "BMC")
    tree.docs[tree.system]["Boot"] = {"BootOrder": ["ME0-PXE-IP4", "HSN0-PXE-IP4"]}
    tree.resets(["On", "ForceOff", "Off"], by_info=True)
    tree.chips({"CPU0": chip(128, None), **{f"GPU{n}": gpu() for n in range(8)}}, Count=9)
    tree.memory(512)
    none: Json = {"MACAddress": "Not Available", "PermanentMACAddress": ""}
    tree.cards({**{f"HPCNet{n}": none for n in range(4)}, "ManagementEthernet": card("52")})
    tree.firmware("ex235a.bios-1.3.6", "nc.1.7", {"BMC": {"Name": "BMC"}})
    tree.thermal(4, 0, 0)
    tree.events()
    tree.docs[tree.system]["Links"] = {
        "Chassis": [link(tree.chassis)],
        "ManagedBy": [link(tree.manager)],
    }
    tree.absent = {"boot once", "boot for ever", "boot mode", "BIOS"}
    tree.wanted = Wanted(128, 512, None, ("52",), sensors=4)
    return tree


# -- Lenovo ---------------------------------------------------------------------------------------


def xcc() -> Tree:
    """Boot overrides once alone, virtual drives by PATCH, ETags that must be right, a dead disk, the USB card."""
    tree = Tree("Lenovo XCC", "1", "1", "1")
    tree.etags = '"{}"'
    tree.boot(
        BootSourceOverrideMode="UEFI",
        **{"BootSourceOverrideEnabled@Redfish.AllowableValues": ["Once", "Disabled"]},
    )
    tree.resets([*RESETS, "GracefulRestart", "ForceOn"])
    summary = {"Count": 2, "LogicalProcessorCount": 128}
    empty: Json = {"ProcessorType": "GPU"}
    tree.chips({"1": chip(64), "2": chip(64), "GPU1": empty, "GPU2": None}, **summary)
    tree.memory(1024)
    down: Json = {"LinkStatus": "LinkDown", "InterfaceEnabled": True}
    usb: Json = {"Links": {"HostInterface": link(f"{V1}/Managers/1/HostInterfaces/1")}}
    tree.cards(
        {
            **{f"NIC{n}": card(f"0{n}", **down) for n in (1, 2, 3, 4)},
            "ToManager": card("71", **down, **usb),
        }
    )
    name = "BiosAttributeRegistry.1.0.0"
    tree.bios(name, name, "BiosAttributeRegistry.1.0", settings="Pending")
    tree.adapter("slot-27", "222.0.2.1", SerialNumber="L0FG29S02WC", Model="BCM5719")
    card_path = f"{tree.chassis}/NetworkAdapters/slot-27"
    tree.firmware(
        "U8E122J",
        "AFBT58B 5.10",
        {
            "BMC-Backup": {"RelatedItem": [link(tree.manager)]},
            "Slot_27.Bundle": {"RelatedItem": [link(card_path)], "Updateable": True},
        },
    )
    kinds = [{"SupportedRAIDTypes": ["RAID0", "RAID1"]}]
    tree.storage("RAID_Slot1", 4, raid=True, dead=1, StorageControllers=kinds)
    both = ["CD", "DVD", "Floppy", "USBStick"]
    tree.media(tree.manager, {"EXT1": both, "EXT2": both}, actions=False)
    tree.thermal(6, 10, 4)
    tree.docs[tree.system]["IndicatorLED"] = "Off"
    tree.secure_boot()
    tree.events()
    tree.wanted = Wanted(128, 1024, "uefi", ("01", "02", "03", "04"), (), 3, 20, 2)

    def strict(
        server: Any, method: str, path: str, body: Json, headers: Mapping[str, str]
    ) -> tuple[int, Json] | None:
        if method == "PATCH" and headers.get("If-Match") not in (server.etag, "*"):
            return refusal(412, "Base.1.8.PreconditionFailed", "The ETag supplied did not match.")
        if body.get("Boot", {}).get("BootSourceOverrideEnabled") == "Continuous":
            return refusal(400, "Base.1.8.PropertyValueNotInList", "Continuous is not in the list.")
        return None

    tree.quirks.append(strict)
    return tree


# -- Supermicro -----------------------------------------------------------------------------------


def _supermicro(name: str) -> Tree:
    """The mode is wanted in each change of the boot; sockets in the summary; ActionInfo; SimpleUpdate."""
    tree = Tree(name, "1", "1", "1")
    tree.boot(BootSourceOverrideMode="UEFI")
    tree.memory(256)
    tree.firmware("1.4", "01.02.11", {f"GPU_{n}": {} for n in range(100)} | {"BMC": {}, "BIOS": {}})
    tree.thermal(4, 4, 2)
    tree.docs[tree.system]["IndicatorLED"] = "Off"
    tree.events()

    def wants_mode(
        server: Any, method: str, path: str, body: Json, _headers: Mapping[str, str]
    ) -> tuple[int, Json] | None:
        boot = body.get("Boot", {})
        if method == "PATCH" and boot and "BootSourceOverrideMode" not in boot:
            words = "The property BootSourceOverrideMode is required."
            return refusal(400, "Base.1.4.PropertyMissing", words)
        return None

    tree.quirks.append(wants_mode)
    return tree


def supermicro_x11() -> Tree:
    """No registry, no virtual drives without a licence, cards that are "Disabled" for want of link."""
    tree = _supermicro("Supermicro X11")
    tree.resets([*RESETS, "GracefulRestart", "ForceOn"])
    tree.chips({"1": chip(40), "2": chip(40)}, Count=2)
    dead: Json = {"Status": {"State": "Disabled", "Health": "OK"}, "SpeedMbps": 0}
    tree.cards({"1": card("01", **dead), "2": card("02", **dead)})
    tree.absent = {"BIOS", "RAID", "media"}
    tree.wanted = Wanted(80, 256, "uefi", ("01", "02"), sensors=10)
    return tree


def supermicro_x13() -> Tree:
    """Also X12: a registry that bears no version, the manager's USB card, a firmware inventory of a hundred."""
    tree = _supermicro("Supermicro X12, X13")
    tree.resets([*RESETS, "GracefulRestart", "ForceOn", "PowerCycle"], by_info=True)
    tree.chips({"1": chip(64), "2": chip(64)}, Count=2)
    down: Json = {"LinkStatus": "LinkDown", "PermanentMACAddress": None}
    usb: Json = {"InterfaceEnabled": True, "LinkStatus": None}
    tree.cards(
        {**{f"{n}": card(f"0{n}", **down) for n in range(1, 10)}, "ToManager": card("9f", **usb)}
    )
    uri = "/registries/BiosAttributeRegistry.1.0.0.json"
    tree.bios(
        "BiosAttributeRegistry.v1_0_0",
        "BiosAttributeRegistry",
        "BiosAttributeRegistry.1.0.0",
        settings="SD",
        uri=uri,
    )
    tree.storage("NVMeSSD", 8, raid=False)
    tree.media(tree.manager, {"VirtualMedia1": ["CD", "DVD", "Floppy", "USBStick"]})
    tree.secure_boot()
    ports = tuple(f"0{n}" for n in range(1, 10))
    tree.wanted = Wanted(128, 256, "uefi", ports, (), 8, 10, 2)
    return tree


# -- OpenBMC and its kin --------------------------------------------------------------------------


def openbmc() -> Tree:
    """No cards of the machine, sensors in their collection, a light that only stays on or off."""
    tree = Tree("OpenBMC", "system", "chassis", "bmc")
    tree.boot(BootSourceOverrideMode="UEFI")
    tree.resets([*RESETS, "ForceOn", "GracefulRestart", "PowerCycle"], by_info=True)
    tree.chips({"cpu0": chip(64), "cpu1": {"ProcessorType": "CPU", "Status": ABSENT}}, Count=1)
    tree.memory(64)
    tree.docs[tree.system]["LocationIndicatorActive"] = False
    tree.firmware("", "2.14.0", {"bmc_active": {"Name": "BMC"}})
    tree.docs[V1]["ProtocolFeaturesSupported"] = {"ExpandQuery": {"NoLinks": True}}
    tree.sensors(tree.chassis, 12)
    tree.media(tree.manager, {"Slot_0": ["CD", "USBStick"]})
    tree.events()
    tree.absent = {"BIOS"}
    tree.wanted = Wanted(64, 64, "uefi", sensors=12)
    return tree


def gb200() -> Tree:
    """Two systems, no cards, no mode; sensors in dozens of chassis that name the system; no registry."""
    tree = Tree("NVIDIA GB200", "System_0", "BMC_0", "BMC_0")
    board = tree.put(f"{V1}/Systems/HGX_Baseboard_0", PowerState="On", UUID="0" * 8)
    tree.docs[f"{V1}/Systems"]["Members"].insert(0, board)
    tree.named = True
    tree.boot()
    tree.resets([*RESETS, "ForceOn", "GracefulRestart", "PowerCycle"], by_info=True)
    tree.chips({"CPU_0": chip(72, None), "CPU_1": chip(72, None)}, Count=2, CoreCount=144)
    tree.memory(960)
    tree.docs[tree.system]["IndicatorLED"] = "Off"
    tree.docs[V1]["ProtocolFeaturesSupported"] = {"ExpandQuery": {"NoLinks": True}}
    mine = {"ComputerSystems": [link(tree.system)]}
    tree.docs[tree.chassis]["Links"] = mine
    paths = [tree.chassis]
    for name, system in (
        ("Chassis_0", tree.system),
        ("PDB_0", tree.system),
        ("HGX_CPU_0", board["@odata.id"]),
    ):
        path = f"{V1}/Chassis/{name}"
        tree.put(path, Links={"ComputerSystems": [link(system)]})
        tree.docs[f"{V1}/Chassis"]["Members"].append(link(path))
        paths.append(path)
    for path, count in zip(paths, (1, 24, 15, 84), strict=True):
        tree.sensors(path, count)
    tree.firmware("", "GB200Nvl-25.01", {"HGX_FW_BMC_0": {}})
    tree.storage("Storage_0", 2, raid=False)
    tree.secure_boot()
    tree.events()
    tree.absent = {"BIOS", "media"}
    tree.wanted = Wanted(144, 960, None, disks=2, sensors=40)
    return tree


def intel() -> Tree:
    """S2600: no cards; the session service refuses, basic works."""
    tree = Tree("Intel S2600", "S2600WF", "Baseboard", "BMC")
    tree.sessions = False
    tree.boot(BootSourceOverrideMode="Legacy")
    tree.resets(["On", "ForceOff", "GracefulShutdown", "ForceRestart"])
    tree.chips({"CPU1": chip(4), "CPU2": chip(4)}, Count=2)
    tree.memory(32)
    tree.thermal(4, 2, 1)
    tree.absent = {"BIOS", "firmware", "RAID", "media", "lights", "events"}
    tree.wanted = Wanted(8, 32, "bios", sensors=7)
    return tree


def gigabyte() -> Tree:
    """AMI's: trailing slashes in links, a dead link among the cards and among the chips' GPUs."""
    tree = Tree("Gigabyte", "Self", "Self", "Self")
    tree.boot(BootSourceOverrideMode="UEFI")
    tree.resets(RESETS)
    tree.chips({"1": chip(64), "2": chip(64)}, Count=2)
    tree.memory(512)
    tree.cards({"FirstNic": card("01", LinkStatus="LinkUp"), "Gone": None})
    tree.docs[f"{V1}/Systems"]["Members"] = [link(f"{tree.system}/")]
    tree.firmware("R06", "12.40.09", {"BMC": {}, "BIOS": {}})
    tree.thermal(4, 4, 2)
    tree.docs[tree.chassis]["IndicatorLED"] = "Off"
    tree.events()
    tree.absent = {"BIOS", "RAID", "media"}
    tree.wanted = Wanted(128, 512, "uefi", ("01",), sensors=10)
    return tree


TREES: dict[str, Callable[[], Tree]] = {
    make().name: make
    for make in (
        *(idrac8, idrac9, idrac10, ilo5, ilo6, cray, xcc, supermicro_x11, supermicro_x13),
        *(openbmc, gb200, intel, gigabyte),
    )
}
