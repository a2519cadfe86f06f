"""The Redfish resources of one simulated BMC, as JSON documents.

Only what is really there is linked; Bios, Storage, UpdateService and the like are
`redfish_board`'s. Sensors move a little with the seeded chance and with power.
"""

from __future__ import annotations

from typing import Any

from ingot.lab.sim.bmc import Bmc
from ingot.lab.sim.types import BootDevice, BootMode, BootSetting, Nic, PowerState

ROOT = "/redfish/v1"
SYSTEM = f"{ROOT}/Systems/1"
MANAGER = f"{ROOT}/Managers/1"
CHASSIS = f"{ROOT}/Chassis/1"
MEDIA = f"{MANAGER}/VirtualMedia/Cd"
STICK = f"{MANAGER}/VirtualMedia/Removable"
SESSIONS = f"{ROOT}/SessionService/Sessions"

TARGETS = {
    BootDevice.NONE: "None",
    BootDevice.NETWORK: "Pxe",
    BootDevice.DISK: "Hdd",
    BootDevice.CDROM: "Cd",
    BootDevice.SETUP: "BiosSetup",
    BootDevice.HTTP: "UefiHttp",
}
DEVICES = {target: device for device, target in TARGETS.items()}
MODES = {BootMode.UEFI: "UEFI", BootMode.BIOS: "Legacy"}
RESETS = {
    "On": "on",
    "ForceOn": "on",
    "ForceOff": "off",
    "GracefulShutdown": "soft",
    "GracefulRestart": "reset",
    "ForceRestart": "reset",
    "PowerCycle": "cycle",
    "Nmi": "nmi",
}

Doc = dict[str, Any]


def _doc(path: str, kind: str, ident: str, name: str, **rest: Any) -> Doc:
    return {"@odata.id": path, "@odata.type": f"#{kind}", "Id": ident, "Name": name, **rest}


def _link(path: str) -> Doc:
    return {"@odata.id": path}


def collection(path: str, kind: str, members: list[str]) -> Doc:
    return {
        "@odata.id": path,
        "@odata.type": f"#{kind}Collection.{kind}Collection",
        "Name": f"{kind} Collection",
        "Members@odata.count": len(members),
        "Members": [_link(member) for member in members],
    }


def service_root(bmc: Bmc) -> Doc:
    return _doc(
        f"{ROOT}/",
        "ServiceRoot.v1_15_0.ServiceRoot",
        "RootService",
        "Root Service",
        RedfishVersion="1.17.0",
        UUID=bmc.uuid,
        Vendor=bmc.maker,
        Product="simulated BMC",
        Systems=_link(f"{ROOT}/Systems"),
        Managers=_link(f"{ROOT}/Managers"),
        Chassis=_link(f"{ROOT}/Chassis"),
        SessionService=_link(f"{ROOT}/SessionService"),
        Links={"Sessions": _link(SESSIONS)},
    )


def session_service() -> Doc:
    return _doc(
        f"{ROOT}/SessionService",
        "SessionService.v1_1_8.SessionService",
        "SessionService",
        "Session Service",
        ServiceEnabled=True,
        SessionTimeout=1800,
        Status={"State": "Enabled", "Health": "OK"},
        Sessions=_link(SESSIONS),
    )


def session(ident: str, user: str) -> Doc:
    return _doc(
        f"{SESSIONS}/{ident}", "Session.v1_5_0.Session", ident, "User Session", UserName=user
    )


def boot(setting: BootSetting) -> Doc:
    enabled = "Disabled"
    if setting.device is not BootDevice.NONE:
        enabled = "Once" if setting.once else "Continuous"
    return {
        "BootSourceOverrideEnabled": enabled,
        "BootSourceOverrideEnabled@Redfish.AllowableValues": ["Disabled", "Once", "Continuous"],
        "BootSourceOverrideTarget": TARGETS[setting.device],
        "BootSourceOverrideTarget@Redfish.AllowableValues": list(TARGETS.values()),
        "BootSourceOverrideMode": MODES[setting.mode],
        "BootSourceOverrideMode@Redfish.AllowableValues": ["UEFI", "Legacy"],
        "HttpBootUri": setting.http_uri,
    }


async def system(bmc: Bmc) -> Doc:
    identity, hardware = bmc.backend.identity, bmc.backend.hardware
    power = await bmc.power_state()
    on = power is PowerState.ON
    return _doc(
        SYSTEM,
        "ComputerSystem.v1_20_1.ComputerSystem",
        "1",
        identity.model,
        SystemType="Physical",
        UUID=bmc.uuid,
        SerialNumber=identity.serial,
        Manufacturer=bmc.maker,
        Model=identity.model,
        SKU=identity.serial[:7],
        BiosVersion="2.14.1",
        PowerState="On" if on else "Off",
        Status={
            "State": "Enabled" if on else "Disabled",
            "Health": "OK",
            "HealthRollup": bmc.faults.health,
        },
        Boot=boot(await bmc.backend.boot_setting()),
        ProcessorSummary={
            "Count": hardware.sockets,
            "LogicalProcessorCount": hardware.cpus,
            "Model": hardware.cpu_model,
            "Status": {"State": "Enabled", "Health": "OK", "HealthRollup": "OK"},
        },
        MemorySummary={
            "TotalSystemMemoryGiB": hardware.memory_mb // 1024,
            "Status": {"State": "Enabled", "Health": "OK", "HealthRollup": "OK"},
        },
        EthernetInterfaces=_link(f"{SYSTEM}/EthernetInterfaces"),
        SimpleStorage=_link(f"{SYSTEM}/SimpleStorage"),
        Links={"Chassis": [_link(CHASSIS)], "ManagedBy": [_link(MANAGER)]},
        Actions={
            "#ComputerSystem.Reset": {
                "target": f"{SYSTEM}/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": list(RESETS),
            }
        },
    )


def ethernet_interface(nic: Nic) -> Doc:
    return _doc(
        f"{SYSTEM}/EthernetInterfaces/{nic.name}",
        "EthernetInterface.v1_9_0.EthernetInterface",
        nic.name,
        nic.name,
        MACAddress=nic.mac.upper(),
        PermanentMACAddress=nic.mac.upper(),
        SpeedMbps=nic.speed_mbps,
        LinkStatus="LinkUp" if nic.cabled else "NoLink",
        Status={"State": "Enabled", "Health": "OK"},
    )


def simple_storage(bmc: Bmc) -> Doc:
    return _doc(
        f"{SYSTEM}/SimpleStorage/1",
        "SimpleStorage.v1_3_1.SimpleStorage",
        "1",
        "Disks",
        Status={"State": "Enabled", "Health": "OK"},
        Devices=[
            {
                "Name": disk.name.rpartition("/")[2],
                "Model": disk.model,
                "CapacityBytes": disk.size,
                "Status": {"State": "Enabled", "Health": "OK"},
            }
            for disk in bmc.backend.hardware.disks
        ],
    )


def manager(bmc: Bmc) -> Doc:
    return _doc(
        MANAGER,
        "Manager.v1_18_0.Manager",
        "1",
        "Manager",
        ManagerType="BMC",
        FirmwareVersion="7.10.30",
        Model="simulated BMC",
        UUID=bmc.backend.identity.uuid,
        PowerState="On",
        Status={"State": "Enabled", "Health": "OK"},
        VirtualMedia=_link(f"{MANAGER}/VirtualMedia"),
        Links={"ManagerForServers": [_link(SYSTEM)], "ManagerForChassis": [_link(CHASSIS)]},
        Actions={
            "#Manager.Reset": {
                "target": f"{MANAGER}/Actions/Manager.Reset",
                "ResetType@Redfish.AllowableValues": ["GracefulRestart", "ForceRestart"],
            }
        },
    )


def virtual_media(bmc: Bmc) -> Doc:
    url = bmc.media
    return _doc(
        MEDIA,
        "VirtualMedia.v1_6_1.VirtualMedia",
        "Cd",
        "Virtual CD",
        MediaTypes=["CD", "DVD"],
        Image=url,
        ImageName=url.rpartition("/")[2] if url else None,
        Inserted=url is not None or bool(bmc.faults.media_says_inserted),
        WriteProtected=True,
        ConnectedVia="URI" if url else "NotConnected",
        Actions={
            f"#VirtualMedia.{verb}Media": {"target": f"{MEDIA}/Actions/VirtualMedia.{verb}Media"}
            for verb in ("Insert", "Eject")
        },
    )


def virtual_stick(url: str | None) -> Doc:
    """The second drive: a stick, for a config drive beside the CD."""
    return _doc(
        STICK,
        "VirtualMedia.v1_6_1.VirtualMedia",
        "Removable",
        "Virtual stick",
        MediaTypes=["USBStick"],
        Image=url,
        Inserted=url is not None,
        WriteProtected=True,
        ConnectedVia="URI" if url else "NotConnected",
        Actions={
            f"#VirtualMedia.{verb}Media": {"target": f"{STICK}/Actions/VirtualMedia.{verb}Media"}
            for verb in ("Insert", "Eject")
        },
    )


async def chassis(bmc: Bmc) -> Doc:
    identity = bmc.backend.identity
    power = await bmc.power_state()
    return _doc(
        CHASSIS,
        "Chassis.v1_23_0.Chassis",
        "1",
        "Chassis",
        ChassisType="RackMount",
        Manufacturer=bmc.maker,
        Model=identity.model,
        SerialNumber=identity.serial,
        PowerState="On" if power is PowerState.ON else "Off",
        Status={"State": "Enabled", "Health": "OK"},
        Power=_link(f"{CHASSIS}/Power"),
        Thermal=_link(f"{CHASSIS}/Thermal"),
        Links={"ComputerSystems": [_link(SYSTEM)], "ManagedBy": [_link(MANAGER)]},
    )


def sensors(bmc: Bmc, on: bool) -> dict[str, float]:
    """Readings by name: watts, degrees Celsius, revolutions per minute."""
    rng = bmc.chance.stream("sensors")
    return {
        "watts": round(rng.uniform(180, 420) if on else rng.uniform(8, 14)),
        "cpu": round(rng.uniform(38, 72) if on else rng.uniform(20, 26)),
        "inlet": round(rng.uniform(19, 25)),
        "fan": round(rng.uniform(6000, 9000)) if on else 0,
    }


async def power_document(bmc: Bmc) -> Doc:
    on = await bmc.power_state() is PowerState.ON
    read = sensors(bmc, on)
    supplies = [
        {
            "@odata.id": f"{CHASSIS}/Power#/PowerSupplies/{number}",
            "MemberId": str(number),
            "Name": f"PSU{number + 1}",
            "PowerCapacityWatts": 1100,
            "LastPowerOutputWatts": read["watts"] / 2,
            "LineInputVoltage": 230,
            "PowerSupplyType": "AC",
            "Status": {"State": "Enabled", "Health": "OK"},
        }
        for number in range(2)
    ]
    control = {
        "@odata.id": f"{CHASSIS}/Power#/PowerControl/0",
        "MemberId": "0",
        "Name": "System Power",
        "PowerConsumedWatts": read["watts"],
        "PowerCapacityWatts": 2200,
    }
    return _doc(
        f"{CHASSIS}/Power",
        "Power.v1_7_1.Power",
        "Power",
        "Power",
        PowerControl=[control],
        PowerSupplies=supplies,
        Voltages=[],
    )


async def thermal_document(bmc: Bmc) -> Doc:
    on = await bmc.power_state() is PowerState.ON
    read = sensors(bmc, on)
    state = {"State": "Enabled", "Health": "OK"}
    return _doc(
        f"{CHASSIS}/Thermal",
        "Thermal.v1_7_1.Thermal",
        "Thermal",
        "Thermal",
        Temperatures=[
            {
                "@odata.id": f"{CHASSIS}/Thermal#/Temperatures/{number}",
                "MemberId": str(number),
                "Name": name,
                "SensorNumber": number + 1,
                "ReadingCelsius": read[key],
                "UpperThresholdCritical": limit,
                "PhysicalContext": context,
                "Status": state,
            }
            for number, (name, key, limit, context) in enumerate(
                (("CPU1 Temp", "cpu", 95, "CPU"), ("Inlet Temp", "inlet", 45, "Intake"))
            )
        ],
        Fans=[
            {
                "@odata.id": f"{CHASSIS}/Thermal#/Fans/0",
                "MemberId": "0",
                "Name": "Fan1",
                "Reading": read["fan"],
                "ReadingUnits": "RPM",
                "Status": state,
            }
        ],
    )
