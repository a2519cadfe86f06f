"""Firmware over Redfish: what runs, and updates by UpdateService.SimpleUpdate.

The controller fetches the image itself. One component after the other: the next order is given when the
task of the one before has ended. Components that take force with a start get one; a controller that
updates itself is away for minutes, which is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from ingot.drivers.context import DriverContext
from ingot.drivers.faults import (
    BadCredentials,
    Busy,
    DriverFault,
    Refused,
    Unreachable,
    Unsupported,
)
from ingot.drivers.redfish.client import Reply
from ingot.drivers.redfish.system import Systems
from ingot.drivers.redfish.tasks import task_path, unfinished
from ingot.drivers.shape import Json, as_list, child, is_map, items, link, strings, text
from ingot.drivers.types import Access, FirmwareComponent, StepInfo, StepOutcome

UPDATE = "#UpdateService.SimpleUpdate"
COMPONENTS = ("bmc", "bios")
NIC = "nic:"
POLL = 20.0
#: A controller that restarts may be away for so many looks.
AWAY = 60
ARGS: dict[str, object] = {
    "settings": {
        "description": "A list of updates, each an object with component (bios, bmc, nic:<id>), url "
        "and optionally wait, the seconds to wait after it.",
        "required": True,
    }
}


class RedfishFirmware:
    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))

    def steps(self) -> tuple[StepInfo, ...]:
        return (StepInfo("firmware", "update", argsinfo=ARGS),)

    async def components(self, access: Access) -> tuple[FirmwareComponent, ...]:
        """BIOS, controller and network cards. Unsupported when the service tells none."""
        _, system, _ = await self._systems.read(access)
        found: list[FirmwareComponent] = []
        if version := text(system, "BiosVersion"):
            found.append(FirmwareComponent("bios", version))
        for manager in await self._systems.linked(access, system, "ManagedBy"):
            if version := text(manager, "FirmwareVersion"):
                model = text(manager, "Model") or None
                found.append(FirmwareComponent("bmc", version, model=model))
                break
        found += await self._nics(access, system)
        if not found:
            raise Unsupported("the service tells no firmware versions")
        return tuple(found)

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> StepOutcome:
        if step != "update":
            raise Unsupported(f"there is no firmware step {step}")
        _updates(args)
        return await self._order(access, args, 0)

    async def resume(
        self, access: Access, step: str, args: Mapping[str, object], memo: Mapping[str, object]
    ) -> StepOutcome:
        number = int(str(memo.get("number") or 0))
        update = _updates(args)[number]
        away = int(str(memo.get("away") or 0))
        try:
            left = await unfinished(self._systems.client, access, strings(memo, "tasks"))
            if left.paths:
                restart = left.waits and not memo.get("restarted")
                more = {**memo, "tasks": list(left.paths), "away": 0}
                if restart:
                    more["restarted"] = True
                return StepOutcome(False, more, restart, POLL, left.note)
            version = await self._version(access, text(update, "component"))
        except (Unreachable, Busy, BadCredentials) as fault:
            # A controller with new firmware starts anew, and may refuse everybody meanwhile.
            if away >= AWAY:
                raise
            memo = {**memo, "away": away + 1}
            return StepOutcome(False, memo, wait=POLL, note=f"the controller is away: {fault.text}")
        return await self._settle(access, args, {**memo, "away": 0, "tasks": []}, version)

    async def _settle(
        self, access: Access, args: Mapping[str, object], memo: Mapping[str, object], version: str
    ) -> StepOutcome:
        """The task has ended: start the machine where that is needed, wait as asked, go on."""
        number = int(str(memo.get("number") or 0))
        update = _updates(args)[number]
        component = text(update, "component")
        if component != "bmc" and not memo.get("restarted") and version == memo.get("before"):
            note = f"{component} takes force at the next start"
            return StepOutcome(False, {**memo, "restarted": True}, True, POLL, note)
        pause = update.get("wait")
        if isinstance(pause, int | float) and pause > 0 and not memo.get("waited"):
            more = {**memo, "waited": True}
            return StepOutcome(False, more, wait=float(pause), note=f"waiting {pause} s as asked")
        if number + 1 < len(_updates(args)):
            return await self._order(access, args, number + 1)
        return StepOutcome(note=f"{component} is {version or 'updated'}")

    async def _order(self, access: Access, args: Mapping[str, object], number: int) -> StepOutcome:
        update = _updates(args)[number]
        component = text(update, "component")
        before = await self._version(access, component)
        service = await self._service(access)
        action = child(service, "Actions", UPDATE)
        target = text(action, "target")
        if not target:
            raise Unsupported("the service offers no SimpleUpdate")
        body: Json = {"ImageURI": text(update, "url")}
        targets = await self._targets(access, service, component)
        if targets:
            body["Targets"] = targets
        reply = await self._simple_update(access, target, body)
        task = task_path(reply)
        memo: Json = {"number": number, "tasks": [task] if task else [], "before": before}
        note = f"{component} {before or '?'} is being updated from {_shown(text(update, 'url'))}"
        return StepOutcome(False, memo, wait=POLL, note=note)

    async def _simple_update(self, access: Access, target: str, body: Json) -> Reply:
        """Services differ in what they accept besides the URL."""
        client = self._systems.client
        protocol = urlsplit(str(body["ImageURI"])).scheme.upper()
        tries = [body, {**body, "TransferProtocol": protocol}]
        tries.append({"ImageURI": body["ImageURI"]})
        last: DriverFault | None = None
        for attempt in tries:
            try:
                return await client.post(access, target, attempt)
            except Refused as fault:
                last = last or fault
        assert last is not None
        raise last

    async def _service(self, access: Access) -> Json:
        client = self._systems.client
        root = (await client.get(access, self._systems.root(access))).body
        path = link(root, "UpdateService")
        if not path:
            raise Unsupported("the service has no UpdateService")
        return (await client.get(access, path)).body

    async def _targets(self, access: Access, service: Json, component: str) -> list[str]:
        """For network cards: the inventory's entry, so that only that card is updated."""
        if not component.startswith(NIC):
            return []
        wanted = component.removeprefix(NIC)
        for path in await self._systems.members(access, link(service, "FirmwareInventory")):
            body = (await self._systems.client.get(access, path)).body
            related = [text(item, "@odata.id") for item in items(body, "RelatedItem")]
            if wanted in (text(body, "Id"), text(body, "Name")) or any(
                wanted in place.split("/") for place in related
            ):
                return [path]
        return []

    async def _version(self, access: Access, component: str) -> str:
        for found in await self.components(access):
            if found.component == component:
                return found.current_version or ""
        return ""

    async def _nics(self, access: Access, system: Json) -> list[FirmwareComponent]:
        """Network cards with a version; () where the service does not tell them (now)."""
        try:
            return [
                nic
                for chassis in await self._systems.linked(access, system, "Chassis")
                if link(chassis, "NetworkAdapters")
                for body in await self._systems.each(access, link(chassis, "NetworkAdapters"))
                for nic in _nic(body)
            ]
        except (Refused, Unsupported, Busy):
            # HPE answers 400 until the operating system has started.
            return []


def _nic(body: Json) -> Sequence[FirmwareComponent]:
    for controller in items(body, "Controllers"):
        version = text(controller, "FirmwarePackageVersion")
        if version:
            serial = text(body, "SerialNumber")
            ident = serial or text(body, "Id")
            vendor, model = text(body, "Manufacturer") or None, text(body, "Model") or None
            return [FirmwareComponent(f"{NIC}{ident}", version, vendor, model, serial or None)]
    return []


def _updates(args: Mapping[str, object]) -> list[Json]:
    """The checked list of updates; Refused says what is wrong."""
    given = [entry for entry in as_list(args.get("settings")) if is_map(entry)]
    if not given or len(given) != len(as_list(args.get("settings"))):
        raise Refused("settings must be a list of objects with component and url")
    for entry in given:
        component, url = text(entry, "component"), text(entry, "url")
        if component not in COMPONENTS and not component.startswith(NIC):
            raise Refused(f"component {component or '(missing)'} is none of bmc, bios, nic:<id>")
        if urlsplit(url).scheme not in ("http", "https"):
            raise Refused(f"the url of {component} must be an http or https URL")
        wait = entry.get("wait", 0)
        if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= 7200:
            raise Refused(f"wait of {component} is a number of seconds up to 7200")
    return given


def _shown(url: str) -> str:
    """The URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"
