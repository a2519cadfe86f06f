"""Rights as a table: every operation of every service, asked by everybody, of what is theirs, another's and nobody's.

`python -m tests.house.rights` writes `rights.txt`; a test compares it. For each persona three signs: own, foreign,
missing.

    +  done     ~  may, but not so (body, state)     x  403     n  404     -  401     !  5xx     .  nothing is named

Below the operations: what is asked by query, by a share, as a websocket (an authentication token is no ticket to a
console), without an end. To the provisioning listener nobody's token means anything.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.app.build import build
from ingot.app.cloud import Cloud
from ingot.kit.api.operations import Operation, Service
from ingot.kit.db.database import metadata
from ingot.services.compute.tables import servers
from ingot.services.identity.login import log_in
from ingot.services.identity.schemas import (
    Auth,
    AuthIdentity,
    Named,
    NamedIn,
    PasswordMethod,
    PasswordUser,
    ScopeBody,
    SystemScope,
)
from ingot.settings import load
from ingot.workflow.tables import operations

from .asgi import ask, enter
from .rights_bodies import BODIES, KEY, MORE

TABLE = Path(__file__).with_name("rights.txt")
SECRET = "rights-secret"
MISSING = "0123456789abcdef0123456789abcdef"
MISSING_UUID = KEY
MISSING_MAC = "02:00:00:00:0f:0f"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0m8jz5GkzqqOqGPHoBGDXDPLGXTJYmCN3Xj1xYkYwS x"
#: The newest microversion of each service that has them.
_NEWEST = {
    "baremetal": "baremetal 1.90",
    "compute": "compute 2.90",
    "provisioning": "baremetal 1.90",
}


@dataclass
class Side:
    """One tenant: ids by collection, tokens by persona."""

    name: str
    ids: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class World:
    cloud: Cloud
    web: Any
    boot: Any
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    sides: dict[str, Side] = field(default_factory=dict[str, Side])
    _rows: dict[sa.Table, list[dict[str, Any]]] = field(
        default_factory=dict[sa.Table, list[dict[str, Any]]]
    )

    async def call(
        self, method: str, path: str, who: str, body: Any = None, service: str = ""
    ) -> tuple[int, Any]:
        token = {"bad": "gAAAAABnot-a-token", "none": ""}.get(who) or self.tokens.get(who, "")
        headers = {"content-type": "application/json"}
        if method == "PATCH" and service == "image":
            headers["content-type"] = "application/openstack-images-v2.1-json-patch"
        headers |= {"X-Auth-Token": token} if token else {}
        if service in _NEWEST:
            headers["OpenStack-API-Version"] = _NEWEST[service]
        data = body if isinstance(body, bytes) else b""
        if isinstance(body, bytes):
            headers["content-type"] = "application/octet-stream"
        elif body is not None:
            data = msgspec.json.encode(body)
        headers["content-length"] = str(len(data))
        if method == "CONNECT":
            return await asyncio.wait_for(enter(self.web.asgi, path, headers), 20), None
        web = self.boot if service == "provisioning" else self.web
        status, text = await asyncio.wait_for(ask(web.asgi, method, path, headers, data), 20)
        try:
            return status, msgspec.json.decode(text) if text else None
        except msgspec.DecodeError:
            return status, None

    async def made(self, path: str, who: str, body: Any, service: str = "") -> Any:
        status, answer = await self.call("POST", path, who, body, service)
        assert status in (200, 201, 202), (path, status, answer)
        return answer

    async def enter(self, name: str, user_id: str, scope: ScopeBody | None) -> None:
        shown = PasswordUser(id=user_id, password=SECRET)
        identity = AuthIdentity(["password"], password=PasswordMethod(shown))
        self.tokens[name], _ = await log_in(self.cloud.identity, Auth(identity, scope))

    async def keep(self) -> None:
        def rows(conn: sa.Connection) -> dict[sa.Table, list[dict[str, Any]]]:
            return {
                table: [dict(row) for row in conn.execute(sa.select(table)).mappings()]
                for table in metadata.sorted_tables
                if not table.name.startswith("test_")
            }

        self._rows = await self.cloud.db.read(rows)

    async def restore(self) -> None:
        def put_back(conn: sa.Connection) -> None:
            conn.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
            for table, rows in self._rows.items():
                now = [dict(row) for row in conn.execute(sa.select(table)).mappings()]
                if now != rows:
                    conn.execute(sa.delete(table))
                    if rows:
                        conn.execute(sa.insert(table), rows)

        await self.cloud.db.write(put_back)
        # The epoch went back, which it never does outside of tests.
        own: Any = self.cloud.identity
        own._cache.clear()
        own._book = (-1, own._book[1])
        own._seen_epoch = (0, float("-inf"))


async def furnish(world: World) -> None:
    """Two tenants with one of everything."""
    made = await world.cloud.identity.bootstrap(SECRET)
    await world.enter(
        "admin", made.admin_user_id, ScopeBody(project=NamedIn(made.admin_project_id))
    )
    v3 = "/identity/v3"
    listed = (await world.call("GET", f"{v3}/roles", "admin"))[1]["roles"]
    roles = {role["name"]: role["id"] for role in listed}

    async def new(plural: str, **fields: Any) -> str:
        kind = plural[:-1]
        return (await world.made(f"{v3}/{plural}", "admin", {kind: fields}))[kind]["id"]

    async def user(name: str, domain: str, role: str, place: str) -> str:
        key = await new("users", name=name, domain_id=domain, password=SECRET)
        if role:
            path = f"{v3}{place}/users/{key}/roles/{roles[role]}"
            assert (await world.call("PUT", path, "admin"))[0] == 204
        return key

    key = await user("sys-admin", "default", "admin", "/system")
    await world.enter("s.admin", key, ScopeBody(system=SystemScope(True)))
    key = await user("sys-reader", "default", "reader", "/system")
    await world.enter("s.reader", key, ScopeBody(system=SystemScope(True)))
    region = (await world.call("GET", f"{v3}/regions", "admin"))[1]["regions"][0]["id"]
    service = await new("services", type="outside")
    endpoint = await new(
        "endpoints", service_id=service, interface="public", url="http://x.example"
    )
    registered: dict[str, Any] = {"service_id": service, "default_limit": 1}
    path = f"{v3}/registered_limits"
    both = [{**registered, "resource_name": name} for name in ("thing", "more")]
    made_limits = await world.made(path, "admin", {"registered_limits": both})
    registered_id = made_limits["registered_limits"][0]["id"]
    for name in ("A", "B"):
        side = world.sides[name] = Side(name)
        ids = side.ids
        ids |= {"regions": region, "services": service, "endpoints": endpoint}
        ids["roles"] = roles["reader"]
        ids["domains"] = domain = await new("domains", name=f"d{name}")
        ids["projects"] = project = await new("projects", name=f"p{name}", domain_id=domain)
        ids["registered_limits"] = registered_id
        ids |= {"config": "ldap", "option": "url"}
        await _filters(world, domain, project, ids)
        limit = {"service_id": service, "resource_name": "thing", "resource_limit": 1}
        limit["project_id"] = project
        made_limits = await world.made(f"{v3}/limits", "admin", {"limits": [limit]})
        ids["limits"] = made_limits["limits"][0]["id"]
        ids["users"] = await user(f"u{name}", domain, "member", f"/projects/{project}")
        ids["groups"] = await new("groups", name=f"g{name}", domain_id=domain)
        for role in ("admin", "manager", "member", "reader", "service"):
            key = await user(f"{name}.{role}", domain, role, f"/projects/{project}")
            await world.enter(f"{name}.{role}", key, ScopeBody(project=NamedIn(project)))
            ids[role] = key
        for role in ("admin", "manager", "member", "reader"):
            key = await user(f"{name}d.{role}", domain, role, f"/domains/{domain}")
            await world.enter(f"{name}d.{role}", key, ScopeBody(domain=Named(domain)))
        await world.enter("unscoped", ids["users"], None)
        ids["public_key"] = PUBLIC_KEY
        await _things(world, side)
    await _between(world)
    await world.keep()


async def _filters(world: World, domain: str, project: str, ids: dict[str, str]) -> None:
    """A domain with an option, a project with an endpoint and an endpoint group."""
    base = "/identity/v3/OS-EP-FILTER"
    group = {"name": "eg", "filters": {"interface": "public"}}
    made = await world.made(f"{base}/endpoint_groups", "admin", {"endpoint_group": group})
    ids["endpoint_groups"] = made["endpoint_group"]["id"]
    for path, body in (
        (f"/identity/v3/domains/{domain}/config", {"config": {"ldap": {"url": "u"}}}),
        (f"{base}/projects/{project}/endpoints/{ids['endpoints']}", None),
        (f"{base}/endpoint_groups/{ids['endpoint_groups']}/projects/{project}", None),
    ):
        assert (await world.call("PUT", path, "admin", body))[0] in (201, 204), path


async def _between(world: World) -> None:
    """What both tenants have to be there for: each shares an image with the other; both have a server that runs."""
    for side, other in ((world.sides["A"], world.sides["B"]), (world.sides["B"], world.sides["A"])):
        who, member = f"{side.name}.member", {"member": other.ids["projects"]}
        path = f"/image/v2/images/{side.ids['shares']}/members"
        await world.made(path, who, member)
        side.ids["sharer"] = other.ids["projects"]
        server = {"name": "s", "flavorRef": "f1", "imageRef": side.ids["images"]}
        server |= {"networks": [{"uuid": side.ids["networks"]}]}
        made = await world.made("/compute/v2.1/servers", who, {"server": server}, "compute")
        side.ids["servers"] = made["server"]["id"]
    await world.cloud.db.write(_running)


def _running(conn: sa.Connection) -> None:
    """As if the work of all that was ordered were done."""
    conn.execute(sa.update(operations).values(state="done", ended_at="2026-01-01T00:00:00Z"))
    conn.execute(sa.update(servers).values(vm_state="active", task_state=None, power_state=1))


_STEP = {"interface": "bios", "step": "factory_reset", "args": {}, "priority": 1}


async def _things(world: World, side: Side) -> None:
    ids, who, n = side.ids, f"{side.name}.member", "AB".index(side.name) + 1
    project = ids["projects"]
    trust = {"trustor_user_id": ids["member"], "trustee_user_id": ids["reader"]}
    trust |= {"project_id": project, "impersonation": True, "roles": [{"id": ids["roles"]}]}
    made = await world.made("/identity/v3/OS-TRUST/trusts", who, {"trust": trust})
    ids["trusts"] = made["trust"]["id"]
    credential = {"type": "totp", "blob": "b", "user_id": ids["member"]}
    made = await world.made("/identity/v3/credentials", who, {"credential": credential})
    ids["credentials"] = made["credential"]["id"]
    image = {"name": f"i{side.name}", "disk_format": "raw", "container_format": "bare"}
    for kind in ("images", "shares"):
        ids[kind] = (await world.made("/image/v2/images", who, image))["id"]
        path = f"/image/v2/images/{ids[kind]}/file"
        assert (await world.call("PUT", path, who, b"octets"))[0] == 204
    net = {"name": f"n{side.name}", "project_id": project, "provider:network_type": "flat"}
    net["provider:physical_network"] = f"physnet{n}"
    ids["networks"] = (await world.made("/network/v2.0/networks", "admin", {"network": net}))[
        "network"
    ]["id"]
    subnet = {"network_id": ids["networks"], "ip_version": 4, "cidr": f"10.{n}.0.0/24"}
    subnet["project_id"] = project
    ids["subnets"] = (await world.made("/network/v2.0/subnets", "admin", {"subnet": subnet}))[
        "subnet"
    ]["id"]
    port = {"network_id": ids["networks"]}
    ids["ports"] = (await world.made("/network/v2.0/ports", who, {"port": port}))["port"]["id"]
    group = await world.made(
        "/network/v2.0/security-groups", who, {"security_group": {"name": "x"}}
    )
    ids["security-groups"] = group["security_group"]["id"]
    ids["security-group-rules"] = group["security_group"]["security_group_rules"][0]["id"]
    bm = "/baremetal/v1"
    chassis = (await world.made(f"{bm}/chassis", "s.admin", {}, "baremetal"))["uuid"]
    ids["baremetal/chassis"] = chassis
    node = {"driver": "fake-hardware", "name": f"node-{side.name}".lower(), "owner": project}
    node["chassis_uuid"] = chassis
    ids["nodes"] = (await world.made(f"{bm}/nodes", "s.admin", node, "baremetal"))["uuid"]
    place = {"node_uuid": ids["nodes"]}
    ids |= {"drivers": "fake-hardware", "schemas": "image", "indicators": "led@system"}
    ids["provisioning/boot"] = f"02:00:00:00:00:0{n}"
    for plural, body in (
        ("ports", {"address": f"02:00:00:00:00:0{n}", **place}),
        ("portgroups", {"address": f"02:00:00:00:01:0{n}", **place}),
        ("volume/connectors", {"type": "iqn", "connector_id": f"iqn.{n}", **place}),
        ("volume/targets", {"volume_type": "iscsi", "volume_id": "v", "boot_index": 0, **place}),
        ("deploy_templates", {"name": f"CUSTOM_{side.name}", "steps": [_STEP]}),
    ):
        made = await world.made(f"{bm}/{plural}", "s.admin", body, "baremetal")
        ids[f"baremetal/{plural}"] = made["uuid"]
    ids["flavors"] = "f1"
    if side.name == "A":
        flavor = {"name": "f", "id": "f1", "ram": 1, "vcpus": 1, "disk": 1}
        await world.made("/compute/v2.1/flavors", "admin", {"flavor": flavor}, "compute")
    key = {"name": f"key{side.name}", "type": "ssh", "public_key": PUBLIC_KEY}
    await world.made("/compute/v2.1/os-keypairs", who, {"keypair": key}, "compute")
    ids["os-keypairs"] = key["name"]
    policy = {"name": "sg", "policies": ["affinity"]}
    made = await world.made(
        "/compute/v2.1/os-server-groups", who, {"server_group": policy}, "compute-old"
    )
    ids["os-server-groups"] = made["server_group"]["id"]


#: Ids of what has several names on the way: the word before a parameter, by service.
_PARAMETERS = {"user_id": "users", "group_id": "groups", "project_id": "projects"}
_PARAMETERS |= {"group": "config", "option": "option"}
_PARAMETERS |= {"domain_id": "domains", "role_id": "roles", "implied_id": "roles"}


def address(service: Service, path: str, ids: dict[str, str] | None) -> str:
    """The path with this side's ids in it; with ids of nothing for None."""
    found: list[str] = []
    parts = path.split("/")
    for at, part in enumerate(parts):
        name = re.fullmatch(r"\{(.*)\}", part)
        if name is None:
            found.append(part)
            continue
        before = _PARAMETERS.get(name.group(1), parts[at - 1])
        if name.group(1) == "mac" and ids is None:
            found.append(MISSING_MAC)
            continue
        if parts[at - 2 : at - 1] == ["volume"]:
            before = f"volume/{before}"
        absent = MISSING if service.name == "identity" else MISSING_UUID
        known = ids or {}
        found.append(known.get(f"{service.name}/{before}", known.get(before, absent)))
    return service.prefix + "/".join(found)


def fill(body: Any, ids: dict[str, str], absent: str) -> Any:
    """A body or path with this side's ids for what its braces name."""
    if isinstance(body, dict):
        return {key: fill(value, ids, absent) for key, value in body.items()}
    if isinstance(body, list):
        return [fill(value, ids, absent) for value in body]
    if isinstance(body, str):
        return re.sub(r"\{([\w/-]+)\}", lambda found: ids.get(found[1], absent), body)
    return body


def sign(status: int) -> str:
    if status >= 500 and status != 501:
        return "!"
    if status < 400:
        return "+"
    return {401: "-", 403: "x", 404: "n"}.get(status, "~")


PERSONAS = (
    "admin", "s.admin", "s.reader", "A.admin", "A.manager", "A.member", "A.reader", "A.service",
    "Ad.admin", "Ad.manager", "Ad.member", "Ad.reader", "B.admin", "B.manager", "B.member", "B.reader",
    "B.service", "Bd.admin", "Bd.manager", "Bd.member", "Bd.reader", "unscoped", "bad", "none",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One row to be asked: the path may name things, or is filled by what stands before a parameter."""

    service: Service | None
    method: str
    path: str
    body: Any = None

    def names(self) -> bool:
        """Whether it names a thing that is somebody's."""
        return "{" in self.path

    def target(self, ids: dict[str, str] | None) -> str:
        if self.service is None:
            return fill(self.path, ids or {"provisioning/boot": MISSING_MAC}, MISSING_UUID)
        return address(self.service, self.path, ids)


async def cell(world: World, asked: Asked, name: str, who: str) -> str:
    """Own, foreign, missing."""
    mine = "B" if who.startswith("B") or who == "unscoped" else "A"
    other = "A" if mine == "B" else "B"
    signs = ""
    for ids in (world.sides[mine].ids, world.sides[other].ids, None):
        if ids is None and not asked.names():
            signs += "."
            continue
        absent = MISSING if name == "identity" else MISSING_UUID
        body = fill(asked.body, {"public_key": PUBLIC_KEY, **(ids or {})}, absent)
        status, _ = await world.call(asked.method, asked.target(ids), who, body, name)
        signs += sign(status)
        if status < 400 and asked.method not in ("GET", "HEAD", "CONNECT"):
            await world.restore()
    return signs


#: Lists whose things have a page of their own: service, path, key in the reply (an envelope of the show too).
_LISTS = (
    ("identity", "/identity/v3/users", "users", "users"),
    ("identity", "/identity/v3/groups", "groups", "groups"),
    ("identity", "/identity/v3/projects", "projects", "projects"),
    ("image", "/image/v2/images", "images", "images"),
    ("network", "/network/v2.0/networks", "networks", "networks"),
    ("network", "/network/v2.0/subnets", "subnets", "subnets"),
    ("network", "/network/v2.0/ports", "ports", "ports"),
    ("network", "/network/v2.0/security-groups", "security_groups", "security-groups"),
    ("network", "/network/v2.0/security-group-rules", "security_group_rules", "security-group-rules"),
    ("baremetal", "/baremetal/v1/nodes", "nodes", "nodes"),
    ("baremetal", "/baremetal/v1/ports", "ports", "baremetal/ports"),
    ("baremetal", "/baremetal/v1/portgroups", "portgroups", "baremetal/portgroups"),
    ("baremetal", "/baremetal/v1/chassis", "chassis", "baremetal/chassis"),
    ("baremetal", "/baremetal/v1/volume/connectors", "connectors", "baremetal/volume/connectors"),
    ("baremetal", "/baremetal/v1/volume/targets", "targets", "baremetal/volume/targets"),
    ("baremetal", "/baremetal/v1/deploy_templates", "deploy_templates", "baremetal/deploy_templates"),
    ("compute", "/compute/v2.1/servers", "servers", "servers"),
    ("compute", "/compute/v2.1/os-server-groups", "server_groups", "os-server-groups"),
    ("compute", "/compute/v2.1/flavors", "flavors", "flavors"),
)  # fmt: skip


async def disagreements(world: World) -> list[str]:
    """Where a persona's list does not have exactly those of the two tenants' that its show answers."""
    found: list[str] = []
    for service, path, key, kind in _LISTS:
        both = {side.ids[kind]: name for name, side in world.sides.items()}
        for who in PERSONAS:
            # Administrators have to ask for the groups and servers of others, as upstream has it.
            own_only = kind in ("os-server-groups", "servers") and "admin" in who
            # Upstream lists of identity are those of the domain that the token is for; its role admin shows all.
            own_only |= service == "identity" and who.endswith("d.admin")
            status, body = await world.call("GET", path, who, service=service)
            if status != 200 or own_only:
                continue
            listed = {item.get("id") or item.get("uuid") for item in body[key]} & set(both)
            shown = {
                one
                for one in both
                if (await world.call("GET", f"{path}/{one}", who, service=service))[0] == 200
            }
            if listed != shown:
                told = [sorted(both[one] for one in some) for some in (listed, shown)]
                found.append(f"{service} {path} {who}: lists {told[0]}, shows {told[1]}")
    return found


async def table(world: World) -> list[str]:
    cells: dict[str, str] = {}
    for service in (*world.web.services, *world.boot.services):
        if service.name == "house":
            continue
        ordered = sorted(service.operations, key=lambda row: (row.path, row.method, row.since))
        for row in ordered:
            if not _there(service, row) or row.path.endswith("/stream"):
                continue
            body = BODIES.get((service.name, row.method, row.path))
            if body is None and row.body is not None:
                body = {}
            asked = Asked(service, row.method, row.path, body)
            cells[f"{service.name} {row.method} {row.path}"] = await _row(
                world, asked, service.name
            )
    for name, method, path, body in MORE:
        verb = next(iter(body)) if path.endswith("/action") else ""
        shown = f"{path}#{verb}" if verb else path
        cells[f"{name} {method} {shown}"] = await _row(world, Asked(None, method, path, body), name)
    width = max(map(len, cells))
    return [f"{name:<{width}}  {signs}" for name, signs in cells.items()]


async def _row(world: World, asked: Asked, name: str) -> str:
    return " ".join([await cell(world, asked, name, who) for who in PERSONAS])


def _there(service: Service, operation: Operation) -> bool:
    minor = 90 if service.name in _NEWEST else 0
    return operation.since <= minor and (operation.until is None or operation.until >= minor)


async def render(folder: Path) -> str:
    settings = load(None, {}, state=str(folder), roles=["api"])
    settings.identity.password_cost = 10
    settings.identity.admin_password = SECRET
    settings.provisioning.listen = "127.0.0.1:1"  # named, not bound
    cloud = build(settings)
    await cloud.open()
    try:
        world = World(cloud, cloud.listeners.api(), cloud.listeners.boot())
        await furnish(world)
        body = await table(world)
        apart = await disagreements(world)
    finally:
        await cloud.close()
    head = (__doc__ or "").split("\n\n", 1)[1].rstrip().splitlines()
    text = [f"# {line}".rstrip() for line in head]
    lists = ["", "# Lists that do not have exactly what their show answers:", "", *apart]
    names = f"# personas: {' '.join(PERSONAS)}"
    return "\n".join([*text, "#", names, "", *body, *lists]) + "\n"


@dataclass(frozen=True)
class Row:
    """One operation as the table has it."""

    name: str
    cells: dict[str, str]


def rows(text: str) -> list[Row]:
    found: list[Row] = []
    for line in text.split("# Lists", 1)[0].splitlines():
        if line and not line.startswith("#"):
            parts = line.split()
            found.append(
                Row(
                    " ".join(parts[: -len(PERSONAS)]),
                    dict(zip(PERSONAS, parts[-len(PERSONAS) :], strict=True)),
                )
            )
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        TABLE.write_text(asyncio.run(render(Path(folder))))


if __name__ == "__main__":
    main()
