"""Networks, subnets, ports, security groups and rules, their tags, quotas and addresses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.races.shapes import Document, Family, Things
from tests.races.table import Act, Case, Kind, Place, Seen

ROOT = "/network/v2.0"


async def network(place: Place) -> str:
    """One with a subnet that has many addresses; its id."""
    wire = place.name("w")
    body = {"name": wire, "provider:physical_network": wire}
    made = await place.make(f"{ROOT}/networks", {"network": body})
    subnet = {"network_id": made["id"], "cidr": "10.64.0.0/16", "ip_version": 4}
    await place.make(f"{ROOT}/subnets", {"subnet": subnet})
    return str(made["id"])


async def bare_network(place: Place) -> str:
    wire = place.name("w")
    body = {"name": wire, "provider:physical_network": wire}
    return str((await place.make(f"{ROOT}/networks", {"network": body}))["id"])


async def subnet(place: Place) -> str:
    body = {"network_id": await bare_network(place), "cidr": "10.64.0.0/16", "ip_version": 4}
    return str((await place.make(f"{ROOT}/subnets", {"subnet": body}))["id"])


async def port(place: Place) -> str:
    body = {"network_id": await network(place)}
    return str((await place.make(f"{ROOT}/ports", {"port": body}))["id"])


async def group(place: Place) -> str:
    body = {"name": place.name("g")}
    return str((await place.make(f"{ROOT}/security-groups", {"security_group": body}))["id"])


def at(plural: str, make: Callable[[Place], Awaitable[str]]) -> Callable[[Place], Awaitable[str]]:
    """The path of what is made."""

    async def path(place: Place) -> str:
        return f"{ROOT}/{plural}/{await make(place)}"

    return path


def tags(plural: str, make: Callable[[Place], Awaitable[str]]) -> Document:
    return Document(
        at(plural, make),
        lambda key: ("PUT", f"/tags/{key}", None),
        lambda found: found["tags"],
        lambda key: ("DELETE", f"/tags/{key}", None),
        where="/tags",
    )


# -- things --------------------------------------------------------------------------------------


def _network(name: str, _: Any) -> Any:
    return {"network": {"name": name, "provider:physical_network": name}}


def _cidr(number: int) -> str:
    return f"10.{number >> 8 & 255}.{number & 255}.0/24"


def _subnet(cidr: str, home: str) -> Any:
    return {"subnet": {"network_id": home, "cidr": cidr, "name": cidr, "ip_version": 4}}


def _address(number: int) -> str:
    return f"10.64.{1 + (number >> 8 & 127)}.{number & 255}"


def _port_at(address: str, home: str) -> Any:
    fixed = [{"ip_address": address}]
    return {"port": {"network_id": home, "name": address, "fixed_ips": fixed}}


def mac(number: int) -> str:
    tail = number.to_bytes(4, "big")
    return ":".join(f"{octet:02x}" for octet in (0x52, 0x54, *tail))


def _port_with(address: str, home: str) -> Any:
    return {"port": {"network_id": home, "name": address, "mac_address": address}}


def _rule(number: str, home: str) -> Any:
    rule: dict[str, Any] = {"security_group_id": home, "direction": "ingress", "protocol": "tcp"}
    rule |= {"port_range_min": int(number), "port_range_max": int(number), "description": number}
    return {"security_group_rule": rule}


# -- parents and children ------------------------------------------------------------------------


def _port_of(path: str, name: str) -> tuple[str, str, Any]:
    body = {"port": {"network_id": path.rpartition("/")[2], "name": name}}
    return "POST", f"{ROOT}/ports", body


async def _ports_by_network(place: Place) -> Mapping[str, str]:
    found = (await place.get(f"{ROOT}/ports"))["ports"]
    return {one["name"]: f"{ROOT}/networks/{one['network_id']}" for one in found}


def _subnet_of(path: str, cidr: str) -> tuple[str, str, Any]:
    return "POST", f"{ROOT}/subnets", _subnet(cidr, path.rpartition("/")[2])


async def _subnets_by_network(place: Place) -> Mapping[str, str]:
    found = (await place.get(f"{ROOT}/subnets"))["subnets"]
    return {one["name"]: f"{ROOT}/networks/{one['network_id']}" for one in found}


def _rule_of(path: str, number: str) -> tuple[str, str, Any]:
    return "POST", f"{ROOT}/security-group-rules", _rule(number, path.rpartition("/")[2])


async def _rules_by_group(place: Place) -> Mapping[str, str]:
    found = (await place.get(f"{ROOT}/security-group-rules"))["security_group_rules"]
    root = f"{ROOT}/security-groups"
    return {one["description"]: f"{root}/{one['security_group_id']}" for one in found}


async def ports_and_their_group(place: Place) -> Case:
    """Ports name groups that are deleted: a group in use stays."""
    home = await network(place)

    def child(path: str, name: str) -> tuple[str, str, Any]:
        groups = [path.rpartition("/")[2]]
        return (
            "POST",
            f"{ROOT}/ports",
            {"port": {"network_id": home, "name": name, "security_groups": groups}},
        )

    async def children(place: Place) -> Mapping[str, str]:
        found = (await place.get(f"{ROOT}/ports?network_id={home}"))["ports"]
        root = f"{ROOT}/security-groups"
        return {one["name"]: f"{root}/{one['security_groups'][0]}" for one in found}

    return await Family(at("security-groups", group), child, children, cascade=False)(place)


# -- bounds --------------------------------------------------------------------------------------


async def addresses(place: Place) -> Case:
    """Twice as many ports as a subnet has addresses: each gets its own, the others none."""
    home = await bare_network(place)
    body = {"network_id": home, "cidr": "192.0.2.0/27", "ip_version": 4}
    await place.make(f"{ROOT}/subnets", {"subnet": body})
    names = [place.name("p") for _ in range(max(60, place.size))]
    acts = [
        Act(name, "POST", f"{ROOT}/ports", {"port": {"network_id": home, "name": name}})
        for name in names
    ]

    async def look() -> Seen:
        ports = (await place.get(f"{ROOT}/ports?network_id={home}"))["ports"]
        given = [ip["ip_address"] for one in ports for ip in one["fixed_ips"]]
        alike = given + [one["mac_address"] for one in ports]
        there = [one["name"] for one in ports if one["name"] in set(names)]
        return Seen(there, alike=alike, counts={"addresses": len(given)})

    return Case(acts, look, limits={"addresses": 29})


async def quotas(place: Place) -> Case:
    """Of every kind more than the project may have."""
    project, shared = place.name("p"), await network(place)
    most = {"network": 4, "subnet": 3, "port": 7, "security_group": 3, "security_group_rule": 9}
    await place.change("PUT", f"{ROOT}/quotas/{project}", {"quota": most})
    body: dict[str, Any] = {"name": place.name("g"), "project_id": project}
    own = await place.make(f"{ROOT}/security-groups", {"security_group": body})
    # With it comes the project's default group.
    body = {"network_id": shared, "project_id": project}
    await place.make(f"{ROOT}/ports", {"port": body})
    paths = {kind: f"{ROOT}/{kind.replace('_', '-')}s" for kind in most}
    acts: list[Act] = []
    for _ in range(max(4, place.size // 3)):
        for kind, path in paths.items():
            number = place.number()
            body = {"project_id": project, "description": f"q{number}"}
            if kind in ("subnet", "port"):
                body["network_id"] = shared
            if kind == "subnet":
                body |= {"cidr": _cidr(number), "ip_version": 4}
            if kind == "network":
                body["provider:physical_network"] = f"q{number}"
            if kind == "security_group":
                body["name"] = "g"
            if kind == "security_group_rule":
                body |= _rule(str(number), own["id"])["security_group_rule"]
                body["description"] = f"q{number}"
            acts.append(Act(f"q{number}", "POST", path, {kind: body}))

    async def look() -> Seen:
        there: list[str] = []
        counts: dict[str, int] = {}
        wanted = {act.key for act in acts}
        for kind, path in paths.items():
            found = (await place.get(f"{path}?project_id={project}"))[f"{kind}s"]
            counts[kind] = len(found)
            there += [one["description"] for one in found if one["description"] in wanted]
        return Seen(there, counts=counts)

    return Case(acts, look, limits=most)


async def revisions(place: Place) -> Case:
    """Changes of one revision of a network: one is accepted, and it is what is there."""
    paths = [f"{ROOT}/networks/{await bare_network(place)}" for _ in range(max(2, place.size // 5))]
    acts: list[Act] = []
    for path in paths:
        now = (await place.get(path))["network"]["revision_number"]
        match = {"If-Match": f"revision_number={now}"}
        for _ in range(8):
            name = place.name("d")
            body = {"network": {"description": name}}
            acts.append(Act(name, "PUT", path, body, once=path, headers=match))

    async def look() -> Seen:
        return Seen([(await place.get(path))["network"]["description"] for path in paths])

    return Case(acts, look, civil=(404, 409, 412))


def _limits(field: str) -> tuple[str, str, Any]:
    return "PUT", "", {"quota": {field: 77}}


async def _limits_of(place: Place) -> str:
    return f"{ROOT}/quotas/{place.name('p')}"


async def _limit_fields(_: Place) -> list[str]:
    return ["network", "subnet", "port", "security_group", "security_group_rule"] * 8


KINDS: dict[str, Kind] = {
    "networks": Things(f"{ROOT}/networks", _network, "networks"),
    "subnets": Things(
        f"{ROOT}/subnets",
        _subnet,
        "subnets",
        home=bare_network,
        naming=_cidr,
        civil=(400, 404, 409),
    ),
    "ports by address": Things(f"{ROOT}/ports", _port_at, "ports", home=network, naming=_address),
    "ports by MAC": Things(f"{ROOT}/ports", _port_with, "ports", home=network, naming=mac),
    "ports: a pool's addresses": addresses,
    "security groups": Things(
        f"{ROOT}/security-groups",
        lambda name, _: {"security_group": {"name": name}},
        "security_groups",
        unique=False,
    ),
    "security group rules": Things(
        f"{ROOT}/security-group-rules",
        _rule,
        "security_group_rules",
        shown="description",
        home=group,
        naming=lambda number: str(1 + number % 65535),
    ),
    "network tags": tags("networks", network),
    "subnet tags": tags("subnets", subnet),
    "port tags": tags("ports", port),
    "security group tags": tags("security-groups", group),
    "network revisions": revisions,
    "networks and their ports": Family(
        at("networks", network), _port_of, _ports_by_network, cascade=False
    ),
    "networks and their subnets": Family(
        at("networks", bare_network), _subnet_of, _subnets_by_network, cascade=True, naming=_cidr
    ),
    "security groups and their ports": ports_and_their_group,
    "security groups and their rules": Family(
        at("security-groups", group),
        _rule_of,
        _rules_by_group,
        cascade=True,
        naming=lambda number: str(1 + number % 65535),
    ),
    "network quotas": quotas,
    "network quotas' limits": Document(
        _limits_of,
        _limits,
        lambda found: [name for name, most in found["quota"].items() if most == 77],
        keys=_limit_fields,
    ),
}
