"""The rarer things of management: secure boot, NMI, lights, virtual drives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingot.drivers.faults import DriverFault, Refused, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.media import KINDS, RedfishMedia
from ingot.drivers.machine.redfish.system import Systems, links
from ingot.drivers.machine.types import (
    DONE,
    Access,
    Component,
    Indicator,
    IndicatorState,
    MediaDevice,
    MediaSlot,
    StepInfo,
    StepOutcome,
)
from ingot.drivers.shape import Json, child, link, strings, text

RESET = "#ComputerSystem.Reset"
RESET_KEYS = "#SecureBoot.ResetKeys"
KEYS = {
    "reset_secure_boot_keys_to_default": "ResetAllKeysToDefault",
    "clear_secure_boot_keys": "DeleteAllKeys",
}
LIGHTS = {
    "Off": IndicatorState.OFF,
    "Lit": IndicatorState.ON,
    "Blinking": IndicatorState.BLINKING,
}
WORDS = {state: word for word, state in LIGHTS.items()}
STATES = tuple(LIGHTS.values())
#: Pauses in seconds until what was set must show; some services are late.
READ_BACK = (0.5, 1.0, 2.0, 0.0)


class RedfishExtras:
    """Mixed into `RedfishManagement`."""

    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))
        self._media = RedfishMedia(context)
        self._wait = context.clock

    # -- steps -------------------------------------------------------------------------------

    def steps(self) -> tuple[StepInfo, ...]:
        return tuple(StepInfo("management", name, kinds=("clean", "deploy")) for name in KEYS)

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> StepOutcome:
        if step not in KEYS:
            raise Unsupported(f"there is no management step {step}")
        _, body = await self._secure_boot(access)
        target = text(child(body, "Actions", RESET_KEYS), "target")
        if not target:
            raise Unsupported("the service cannot change the keys of secure boot")
        order: Json = {"ResetKeysType": KEYS[step]}
        await self._systems.client.post(access, target, order)
        return DONE

    async def resume(
        self, access: Access, step: str, args: Mapping[str, object], memo: Mapping[str, object]
    ) -> StepOutcome:
        return DONE

    # -- secure boot and NMI -----------------------------------------------------------------

    async def get_secure_boot(self, access: Access) -> bool | None:
        try:
            _, body = await self._secure_boot(access)
        except Unsupported:
            return None
        enabled = body.get("SecureBootEnable")
        return enabled if isinstance(enabled, bool) else None

    async def set_secure_boot(self, access: Access, on: bool) -> None:
        path, body = await self._secure_boot(access)
        if body.get("SecureBootEnable") is on:
            return
        etag = text(body, "@odata.etag")
        await self._systems.client.patch(access, path, {"SecureBootEnable": on}, etag)
        if not await self._is_secure_boot(access, path, on):
            raise Refused(
                f"secure boot {'on' if on else 'off'} was accepted, but the service does not show it",
                next_action="Look at the controller's log, or set it in the firmware's menu.",
            )

    async def _is_secure_boot(self, access: Access, path: str, on: bool) -> bool:
        """Whether it is so now, or ordered for the next start; some services show it late."""
        client = self._systems.client
        for pause in READ_BACK:
            body = (await client.get(access, path)).body
            pending = text(child(body, "@Redfish.Settings", "SettingsObject"), "@odata.id")
            ordered = await self._systems.maybe(access, pending) or {}
            if on in (body.get("SecureBootEnable"), ordered.get("SecureBootEnable")):
                return True
            await self._wait.sleep(pause)
        return False

    async def _secure_boot(self, access: Access) -> tuple[str, Json]:
        _, system, _ = await self._systems.read(access)
        path = link(system, "SecureBoot")
        if not path:
            raise Unsupported("the service tells nothing of secure boot")
        return path, (await self._systems.client.get(access, path)).body

    async def inject_nmi(self, access: Access) -> None:
        path, system, _ = await self._systems.read(access)
        action = child(system, "Actions", RESET)
        allowed = strings(action, "ResetType@Redfish.AllowableValues")
        if allowed and "Nmi" not in allowed:
            raise Unsupported("the service cannot inject an NMI")
        target = text(action, "target") or f"{path}/Actions/ComputerSystem.Reset"
        await self._systems.client.post(access, target, {"ResetType": "Nmi"})

    # -- lights ------------------------------------------------------------------------------

    async def indicators(self, access: Access) -> Mapping[Component, Sequence[Indicator]]:
        found: dict[Component, list[Indicator]] = {}
        for component, name, _, _ in await self._lights(access):
            found.setdefault(component, []).append(Indicator(name, False, STATES))
        return found

    async def get_indicator(
        self, access: Access, component: Component, name: str
    ) -> IndicatorState:
        _, body = await self._light(access, component, name)
        if isinstance(body.get("LocationIndicatorActive"), bool) and "IndicatorLED" not in body:
            return IndicatorState.ON if body["LocationIndicatorActive"] else IndicatorState.OFF
        return LIGHTS.get(text(body, "IndicatorLED"), IndicatorState.UNKNOWN)

    async def set_indicator(
        self, access: Access, component: Component, name: str, state: IndicatorState
    ) -> None:
        path, body = await self._light(access, component, name)
        if "IndicatorLED" in body and state in WORDS:
            change: Json = {"IndicatorLED": WORDS[state]}
        elif state is IndicatorState.BLINKING or state not in WORDS:
            raise Unsupported(f"this light cannot be {state.value}")
        else:
            change = {"LocationIndicatorActive": state is IndicatorState.ON}
        await self._systems.client.patch(access, path, change, text(body, "@odata.etag"))
        for pause in READ_BACK:
            shown = (await self._systems.client.get(access, path)).body
            if all(shown.get(key) == value for key, value in change.items()):
                return
            await self._wait.sleep(pause)
        raise Refused(
            f"the light {name} was to be {state.value}, but the service shows another state"
        )

    async def _light(self, access: Access, component: Component, name: str) -> tuple[str, Json]:
        for kind, ident, path, body in await self._lights(access):
            if (kind, ident) == (component, name):
                return path, body
        raise Refused(f"there is no indicator {name} of {component.value}")

    async def _lights(self, access: Access) -> list[tuple[Component, str, str, Json]]:
        """Component, name, path and body of all that has a light: system, chassis, drives."""
        path, system, _ = await self._systems.read(access)
        found = [(Component.SYSTEM, path, system)]
        for place in links(child(system, "Links"), "Chassis"):
            if (body := await self._systems.maybe(access, place)) is not None:
                found.append((Component.CHASSIS, place, body))
        found += [
            (Component.DISK, place, body) for place, body in await self._disks(access, system)
        ]
        return [
            (component, text(body, "UUID") or text(body, "Id"), place, body)
            for component, place, body in found
            if "IndicatorLED" in body or "LocationIndicatorActive" in body
        ]

    async def _disks(self, access: Access, system: Json) -> list[tuple[str, Json]]:
        collection = link(system, "Storage")
        if not collection:
            return []
        try:
            storages = await self._systems.each(access, collection)
            paths = [path for body in storages for path in links(body, "Drives")]
            told = [(path, await self._systems.maybe(access, path)) for path in paths]
            return [(path, body) for path, body in told if body is not None]
        except DriverFault:
            return []

    # -- virtual drives ----------------------------------------------------------------------

    async def media(self, access: Access) -> tuple[MediaSlot, ...]:
        return tuple(_slot(drive) for drive in await self._media.drives(access))

    async def attach_media(self, access: Access, device: MediaDevice, image_url: str) -> None:
        await self._media.insert(access, image_url, device.value)

    async def detach_media(self, access: Access, devices: Sequence[MediaDevice] = ()) -> None:
        await self._media.eject(access, [device.value for device in devices] or list(KINDS))


def _slot(drive: Json) -> MediaSlot:
    kinds = strings(drive, "MediaTypes")
    device = next((name for name, known in KINDS.items() if set(known) & set(kinds)), "")
    protected = drive.get("WriteProtected")
    return MediaSlot(
        device=device or text(drive, "Id"),
        inserted=drive.get("Inserted") is True,
        image=text(drive, "Image"),
        media_types=tuple(kinds),
        write_protected=protected if isinstance(protected, bool) else None,
        transfer=text(drive, "TransferProtocolType"),
    )
