"""Documents of a controller, and what must be found in them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
V1 = "/redfish/v1"
OK: Json = {"State": "Enabled", "Health": "OK"}
ABSENT: Json = {"State": "Absent"}
OPERATIONS = (
    *("verify", "power", "boot once", "boot for ever", "boot mode", "inspect", "BIOS"),
    *("firmware", "RAID", "media", "sensors", "lights", "events"),
)
RESETS = ["On", "ForceOff", "GracefulShutdown", "ForceRestart", "Nmi"]
TARGETS = ["None", "Pxe", "Cd", "Hdd", "BiosSetup"]

#: Sees a request first: (server, method, path, body, headers) -> (status, document) or None.
Quirk = Callable[[Any, str, str, Json, Mapping[str, str]], tuple[int, Json] | None]


@dataclass(frozen=True)
class Wanted:
    """What an inspection must find. mode: None where the tree does not tell it. ports: last octets."""

    cpus: int
    memory_gib: int | None
    mode: str | None
    ports: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    disks: int = 0
    sensors: int = 0
    typed_settings: int = 0


def link(path: str) -> Json:
    return {"@odata.id": path}


def refusal(status: int, key: str, words: str) -> tuple[int, Json]:
    info = [{"MessageId": key, "Message": words}]
    return status, {"error": {"code": key, "message": words, "@Message.ExtendedInfo": info}}


class Tree:
    """All documents by path. absent: operations of which no capture tells anything.

    named: whether redfish_system_id must be given, as there are several systems.
    """

    def __init__(self, name: str, system: str, chassis: str, manager: str) -> None:
        self.name = name
        self.docs: dict[str, Json] = {}
        self.quirks: list[Quirk] = []
        self.absent: set[str] = set()
        self.named = False
        self.etags = 'W/"{}"'
        self.sessions = True
        self.wanted = Wanted(0, None, None)
        self.system, self.chassis = f"{V1}/Systems/{system}", f"{V1}/Chassis/{chassis}"
        self.manager = f"{V1}/Managers/{manager}"
        self.serial = f"SN{uuid.uuid5(uuid.NAMESPACE_DNS, name).hex[:8].upper()}"
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        self.put(V1, SessionService=link(f"{V1}/SessionService"))
        for kind, path in (
            ("Systems", self.system),
            ("Chassis", self.chassis),
            ("Managers", self.manager),
        ):
            self.put(path)
            self.docs[V1][kind] = self.put(f"{V1}/{kind}", Members=[link(path)])
        self.put(
            self.system,
            UUID=self.uuid,
            SerialNumber=self.serial,
            PowerState="On",
            Status=OK,
            Links={"Chassis": [link(self.chassis)], "ManagedBy": [link(self.manager)]},
            Actions={
                "#ComputerSystem.Reset": {"target": f"{self.system}/Actions/ComputerSystem.Reset"}
            },
        )

    def put(self, path: str, **body: Any) -> Json:
        """Write or extend a document; a link to it."""
        here = self.docs.setdefault(path, {"@odata.id": path, "Id": path.rsplit("/", 1)[-1]})
        here.update(body)
        return link(path)

    def list(self, path: str, members: Mapping[str, Json | None]) -> Json:
        """A collection; a link to it. A member None is listed and not there."""
        for name, body in members.items():
            if body is not None:
                self.put(f"{path}/{name}", **body)
        links = [link(f"{path}/{name}") for name in members]
        return self.put(path, Members=links, **{"Members@odata.count": len(links)})

    def under(self, parent: str, name: str, members: Mapping[str, Json | None]) -> None:
        """A collection that a document links to by that name."""
        self.docs[parent][name] = self.list(f"{parent}/{name}", members)

    # -- parts ---------------------------------------------------------------------------------

    def boot(self, **more: Any) -> None:
        self.docs[self.system]["Boot"] = {
            "BootSourceOverrideEnabled": "Disabled",
            "BootSourceOverrideTarget": "None",
            "BootSourceOverrideTarget@Redfish.AllowableValues": TARGETS,
            **more,
        }

    def resets(self, kinds: list[str], *, by_info: bool = False) -> None:
        action = self.docs[self.system]["Actions"]["#ComputerSystem.Reset"]
        if by_info:
            path = f"{self.system}/ResetActionInfo"
            action["@Redfish.ActionInfo"] = path
            self.put(path, Parameters=[{"Name": "ResetType", "AllowableValues": kinds}])
        else:
            action["ResetType@Redfish.AllowableValues"] = kinds

    def cards(self, cards: Mapping[str, Json | None]) -> None:
        self.under(self.system, "EthernetInterfaces", cards)

    def chips(self, chips: Mapping[str, Json | None], **summary: Any) -> None:
        self.docs[self.system]["ProcessorSummary"] = summary
        self.under(self.system, "Processors", chips)

    def memory(self, gib: int) -> None:
        self.docs[self.system]["MemorySummary"] = {"TotalSystemMemoryGiB": gib}

    def bios(
        self, wanted: str, member: str, named: str, *, settings: str = "Settings", uri: str = ""
    ) -> None:
        """Two settings, with a registry under the names that this vendor gives it."""
        path = f"{self.system}/Bios"
        self.docs[self.system]["Bios"] = self.put(
            path,
            AttributeRegistry=wanted,
            Attributes={"BootTime": "Fast", "NumberOfCores": 4},
            Actions={"#Bios.ResetBios": {"target": f"{path}/Actions/Bios.ResetBios"}},
        )
        pending = self.put(f"{path}/{settings}", Attributes={})
        self.docs[path]["@Redfish.Settings"] = {
            "SettingsObject": pending,
            "SupportedApplyTimes": ["OnReset"],
        }
        file = uri or f"{path}/BiosRegistry"
        place = [{"Language": "ja", "Uri": "/nowhere"}, {"Language": "en", "Uri": file}]
        self.under(
            V1, "Registries", {"Base.1.8": {}, member: {"Registry": named, "Location": place}}
        )
        choices = [
            {"ValueName": name, "ValueDisplayName": name.lower()} for name in ("Fast", "Full")
        ]
        filler = [
            {"AttributeName": f"Setting{n}", "Type": "String", "DisplayName": "x" * 300}
            for n in range(400)  # more than one segment
        ]
        self.put(
            file,
            RegistryEntries={
                "Attributes": [
                    {"AttributeName": "BootTime", "Type": "Enumeration", "Value": choices},
                    {"AttributeName": "NumberOfCores", "Type": "Integer", "UpperBound": 64},
                    *filler,
                ]
            },
        )

    def firmware(self, bios: str, bmc: str, inventory: Mapping[str, Json | None]) -> None:
        if bios:
            self.docs[self.system]["BiosVersion"] = bios
        self.put(self.manager, FirmwareVersion=bmc, ManagerType="BMC")
        target = f"{V1}/UpdateService/Actions/UpdateService.SimpleUpdate"
        actions = {"#UpdateService.SimpleUpdate": {"target": target}}
        self.docs[V1]["UpdateService"] = self.put(f"{V1}/UpdateService", Actions=actions)
        self.under(f"{V1}/UpdateService", "FirmwareInventory", inventory)
        self.under(V1, "TaskService", {})

    def adapter(self, name: str, version: str, **more: Any) -> None:
        """A network adapter of the chassis."""
        body = {"Controllers": [{"FirmwarePackageVersion": version}], **more}
        at = f"{self.chassis}/NetworkAdapters"
        known = [
            one["@odata.id"].rsplit("/", 1)[-1] for one in self.docs.get(at, {}).get("Members", [])
        ]
        self.under(self.chassis, "NetworkAdapters", {**{one: {} for one in known}, name: body})

    def storage(
        self,
        name: str,
        drives: int,
        *,
        raid: bool,
        dead: int = 0,
        size: int = 960197124096,
        **more: Any,
    ) -> None:
        """A storage controller with disks; dead: of those how many are listed and not there."""
        at = f"{self.system}/Storage/{name}"
        bays = {
            f"Disk.{n}": None
            if n >= drives - dead
            else {
                "Name": f"Disk {n}",
                "CapacityBytes": size,
                "MediaType": "SSD",
                "Protocol": "SATA",
            }
            for n in range(drives)
        }
        self.list(f"{at}/Drives", bays)
        body: Json = {"Drives": [link(f"{at}/Drives/{bay}") for bay in bays], **more}
        if raid:
            body["Volumes"] = self.list(f"{at}/Volumes", {})
        known = [
            one["@odata.id"].rsplit("/", 1)[-1]
            for one in self.docs.get(f"{self.system}/Storage", {}).get("Members", [])
        ]
        self.under(self.system, "Storage", {**{one: {} for one in known}, name: body})

    def media(self, at: str, slots: Mapping[str, list[str]], *, actions: bool = True) -> None:
        """Virtual drives below the manager or the system. actions: else they are changed by PATCH."""
        drives: dict[str, Json | None] = {}
        for name, kinds in slots.items():
            path = f"{at}/VirtualMedia/{name}"
            body: Json = {"MediaTypes": kinds, "Inserted": False, "Image": None}
            if actions:
                body["Actions"] = {
                    f"#VirtualMedia.{verb}": {"target": f"{path}/Actions/VirtualMedia.{verb}"}
                    for verb in ("InsertMedia", "EjectMedia")
                }
            drives[name] = body
        self.under(at, "VirtualMedia", drives)

    def thermal(self, temperatures: int, fans: int, supplies: int) -> None:
        """The old resources of sensors."""
        self.docs[self.chassis]["Thermal"] = self.put(
            f"{self.chassis}/Thermal",
            Temperatures=[
                {"Name": f"Temp {n}", "ReadingCelsius": 30, "Status": OK}
                for n in range(temperatures)
            ]
            + [{"Name": "Empty", "ReadingCelsius": None, "Status": ABSENT}],
            Fans=[
                {"Name": f"Fan {n}", "Reading": 9000, "ReadingUnits": "RPM", "Status": OK}
                for n in range(fans)
            ],
        )
        self.docs[self.chassis]["Power"] = self.put(
            f"{self.chassis}/Power",
            PowerSupplies=[
                {"Name": f"PSU {n}", "LastPowerOutputWatts": 80, "Status": OK}
                for n in range(supplies)
            ],
        )

    def sensors(self, chassis: str, count: int, kind: str = "Temperature") -> None:
        """The newer collection."""
        readings = {
            f"{kind}_{n}": {"Name": f"{kind} {n}", "ReadingType": kind, "Reading": 30.5}
            for n in range(count)
        }
        self.under(chassis, "Sensors", readings)

    def events(self) -> None:
        self.docs[V1]["EventService"] = self.put(f"{V1}/EventService", ServiceEnabled=True)
        self.under(f"{V1}/EventService", "Subscriptions", {})

    def secure_boot(self) -> None:
        at = f"{self.system}/SecureBoot"
        self.docs[self.system]["SecureBoot"] = self.put(at, SecureBootEnable=False)


def card(last: str, **more: Any) -> Json:
    return {"MACAddress": f"52:54:00:AA:BB:{last.upper()}", "Status": OK, **more}


def chip(threads: int | None, arch: str | None = "x86-64", **more: Any) -> Json:
    return {
        "ProcessorType": "CPU",
        "TotalThreads": threads,
        "InstructionSet": arch,
        "Status": OK,
        **more,
    }


def gpu() -> Json:
    return {"ProcessorType": "GPU", "TotalThreads": None, "Status": OK}
