"""The Redfish resources of a controller's board: Bios, Storage, UpdateService, SecureBoot, Tasks, events.

Shapes are those of DMTF's schemas (DSP8010); what may be changed is what the Bare Metal API's drivers
change. Handlers give a reply's status, headers and body, or raise `Refusal`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from ingot.lab.sim.board import BIOS_DEFAULTS, LEVELS, Board, RaidVolume, Task
from ingot.lab.sim.jsonshape import as_object

ROOT = "/redfish/v1"
SYSTEM = f"{ROOT}/Systems/1"
BIOS = f"{SYSTEM}/Bios"
SECURE_BOOT = f"{SYSTEM}/SecureBoot"
STORAGE = f"{SYSTEM}/Storage"
RAID = f"{STORAGE}/RAID.1"
VOLUMES = f"{RAID}/Volumes"
REGISTRIES = f"{ROOT}/Registries"
REGISTRY = "BiosAttributeRegistry.v1_0_0"
TASKS = f"{ROOT}/TaskService/Tasks"
UPDATES = f"{ROOT}/UpdateService"
INVENTORY = f"{UPDATES}/FirmwareInventory"
EVENTS = f"{ROOT}/EventService"
SUBSCRIPTIONS = f"{EVENTS}/Subscriptions"
TEST_EVENT = f"{EVENTS}/Actions/EventService.SubmitTestEvent"
OK = {"State": "Enabled", "Health": "OK"}
VOLUME_SECONDS, FIRMWARE_SECONDS = 60.0, 180.0

Doc = dict[str, Any]


class Refusal(Exception):
    """What the service refuses. status: of HTTP; key: of the message registry."""

    def __init__(self, status: int, key: str, text: str) -> None:
        self.status, self.key = status, key
        super().__init__(text)


@dataclass
class Answer:
    status: int = 200
    body: Doc | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])


def _link(path: str) -> Doc:
    return {"@odata.id": path}


def _doc(path: str, kind: str, ident: str, **rest: Any) -> Doc:
    return {"@odata.id": path, "@odata.type": f"#{kind}", "Id": ident, "Name": ident, **rest}


def _collection(path: str, kind: str, members: list[str], **rest: Any) -> Doc:
    return {
        "@odata.id": path,
        "@odata.type": f"#{kind}Collection.{kind}Collection",
        "Name": f"{kind} Collection",
        "Members@odata.count": len(members),
        "Members": [_link(member) for member in members],
        **rest,
    }


def root_links() -> Doc:
    return {
        "Registries": _link(REGISTRIES),
        "UpdateService": _link(UPDATES),
        "EventService": _link(EVENTS),
        "Tasks": _link(f"{ROOT}/TaskService"),
    }


def system_links(board: Board) -> Doc:
    return {
        "Bios": _link(BIOS),
        "SecureBoot": _link(SECURE_BOOT),
        "Storage": _link(STORAGE),
        "BiosVersion": board.firmware["bios"],
        "IndicatorLED": board.light,
    }


class BoardService:
    """Documents and changes of one board."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._plain: dict[str, Callable[[], Doc]] = {
            BIOS: self._bios,
            f"{BIOS}/Settings": self._bios_settings,
            SECURE_BOOT: self._secure_boot,
            STORAGE: lambda: _collection(STORAGE, "Storage", [RAID]),
            RAID: self._storage,
            VOLUMES: self._volumes,
            REGISTRIES: lambda: _collection(
                REGISTRIES, "MessageRegistryFile", [f"{REGISTRIES}/{REGISTRY}"]
            ),
            f"{REGISTRIES}/{REGISTRY}": self._registry_file,
            f"{REGISTRIES}/{REGISTRY}.json": self._registry,
            f"{ROOT}/TaskService": lambda: _doc(
                f"{ROOT}/TaskService",
                "TaskService.v1_2_0.TaskService",
                "TaskService",
                Tasks=_link(TASKS),
            ),
            TASKS: lambda: _collection(TASKS, "Task", [f"{TASKS}/{t}" for t in self.board.tasks]),
            UPDATES: self._updates,
            INVENTORY: lambda: _collection(
                INVENTORY, "SoftwareInventory", [f"{INVENTORY}/{n}" for n in self.board.firmware]
            ),
            EVENTS: lambda: _doc(
                EVENTS,
                "EventService.v1_10_0.EventService",
                "EventService",
                ServiceEnabled=True,
                Status=OK,
                Subscriptions=_link(SUBSCRIPTIONS),
                Actions={"#EventService.SubmitTestEvent": {"target": TEST_EVENT}},
            ),
            SUBSCRIPTIONS: lambda: _collection(
                SUBSCRIPTIONS,
                "EventDestination",
                [f"{SUBSCRIPTIONS}/{ident}" for ident in self.board.subscriptions],
            ),
        }

    # -- reading -----------------------------------------------------------------------------

    def get(self, path: str) -> Answer | None:
        """The resource at `path`; None when it is none of ours."""
        self.board.settle()
        if path in self._plain:
            return Answer(body=self._plain[path]())
        parent, _, ident = path.rpartition("/")
        if parent == TASKS and ident in self.board.tasks:
            return self._task(self.board.tasks[ident])
        if parent == VOLUMES and ident in self.board.volumes:
            return Answer(body=self._volume(self.board.volumes[ident]))
        if parent == f"{RAID}/Drives":
            return self._drive(ident)
        if parent == INVENTORY and ident in self.board.firmware:
            return Answer(body=self._software(ident))
        if parent == SUBSCRIPTIONS and ident in self.board.subscriptions:
            return Answer(body=self.board.subscriptions[ident])
        return None

    def _bios(self) -> Doc:
        return _doc(
            BIOS,
            "Bios.v1_2_3.Bios",
            "Bios",
            AttributeRegistry=REGISTRY,
            Attributes=self.board.bios,
            Actions={
                f"#Bios.{verb}": {"target": f"{BIOS}/Actions/Bios.{verb}"}
                for verb in ("ResetBios",)
            },
            **{
                "@Redfish.Settings": {
                    "@odata.type": "#Settings.v1_3_5.Settings",
                    "SettingsObject": _link(f"{BIOS}/Settings"),
                    "SupportedApplyTimes": ["OnReset"],
                }
            },
        )

    def _bios_settings(self) -> Doc:
        # As Dell does: only what is ordered.
        return _doc(
            f"{BIOS}/Settings",
            "Bios.v1_2_3.Bios",
            "Settings",
            AttributeRegistry=REGISTRY,
            Attributes=self.board.bios_ordered,
        )

    def _registry_file(self) -> Doc:
        return _doc(
            f"{REGISTRIES}/{REGISTRY}",
            "MessageRegistryFile.v1_1_3.MessageRegistryFile",
            REGISTRY,
            Registry=REGISTRY.rpartition(".")[0],
            Languages=["en"],
            Location=[{"Language": "en", "Uri": f"{REGISTRIES}/{REGISTRY}.json"}],
        )

    def _registry(self) -> Doc:
        entries = [_attribute(name, value) for name, value in BIOS_DEFAULTS.items()]
        return {
            "@odata.type": "#AttributeRegistry.v1_3_8.AttributeRegistry",
            "Id": REGISTRY,
            "Language": "en",
            "RegistryVersion": "1.0.0",
            "RegistryEntries": {"Attributes": entries},
        }

    def _secure_boot(self) -> Doc:
        on = self.board.secure_boot
        return _doc(
            SECURE_BOOT,
            "SecureBoot.v1_1_1.SecureBoot",
            "SecureBoot",
            SecureBootEnable=self.board.secure_boot_ordered
            if self.board.secure_boot_ordered is not None
            else on,
            SecureBootCurrentBoot="Enabled" if on else "Disabled",
            SecureBootMode="UserMode" if self.board.keys == "Default" else "SetupMode",
            Actions={
                "#SecureBoot.ResetKeys": {
                    "target": f"{SECURE_BOOT}/Actions/SecureBoot.ResetKeys",
                    "ResetKeysType@Redfish.AllowableValues": [
                        "ResetAllKeysToDefault",
                        "DeleteAllKeys",
                    ],
                }
            },
        )

    def _storage(self) -> Doc:
        drives = [_link(f"{RAID}/Drives/{drive.name}") for drive in self.board.raid_drives()]
        return _doc(
            RAID,
            "Storage.v1_15_1.Storage",
            "RAID.1",
            Status=OK,
            Drives=drives,
            Volumes=_link(VOLUMES),
            StorageControllers=[
                {
                    "@odata.id": f"{RAID}#/StorageControllers/0",
                    "MemberId": "0",
                    "Name": "RAID controller",
                    "FirmwareVersion": "52.21.0",
                    "SupportedRAIDTypes": list(LEVELS),
                    "Status": OK,
                }
            ],
        )

    def _drive(self, ident: str) -> Answer | None:
        for drive in self.board.raid_drives():
            if drive.name == ident:
                volumes = [_link(f"{VOLUMES}/{v}") for v in self.board.volumes_of(ident)]
                return Answer(
                    body=_doc(
                        f"{RAID}/Drives/{ident}",
                        "Drive.v1_18_0.Drive",
                        ident,
                        CapacityBytes=drive.size,
                        MediaType="SSD",
                        Protocol="SAS",
                        Model=drive.model,
                        SerialNumber=drive.serial,
                        Status=OK,
                        Links={"Volumes": volumes, "Volumes@odata.count": len(volumes)},
                    )
                )
        return None

    def _volumes(self) -> Doc:
        times = self.board.faults.volume_apply_time
        members = [f"{VOLUMES}/{ident}" for ident in self.board.volumes]
        if not times:
            return _collection(VOLUMES, "Volume", members)
        support = {
            "@odata.type": "#Settings.v1_3_5.OperationApplyTimeSupport",
            "SupportedValues": [times],
        }
        return _collection(
            VOLUMES, "Volume", members, **{"@Redfish.OperationApplyTimeSupport": support}
        )

    def _volume(self, volume: RaidVolume) -> Doc:
        return _doc(
            f"{VOLUMES}/{volume.ident}",
            "Volume.v1_9_0.Volume",
            volume.ident,
            RAIDType=volume.level,
            CapacityBytes=volume.size,
            Status=OK,
            Links={"Drives": [_link(f"{RAID}/Drives/{drive}") for drive in volume.drives]},
        ) | {"Name": volume.name}

    def _updates(self) -> Doc:
        return _doc(
            UPDATES,
            "UpdateService.v1_14_0.UpdateService",
            "UpdateService",
            ServiceEnabled=True,
            FirmwareInventory=_link(INVENTORY),
            Actions={
                "#UpdateService.SimpleUpdate": {
                    "target": f"{UPDATES}/Actions/UpdateService.SimpleUpdate",
                    "TransferProtocol@Redfish.AllowableValues": ["HTTP", "HTTPS"],
                }
            },
        )

    def _software(self, name: str) -> Doc:
        return _doc(
            f"{INVENTORY}/{name}",
            "SoftwareInventory.v1_10_2.SoftwareInventory",
            name,
            Version=self.board.firmware[name],
            Updateable=True,
            Status=OK,
        )

    def _task(self, task: Task) -> Answer | None:
        over = task.state not in ("Running", "Pending")
        if over and self.board.faults.tasks_vanish:
            return None
        body = _doc(
            f"{TASKS}/{task.ident}",
            "Task.v1_7_4.Task",
            task.ident,
            TaskState=task.state,
            TaskStatus="Critical" if task.state == "Exception" else "OK",
            PercentComplete=100 if over else 30,
            Messages=[{"MessageId": "Base.1.16.Message", "Message": task.message}]
            if task.message
            else [],
        )
        return Answer(200, body | {"Name": task.name})

    # -- changing ----------------------------------------------------------------------------

    def post(self, path: str, body: Doc) -> Answer | None:
        """Carry out an action or make a member; None when the path is none of ours."""
        self.board.settle()
        actions: dict[str, Callable[[Doc], Answer]] = {
            f"{BIOS}/Actions/Bios.ResetBios": self._reset_bios,
            f"{SECURE_BOOT}/Actions/SecureBoot.ResetKeys": self._reset_keys,
            VOLUMES: self._make_volume,
            f"{UPDATES}/Actions/UpdateService.SimpleUpdate": self._update,
            SUBSCRIPTIONS: self._subscribe,
            TEST_EVENT: self._test_event,
        }
        return actions[path](body) if path in actions else None

    def patch(self, path: str, body: Doc) -> Answer | None:
        self.board.settle()
        if path == f"{BIOS}/Settings":
            return self._patch_bios(body)
        if path == SECURE_BOOT:
            on = body.get("SecureBootEnable")
            if not isinstance(on, bool):
                raise Refusal(400, "PropertyValueTypeError", "SecureBootEnable must be a boolean.")
            self.board.order_secure_boot(on)
            return Answer(204)
        return None

    def delete(self, path: str) -> Answer | None:
        self.board.settle()
        parent, _, ident = path.rpartition("/")
        if parent == SUBSCRIPTIONS and self.board.subscriptions.pop(ident, None):
            return Answer(204)
        if parent == VOLUMES and ident in self.board.volumes:
            return self._order("delete a volume", lambda: self._drop(ident))
        return None

    def _drop(self, ident: str) -> None:
        self.board.volumes.pop(ident, None)

    def _order(self, name: str, work: Callable[[], None]) -> Answer:
        """Volumes are changed as the controller does it: at once, in a while, or at the next start."""
        times = self.board.faults.volume_apply_time
        if times == "sync":
            work()
            return Answer(204)
        restart = times in ("", "OnReset")
        return _accepted(self.board.begin(name, work, VOLUME_SECONDS, restart))

    def _patch_bios(self, body: Doc) -> Answer:
        wanted = as_object(body.get("Attributes"))
        if not wanted:
            raise Refusal(400, "PropertyMissing", "Attributes is required.")
        for name, value in wanted.items():
            problem = _unfit(name, value)
            if problem:
                raise Refusal(400, "PropertyValueError", f"{name}: {problem}")
        times = as_object(body.get("@Redfish.SettingsApplyTime")) or {}
        if self.board.faults.bios_needs_apply_time and times.get("ApplyTime") != "OnReset":
            return Answer(200, {})  # kept as pending for ever, dell/iDRAC-Redfish-Scripting#84
        self.board.order_bios(wanted)
        return Answer(202, {})

    def _reset_bios(self, _body: Doc) -> Answer:
        self.board.order_bios(BIOS_DEFAULTS.copy())
        return Answer(200, {})

    def _reset_keys(self, body: Doc) -> Answer:
        kinds = {"ResetAllKeysToDefault": "Default", "DeleteAllKeys": "none"}
        kind = body.get("ResetKeysType")
        if kind not in kinds:
            raise Refusal(400, "ActionParameterValueNotInList", f"No ResetKeysType {kind!r}.")
        self.board.keys = kinds[str(kind)]
        return Answer(204)

    def _make_volume(self, body: Doc) -> Answer:
        level = str(body.get("RAIDType"))
        if level not in LEVELS:
            raise Refusal(400, "PropertyValueNotInList", f"No RAIDType {level}.")
        links = as_object(body.get("Links")) or {}
        given = cast("list[Doc]", links.get("Drives") or [])
        drives = tuple(str(one.get("@odata.id")).rpartition("/")[2] for one in given)
        known = {drive.name for drive in self.board.raid_drives()}
        if len(drives) < LEVELS[level] or not set(drives) <= known:
            raise Refusal(400, "PropertyValueError", f"{level} cannot be made of {drives}.")
        if any(self.board.volumes_of(drive) for drive in drives):
            raise Refusal(400, "ResourceInUse", "A drive is in use by another volume.")
        if any(t.state in ("Running", "Pending") for t in self.board.tasks.values()):
            raise Refusal(400, "ResourceInUse", "The controller has a job already.")
        size = body.get("CapacityBytes")
        name = str(body.get("Name") or "")
        return self._order(
            "create a volume",
            lambda: self.board.new_volume(
                level, size if isinstance(size, int) else None, drives, name
            ),
        )

    def _update(self, body: Doc) -> Answer:
        url = str(body.get("ImageURI") or "")
        if not url.startswith(("http://", "https://")):
            raise Refusal(400, "ActionParameterMissing", "ImageURI is required.")
        # "…/bios-2.15.0.bin": the package says what it is for.
        name, _, version = url.rpartition("/")[2].rpartition(".")[0].partition("-")
        if name not in self.board.firmware:
            raise Refusal(400, "ActionParameterValueError", f"No package for this system: {name}.")

        def install() -> None:
            self.board.firmware[name] = version

        early = bool(self.board.faults.firmware_done_before_start)
        if name == "bios" and early:
            self.board.begin("install at the next start", install, 0, True)
            return _accepted(self.board.begin("stage bios", _nothing, FIRMWARE_SECONDS, False))
        return _accepted(
            self.board.begin(f"update {name}", install, FIRMWARE_SECONDS, name == "bios")
        )

    def _subscribe(self, body: Doc) -> Answer:
        if not str(body.get("Destination") or "").startswith(("http://", "https://")):
            raise Refusal(400, "PropertyValueFormatError", "Destination must be a URL.")
        ident = str(max(map(int, self.board.subscriptions), default=0) + 1)
        path = f"{SUBSCRIPTIONS}/{ident}"
        made = _doc(path, "EventDestination.v1_14_1.EventDestination", ident, **body)
        self.board.subscriptions[ident] = made
        return Answer(201, made, {"Location": path})

    def _test_event(self, body: Doc) -> Answer:
        self.board.emit(body)
        return Answer(204)


def _nothing() -> None: ...


def _accepted(task: Task) -> Answer:
    path = f"{TASKS}/{task.ident}"
    body = _doc(path, "Task.v1_7_4.Task", task.ident, TaskState="New", TaskStatus="OK")
    return Answer(202, body, {"Location": path})


def _attribute(name: str, value: object) -> Doc:
    entry: Doc = {"AttributeName": name, "DisplayName": name, "ReadOnly": False}
    entry["ResetRequired"] = True
    if name == "SystemServiceTag":
        return {**entry, "Type": "String", "ReadOnly": True}
    if name == "BootMode":
        values = [{"ValueName": v, "ValueDisplayName": v} for v in ("Bios", "Uefi")]
        return {**entry, "Type": "Enumeration", "Value": values}
    match value:
        case bool():
            return {**entry, "Type": "Boolean"}
        case int():
            return {**entry, "Type": "Integer", "LowerBound": 100, "UpperBound": 1200}
        case "Enabled" | "Disabled":
            values = [{"ValueName": v, "ValueDisplayName": v} for v in ("Enabled", "Disabled")]
            return {**entry, "Type": "Enumeration", "Value": values}
        case _:
            return {**entry, "Type": "String", "MinLength": 0, "MaxLength": 63}


def _unfit(name: str, value: object) -> str:
    """Why the firmware would not take it, "" when it would."""
    if name not in BIOS_DEFAULTS:
        return "no such attribute"
    entry = _attribute(name, BIOS_DEFAULTS[name])
    if entry["ReadOnly"]:
        return "is read-only"
    kind = {"Boolean": bool, "Integer": int}.get(entry["Type"], str)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return f"must be of type {entry['Type']}"
    values = [one["ValueName"] for one in entry.get("Value", [])]
    return "is not in the list" if values and value not in values else ""
