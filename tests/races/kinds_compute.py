"""Servers, their metadata and tags, key pairs, flavors, server groups and quotas."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.races.kinds_metal import available
from tests.races.processes import Cloud
from tests.races.shapes import Document, Things
from tests.races.table import Act, Case, Kind, Place, Seen

ROOT = "/compute/v2.1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFmJKxM2tYq0hZB1aZ2dhXcKBC8ZBKhl3RmeDkyAbO4v"
_RESTING = ("ACTIVE", "SHUTOFF", "ERROR")


async def flavor(place: Place, **more: Any) -> str:
    """Its path."""
    body = {"name": place.name("f"), "ram": 1, "vcpus": 1, "disk": 1, **more}
    return f"{ROOT}/flavors/{(await place.make(f'{ROOT}/flavors', {'flavor': body}))['id']}"


async def private_flavor(place: Place) -> str:
    return await flavor(place, **{"os-flavor-access:is_public": False})


async def order(place: Place, metal: str = "") -> dict[str, Any]:
    """What a server is ordered with. metal: the resource class of its machine; there is none that has no class."""
    chosen = await flavor(place)
    specs = {"extra_specs": {f"resources:CUSTOM_{(metal or 'no_such').upper()}": "1"}}
    await place.change("POST", f"{chosen}/os-extra_specs", specs)
    image = {"name": "i", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    made = await place.make("/image/v2/images", image)
    await place.change("PUT", f"/image/v2/images/{made['id']}/file", b"\0" * 4096)
    wanted = {"imageRef": made["id"], "flavorRef": chosen.rpartition("/")[2]}
    return {"name": "s", "networks": "none", **wanted}


async def server(place: Place) -> str:
    """The path of one that has come to its end for want of a machine."""
    made = await place.make(f"{ROOT}/servers", {"server": await order(place)})
    path = f"{ROOT}/servers/{made['id']}"
    async with asyncio.timeout(60):
        while (await place.get(path))["server"]["status"] != "ERROR":
            await asyncio.sleep(0.1)
    return path


async def tenant(place: Place) -> Cloud:
    """Somebody with a project of their own, which has limits of its own."""
    name = place.name("t")
    domain = {"domain_id": "default"}
    project = await place.make("/identity/v3/projects", {"project": {"name": name, **domain}})
    user = {"name": name, "password": "site-secret", **domain}
    made = await place.make("/identity/v3/users", {"user": user})
    roles = (await place.get("/identity/v3/roles?name=member"))["roles"]
    where = f"/identity/v3/projects/{project['id']}/users/{made['id']}/roles/{roles[0]['id']}"
    await place.change("PUT", where)
    return await place.tenant.enter(name, name)


def _flavor(name: str, _: Any) -> Any:
    return {"flavor": {"name": name, "ram": 1, "vcpus": 1, "disk": 1}}


def _keypair(name: str, _: Any) -> Any:
    return {"keypair": {"name": name, "public_key": KEY, "type": "ssh"}}


def _group(name: str, _: Any) -> Any:
    return {"server_group": {"name": name, "policy": "anti-affinity"}}


async def quotas(place: Place) -> Case:
    """More servers, key pairs, server groups, members of one and metadata than a project may have."""
    who = await tenant(place)
    most = {"instances": 4, "cores": 4, "ram": 4, "key_pairs": 3, "server_groups": 3}
    most |= {"server_group_members": 2, "metadata_items": 5}
    body: Any = {"quota_set": most}
    await place.change("PUT", f"{ROOT}/os-quota-sets/{who.project}", body)
    wanted = await order(place)
    own = Place(place.system, who)
    group = (await own.make(f"{ROOT}/os-server-groups", _group("mine", None)))["id"]
    first = await own.make(f"{ROOT}/servers", {"server": {**wanted, "name": "first"}})
    metadata = f"{ROOT}/servers/{first['id']}/metadata"
    acts: list[Act] = []
    for number in range(max(4, place.size // 3)):
        name = f"q{number}"
        body = {"server": {**wanted, "name": f"s{name}"}}
        hints = {"os:scheduler_hints": {"group": group}}
        acts += [
            Act(f"s{name}", "POST", f"{ROOT}/servers", body | (hints if number % 2 else {})),
            Act(f"k{name}", "POST", f"{ROOT}/os-keypairs", _keypair(f"k{name}", None)),
            Act(f"g{name}", "POST", f"{ROOT}/os-server-groups", _group(f"g{name}", None)),
            Act(f"m{name}", "POST", metadata, {"metadata": {f"m{name}": "v"}}),
        ]

    async def look() -> Seen:
        servers = (await own.get(f"{ROOT}/servers/detail"))["servers"]
        pairs = [p["keypair"]["name"] for p in (await own.get(f"{ROOT}/os-keypairs"))["keypairs"]]
        groups = (await own.get(f"{ROOT}/os-server-groups"))["server_groups"]
        items = (await own.get(metadata))["metadata"]
        names = [one["name"] for one in servers]
        counts = {"instances": len(names), "key_pairs": len(pairs), "server_groups": len(groups)}
        counts["server_group_members"] = len(next(g for g in groups if g["id"] == group)["members"])
        counts |= {"metadata_items": len(items), "cores": len(names), "ram": len(names)}
        wanted = {act.key for act in acts}
        there = [*names, *pairs, *(one["name"] for one in groups), *items]
        moving = [one["id"] for one in servers if one["status"] not in _RESTING]
        return Seen([one for one in there if one in wanted], counts=counts, stuck=moving)

    return Case([_of(who, act) for act in acts], look, limits=most, civil=(403, 404, 409))


def _of(who: Cloud, act: Act) -> Act:
    """The same, asked by somebody else."""
    return Act(act.key, act.method, act.path, act.body, headers={"X-Auth-Token": who.token})


async def deletions(place: Place) -> Case:
    """Running servers are deleted while others stop, reboot, rebuild and name them."""
    machines = f"m{place.number()}"
    count = max(2, place.size // 8)
    await asyncio.gather(*(available(place, machines) for _ in range(count)))
    wanted = await order(place, machines)
    made = [
        await place.make(f"{ROOT}/servers", {"server": {**wanted, "name": machines}})
        for _ in range(count)
    ]
    ids = {one["id"] for one in made}
    mine = f"{ROOT}/servers/detail?name={machines}"

    async def servers() -> list[Any]:
        return (await place.get(mine))["servers"]

    async with asyncio.timeout(120):
        while any(one["status"] == "BUILD" for one in await servers()):
            await asyncio.sleep(0.2)
    assert {one["status"] for one in await servers()} == {"ACTIVE"}, await servers()
    acts: list[Act] = []
    others: tuple[Any, ...] = (
        {"reboot": {"type": "HARD"}},
        {"os-stop": None},
        {"rebuild": {"imageRef": wanted["imageRef"]}},
    )
    for one in ids:
        path = f"{ROOT}/servers/{one}"
        end = Act(one, "DELETE", path, gone=True)
        tag = Act("", "PUT", f"{path}/tags/x")
        for body in others:
            acts += [Act("", "POST", f"{path}/action", body), tag]
            acts += [end] if body is not others[0] else []

    async def look() -> Seen:
        found = await servers()
        left = [
            f"{one['id']}: {one['status']} {one['OS-EXT-STS:task_state']}"
            for one in found
            if one["OS-EXT-STS:task_state"] or one["status"] not in _RESTING
        ]
        return Seen([one["id"] for one in found], stuck=left)

    return Case(acts, look, before=ids)


async def _limit_fields(_: Place) -> list[str]:
    names = ["instances", "cores", "ram", "key_pairs", "metadata_items", "server_groups"]
    return names * 7


async def _limits_of(place: Place) -> str:
    return f"{ROOT}/os-quota-sets/{place.name('p')}"


KINDS: dict[str, Kind] = {
    "servers: ends among other acts": deletions,
    "server metadata": Document(
        server,
        lambda key: ("POST", "/metadata", {"metadata": {key: "v"}}),
        lambda found: found["metadata"],
        lambda key: ("DELETE", f"/metadata/{key}", None),
        where="/metadata",
    ),
    "server tags": Document(
        server,
        lambda key: ("PUT", f"/tags/{key}", None),
        lambda found: found["tags"],
        lambda key: ("DELETE", f"/tags/{key}", None),
        where="/tags",
    ),
    "key pairs": Things(
        f"{ROOT}/os-keypairs",
        _keypair,
        "keypairs",
        shown="keypair.name",
        ident="keypair.name",
    ),
    "server groups": Things(f"{ROOT}/os-server-groups", _group, "server_groups", unique=False),
    "flavors": Things(f"{ROOT}/flavors", _flavor, "flavors"),
    "extra specs": Document(
        flavor,
        lambda key: ("POST", "/os-extra_specs", {"extra_specs": {key: "v"}}),
        lambda found: found["extra_specs"],
        lambda key: ("DELETE", f"/os-extra_specs/{key}", None),
        where="/os-extra_specs",
    ),
    "flavor access": Document(
        private_flavor,
        lambda key: ("POST", "/action", {"addTenantAccess": {"tenant": key}}),
        lambda found: [one["tenant_id"] for one in found["flavor_access"]],
        lambda key: ("POST", "/action", {"removeTenantAccess": {"tenant": key}}),
        where="/os-flavor-access",
    ),
    "compute quotas": quotas,
    "compute quotas' limits": Document(
        _limits_of,
        lambda field: ("PUT", "", {"quota_set": {field: 77}}),
        lambda found: [name for name, most in found["quota_set"].items() if most == 77],
        keys=_limit_fields,
    ),
}
