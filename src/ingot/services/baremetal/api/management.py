"""What the management interface can be asked: boot device, modes, lights, NMI, virtual media.

What the client waits for is asked of the driver here, changes with the machine held (`baremetal.acts`); the rest
becomes an operation (`baremetal.calls`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import asdict
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.drivers.machine import base
from ingot.drivers.machine.types import (
    Access,
    BootDevice,
    Component,
    Indicator,
    IndicatorState,
    MediaDevice,
)
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Invalid, Missing
from ingot.services.baremetal import links
from ingot.services.baremetal.api.common import Handlers, accepted, by, optional_body
from ingot.services.baremetal.api.rows import late
from ingot.services.baremetal.nodes import acts, firmware_modes, schemas, virtual_media
from ingot.services.baremetal.nodes.derived import boot_mode
from ingot.services.baremetal.types import Node

NMI_SINCE = 29
MODES_SINCE = 76
MEDIA_SINCE = 89
MEDIA_GET_SINCE = 93
_DOWNLOADS = ("http", "local")


class ModeBody(msgspec.Struct, forbid_unknown_fields=True):
    target: str


class SecureBody(msgspec.Struct, forbid_unknown_fields=True):
    target: bool | str | int | None


class StateBody(msgspec.Struct, forbid_unknown_fields=True):
    state: str


class MediaBody(msgspec.Struct, forbid_unknown_fields=True):
    device_type: str
    image_url: str
    image_download_source: str | None = None


class MediaQuery(msgspec.Struct, forbid_unknown_fields=True):
    device_types: list[str] | None = None


class Management(Handlers):
    """Handlers of …/management, …/states/boot_mode, …/states/secure_boot and …/vmedia."""

    async def _reach(self, call: Call, rule: str) -> tuple[base.Management, Access]:
        """The node's management interface, to be asked something."""

        def query(conn: sa.Connection) -> tuple[base.Management, Access]:
            _, hand, access = self._management(conn, call, rule)
            return hand, access

        return await self.read(query)

    def _management(
        self, conn: sa.Connection, call: Call, rule: str
    ) -> tuple[Node, base.Management, Access]:
        node = self.node(conn, call, call.params["id"], f"baremetal:node:{rule}")
        hand = self.ctx.registry.management(node.driver, node.interfaces.get("management"))
        return node, hand, self.ctx.access(conn, node, "management")

    @contextlib.asynccontextmanager
    async def _acting(
        self,
        call: Call,
        rule: str,
        kind: str,
        check: Callable[[base.Management, Access], None] = lambda _hand, _access: None,
    ) -> AsyncGenerator[tuple[base.Management, Access, Node]]:
        """The node's management interface, to change something, with the machine held meanwhile.

        check: raises what can be known to be wrong before the machine is held. 409 while an operation works.
        """

        def begin(conn: sa.Connection) -> tuple[acts.Held, base.Management, Access]:
            node, hand, access = self._management(conn, call, rule)
            check(hand, access)
            return acts.hold(self.ctx, conn, node, kind, by(call)), hand, access

        held, hand, access = await self.write(begin)
        async with acts.under(self.ctx, held):
            yield hand, access, held.node

    async def _errand(
        self,
        call: Call,
        rule: str,
        start: Callable[[sa.Connection, Node], str],
        reply: Reply,
        since: int = 0,
    ) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            node = self.node(conn, call, call.params["id"], f"baremetal:node:{rule}")
            if call.version.minor < since:
                raise Missing("The resource could not be found.")
            start(conn, node)
            return reply

        return await self.write(change)

    # -- boot device -------------------------------------------------------------------------

    async def boot_device(self, call: Call) -> Reply:
        hand, access = await self._reach(call, "get_boot_device")
        choice = await hand.get_boot_device(access)
        return Reply({"boot_device": choice.device, "persistent": choice.persistent})

    async def boot_devices(self, call: Call) -> Reply:
        hand, access = await self._reach(call, "get_boot_device")
        return Reply({"supported_boot_devices": list(hand.supported_boot_devices(access))})

    async def set_boot_device(self, call: Call) -> Reply:
        body: schemas.BootDeviceBody = call.body
        persistent = body.persistent is not None and schemas.flag("persistent", body.persistent)

        def check(hand: base.Management, access: Access) -> None:
            known = hand.supported_boot_devices(access)
            if body.boot_device not in known:
                raise Invalid(
                    f"Invalid boot device {body.boot_device} specified.",
                    next_action=f"Supported: {', '.join(known) or 'none'}.",
                )

        act = self._acting(call, "set_boot_device", "boot device", check)
        async with act as (hand, access, node):
            device = BootDevice(body.boot_device)
            await hand.set_boot_device(access, device, persistent, boot_mode(node))
        return Reply()

    # -- modes -------------------------------------------------------------------------------

    async def set_boot_mode(self, call: Call) -> Reply:
        body: ModeBody = call.body
        return await self._errand(
            call,
            "set_boot_mode",
            lambda conn, node: firmware_modes.set_boot_mode(
                self.ctx, conn, node, body.target, by(call)
            ),
            accepted(call, f"nodes/{call.params['id']}/states"),
            MODES_SINCE,
        )

    async def set_secure_boot(self, call: Call) -> Reply:
        body: SecureBody = call.body
        on = schemas.flag("secure_boot", body.target)
        return await self._errand(
            call,
            "set_secure_boot",
            lambda conn, node: firmware_modes.set_secure_boot(self.ctx, conn, node, on, by(call)),
            accepted(call, f"nodes/{call.params['id']}/states"),
            MODES_SINCE,
        )

    # -- lights and NMI ----------------------------------------------------------------------

    async def inject_nmi(self, call: Call) -> Reply:
        await optional_body(call, dict[str, Any])
        async with self._acting(call, "inject_nmi", "nmi") as (hand, access, _):
            await hand.inject_nmi(access)
        return Reply()

    async def indicators(self, call: Call) -> Reply:
        hand, access = await self._reach(call, "get_indicator_state")
        found = await hand.indicators(access)
        return Reply(
            {
                "indicators": [
                    _indicator(call, component, light)
                    for component, lights in found.items()
                    for light in lights
                ]
            }
        )

    async def indicator(self, call: Call) -> Reply:
        hand, access = await self._reach(call, "get_indicator_state")
        component, name = _place(call.params["indicator"])
        await _light(hand, access, component, name)
        return Reply({"state": await hand.get_indicator(access, component, name)})

    async def set_indicator(self, call: Call) -> Reply:
        body: StateBody = call.body
        hand, access = await self._reach(call, "set_indicator_state")
        component, name = _place(call.params["indicator"])
        light = await _light(hand, access, component, name)
        if body.state not in light.states:
            raise Invalid(
                f"Invalid indicator state {body.state} specified.",
                next_action=f"Possible: {', '.join(light.states)}.",
            )
        if light.readonly:
            raise Invalid(f"The indicator {name} of {component} can only be read.")
        act = self._acting(call, "set_indicator_state", "indicator")
        async with act as (hand, access, _):
            await hand.set_indicator(access, component, name, IndicatorState(body.state))
        return Reply()

    # -- virtual media -----------------------------------------------------------------------

    async def media(self, call: Call) -> Reply:
        hand, access = await self._reach(call, "vmedia:get")
        return Reply([asdict(slot) for slot in await hand.media(access)])

    async def attach_media(self, call: Call) -> Reply:
        body: MediaBody = call.body
        if body.device_type not in set(MediaDevice):
            raise Invalid(
                f"Invalid device type {body.device_type} (valid are {', '.join(MediaDevice)})"
            )
        source = body.image_download_source
        if source is not None and source not in _DOWNLOADS:
            raise Invalid(
                f"image_download_source {source} is not offered here.",
                next_action="Give a URL that the controller can fetch by itself.",
            )
        return await self._errand(
            call,
            "vmedia:attach",
            lambda conn, node: virtual_media.attach_media(
                self.ctx, conn, node, body.device_type, body.image_url, by(call)
            ),
            Reply(),
        )

    async def detach_media(self, call: Call) -> Reply:
        query: MediaQuery = call.query
        return await self._errand(
            call,
            "vmedia:detach",
            lambda conn, node: virtual_media.detach_media(
                self.ctx, conn, node, query.device_types or [], by(call)
            ),
            Reply(),
        )


def operations(handlers: Management) -> tuple[Operation, ...]:
    one = "/v1/nodes/{id}"
    device = f"{one}/management/boot_device"
    lights = f"{one}/management/indicators"
    media = f"{one}/vmedia"
    nothing: dict[str, Any] = {"status": 204}
    # Their version is looked at by the handlers, after the rights, as upstream does.
    mode: dict[str, Any] = {"status": 202}
    return (
        late("GET", device, handlers.boot_device, "node:get_boot_device"),
        late(
            "PUT",
            device,
            handlers.set_boot_device,
            "node:set_boot_device",
            body=schemas.BootDeviceBody,
            **nothing,
        ),
        late("GET", f"{device}/supported", handlers.boot_devices, "node:get_boot_device"),
        late(
            "PUT",
            f"{one}/states/boot_mode",
            handlers.set_boot_mode,
            "node:set_boot_mode",
            body=ModeBody,
            **mode,
        ),
        late(
            "PUT",
            f"{one}/states/secure_boot",
            handlers.set_secure_boot,
            "node:set_secure_boot",
            body=SecureBody,
            **mode,
        ),
        late(
            "PUT",
            f"{one}/management/inject_nmi",
            handlers.inject_nmi,
            "node:inject_nmi",
            since=NMI_SINCE,
            stream=True,
            **nothing,
        ),
        late("GET", lights, handlers.indicators, "node:get_indicator_state"),
        late("GET", f"{lights}/{{indicator}}", handlers.indicator, "node:get_indicator_state"),
        late(
            "PUT",
            f"{lights}/{{indicator}}",
            handlers.set_indicator,
            "node:set_indicator_state",
            body=StateBody,
            **nothing,
        ),
        late("GET", media, handlers.media, "node:vmedia:get", since=MEDIA_GET_SINCE),
        late(
            "POST",
            media,
            handlers.attach_media,
            "node:vmedia:attach",
            since=MEDIA_SINCE,
            body=MediaBody,
            **nothing,
        ),
        late(
            "DELETE",
            media,
            handlers.detach_media,
            "node:vmedia:detach",
            since=MEDIA_SINCE,
            query=MediaQuery,
            **nothing,
        ),
    )


def _indicator(call: Call, component: Component, light: Indicator) -> dict[str, Any]:
    unique = f"{light.name}@{component.value}"
    path = f"nodes/{call.params['id']}/management/indicators/{unique}"
    return {
        "name": unique,
        "component": component.value,
        "readonly": light.readonly,
        "states": list(light.states),
        "links": links.links(call.base_url, path),
    }


def _place(unique: str) -> tuple[Component, str]:
    """Component and name of "name@component"."""
    name, at, component = unique.partition("@")
    if not at:
        raise Invalid(f'Malformed indicator name "{unique}"')
    if component not in set(Component):
        raise Invalid(f"Invalid component {component} specified.")
    return Component(component), name


async def _light(
    hand: base.Management, access: Access, component: Component, name: str
) -> Indicator:
    for light in (await hand.indicators(access)).get(component, ()):
        if light.name == name:
            return light
    raise Invalid(f"Invalid indicator {name} specified.")
