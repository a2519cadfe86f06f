"""BIOS settings over Redfish: read with their registry, written to the settings resource, reset.

A change is only ordered; it takes force when the machine starts. After the start the settings are read
until they show it, since services go on to tell the old ones for a while.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ingot.drivers.faults import DriverFault, Refused, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.system import Systems
from ingot.drivers.machine.types import DONE, Access, BiosSetting, StepInfo, StepOutcome
from ingot.drivers.shape import Json, as_list, child, is_map, items, link, text

SETTINGS = "@Redfish.Settings"
APPLY_TIME = "@Redfish.SettingsApplyTime"
#: A POST may take many minutes before the new values show.
LOOKS, POLL = 60, 20.0
#: More than any machine has.
MOST_SETTINGS = 4096
#: Files of registries that are looked at.
MOST_REGISTRIES = 64
_VERSION = re.compile(r"([._]v?\d+([._]\d+)*|\d+(\.\d+)+)\Z")
ARGS: dict[str, object] = {
    "settings": {
        "description": "A list of BIOS settings, each an object with name and value.",
        "required": True,
    }
}


class RedfishBios:
    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))

    def steps(self) -> tuple[StepInfo, ...]:
        return (
            StepInfo("bios", "apply_configuration", argsinfo=ARGS),
            StepInfo("bios", "factory_reset"),
        )

    async def settings(self, access: Access) -> tuple[BiosSetting, ...]:
        """All settings (of a hostile service the first 4096); no registry's part where the service offers none."""
        _, bios = await self._bios(access)
        try:
            known = await self._registry(access, bios)
        except DriverFault:
            known = {}
        attributes = child(bios, "Attributes")
        return tuple(
            _setting(name, attributes[name], known.get(name))
            for name in sorted(attributes)[:MOST_SETTINGS]
        )

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> StepOutcome:
        if step == "factory_reset":
            return await self._reset(access)
        if step != "apply_configuration":
            raise Unsupported(f"there is no bios step {step}")
        path, bios = await self._bios(access)
        wanted = await self._checked(access, bios, args)
        # What is ordered already counts too: an older order that says otherwise must be overwritten
        # (bmc-toolbox/bmclib#468).
        pending = await self._pending(access, bios)
        now = child(bios, "Attributes")
        if _lacking(wanted, {**now, **pending}):
            await self._write(access, path, bios, wanted)
        elif not _lacking(wanted, now):
            return DONE
        names = ", ".join(sorted(wanted))
        return StepOutcome(False, {"looks": 0}, restart=True, wait=POLL, note=f"set: {names}")

    async def resume(
        self, access: Access, step: str, args: Mapping[str, object], memo: Mapping[str, object]
    ) -> StepOutcome:
        if step == "factory_reset":
            return DONE
        _, bios = await self._bios(access)
        wanted = await self._checked(access, bios, args)
        lacking = _lacking(wanted, child(bios, "Attributes"))
        if not lacking:
            return DONE
        looks = int(str(memo.get("looks") or 0)) + 1
        if looks > LOOKS:
            raise Refused(
                f"the BIOS settings {', '.join(lacking)} were accepted, but did not change",
                next_action="Look at the machine's console and at the controller's log.",
            )
        return StepOutcome(False, {"looks": looks}, wait=POLL, note="waiting for the settings")

    async def _reset(self, access: Access) -> StepOutcome:
        _, bios = await self._bios(access)
        action = text(child(bios, "Actions", "#Bios.ResetBios"), "target")
        if not action:
            raise Unsupported("the service offers no reset of the BIOS settings")
        try:
            await self._systems.client.post(access, action, {})
        except Refused:
            # Some services want the name in the body (HPE) or none at all.
            await self._systems.client.post(access, action, {"ResetType": "default"})
        return StepOutcome(False, {}, restart=True, wait=POLL, note="BIOS settings are reset")

    async def _pending(self, access: Access, bios: Json) -> Json:
        """Attributes that are ordered and differ from those in force."""
        target = text(child(bios, SETTINGS, "SettingsObject"), "@odata.id")
        if not target:
            return {}
        ordered = child((await self._systems.client.get(access, target)).body, "Attributes")
        now = child(bios, "Attributes")
        return {name: value for name, value in ordered.items() if now.get(name) != value}

    async def _write(self, access: Access, path: str, bios: Json, wanted: Json) -> None:
        client = self._systems.client
        target = text(child(bios, SETTINGS, "SettingsObject"), "@odata.id") or path
        reply = await client.get(access, target)
        etag = reply.headers.get("etag", "") or text(reply.body, "@odata.etag")
        body: Json = {"Attributes": wanted}
        if "OnReset" in as_list(child(bios, SETTINGS).get("SupportedApplyTimes")):
            body[APPLY_TIME] = {"ApplyTime": "OnReset"}
        await client.patch(access, target, body, etag)

    async def _checked(self, access: Access, bios: Json, args: Mapping[str, object]) -> Json:
        """Settings with the types that the service wants. Refused with all that is wrong."""
        given = [entry for entry in as_list(args.get("settings")) if is_map(entry)]
        if not given or any(not text(entry, "name") or "value" not in entry for entry in given):
            raise Refused("settings must be a list of objects with name and value")
        known = await self._registry(access, bios)
        now = child(bios, "Attributes")
        wrong: list[str] = []
        wanted: Json = {}
        for entry in given:
            name = text(entry, "name")
            if name not in now:
                wrong.append(f"there is no setting {name}")
                continue
            try:
                wanted[name] = _typed(entry["value"], now[name], known.get(name))
            except ValueError as problem:
                wrong.append(f"{name} {problem}")
        if wrong:
            raise Refused("; ".join(wrong), next_action="See GET …/bios for what is allowed.")
        return wanted

    async def _bios(self, access: Access) -> tuple[str, Json]:
        _, system, _ = await self._systems.read(access)
        path = link(system, "Bios")
        if not path:
            raise Unsupported("the service tells no BIOS settings")
        return path, (await self._systems.client.get(access, path)).body

    async def _registry(self, access: Access, bios: Json) -> dict[str, Json]:
        """Attribute name -> its entry in the attribute registry; {} where there is none."""
        wanted = text(bios, "AttributeRegistry")
        body = await self._registry_body(access, wanted) if wanted else {}
        entries = items(child(body, "RegistryEntries"), "Attributes")
        return {text(entry, "AttributeName"): entry for entry in entries}

    async def _registry_body(self, access: Access, wanted: str) -> Json:
        """Services call the same registry by several names: BiosAttributeRegistry.v1_0_3 in the settings,
        ….v1_0_0 in its path, BiosAttributeRegistry1.0 in its file. Without its version it is one name.
        """
        systems = self._systems
        root = (await systems.client.get(access, systems.root(access))).body
        if not (collection := link(root, "Registries")):
            return {}
        try:
            paths = await systems.members(access, collection, MOST_REGISTRIES)
        except (Unsupported, Refused):
            return {}
        # Paths that bear the name first; a service may number them.
        named = [path for path in paths if _same_registry(path.rsplit("/", 1)[-1], wanted)]
        files = [await systems.maybe(access, path) or {} for path in named or paths]
        fitting = [
            file
            for file in files
            if _same_registry(text(file, "Registry") or text(file, "Id"), wanted)
        ]
        fitting.sort(key=lambda file: not _is_version(file, wanted))
        for file in fitting:
            for uri in _in_english(file):
                if (body := await systems.maybe(access, uri)) is not None:
                    return body
        return {}


def _in_english(file: Json) -> list[str]:
    return [
        text(place, "Uri")
        for place in items(file, "Location")
        if text(place, "Language").lower() in ("", "en", "en-us")
    ]


def _same_registry(one: str, other: str) -> bool:
    """Whether two names are of one registry, whatever the version."""
    return bool(one) and _VERSION.sub("", one) == _VERSION.sub("", other)


def _is_version(file: Json, wanted: str) -> bool:
    """Whether it is of just the version that is wanted."""
    names = (text(file, "Registry"), text(file, "Id"))
    return _numbers(wanted) in [_numbers(name) for name in names]


def _numbers(name: str) -> list[str]:
    found = _VERSION.search(name)
    return re.findall(r"\d+", found.group()) if found else []


def _setting(name: str, value: object, entry: Json | None) -> BiosSetting:
    shown = None if value is None else str(value)
    if entry is None:
        return BiosSetting(name, shown)
    values = [text(v, "ValueName") or text(v, "ValueDisplayName") for v in items(entry, "Value")]
    return BiosSetting(
        name,
        shown,
        attribute_type=text(entry, "Type") or None,
        allowable_values=tuple(v for v in values if v) or None,
        lower_bound=_number(entry.get("LowerBound")),
        upper_bound=_number(entry.get("UpperBound")),
        min_length=_number(entry.get("MinLength")),
        max_length=_number(entry.get("MaxLength")),
        read_only=_flag(entry.get("ReadOnly")),
        reset_required=_flag(entry.get("ResetRequired")),
        unique=_flag(entry.get("IsSystemUniqueProperty")),
    )


def _typed(value: object, now: object, entry: Json | None) -> object:
    """`value` as the attribute wants it. ValueError says what does not fit."""
    known = _setting("", None, entry)
    if known.read_only:
        raise ValueError("cannot be changed")
    kind = known.attribute_type
    if kind == "Integer" or (kind is None and isinstance(now, int) and not isinstance(now, bool)):
        return _whole(value, known)
    if kind == "Boolean" or (kind is None and isinstance(now, bool)):
        if str(value).lower() not in ("true", "false"):
            raise ValueError("is true or false")
        return str(value).lower() == "true"
    shown = str(value)
    if known.allowable_values and shown not in known.allowable_values:
        raise ValueError(f"is one of {', '.join(known.allowable_values)}")
    if known.min_length is not None and len(shown) < known.min_length:
        raise ValueError(f"has at least {known.min_length} characters")
    if known.max_length is not None and len(shown) > known.max_length:
        raise ValueError(f"has at most {known.max_length} characters")
    return shown


def _whole(value: object, known: BiosSetting) -> int:
    try:
        number = int(str(value))
    except ValueError:
        raise ValueError("is a whole number") from None
    if known.lower_bound is not None and number < known.lower_bound:
        raise ValueError(f"is at least {known.lower_bound}")
    if known.upper_bound is not None and number > known.upper_bound:
        raise ValueError(f"is at most {known.upper_bound}")
    return number


def _lacking(wanted: Json, now: Json) -> list[str]:
    return sorted(name for name, value in wanted.items() if str(now.get(name)) != str(value))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
