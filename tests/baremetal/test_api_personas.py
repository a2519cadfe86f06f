"""Every route of the Bare Metal API, asked for by everybody: generated from the table of operations.

What must come of it is told by the rule of the row, decided on the owner and lessee of what is asked for:

    the rule allows it        not 401, not 403
    it does not               403; 404 where the caller may not even see it

A new resource is covered as soon as its rows are in the table; one that needs a body which cannot be
guessed from its type gets it in `BODIES`. Bodies and states that are no good end in other refusals: those
must be the same for the system's admin, so that nothing is told by them.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from api_support import World, system, world
from personas import LESSEE, OWNER, Furniture, Snapshot, everybody

from ingot.kit.api.operations import Operation
from ingot.kit.auth.policy import Caller, Policy
from ingot.services.baremetal import policies

pytestmark = pytest.mark.anyio

POLICY = Policy(policies.RULES, system_only=policies.SYSTEM_ONLY)
PATCH = [{"op": "add", "path": "/extra/a", "value": "b"}]
#: Bodies by method and path, where types do not tell enough.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/nodes"): {"driver": "fake-hardware"},
    ("PUT", "/v1/nodes/{id}/states/power"): {"target": "power on"},
    ("PUT", "/v1/nodes/{id}/states/provision"): {"target": "manage"},
    ("PUT", "/v1/nodes/{id}/management/boot_device"): {"boot_device": "pxe"},
    ("PUT", "/v1/nodes/{id}/traits"): {"traits": ["CUSTOM_B"]},
    ("POST", "/v1/ports"): {"address": "02:00:00:00:09:09", "node_uuid": "{nodes}"},
    ("POST", "/v1/portgroups"): {"address": "02:00:00:00:09:0a", "node_uuid": "{nodes}"},
    ("POST", "/v1/allocations"): {"resource_class": "gold"},
    ("POST", "/v1/deploy_templates"): {
        "name": "CUSTOM_NEW",
        "steps": [{"interface": "bios", "step": "x", "args": {}, "priority": 1}],
    },
    ("POST", "/v1/runbooks"): {
        "name": "CUSTOM_NEW",
        "steps": [{"interface": "bios", "step": "x", "args": {}, "order": 1}],
    },
    ("PATCH", "/v1/inspection_rules/{id}"): [
        {"op": "replace", "path": "/description", "value": "x"}
    ],
    ("POST", "/v1/volume/connectors"): {
        "type": "iqn",
        "connector_id": "iqn.new",
        "node_uuid": "{nodes}",
    },
    ("POST", "/v1/volume/targets"): {
        "volume_type": "iscsi",
        "volume_id": "v2",
        "boot_index": 7,
        "node_uuid": "{nodes}",
    },
}
#: Rules beside the row's own that let somebody in.
ALSO = {
    "baremetal:node:create": "baremetal:node:create:self_owned_node",
    "baremetal:node:delete": "baremetal:node:delete:self_owned_node",
    "baremetal:allocation:create": "baremetal:allocation:create_restricted",
}
#: Rows whose rule upstream decides on no node, although they are below one.
GLOBAL = ("/v1/volume", "/v1/nodes/{id}/volume")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def rows(api: World) -> Iterator[Operation]:
    for row in api.app.services[0].operations:
        if row.rule is not None:
            yield row


def address(row: Operation, ids: dict[str, str]) -> str:
    """The row's path with the identifiers of what is there."""
    collection = re.match(r"/v1/((?:volume/)?[a-z_]+)", row.path)
    first = ids.get(collection[1], "none") if collection else "none"

    def fill(found: re.Match[str]) -> str:
        return ids.get(found[1], first)

    path = re.sub(r"\{(\w+)\}", fill, row.path)
    return f"{path}?node={ids['nodes']}" if path == "/v1/nodes/validate" else path


def content(row: Operation, ids: dict[str, str]) -> Any:
    known = BODIES.get((row.method, row.path))
    if known is not None:
        return (
            {k: ids["nodes"] if v == "{nodes}" else v for k, v in known.items()}
            if isinstance(known, dict)
            else known
        )
    if row.method == "PATCH":
        return PATCH
    return guess(row.body) if row.body is not None else None


def guess(shape: Any) -> Any:
    """The smallest value of a type."""
    origin, inner = typing.get_origin(shape), typing.get_args(shape)
    if origin is typing.Annotated:
        return guess(inner[0])
    if origin in (typing.Union, types.UnionType):
        return guess(inner[0])
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        hints = typing.get_type_hints(shape, include_extras=True)
        return {
            field.encode_name: guess(hints[field.name])
            for field in msgspec.structs.fields(shape)
            if field.required
        }
    plain = {str: "x", int: 1, bool: True, float: 1.0}
    return plain.get(shape, [] if origin is list else {})


def allowed(row: Operation, caller: Caller, target: Any) -> bool:
    rule = row.rule or ""
    whole = f"{rule}_all"
    if whole in policies.RULES:
        # A list: all of it, or the part of the caller's project.
        own = caller.project_id is not None and POLICY.allows(rule, caller, target)
        return own or POLICY.allows(whole, caller, target)
    target = policies.target(None, None, "") if row.path in GLOBAL else target
    also = ALSO.get(rule)
    return POLICY.allows(rule, caller, target) or bool(also and POLICY.allows(also, caller, target))


def visible(row: Operation, caller: Caller, target: Any) -> bool:
    """Whether the caller may see what the path names: the node, or a thing with an owner of its own."""
    for thing in ("allocation", "runbook"):
        if row.path.startswith(f"/v1/{thing}s/"):
            return POLICY.allows(f"baremetal:{thing}:get", caller, target)
    return POLICY.allows("baremetal:node:get", caller, target)


async def test_every_route_for_everybody(api: World) -> None:
    laid = await Furniture(api).lay()
    await laid.allocate(OWNER)
    target = {
        **policies.target(OWNER, LESSEE, ""),
        "allocation.owner": OWNER,
        "runbook.owner": OWNER,
        "project_id": None,
    }
    snapshot = Snapshot(api)
    await snapshot.take()
    tried, wrong = 0, list[str]()
    for row in list(rows(api)):
        path, body = address(row, laid.ids), content(row, laid.ids)
        version = f"1.{row.until}" if row.until is not None else "1.115"
        api.become(system("admin"))
        admins = (await api.ask(row.method, path, body, version)).status
        await snapshot.restore()
        if admins in (401, 403) or admins >= 500:
            wrong.append(f"system admin: {row.method} {row.path}: {admins}")
        for name, caller in everybody().items():
            api.become(caller)
            reply = await api.ask(row.method, path, body, version)
            tried += 1
            if row.method != "GET" and reply.status < 400:
                await snapshot.restore()
            may = allowed(row, caller, target)
            if may:
                good = reply.status not in (401, 403) and reply.status < 500
                wanted = "allowed"
            else:
                wanted = "403" if visible(row, caller, target) else "403 or 404"
                same = reply.status == admins and 400 <= admins < 500
                good = reply.status == 403 or (reply.status == 404 and wanted != "403") or same
            if not good:
                wrong.append(
                    f"{name}: {row.method} {row.path}: {reply.status}, {wanted}: {reply.json}"
                )
    assert not wrong, f"{len(wrong)} of {tried}:\n" + "\n".join(wrong)
    assert tried > 1500
