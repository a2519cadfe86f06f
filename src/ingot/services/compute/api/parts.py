"""Parts of a server: metadata, tags, addresses, interfaces, security groups, and what was done to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import sqlalchemy as sa

from ingot import workflow
from ingot.kit.api.operations import Call, Reply
from ingot.kit.db.database import from_json
from ingot.kit.faults import Invalid, Missing
from ingot.services.compute import store
from ingot.services.compute.api import views
from ingot.services.compute.api.common import (
    MOST,
    Body,
    Handlers,
    Wire,
    mapping,
    moment,
    naive,
    number,
    part,
    target,
    unexpected,
    unimplemented,
)
from ingot.services.compute.api.ordering import metadata, tags
from ingot.services.compute.types import Server
from ingot.services.network import Port
from ingot.workflow import OperationRow, StepRow

# -- metadata ------------------------------------------------------------------------------------


class Metadata(Handlers):
    """/servers/{id}/metadata."""

    async def index(self, call: Call) -> Reply:
        server = await self.server(call, "server-metadata:index")
        return Reply({"metadata": server.metadata})

    async def show(self, call: Call) -> Reply:
        server = await self.server(call, "server-metadata:show")
        key = call.params["key"]
        if key not in server.metadata:
            raise Missing("Metadata item was not found")
        return Reply({"meta": {key: server.metadata[key]}})

    async def merge(self, call: Call) -> Reply:
        """POST: what is given is added to what is there."""
        given = mapping(part(call.body, "metadata"), "metadata")
        return await self._write(call, "create", given, keep=True)

    async def replace(self, call: Call) -> Reply:
        """PUT: what is given is all there is."""
        given = mapping(part(call.body, "metadata"), "metadata")
        return await self._write(call, "update_all", given, keep=False)

    async def _write(self, call: Call, verb: str, given: Body, *, keep: bool) -> Reply:
        def change(conn: sa.Connection, server: Server) -> dict[str, str]:
            self.compute.unlocked(server, call.caller)
            most = self.compute.limits(conn, server.project_id)["metadata_items"]
            whole = metadata({**(server.metadata if keep else {}), **given}, most)
            self.compute.update(conn, server.uuid, metadata=whole)
            return whole

        whole = await self.change(call, f"server-metadata:{verb}", change, serializable=False)
        return Reply({"metadata": whole})

    async def set(self, call: Call) -> Reply:
        """PUT …/{key}."""
        given, key = mapping(part(call.body, "meta"), "meta"), call.params["key"]
        if set(given) != {key}:
            raise Invalid("Request body and URI mismatch")
        await self._write(call, "update", given, keep=True)
        return Reply({"meta": given})

    async def delete(self, call: Call) -> None:
        key = call.params["key"]

        def change(conn: sa.Connection, server: Server) -> None:
            self.compute.unlocked(server, call.caller)
            if key not in server.metadata:
                raise Missing("Metadata item was not found")
            left = {name: value for name, value in server.metadata.items() if name != key}
            self.compute.update(conn, server.uuid, metadata=left)

        await self.change(call, "server-metadata:delete", change, serializable=False)


# -- tags ----------------------------------------------------------------------------------------


class Tags(Handlers):
    """/servers/{id}/tags (2.26)."""

    async def index(self, call: Call) -> Reply:
        server = await self.server(call, "os-server-tags:index")
        return Reply({"tags": list(server.tags)})

    async def show(self, call: Call) -> Reply:
        server = await self.server(call, "os-server-tags:show")
        self._has(server, call.params["tag"])
        return Reply(status=204)

    @staticmethod
    def _has(server: Server, tag: str) -> None:
        if tag not in server.tags:
            raise Missing(f"Server {server.uuid} has no tag '{tag}'")

    async def replace(self, call: Call) -> Reply:
        given = part(call.body, "tags")
        if not isinstance(given, list) or not all(
            isinstance(tag, str) for tag in cast("list[Any]", given)
        ):
            raise Invalid("Invalid input for field/attribute tags. It is a list of texts.")
        wanted = tags(cast("list[str]", given))
        await self.change(
            call,
            "os-server-tags:update_all",
            lambda conn, server: self.compute.update(conn, server.uuid, tags=wanted),
            serializable=False,
        )
        return Reply({"tags": list(wanted)})

    async def add(self, call: Call) -> Reply:
        tag = call.params["tag"]

        def change(conn: sa.Connection, server: Server) -> bool:
            if tag in server.tags:
                return False
            self.compute.update(conn, server.uuid, tags=tags([*server.tags, tag]))
            return True

        new = await self.change(call, "os-server-tags:update", change, serializable=False)
        where = {"Location": call.url} if new else {}
        return Reply(status=201 if new else 204, headers=where)

    async def delete(self, call: Call) -> None:
        tag = call.params["tag"]

        def change(conn: sa.Connection, server: Server) -> None:
            self._has(server, tag)
            left = tuple(one for one in server.tags if one != tag)
            self.compute.update(conn, server.uuid, tags=left)

        await self.change(call, "os-server-tags:delete", change, serializable=False)

    async def delete_all(self, call: Call) -> None:
        await self.change(
            call,
            "os-server-tags:delete_all",
            lambda conn, server: self.compute.update(conn, server.uuid, tags=()),
            serializable=False,
        )


# -- networks ------------------------------------------------------------------------------------


class Interfaces(Handlers):
    """/servers/{id}/ips, os-interface, os-security-groups, os-volume_attachments."""

    async def ips(self, call: Call) -> Reply:
        server = await self.server(call, "ips:index")
        return Reply({"addresses": views.addresses(server, short=True)})

    async def ips_of(self, call: Call) -> Reply:
        server = await self.server(call, "ips:show")
        found, label = views.addresses(server, short=True), call.params["label"]
        if label not in found:
            raise Missing("Instance is not a member of specified network")
        return Reply({label: found[label]})

    async def interfaces(self, call: Call) -> Reply:
        server = await self.server(call, "os-attach-interfaces:list")
        shown = await self.compute.db.read(
            lambda conn: [self._interface(call, port) for port in self.compute.ports(conn, server)]
        )
        return Reply({"interfaceAttachments": shown})

    async def interface(self, call: Call) -> Reply:
        server = await self.server(call, "os-attach-interfaces:show")
        port_id = call.params["port"]
        found = await self.compute.db.read(lambda conn: self.compute.ports(conn, server))
        for port in found:
            if port.id == port_id:
                return Reply({"interfaceAttachment": self._interface(call, port)})
        raise Missing(f"Instance {server.uuid} does not have a port with id {port_id}")

    @staticmethod
    def _interface(call: Call, port: Port) -> Wire:
        shown: Wire = {
            "net_id": port.network_id,
            "port_id": port.id,
            "mac_addr": port.mac_address,
            "port_state": "ACTIVE" if port.bound else "DOWN",
            "fixed_ips": [
                {"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips
            ],
        }
        if call.version.minor >= 70:
            shown["tag"] = None
        return shown

    async def attach(self, call: Call) -> Reply:
        await self.server(call, "os-attach-interfaces:create")
        raise unimplemented(
            "The requested functionality is not supported: network ports are attached when a server is "
            "built.",
            "Name all networks when the server is created.",
        )

    async def detach(self, call: Call) -> Reply:
        await self.server(call, "os-attach-interfaces:delete")
        raise unimplemented(
            "The requested functionality is not supported: network ports leave with their server."
        )

    async def groups(self, call: Call) -> Reply:
        server = await self.server(call, "os-security-groups:list")
        found = await self.compute.db.read(
            lambda conn: self.compute.networks.groups_of_ports(
                conn, [nic.port for nic in server.ports]
            )
        )
        groups = {group.id: group for some in found.values() for group in some}
        shown: list[Wire] = [
            {
                "id": group.id,
                "name": group.name,
                "description": group.description,
                "tenant_id": group.project_id,
                "rules": [],
            }
            for group in groups.values()
        ]
        return Reply({"security_groups": shown})

    async def volumes(self, call: Call) -> Reply:
        await self.server(call, "os-volumes-attachments:index")
        return Reply({"volumeAttachments": []})


# -- what was done -------------------------------------------------------------------------------

_RESULTS = {"done": "Success", "failed": "Error"}


class InstanceActions(Handlers):
    """/servers/{id}/os-instance-actions: the operations of a server; their steps are the events."""

    async def _found(self, call: Call, rule: str) -> Server:
        """Also a server that is gone: its story stays (2.21)."""
        uuid = call.params["id"]
        deleted = call.version.minor >= 21
        server = await self.compute.db.read(
            lambda conn: store.find_server(conn, uuid, deleted=deleted)
        )
        if server is None or not self.compute.sees(call.caller, server):
            raise Missing(f"Instance {uuid} could not be found.")
        call.require(f"os_compute_api:os-instance-actions:{rule}", target(server))
        return server

    async def index(self, call: Call) -> Reply:
        server = await self._found(call, "list")
        found = await self.compute.db.read(lambda conn: self.compute.operations(conn, server))
        if call.version.minor >= _ACTIONS_SINCE:
            found = _asked_for(call, found)
        return Reply({"instanceActions": [_action(call, server, one) for one in found]})

    async def show(self, call: Call) -> Reply:
        server = await self._found(call, "show")
        request_id = call.params["request"]
        found = await self.compute.db.read(lambda conn: self.compute.operations(conn, server))
        operation = next((one for one in found if _request(one) == request_id), None)
        if operation is None:
            raise Missing(f"Action for request_id {request_id} on instance {server.uuid} not found")
        shown = _action(call, server, operation)
        admin = call.allows("os_compute_api:os-instance-actions:events:details", target(server))
        if call.version.minor < 58:
            shown.pop("updated_at", None)
        if call.version.minor >= 51 or admin:
            steps = await self.compute.db.read(lambda conn: _steps(conn, operation))
            shown["events"] = [_event(call, step, server, admin) for step in steps]
        return Reply({"instanceAction": shown})


#: From here on lists of actions have pages and times.
_ACTIONS_SINCE, _BEFORE_SINCE = 58, 66
_ACTIONS_QUERY = frozenset({"limit", "marker", "changes-since"})


def _asked_for(call: Call, found: Sequence[OperationRow]) -> Sequence[OperationRow]:
    """Those between the times, behind the marker, as many as wanted."""
    args = dict(call.args)
    before_too = call.version.minor >= _BEFORE_SINCE
    unknown = set(args) - _ACTIONS_QUERY - ({"changes-before"} if before_too else set())
    if unknown:
        raise unexpected(unknown)
    since = moment(args["changes-since"], "changes-since") if "changes-since" in args else ""
    before = moment(args["changes-before"], "changes-before") if "changes-before" in args else "~"
    if since > before:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    found = [one for one in found if since <= (one.ended_at or one.created_at) <= before]
    if "marker" in args:
        known = [_request(one) for one in found]
        if args["marker"] not in known:
            raise Invalid(f"marker [{args['marker']}] not found")
        found = found[known.index(args["marker"]) + 1 :]
    most = number(call, "limit")
    return found if most is None else found[: min(most, MOST)]


def _request(operation: OperationRow) -> str:
    """Operations that no request began (a deletion that had waited) go by their own id."""
    return operation.request_id or f"req-{operation.id}"


def _action(call: Call, server: Server, operation: OperationRow) -> Wire:
    shown: Wire = {
        "action": operation.kind.removeprefix("server "),
        "instance_uuid": server.uuid,
        "request_id": _request(operation),
        "user_id": operation.requested_by or server.user_id,
        "project_id": operation.project_id,
        "start_time": naive(operation.created_at),
        "message": _message(operation),
    }
    if call.version.minor >= 58:
        shown["updated_at"] = naive(operation.ended_at or operation.created_at)
    return shown


def _message(operation: OperationRow) -> str | None:
    if operation.state == "aborted":
        return operation.abort_reason or "Aborted."
    return operation.fault.text if operation.fault is not None else None


def _steps(conn: sa.Connection, operation: OperationRow) -> list[tuple[str, StepRow]]:
    """Our own steps, and behind each order to a machine the steps of the machine's operation."""
    found: list[tuple[str, StepRow]] = []
    for step in workflow.steps(conn, operation.id):
        found.append(("server", step))
        for machine_op in _ordered(step):
            found += [("machine", inner) for inner in workflow.steps(conn, machine_op)]
    return found


def _ordered(step: StepRow) -> list[str]:
    result = from_json(step.result) if step.result else None
    named: object = cast("Wire", result).get("operation") if isinstance(result, dict) else None
    return [named] if isinstance(named, str) else []


def _event(call: Call, entry: tuple[str, StepRow], server: Server, admin: bool) -> Wire:
    place, step = entry
    shown: Wire = {
        "event": f"{place}: {step.label}",
        "start_time": naive(step.started_at),
        "finish_time": naive(step.ended_at),
        "result": _RESULTS.get(step.state),
    }
    if admin or call.version.minor < 51:
        shown["traceback"] = step.fault.text if step.fault is not None else None
    if call.version.minor >= 62:
        shown["hostId"] = ""
        if admin:
            shown["host"] = server.node_name or ""
    if call.version.minor >= 84:
        shown["details"] = step.fault.text if step.fault is not None else None
    return shown
