"""What somebody may not see is like what is not there: as a marker, as a filter, and by its own address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import Reply, World, project, system, world

from ingot.kit import ids

pytestmark = pytest.mark.anyio
RUN = {"interface": "deploy", "step": "erase_devices", "args": {}, "order": 1}
LISTS = (
    *("/v1/nodes", "/v1/ports", "/v1/portgroups"),
    *("/v1/volume/connectors", "/v1/volume/targets", "/v1/allocations", "/v1/runbooks"),
)
Made = dict[str, str]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def furniture(api: World, owner: str, number: int) -> Made:
    """One of each kind that belongs to a project: path of its list -> uuid."""
    node = (await api.node(owner=owner, resource_class=f"c{number}", name=f"n{number}"))["uuid"]
    await api.force(node, provision_state="available", power_state="power off")
    bodies: dict[str, dict[str, Any]] = {
        "/v1/portgroups": {"node_uuid": node, "name": f"bond{number}"},
        "/v1/ports": {"node_uuid": node, "address": f"52:54:00:00:00:{number:02x}"},
        "/v1/volume/connectors": {"node_uuid": node, "type": "ip", "connector_id": str(number)},
        "/v1/volume/targets": {
            "node_uuid": node,
            "volume_type": "iscsi",
            "volume_id": "v",
            "boot_index": number,
        },
        "/v1/allocations": {"resource_class": f"c{number}", "owner": owner},
        "/v1/runbooks": {"name": f"CUSTOM_{number}", "steps": [RUN], "owner": owner},
    }
    made: Made = {"/v1/nodes": node}
    for path, body in bodies.items():
        reply = await api.ask("POST", path, body)
        assert reply.status == 201, reply.json
        made[path] = reply.json["uuid"]
    return made


def alike(foreign: Reply, missing: Reply, *names: str) -> None:
    """The same answer but for the name that was asked for."""
    texts = [str(one.json) for one in (foreign, missing)]
    for name in names:
        texts = [text.replace(name, "X") for text in texts]
    assert (foreign.status, texts[0]) == (missing.status, texts[1])


async def test_a_foreign_marker_is_like_none(api: World) -> None:
    theirs, own = await furniture(api, "p2", 1), await furniture(api, "p1", 2)
    api.become(project("manager"))
    for path in LISTS:
        for more in ("", "&sort_key=created_at"):
            foreign = await api.ask("GET", f"{path}?marker={theirs[path]}{more}")
            nobody = ids.new_uuid()
            missing = await api.ask("GET", f"{path}?marker={nobody}{more}")
            alike(foreign, missing, theirs[path], nobody)
            assert missing.status == 404, path
            assert (await api.ask("GET", f"{path}?marker={own[path]}{more}")).status == 200
    api.become(system("reader"))
    for path in LISTS:
        reply = await api.ask("GET", f"{path}?marker={theirs[path]}")
        assert reply.status == 200 and next(iter(reply.json.values())), path


async def test_a_foreign_filter_is_like_one_of_nothing(api: World) -> None:
    theirs, own = await furniture(api, "p2", 1), await furniture(api, "p1", 2)
    api.become(project("manager"))
    for path, kind in (
        ("/v1/ports?node_uuid=", "/v1/nodes"),
        ("/v1/ports?node=", "/v1/nodes"),
        ("/v1/ports?portgroup=", "/v1/portgroups"),
        ("/v1/portgroups?node=", "/v1/nodes"),
        ("/v1/volume/connectors?node=", "/v1/nodes"),
        ("/v1/volume/targets?node=", "/v1/nodes"),
        ("/v1/allocations?node=", "/v1/nodes"),
    ):
        nobody = ids.new_uuid()
        foreign = await api.ask("GET", path + theirs[kind])
        missing = await api.ask("GET", path + nobody)
        alike(foreign, missing, theirs[kind], nobody)
        assert missing.status in (400, 404), path
        assert (await api.ask("GET", path + own[kind])).status == 200, path


@pytest.mark.parametrize("by_name", [False, True])
async def test_a_foreign_runbook_is_like_none(api: World, by_name: bool) -> None:
    theirs, own = await furniture(api, "p2", 1), await furniture(api, "p1", 2)
    await api.force(own["/v1/nodes"], provision_state="manageable")
    api.become(project("manager"))
    hidden = "CUSTOM_1" if by_name else theirs["/v1/runbooks"]
    nobody = "CUSTOM_9" if by_name else ids.new_uuid()
    patch = [{"op": "add", "path": "/extra/a", "value": 1}]
    traits = {"traits": ["CUSTOM_A"]}

    async def each(ident: str) -> list[Reply]:
        one = f"/v1/runbooks/{ident}"
        verb = {"target": "clean", "runbook": ident}
        return [
            await api.ask("GET", one),
            await api.ask("PATCH", one, patch),
            await api.ask("PATCH", one, [{"op": "add", "path": "/public", "value": True}]),
            await api.ask("DELETE", one),
            await api.ask("GET", f"{one}/traits"),
            await api.ask("PUT", f"{one}/traits", traits),
            await api.ask("PUT", f"{one}/traits/CUSTOM_A"),
            await api.ask("DELETE", f"{one}/traits"),
            await api.ask("DELETE", f"{one}/traits/CUSTOM_A"),
            await api.ask("PUT", f"/v1/nodes/{own['/v1/nodes']}/states/provision", verb),
        ]

    for foreign, missing in zip(await each(hidden), await each(nobody), strict=True):
        alike(foreign, missing, hidden, nobody)
        assert missing.status == 404
