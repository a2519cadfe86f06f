"""What was done to a server: /servers/{id}/os-instance-actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import sqlalchemy as sa

from ingot import workflow
from ingot.kit.api.operations import Call, Reply
from ingot.kit.db.database import from_json
from ingot.kit.faults import Invalid, Missing
from ingot.services.compute import store
from ingot.services.compute.api.common import (
    MOST,
    Handlers,
    Wire,
    moment,
    naive,
    number,
    target,
    unexpected,
)
from ingot.services.compute.types import Server
from ingot.workflow import OperationRow, StepRow

_RESULTS = {"done": "Success", "failed": "Error"}


class InstanceActions(Handlers):
    """/servers/{id}/os-instance-actions: the operations of a server; their steps are the events."""

    async def _found(self, call: Call, rule: str) -> Server:
        """The server, also a deleted one from 2.21 on. Missing for whom it does not exist."""
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
