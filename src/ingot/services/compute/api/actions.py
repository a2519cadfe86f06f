"""POST /servers/{id}/action: what may be done to a server, and honest refusals of what metal cannot do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Conflict, Invalid, Missing
from ingot.services.compute import states, userdata
from ingot.services.compute.api import views
from ingot.services.compute.api.common import (
    Body,
    Handlers,
    boolean,
    mapping,
    read,
    since,
    target,
    unexpected,
    unimplemented,
)
from ingot.services.compute.api.consoles import ACTIONS, RemoteConsoles
from ingot.services.compute.api.ordering import (
    PERSONALITY_UNTIL,
    FileIn,
    Name,
    Ordering,
    Password,
    address,
    check_texts,
    disk_config,
    fits,
    hostname,
    key,
    metadata,
    new_password,
    personality,
)
from ingot.services.compute.types import Server

#: Actions that the API has and this cloud does not: what clients are told, and the rule asked first.
_ABSENT: dict[str, tuple[str, str]] = {
    "createImage": ("servers:create_image", "Images cannot be made of machines yet."),
    "createBackup": ("os-create-backup", "Images cannot be made of machines yet."),
    "resize": ("servers:resize", "A machine cannot be resized."),
    "pause": ("os-pause-server:pause", "A machine cannot be paused."),
    "unpause": ("os-pause-server:unpause", "A machine cannot be paused."),
    "suspend": ("os-suspend-server:suspend", "A machine cannot be suspended."),
    "resume": ("os-suspend-server:resume", "A machine cannot be suspended."),
    "shelve": ("os-shelve:shelve", "A machine cannot be shelved."),
    "shelveOffload": ("os-shelve:shelve_offload", "A machine cannot be shelved."),
    "unshelve": ("os-shelve:unshelve", "A machine cannot be shelved."),
    "changePassword": ("os-admin-password", "A running system's password cannot be set."),
    "migrate": ("os-migrate-server:migrate", "A machine cannot be migrated."),
    "os-migrateLive": ("os-migrate-server:migrate_live", "A machine cannot be migrated."),
    "evacuate": ("os-evacuate", "A machine cannot be evacuated."),
}
#: The same for actions that need a state which a server here never has.
_NEVER = {
    "confirmResize": ("servers:confirm_resize", "confirmResize"),
    "revertResize": ("servers:revert_resize", "revertResize"),
    "restore": ("os-deferred-delete:restore", "restore"),
}


class RebootIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str


class RebuildIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    imageRef: str
    name: Name | None = None
    adminPass: Password | None = None
    metadata: dict[str, Any] | None = None
    preserve_ephemeral: Any = False
    disk_config: str | None = msgspec.field(default=None, name="OS-DCF:diskConfig")
    accessIPv4: str | None = None
    accessIPv6: str | None = None
    personality: list[FileIn] = []
    description: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    key_name: str | None = None
    user_data: str | None = None
    trusted_image_certificates: list[str] | None = None
    hostname: str | None = None


class RescueIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    adminPass: Password | None = None
    rescue_image_ref: str | None = None


class LockIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    locked_reason: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | msgspec.UnsetType
    ) = msgspec.UNSET


class ConsoleIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    length: int | None = None


Action = Callable[[Call, Any], Awaitable[Reply | None]]
CRASH_DUMP_SINCE = 17
_REST = frozenset({states.ACTIVE, states.STOPPED})


class Actions(Handlers):
    """One handler per action's name."""

    def __init__(self, compute: Any) -> None:
        super().__init__(compute)
        self._actions: dict[str, Action] = {
            "os-start": self._start,
            "os-stop": self._stop,
            "reboot": self._reboot,
            "rebuild": self._rebuild,
            "rescue": self._rescue,
            "unrescue": self._unrescue,
            "lock": self._lock,
            "unlock": self._unlock,
            "os-getConsoleOutput": self._console,
            "addSecurityGroup": self._add_group,
            "removeSecurityGroup": self._remove_group,
            "forceDelete": self._force_delete,
            "trigger_crash_dump": self._crash_dump,
            "os-resetState": self._reset_state,
        }

    async def act(self, call: Call) -> Reply | None:
        """Exactly one action in the body."""
        body: Body = call.body
        if len(body) != 1:
            raise Invalid("Malformed request body: it must name exactly one action.")
        ((name, given),) = body.items()
        if name in self._actions:
            return await self._actions[name](call, given)
        if name in ACTIONS:
            return await RemoteConsoles(self.compute).act(call, name, given)
        if name in _ABSENT:
            rule, text = _ABSENT[name]
            await self.server(call, rule)
            raise unimplemented(f"The requested functionality is not supported. {text}")
        if name in _NEVER:
            rule, word = _NEVER[name]
            server = await self.server(call, rule)
            raise Conflict(
                f"Cannot '{word}' instance {server.uuid} while it is in vm_state {server.vm_state}"
            )
        raise Invalid(f"There is no such action: {name}")

    async def _do(self, call: Call, rule: str, action: str, **how: Any) -> None:
        await self.change(
            call,
            rule,
            lambda conn, server: self.compute.act(
                conn, server, action, call.caller, call.request_id, **how
            ),
        )

    # -- power -------------------------------------------------------------------------------

    async def _start(self, call: Call, _given: object) -> None:
        await self._do(
            call, "servers:start", "start", vm_states={states.STOPPED}, task=states.STARTING
        )

    async def _stop(self, call: Call, _given: object) -> None:
        wanted = {states.ACTIVE, states.ERROR}
        await self._do(call, "servers:stop", "stop", vm_states=wanted, task=states.STOPPING)

    async def _reboot(self, call: Call, given: object) -> None:
        kind = read(RebootIn, given, "reboot").type.upper()
        if kind not in ("SOFT", "HARD"):
            raise Invalid("Invalid input for field/attribute type: it is one of HARD, SOFT.")
        soft = kind == "SOFT"
        wanted = {states.ACTIVE} if soft else {*_REST, states.ERROR}
        task = states.REBOOTING if soft else states.REBOOTING_HARD
        await self._do(
            call, "servers:reboot", "reboot", vm_states=wanted, task=task, order={"type": kind}
        )

    # -- rebuild and rescue ------------------------------------------------------------------

    async def _rebuild(self, call: Call, given: object) -> Reply:
        body = mapping(given, "rebuild")
        since(
            call,
            body,
            {
                "description": 19,
                "key_name": 54,
                "user_data": 57,
                "trusted_image_certificates": 63,
                "hostname": 90,
            },
        )
        order = read(RebuildIn, body, "rebuild")
        check_texts(order)
        if order.trusted_image_certificates:
            raise Invalid("Trusted image certificates are not supported.")
        if call.version.minor >= PERSONALITY_UNTIL and "personality" in body:
            raise unexpected({"personality"})
        password = order.adminPass or new_password()

        def change(conn: sa.Connection, server: Server) -> Server:
            image = Ordering(self.compute).image(conn, call, order.imageRef)
            fits(server.flavor, image)
            values = self._rebuilt(conn, call, server, order, body, password)
            self.compute.act(
                conn,
                server,
                "rebuild",
                call.caller,
                call.request_id,
                vm_states={*_REST, states.ERROR},
                task=states.REBUILDING,
                order={
                    "preserve_ephemeral": boolean(order.preserve_ephemeral, "preserve_ephemeral")
                },
                image_id=image.id,
                **values,
            )
            (changed,) = self.compute.with_groups(conn, [self.compute.get(conn, server.uuid)])
            return changed

        server = await self.change(call, "servers:rebuild", change)
        shown = views.server(self.compute, call, server, changed=True)
        shown["adminPass"] = password
        if call.version.minor >= 54:
            shown["key_name"] = server.key_name
        if call.version.minor >= 57:
            shown["user_data"] = self.compute.secrets_of(server).user_data
        if call.version.minor >= 75:
            shown.pop("OS-EXT-SRV-ATTR:user_data", None)
        return Reply({"server": shown}, headers={"Location": call.url.removesuffix("/action")})

    def _rebuilt(
        self,
        conn: sa.Connection,
        call: Call,
        server: Server,
        order: RebuildIn,
        body: Body,
        password: str,
    ) -> dict[str, Any]:
        """What changes of the server itself."""
        values: dict[str, Any] = {}
        if order.name is not None:
            values["name"] = order.name
        if order.metadata is not None:
            most = self.compute.limits(conn, server.project_id)["metadata_items"]
            values["metadata"] = metadata(order.metadata, most)
        if order.disk_config is not None:
            values["disk_config"] = disk_config(order.disk_config)
        if "description" in body:
            values["description"] = order.description
        if order.hostname is not None:
            values["hostname"] = hostname(order.hostname, call.version.minor)
        for version in (4, 6):
            if f"accessIPv{version}" in body:
                text = order.accessIPv4 if version == 4 else order.accessIPv6
                values[f"access_ip_v{version}"] = address(text, version)
        if "key_name" in body:
            found = key(conn, call, order.key_name)
            values |= {"key_name": found.name if found else None, "key": found}
        secrets = msgspec.structs.replace(self.compute.secrets_of(server), admin_pass=password)
        if "personality" in body:
            secrets = msgspec.structs.replace(secrets, files=personality(order.personality))
        if "user_data" in body:
            secrets = msgspec.structs.replace(secrets, user_data=userdata.checked(order.user_data))
        return {**values, "sealed": self.compute.seal(secrets)}

    async def _rescue(self, call: Call, given: object) -> Reply:
        order = read(RescueIn, given or {}, "rescue")
        password = order.adminPass or new_password()

        def change(conn: sa.Connection, server: Server) -> None:
            named: dict[str, Any] = {}
            if order.rescue_image_ref:
                # The rescue system is the agent's own; an image cannot be booted beside the disk.
                image = Ordering(self.compute).image(conn, call, order.rescue_image_ref)
                named = {"image": image.id}
            secrets = msgspec.structs.replace(self.compute.secrets_of(server), admin_pass=password)
            self.compute.act(
                conn,
                server,
                "rescue",
                call.caller,
                call.request_id,
                vm_states={*_REST, states.ERROR},
                task=states.RESCUING,
                order=named,
                sealed=self.compute.seal(secrets),
            )

        await self.change(call, "os-rescue", change)
        return Reply({"adminPass": password}, status=200)

    async def _unrescue(self, call: Call, _given: object) -> None:
        await self._do(
            call,
            "os-unrescue",
            "unrescue",
            vm_states={states.RESCUED},
            task=states.UNRESCUING,
        )

    # -- locks -------------------------------------------------------------------------------

    async def _lock(self, call: Call, given: object) -> None:
        # Before 2.73 upstream looks at nothing of what comes with it.
        check_texts = LockIn()
        if call.version.minor >= 73 and given is not None:
            check_texts = read(LockIn, mapping(given, "lock"), "lock")
        reason = None if check_texts.locked_reason is msgspec.UNSET else check_texts.locked_reason
        await self.change(
            call,
            "os-lock-server:lock",
            lambda conn, server: self.compute.lock(conn, server, call.caller, reason),
            serializable=False,
        )

    async def _unlock(self, call: Call, _given: object) -> None:
        await self.change(
            call,
            "os-lock-server:unlock",
            lambda conn, server: self.compute.unlock(conn, server, call.caller),
            serializable=False,
        )

    # -- the rest ----------------------------------------------------------------------------

    async def _console(self, call: Call, given: object) -> Reply:
        server = await self.server(call, "os-console-output")
        order = read(ConsoleIn, given or {}, "os-getConsoleOutput")
        if order.length is not None and order.length < -1:
            raise Invalid("Invalid input for field/attribute length: it is at least -1.")
        if server.node_uuid is None:
            raise Conflict(f"Instance {server.uuid} is not ready: it has no machine yet.")
        if self.compute.consoles is None:
            raise unimplemented(
                "The requested functionality is not supported: no consoles are kept."
            )
        lines = None if order.length in (None, -1) else order.length
        text = await self.compute.consoles.tail(server.uuid, server.node_uuid, lines)
        # Clients print it: only what can be printed is told.
        shown = "".join(c for c in text if c.isprintable() or c in "\n\t\r\x1b")
        return Reply({"output": shown}, status=200)

    async def _add_group(self, call: Call, given: object) -> None:
        name = _group_name(given)

        def change(conn: sa.Connection, server: Server) -> None:
            group = self._group_of(conn, server, name)
            for port in self.compute.ports(conn, server):
                if group not in port.security_groups:
                    wanted = [*port.security_groups, group]
                    self.compute.networks.update_port(conn, port, {"security_groups": wanted})

        await self.change(call, "os-security-groups:add", change)

    async def _remove_group(self, call: Call, given: object) -> None:
        name = _group_name(given)

        def change(conn: sa.Connection, server: Server) -> None:
            group = self._group_of(conn, server, name)
            having = [p for p in self.compute.ports(conn, server) if group in p.security_groups]
            if not having:
                raise Missing(f"Security group {name} not associated with instance {server.uuid}")
            for port in having:
                left = [ident for ident in port.security_groups if ident != group]
                self.compute.networks.update_port(conn, port, {"security_groups": left})

        await self.change(call, "os-security-groups:remove", change)

    def _group_of(self, conn: sa.Connection, server: Server, name: str) -> str:
        networks = self.compute.networks
        if name == "default":
            return networks.ensure_default_group(conn, server.project_id)
        return networks.find_group(conn, server.project_id, name).id

    async def _force_delete(self, call: Call, _given: object) -> None:
        await self.change(
            call,
            "os-deferred-delete:force",
            lambda conn, server: self.compute.delete(conn, server, call.caller, call.request_id),
        )

    async def _crash_dump(self, call: Call, _given: object) -> None:
        """A non-maskable interrupt (2.17)."""
        if call.version.minor < CRASH_DUMP_SINCE:
            raise Missing("The resource could not be found.")
        wanted = {states.ACTIVE, states.RESCUED, states.ERROR}
        rule = "servers:trigger_crash_dump"
        await self._do(call, rule, "trigger_crash_dump", vm_states=wanted, task=None)

    async def _reset_state(self, call: Call, given: object) -> None:
        state = mapping(given, "os-resetState").get("state")
        if state not in ("active", "error"):
            raise Invalid("Invalid input for field/attribute state: it is one of active, error.")

        def change(conn: sa.Connection, server: Server) -> None:
            call.require("os_compute_api:os-admin-actions:reset_state", target(server))
            self.compute.reset(conn, server, str(state))

        await self.change(call, "servers:show", change)


def _group_name(given: object) -> str:
    name = mapping(given, "security group").get("name")
    if not isinstance(name, str) or not name.strip():
        raise Invalid("Security group name cannot be empty")
    return name
