"""Machines and what hangs on them: names, claims, verbs, documents, parts, VIFs, allocations, plans and rules."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ingot.kit import ids
from tests.races.kinds_network import mac
from tests.races.shapes import Document, Family, Things
from tests.races.table import Act, Case, Kind, Place, Seen

ROOT = "/baremetal/v1"
NODES = f"{ROOT}/nodes"
STEP = {"interface": "deploy", "step": "deploy", "args": {}, "priority": 5}
RUN = {"interface": "deploy", "step": "erase_devices", "args": {}, "order": 1}
ACTION = {"op": "set-attribute", "args": {"path": "/extra/a", "value": 1}}


# -- machines ------------------------------------------------------------------------------------


async def node(place: Place, **more: Any) -> str:
    """A new one's uuid."""
    body = {"driver": "fake-hardware", "automated_clean": False, **more}
    return str((await place.make(NODES, body, system=True))["uuid"])


async def node_path(place: Place) -> str:
    return f"{NODES}/{await node(place)}"


async def until(place: Place, uuid: str, **wanted: Any) -> None:
    async with asyncio.timeout(60):
        while True:
            shown = await place.get(f"{NODES}/{uuid}", system=True)
            if not shown["reservation"] and all(shown[k] == v for k, v in wanted.items()):
                return
            await asyncio.sleep(0.05)


async def off(place: Place) -> str:
    """One that is managed and off; its uuid."""
    uuid = await node(place)
    await order(place, uuid, "manage", "manageable")
    path = f"{NODES}/{uuid}/states/power"
    await place.change("PUT", path, {"target": "power off"}, system=True)
    await until(place, uuid, power_state="power off")
    return uuid


async def order(place: Place, uuid: str, verb: str, state: str) -> None:
    path = f"{NODES}/{uuid}/states/provision"
    await place.change("PUT", path, {"target": verb}, system=True)
    await until(place, uuid, provision_state=state)


async def available(place: Place, resource_class: str) -> str:
    uuid = await node(place, resource_class=resource_class)
    await order(place, uuid, "manage", "manageable")
    await order(place, uuid, "provide", "available")
    return uuid


def patch(path: str, value: Any) -> list[dict[str, Any]]:
    return [{"op": "add", "path": path, "value": value}]


async def _of(place: Place, nodes: list[str]) -> list[Any]:
    """What is there of them."""
    path = f"{NODES}/detail?limit=1000"
    found: list[Any] = []
    while path:
        page = await place.get(path, system=True)
        found += [one for one in page["nodes"] if one["uuid"] in set(nodes)]
        last = page["nodes"][-1]["uuid"] if page.get("next") else ""
        path = f"{NODES}/detail?limit=1000&marker={last}" if last else ""
    return found


async def claims(place: Place) -> Case:
    """Many instances for each machine: it has the one that was accepted."""
    nodes = [await node(place) for _ in range(max(2, place.size // 5))]
    acts: list[Act] = []
    for one in nodes:
        for _ in range(10):
            key = ids.new_uuid()
            body = patch("/instance_uuid", key)
            acts.append(Act(key, "PATCH", f"{NODES}/{one}", body, once=one, system=True))

    async def look() -> Seen:
        found = [one["instance_uuid"] for one in await _of(place, nodes)]
        return Seen([key for key in found if key])

    return Case(acts, look)


async def verbs(place: Place) -> Case:
    """Orders of several kinds for each machine, and its end: all comes to rest, and who is gone was let go once."""
    nodes = [await available(place, "verbs") for _ in range(max(2, place.size // 8))]
    acts: list[Act] = []
    for one in nodes:
        path = f"{NODES}/{one}"
        states = f"{path}/states/provision"
        for verb in ("manage", "active", "provide", "inspect"):
            acts.append(Act("", "PUT", states, {"target": verb}, system=True))
        acts.append(Act("", "PUT", f"{path}/states/power", {"target": "power on"}, system=True))
        acts += [Act(path, "DELETE", path, gone=True, once=path, system=True)] * 2

    async def look() -> Seen:
        found = await _of(place, nodes)
        moving = [
            f"{one['uuid']}: {one['provision_state']}"
            for one in found
            if one["reservation"] or one["target_power_state"]
        ]
        return Seen([f"{NODES}/{one['uuid']}" for one in found], stuck=moving)

    before = [f"{NODES}/{one}" for one in nodes]
    return Case(acts, look, before=before, civil=(400, 404, 409))


async def vifs(place: Place) -> Case:
    """More VIFs than a machine has cards, each wanted twice."""
    nodes = [await node(place, network_interface="flat") for _ in range(max(2, place.size // 10))]
    acts: list[Act] = []
    for one in nodes:
        for _ in range(4):
            body = {"node_uuid": one, "address": mac(place.number())}
            await place.make(f"{ROOT}/ports", body, system=True)
        wire = place.name("w")
        network = {"name": wire, "provider:physical_network": wire}
        made = await place.make("/network/v2.0/networks", {"network": network})
        for _ in range(8):
            port = {"network_id": made["id"]}
            vif = (await place.make("/network/v2.0/ports", {"port": port}))["id"]
            body = {"id": vif}
            add = Act(vif, "POST", f"{NODES}/{one}/vifs", body, once=vif, system=True)
            acts += [add] * 2

    async def look() -> Seen:
        lists = {one: await place.get(f"{NODES}/{one}/vifs", system=True) for one in nodes}
        attached = [vif["id"] for some in lists.values() for vif in some["vifs"]]
        return Seen(attached, counts={one: len(some["vifs"]) for one, some in lists.items()})

    return Case(acts, look, limits=dict.fromkeys(nodes, 4), civil=(400, 404, 409))


async def allocations(place: Place) -> Case:
    """Far more than there are machines: each machine is given once."""
    kind = place.name("class")
    for _ in range(4):
        await available(place, kind)
    keys = [ids.new_uuid() for _ in range(max(12, place.size))]
    path = f"{ROOT}/allocations"
    acts = [
        Act(key, "POST", path, {"uuid": key, "resource_class": kind}, system=True) for key in keys
    ]

    async def look() -> Seen:
        found = (await place.get(f"{path}?resource_class={kind}&limit=1000", system=True))[
            "allocations"
        ]
        given = [one["node_uuid"] for one in found if one["node_uuid"]]
        moving = [one["uuid"] for one in found if one["state"] not in ("active", "error")]
        there = [one["uuid"] for one in found]
        return Seen(there, alike=given, counts={"given": len(given)}, stuck=moving)

    return Case(acts, look, limits={"given": 4})


# -- documents -----------------------------------------------------------------------------------


async def port(place: Place) -> str:
    body = {"node_uuid": await node(place), "address": mac(place.number())}
    return f"{ROOT}/ports/{(await place.make(f'{ROOT}/ports', body, system=True))['uuid']}"


async def portgroup(place: Place) -> str:
    return await _made(place, "portgroups", {"node_uuid": await node(place)})


async def chassis(place: Place) -> str:
    return await _made(place, "chassis", {"description": "row"})


async def connector(place: Place) -> str:
    body = {"node_uuid": await off(place), "type": "ip", "connector_id": place.name()}
    return await _made(place, "volume/connectors", body)


async def target(place: Place) -> str:
    body = {"node_uuid": await off(place), "volume_type": "iscsi", "volume_id": "v"}
    return await _made(place, "volume/targets", {**body, "boot_index": 0})


async def allocation(place: Place) -> str:
    kind = place.name("class")
    await available(place, kind)
    path = await _made(place, "allocations", {"resource_class": kind})
    async with asyncio.timeout(60):
        while (await place.get(path, system=True))["state"] == "allocating":
            await asyncio.sleep(0.05)
    return path


async def template(place: Place) -> str:
    body = {"name": place.name("CUSTOM_T"), "steps": [STEP]}
    return await _made(place, "deploy_templates", body)


async def runbook(place: Place) -> str:
    return await _made(place, "runbooks", {"name": place.name("CUSTOM_R"), "steps": [RUN]})


async def rule(place: Place) -> str:
    return await _made(place, "inspection_rules", {"actions": [ACTION]})


async def _made(place: Place, plural: str, body: Any) -> str:
    return f"{ROOT}/{plural}/{(await place.make(f'{ROOT}/{plural}', body, system=True))['uuid']}"


def extra(home: Callable[[Place], Awaitable[str]]) -> Document:
    return Document(
        home,
        lambda key: ("PATCH", "", patch(f"/extra/{key}", 1)),
        lambda found: found["extra"],
        lambda key: ("PATCH", "", [{"op": "remove", "path": f"/extra/{key}"}]),
        system=True,
        civil=(400, 404, 409),
    )


_DOCUMENTS = ("extra", "properties", "driver_info", "instance_info")


async def _places(place: Place) -> list[str]:
    """Of every document of a node's some."""
    return [f"/{name}/k{place.number()}" for name in _DOCUMENTS for _ in range(10)]


def _within(found: Any) -> list[str]:
    return [f"/{name}/{key}" for name in _DOCUMENTS for key in found[name]]


_COLUMNS = {
    "description": "d",
    "name": "the-name-of-one",
    "resource_class": "r",
    "owner": "o",
    "lessee": "l",
    "shard": "s",
    "automated_clean": True,
    "retired": True,
}


async def _columns(_: Place) -> list[str]:
    return list(_COLUMNS) * 4


def traits(home: Callable[[Place], Awaitable[str]]) -> Document:
    return Document(
        home,
        lambda key: ("PUT", f"/traits/{key}", None),
        lambda found: found["traits"],
        lambda key: ("DELETE", f"/traits/{key}", None),
        where="/traits",
        naming="CUSTOM_{}".format,
        system=True,
    )


# -- parents and children ------------------------------------------------------------------------


def _port(path: str, address: str) -> tuple[str, str, Any]:
    body = {"node_uuid": path.rpartition("/")[2], "address": address}
    return "POST", f"{ROOT}/ports", body


async def _ports_by_node(place: Place) -> Mapping[str, str]:
    found = (await place.get(f"{ROOT}/ports/detail?limit=1000", system=True))["ports"]
    return {one["address"]: f"{NODES}/{one['node_uuid']}" for one in found}


async def groups_and_ports(place: Place) -> Case:
    """Bonds are deleted while ports come into them."""
    home = await node(place)

    async def parent(place: Place) -> str:
        return await _made(place, "portgroups", {"node_uuid": home})

    def child(path: str, address: str) -> tuple[str, str, Any]:
        body = {"node_uuid": home, "address": address, "portgroup_uuid": path.rpartition("/")[2]}
        return "POST", f"{ROOT}/ports", body

    async def children(place: Place) -> Mapping[str, str]:
        found = (await place.get(f"{ROOT}/ports/detail?limit=1000", system=True))["ports"]
        return {one["address"]: f"{ROOT}/portgroups/{one['portgroup_uuid']}" for one in found}

    family = Family(parent, child, children, cascade=False, naming=mac, system=True)
    return await family(place)


def _node_in(path: str, name: str) -> tuple[str, str, Any]:
    body = {"driver": "fake-hardware", "name": name, "chassis_uuid": path.rpartition("/")[2]}
    return "POST", NODES, body


async def _nodes_by_chassis(place: Place) -> Mapping[str, str]:
    path = f"{NODES}?fields=name,chassis_uuid&limit=1000"
    found = (await place.get(path, system=True))["nodes"]
    return {one["name"]: f"{ROOT}/chassis/{one['chassis_uuid']}" for one in found}


def things(plural: str, body: Callable[[str, Any], Any], **more: Any) -> Things:
    """Of this service."""
    name = plural.rpartition("/")[2]
    query = "?limit=1000"
    return Things(f"{ROOT}/{plural}", body, name, ident="uuid", query=query, system=True, **more)


KINDS: dict[str, Kind] = {
    "nodes": things("nodes", lambda name, _: {"driver": "fake-hardware", "name": name}),
    "node claims": claims,
    "node verbs and ends": verbs,
    "node documents": Document(
        node_path,
        lambda key: ("PATCH", "", patch(key, 1)),
        _within,
        lambda key: ("PATCH", "", [{"op": "remove", "path": key}]),
        keys=_places,
        system=True,
        civil=(400, 404, 409),
    ),
    "node columns": Document(
        node_path,
        lambda key: ("PATCH", "", patch(f"/{key}", _COLUMNS[key])),
        lambda found: [name for name, value in _COLUMNS.items() if found[name] == value],
        keys=_columns,
        system=True,
    ),
    "node traits": traits(node_path),
    "node VIFs": vifs,
    "ports": things(
        "ports",
        lambda address, home: {"node_uuid": home, "address": address},
        shown="address",
        home=node,
        naming=mac,
    ),
    "port changes": extra(port),
    "port groups": things(
        "portgroups", lambda name, home: {"node_uuid": home, "name": name}, home=node
    ),
    "port group changes": extra(portgroup),
    "chassis": things(
        "chassis", lambda name, _: {"description": name}, shown="description", unique=False
    ),
    "chassis changes": extra(chassis),
    "volume connectors": things(
        "volume/connectors",
        lambda name, home: {"node_uuid": home, "type": "ip", "connector_id": name},
        shown="connector_id",
        home=off,
    ),
    "volume connector changes": extra(connector),
    "volume targets": things(
        "volume/targets",
        lambda name, home: {
            "node_uuid": home,
            "volume_type": "iscsi",
            "volume_id": name,
            "boot_index": int(name),
        },
        shown="volume_id",
        home=off,
        naming=str,
    ),
    "volume target changes": extra(target),
    "allocations": allocations,
    "allocation names": things(
        "allocations", lambda name, _: {"name": name, "resource_class": "no-such"}
    ),
    "allocation changes": extra(allocation),
    "deploy templates": things(
        "deploy_templates",
        lambda name, _: {"name": name, "steps": [STEP]},
        naming="CUSTOM_T{}".format,
    ),
    "deploy template changes": extra(template),
    "runbooks": things(
        "runbooks", lambda name, _: {"name": name, "steps": [RUN]}, naming="CUSTOM_R{}".format
    ),
    "runbook changes": extra(runbook),
    "runbook traits": traits(runbook),
    "inspection rules": things(
        "inspection_rules",
        lambda name, _: {"description": name, "actions": [ACTION]},
        shown="description",
        unique=False,
    ),
    "inspection rule changes": Document(
        rule,
        lambda key: (
            "PATCH",
            "",
            patch("/actions/-", {**ACTION, "args": {"path": key, "value": 1}}),
        ),
        lambda found: {one["args"]["path"] for one in found["actions"]},
        naming="/extra/k{}".format,
        system=True,
    ),
    "nodes and their ports": Family(
        node_path, _port, _ports_by_node, cascade=True, naming=mac, system=True
    ),
    "port groups and their ports": groups_and_ports,
    "chassis and their nodes": Family(
        chassis, _node_in, _nodes_by_chassis, cascade=False, system=True
    ),
}
