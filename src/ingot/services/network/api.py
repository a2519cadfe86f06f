"""The Networking API v2.0: the table of operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit.api.operations import Authenticator, Call, Operation, Reply, Service
from ingot.kit.faults import Invalid, Kind
from ingot.services.network import quota_store, store
from ingot.services.network.crud import Crud, Resource, check_revision, find, find_for, write
from ingot.services.network.extensions import EXTENSIONS
from ingot.services.network.faults import envelope, missing
from ingot.services.network.resources import (
    GroupResource,
    NetworkResource,
    PortResource,
    RuleResource,
    SubnetResource,
)
from ingot.services.network.schemas import QuotaIn, TagsIn, given, read

if TYPE_CHECKING:
    from ingot.services.network.service import Networks

#: The deepest JSON that a body here needs is a binding profile.
DEPTH = 12
MOST_TAGS = 50

Body = dict[str, Any]


def make_service(nets: Networks, authenticator: Authenticator) -> Service:
    kinds: list[Resource] = [
        NetworkResource(nets),
        SubnetResource(nets),
        PortResource(nets),
        GroupResource(nets),
        RuleResource(nets),
    ]
    operations = [*_discovery(kinds), *_quota_operations(nets), *_other(nets)]
    for kind in kinds:
        operations += _operations(kind)
        if kind.taggable:
            operations += _tag_operations(kind)
    return Service(
        name="network",
        prefix="/network",
        operations=operations,
        envelope=envelope,
        policy=nets.policy,
        authenticator=authenticator,
        depth=DEPTH,
        status={Kind.LIMIT: 409},
    )


def _operations(kind: Resource) -> list[Operation]:
    crud, path, name = Crud(kind), f"/v2.0/{kind.path}", kind.name
    one = path + "/{id}"
    return [
        Operation("GET", path, crud.index, rule="read", title=f"List {kind.plural}"),
        Operation(
            "POST",
            path,
            crud.create,
            rule=f"create_{name}",
            late=True,
            body=Body,
            status=201,
            max_body=4 << 20,
            title=f"Create {kind.plural}",
        ),
        Operation("GET", one, crud.show, rule="read", title=f"Show a {name}"),
        Operation(
            "PUT",
            one,
            crud.update,
            rule=f"update_{name}",
            late=True,
            body=Body,
            title=f"Update a {name}",
        ),
        Operation(
            "DELETE",
            one,
            crud.delete,
            rule=f"delete_{name}",
            late=True,
            status=204,
            title=f"Delete a {name}",
        ),
    ]


# -- discovery -------------------------------------------------------------------------------------


def _discovery(kinds: list[Resource]) -> list[Operation]:
    async def root(call: Call) -> Reply:
        return Reply({"versions": [_version(call)]})

    async def version(call: Call) -> Reply:
        found: list[dict[str, Any]] = [
            {
                "name": kind.name,
                "collection": kind.path,
                "links": [{"rel": "self", "href": f"{call.base_url}/v2.0/{kind.path}"}],
            }
            for kind in kinds
        ]
        return Reply({"resources": found})

    async def extensions(_call: Call) -> Reply:
        return Reply({"extensions": list(EXTENSIONS.values())})

    async def extension(call: Call) -> Reply:
        found = EXTENSIONS.get(call.params["alias"])
        if found is None:
            raise missing("Extension", call.params["alias"])
        return Reply({"extension": found})

    return [
        Operation("GET", "", root, rule=None, title="List versions"),
        Operation("GET", "/v2.0", version, rule=None, title="List resources"),
        Operation("GET", "/v2.0/extensions", extensions, rule="read", title="List extensions"),
        Operation(
            "GET", "/v2.0/extensions/{alias}", extension, rule="read", title="Show an extension"
        ),
    ]


def _version(call: Call) -> dict[str, Any]:
    links = [{"rel": "self", "href": f"{call.base_url}/v2.0/"}]
    return {"id": "v2.0", "status": "CURRENT", "links": links}


# -- tags ------------------------------------------------------------------------------------------


def _tag_operations(kind: Resource) -> list[Operation]:
    nets, path, rule = kind.nets, f"/v2.0/{kind.path}/{{id}}/tags", f"update_{kind.name}"

    async def change(call: Call, new: Callable[[list[str]], list[str]]) -> list[str]:
        def work(conn: sa.Connection) -> list[str]:
            row = find_for(conn, kind, call, call.params["id"])
            call.require(rule, kind.target(conn, row))
            check_revision(call, row.revision_number)
            tags = list(dict.fromkeys(new(list(row.tags))))
            if len(tags) > MOST_TAGS:
                raise Invalid(f"A resource has at most {MOST_TAGS} tags.")
            if tags != list(row.tags):
                store.update(conn, kind.collection, nets.now(), row.id, {"tags": tags})
            return tags

        return await write(nets, work, serializable="update" not in kind.locking)

    async def listing(call: Call) -> Reply:
        row = await nets.db.read(lambda conn: find(conn, kind, call, call.params["id"]))
        return Reply({"tags": list(row.tags)})

    async def has(call: Call) -> Reply:
        row = await nets.db.read(lambda conn: find(conn, kind, call, call.params["id"]))
        if call.params["tag"] not in row.tags:
            raise missing("Tag", call.params["tag"])
        return Reply()

    async def replace(call: Call) -> Reply:
        wanted = read(TagsIn, call.body, "body").tags
        return Reply({"tags": await change(call, lambda _old: wanted)})

    async def add(call: Call) -> Reply:
        tag = read(TagsIn, {"tags": [call.params["tag"]]}, "path").tags[0]
        await change(call, lambda old: [*old, tag])
        return Reply()

    async def remove(call: Call) -> Reply:
        tag = call.params["tag"]

        def without(old: list[str]) -> list[str]:
            if tag not in old:
                raise missing("Tag", tag)
            return [other for other in old if other != tag]

        await change(call, without)
        return Reply()

    async def clear(call: Call) -> Reply:
        await change(call, lambda _old: [])
        return Reply()

    one = path + "/{tag}"
    return [
        Operation("GET", path, listing, rule="read", title="List tags"),
        Operation("PUT", path, replace, rule=rule, late=True, body=Body, title="Replace tags"),
        Operation("DELETE", path, clear, rule=rule, late=True, status=204, title="Remove all tags"),
        Operation("GET", one, has, rule="read", status=204, title="Check a tag"),
        Operation("PUT", one, add, rule=rule, late=True, status=201, title="Add a tag"),
        Operation("DELETE", one, remove, rule=rule, late=True, status=204, title="Remove a tag"),
    ]


# -- quotas ----------------------------------------------------------------------------------------


def _quota_operations(nets: Networks) -> list[Operation]:
    def limits(conn: sa.Connection, project_id: str) -> dict[str, int]:
        return {**nets.settings.quotas, **quota_store.quotas(conn, project_id)}

    def allowed(call: Call) -> str:
        project_id = call.params["id"]
        call.require("get_quota", {"project_id": project_id})
        return project_id

    async def listing(_call: Call) -> Reply:
        def work(conn: sa.Connection) -> list[dict[str, Any]]:
            return [
                {"project_id": id, "tenant_id": id, **limits(conn, id)}
                for id in quota_store.quota_projects(conn)
            ]

        return Reply({"quotas": await nets.db.read(work)})

    async def show(call: Call) -> Reply:
        project_id = allowed(call)
        return Reply({"quota": await nets.db.read(lambda conn: limits(conn, project_id))})

    async def default(call: Call) -> Reply:
        allowed(call)
        return Reply({"quota": dict(nets.settings.quotas)})

    async def details(call: Call) -> Reply:
        project_id = allowed(call)

        def work(conn: sa.Connection) -> dict[str, Any]:
            found, used = limits(conn, project_id), quota_store.used(conn, project_id)
            return {
                name: {"limit": found[name], "used": used[name], "reserved": 0} for name in found
            }

        return Reply({"quota": await nets.db.read(work)})

    async def change(call: Call) -> Reply:
        if set(call.body) != {"quota"}:
            raise Invalid("The body must have 'quota', and nothing else.")
        values = given(read(QuotaIn, call.body["quota"], "quota"))
        force = values.pop("force", None) is True
        values.pop("check_limit", None)
        project_id = call.params["id"]

        def work(conn: sa.Connection) -> dict[str, int]:
            if not force:
                _check_used(conn, project_id, values)
            quota_store.set_quotas(conn, project_id, values)
            return limits(conn, project_id)

        return Reply({"quota": await write(nets, work)})

    async def reset(call: Call) -> Reply:
        await write(nets, lambda conn: quota_store.clear_quotas(conn, call.params["id"]))
        return Reply()

    one = "/v2.0/quotas/{id}"
    return [
        Operation("GET", "/v2.0/quotas", listing, rule="update_quota", title="List quotas"),
        Operation("GET", one, show, rule="get_quota", late=True, title="Show quotas"),
        Operation(
            "GET", one + "/default", default, rule="get_quota", late=True, title="Default quotas"
        ),
        Operation("GET", one + "/details", details, rule="get_quota", late=True, title="Quota use"),
        Operation(
            "GET", one + "/details.json", details, rule="get_quota", late=True, title="Quota use"
        ),
        Operation("PUT", one, change, rule="update_quota", body=Body, title="Set quotas"),
        Operation("DELETE", one, reset, rule="update_quota", status=204, title="Reset quotas"),
    ]


def _check_used(conn: sa.Connection, project_id: str, limits: dict[str, int]) -> None:
    """As upstream since 2025.1: a limit is not set below what is used, unless it is forced."""
    quota_store.count(conn, project_id)
    have = quota_store.used(conn, project_id)
    for name, limit in limits.items():
        if limit >= 0 and have[name] > limit:
            raise Invalid(
                f"Quota limit {limit} for {name} must be greater than or equal to already used {have[name]}",
                next_action="Delete some of them, or set force.",
            )


# -- the rest --------------------------------------------------------------------------------------


def _other(nets: Networks) -> list[Operation]:
    async def zones(_call: Call) -> Reply:
        zone = {"name": "nova", "resource": "network", "state": "available"}
        return Reply({"availability_zones": [zone]})

    def seen(call: Call) -> list[dict[str, Any]]:
        # As upstream: to who may not see them there are none.
        return nets.agents() if call.allows("get_agent") else []

    async def agents(call: Call) -> Reply:
        return Reply({"agents": seen(call)})

    async def agent(call: Call) -> Reply:
        for found in seen(call):
            if found["id"] == call.params["id"]:
                return Reply({"agent": found})
        raise missing("Agent", call.params["id"])

    return [
        Operation("GET", "/v2.0/availability_zones", zones, rule="read", title="List zones"),
        Operation("GET", "/v2.0/agents", agents, rule="read", title="List agents"),
        Operation("GET", "/v2.0/agents/{id}", agent, rule="read", title="Show an agent"),
    ]


__all__ = ["make_service"]
