"""Firmware over Redfish: what runs, and updates by UpdateService.SimpleUpdate.

The controller fetches the image itself. One component after the other: the next order is given when the
task of the one before has ended. Components that take force with a start get one; a controller that
updates itself is away for minutes, which is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ingot.drivers.faults import (
    BadCredentials,
    Busy,
    DriverFault,
    Refused,
    Unreachable,
    Unsupported,
)
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.client import Reply
from ingot.drivers.machine.redfish.parts import ResourceReader
from ingot.drivers.machine.redfish.system import Systems, links
from ingot.drivers.machine.redfish.tasks import task_path, unfinished
from ingot.drivers.machine.types import Access, FirmwareComponent, StepInfo, StepOutcome
from ingot.drivers.shape import Json, as_list, child, is_map, items, link, strings, text

UPDATE = "#UpdateService.SimpleUpdate"
COMPONENTS = ("bmc", "bios")
NIC = "nic:"
POLL = 20.0
#: Entries of the firmware inventory that are looked through.
MOST_ENTRIES = 1024
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
        parts = ResourceReader(self._systems)
        if version := text(system, "BiosVersion"):
            found.append(FirmwareComponent("bios", version))
        for manager in await parts.linked(access, system, "ManagedBy"):
            if version := text(manager, "FirmwareVersion"):
                model = text(manager, "Model") or None
                found.append(FirmwareComponent("bmc", version, model=model))
                break
        found += [card.component for card in await _cards(parts, access, system)]
        if not found:
            parts.some()
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
        """Services differ in what they accept besides the URL. What it is meant for is never left out."""
        client = self._systems.client
        protocol = urlsplit(str(body["ImageURI"])).scheme.upper()
        tries = [body, {**body, "TransferProtocol": protocol}]
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
        """For network cards: the inventory's entry, so that only that card is updated.

        Refused where the service knows no such card, or does not tell which entry is its own: an
        order without a target may put the image into whatever else takes it.
        """
        if not component.startswith(NIC):
            return []
        _, system, _ = await self._systems.read(access)
        cards = await _cards(ResourceReader(self._systems), access, system)
        wanted = component.removeprefix(NIC)
        card = next((one for one in cards if one.is_called(wanted)), None)
        collection = link(service, "FirmwareInventory")
        paths = await self._systems.members(access, collection, MOST_ENTRIES) if collection else []
        if card is None:
            by_id = [path for path in paths if wanted and path.rsplit("/", 1)[-1] == wanted]
            if by_id:
                return by_id
            known = [one.component.component for one in cards]
            raise Refused(
                f"there is no component {component}; the service tells "
                f"{', '.join(known) or 'no network cards'}",
                next_action="See GET …/firmware. Some services tell cards only while the machine is on.",
            )
        alike = sum(one.component.model == card.component.model for one in cards)
        return [await self._entry_of(access, card, paths, alike == 1)]

    async def _entry_of(
        self, access: Access, card: _Card, paths: Sequence[str], only_one: bool
    ) -> str:
        """Path of the card's entry in the inventory. only_one: no other card is of its model."""
        by_name = [path for path in paths if card.is_named_in(path)]
        by_model: list[str] = []
        locked = False
        for path in by_name or paths:
            body = await self._systems.maybe(access, path)
            if body is None:
                continue
            same_model = bool(card.component.model) and text(body, "Name") == card.component.model
            if not (by_name or same_model or card.is_related(links(body, "RelatedItem"))):
                continue
            if body.get("Updateable") is False:
                locked = True
            elif same_model and not card.is_related(links(body, "RelatedItem")):
                by_model.append(path)
            else:
                return path
        if len(by_model) == 1 and only_one:
            return by_model[0]
        why = (
            "says that it cannot be updated" if locked else "has no entry of the firmware inventory"
        )
        raise Refused(
            f"the service {why} for {card.component.component}"
            + (" that is surely its own" if by_model else ""),
            next_action="Update this card by the vendor's own tool.",
        )

    async def _version(self, access: Access, component: str) -> str:
        for found in await self.components(access):
            if found.component == component:
                return found.current_version or ""
        return ""


async def _cards(parts: ResourceReader, access: Access, system: Json) -> list[_Card]:
    """Network cards with a version, those that the service tells (now).

    HPE answers 400 until the operating system has started.
    """
    found: list[_Card] = []
    for chassis in await parts.linked(access, system, "Chassis"):
        if collection := link(chassis, "NetworkAdapters"):
            for path in await parts.members(access, collection):
                found += _cards_of(path, await parts.maybe(access, path) or {})
    return found


@dataclass(frozen=True)
class _Card:
    """A network card: its path, its id there, the paths of its PCIe devices."""

    path: str
    id: str
    devices: tuple[str, ...]
    component: FirmwareComponent

    def is_called(self, name: str) -> bool:
        return name in (self.component.component.removeprefix(NIC), self.id)

    def is_named_in(self, path: str) -> bool:
        """Dell: Installed-108089-21.80__NIC.Integrated.1-1-1, beside Previous-…, which is no card's now."""
        name = path.rsplit("/", 1)[-1]
        return not name.startswith("Previous") and f"__{self.id}-" in f"{name}-"

    def is_related(self, paths: Sequence[str]) -> bool:
        return any(
            path == place or path.startswith(f"{place}/")
            for place in (self.path, *self.devices)
            for path in paths
        )


def _cards_of(path: str, body: Json) -> Sequence[_Card]:
    for controller in items(body, "Controllers"):
        version = text(controller, "FirmwarePackageVersion")
        if version:
            serial, ident = text(body, "SerialNumber"), text(body, "Id") or path.rsplit("/", 1)[-1]
            vendor, model = text(body, "Manufacturer") or None, text(body, "Model") or None
            name = f"{NIC}{serial or ident}"
            return [
                _Card(
                    path,
                    ident,
                    tuple(links(child(controller, "Links"), "PCIeDevices")),
                    FirmwareComponent(name, version, vendor, model, serial or None),
                )
            ]
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
