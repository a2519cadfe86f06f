"""The Networking API v2.0: the table of operations."""

from __future__ import annotations

from typing import Any

from ingot.kit.api.crud import operations
from ingot.kit.api.operations import Authenticator, Call, Operation, Reply, Service
from ingot.kit.api.resource import Resource
from ingot.kit.db.tx import Transactions
from ingot.kit.faults import Kind
from ingot.services.network.api.networks import networks
from ingot.services.network.api.ports import ports
from ingot.services.network.api.quotas import quota_operations
from ingot.services.network.api.security_groups import security_group_rules, security_groups
from ingot.services.network.api.subnets import subnets
from ingot.services.network.extensions import EXTENSIONS
from ingot.services.network.faults import envelope, missing
from ingot.services.network.service import Networks

#: The deepest JSON that a body here needs is a binding profile.
DEPTH = 12


def resources(nets: Networks) -> list[Resource]:
    """All that this API keeps by the common manners."""
    nets_, rules = networks(nets), security_group_rules(nets)
    return [nets_, subnets(nets, nets_), ports(nets, nets_), security_groups(nets, rules), rules]


def make_service(nets: Networks, authenticator: Authenticator) -> Service:
    kinds, transactions = resources(nets), Transactions(nets.db, nets.clock)
    made = [*_discovery(kinds), *quota_operations(nets, transactions), *_other(nets)]
    for kind in kinds:
        made += operations(kind, transactions)
    return Service(
        name="network",
        prefix="/network",
        operations=made,
        envelope=envelope,
        policy=nets.policy,
        authenticator=authenticator,
        depth=DEPTH,
        status={Kind.LIMIT: 409},
    )


# -- discovery -------------------------------------------------------------------------------------


def _discovery(kinds: list[Resource]) -> list[Operation]:
    async def root(call: Call) -> Reply:
        return Reply({"versions": [_version(call)]})

    async def version(call: Call) -> Reply:
        found: list[dict[str, Any]] = [
            {
                "name": kind.name,
                "collection": kind.collection[1:],
                "links": [{"rel": "self", "href": f"{call.base_url}/v2.0/{kind.collection[1:]}"}],
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
