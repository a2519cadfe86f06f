"""OS-EP-FILTER: which endpoints the catalogue of a project's tokens has.

A project without any endpoint or endpoint group of its own sees all, as with Keystone's defaults. An endpoint group
is a filter (service_id, region_id, interface) that endpoints meet or not at the time of asking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingot.kit.api.crud import operations as crud_operations
from ingot.kit.api.fields import MAY, MUST, Field, LongText, Name
from ingot.kit.api.fields import Row as ApiRow
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.api.resource import Hooks, Resource, Values
from ingot.kit.api.styles import KEYSTONE
from ingot.kit.db.tx import Tx
from ingot.kit.faults import Invalid, Missing
from ingot.services.identity import endpoint_store, store, tables
from ingot.services.identity.api.catalogue import all_endpoints, endpoint_body
from ingot.services.identity.api.common import Row, guarded, listing
from ingot.services.identity.api.projects import project_body
from ingot.services.identity.catalogue import meets

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

_FILTERS = frozenset({"service_id", "region_id", "interface"})


def operations(identity: Identity, prefix: str) -> list[Operation]:
    api = _Filters(identity, prefix)
    base = "/v3/OS-EP-FILTER"
    pair = f"{base}/projects/{{project_id}}/endpoints/{{endpoint_id}}"
    groups = f"{base}/endpoint_groups/{{endpoint_group_id}}"
    member = f"{groups}/projects/{{project_id}}"
    rows = (
        ("PUT", pair, api.add, "add_endpoint_to_project", 204),
        ("GET", pair, api.check, "check_endpoint_in_project", 204),
        ("DELETE", pair, api.remove, "remove_endpoint_from_project", 204),
        ("GET", f"{base}/projects/{{project_id}}/endpoints", api.of_project, "list_endpoints_for_project", 200),
        ("GET", f"{base}/endpoints/{{endpoint_id}}/projects", api.of_endpoint, "list_projects_for_endpoint", 200),
        ("GET", f"{groups}/endpoints", api.of_group, "list_endpoints_associated_with_endpoint_group", 200),
        ("GET", f"{groups}/projects", api.projects_of_group, "list_projects_associated_with_endpoint_group", 200),
        ("GET", f"{base}/projects/{{project_id}}/endpoint_groups", api.groups_of_project,
         "list_endpoint_groups_for_project", 200),
        ("PUT", member, api.add_group, "add_endpoint_group_to_project", 204),
        ("GET", member, api.check_group, "get_endpoint_group_in_project", 200),
        ("DELETE", member, api.remove_group, "remove_endpoint_group_from_project", 204),
    )  # fmt: skip
    own = [guarded(verb, path, run, rule, status) for verb, path, run, rule, status in rows]
    return [*crud_operations(endpoint_groups(), identity.transactions), *own]


def endpoint_groups() -> Resource:
    def validate(_tx: Tx, _call: Call, values: Values, _row: ApiRow | None) -> Values:
        unknown = set(values.get("filters", ())) - _FILTERS
        if unknown:
            raise Invalid(
                f"Endpoint groups filter by {', '.join(sorted(_FILTERS))}, not by {sorted(unknown)}."
            )
        return values

    return Resource(
        name="endpoint_group",
        plural="endpoint_groups",
        path="OS-EP-FILTER/endpoint_groups",
        table=tables.endpoint_groups,
        style=KEYSTONE,
        owner="",
        fields=(
            Field("name", Name, create=MUST, update=True, filter="equal"),
            Field("description", LongText, create=MAY, update=True, nullable=True),
            Field("filters", dict[str, str], create=MUST, update=True),
        ),
        hooks=Hooks(validate=validate),
    )


def _group_body(row: Row, base_url: str) -> Row:
    body = {name: row[name] for name in ("id", "name", "description", "filters")}
    url = f"{base_url}/v3/OS-EP-FILTER/endpoint_groups/{row['id']}"
    return {**body, "links": {"self": url}}


class _Filters:
    def __init__(self, identity: Identity, prefix: str) -> None:
        self._identity, self._prefix = identity, prefix

    def _endpoints(self, call: Call, conn: sa.Connection) -> list[Row]:
        return all_endpoints(self._identity, call, self._prefix, conn)

    def _endpoint(self, call: Call, conn: sa.Connection) -> str:
        key = call.params["endpoint_id"]
        if not any(row["id"] == key for row in self._endpoints(call, conn)):
            raise Missing(f"Could not find endpoint: {key}.")
        return key

    @staticmethod
    def _project(call: Call, conn: sa.Connection) -> str:
        return store.need(conn, tables.projects, call.params["project_id"], "project")["id"]

    @staticmethod
    def _group(call: Call, conn: sa.Connection) -> Row:
        key = call.params["endpoint_group_id"]
        return store.need(conn, tables.endpoint_groups, key, "endpoint group")

    # -- single endpoints ----------------------------------------------------------------------

    async def add(self, call: Call) -> None:
        call.require("identity:add_endpoint_to_project")

        def write(conn: sa.Connection) -> None:
            endpoint_store.add_endpoint(conn, self._project(call, conn), self._endpoint(call, conn))

        await self._identity.write(write)

    async def check(self, call: Call) -> None:
        call.require("identity:check_endpoint_in_project")
        found = await self._identity.db.read(
            lambda conn: endpoint_store.endpoints_of(conn, self._project(call, conn))
        )
        if call.params["endpoint_id"] not in found:
            raise Missing("Could not find this endpoint in this project.")

    async def remove(self, call: Call) -> None:
        call.require("identity:remove_endpoint_from_project")
        project_id, endpoint_id = call.params["project_id"], call.params["endpoint_id"]
        if not await self._identity.write(
            lambda conn: endpoint_store.remove_endpoint(conn, project_id, endpoint_id)
        ):
            raise Missing("Could not find this endpoint in this project.")

    async def of_project(self, call: Call) -> Reply:
        call.require("identity:list_endpoints_for_project")

        def find(conn: sa.Connection) -> list[Row]:
            offered = self._endpoints(call, conn)
            allowed = endpoint_store.allowed(conn, self._project(call, conn), offered)
            return [row for row in offered if allowed is not None and row["id"] in allowed]

        return listing(call, "endpoints", await self._identity.db.scan(find), endpoint_body)

    async def of_endpoint(self, call: Call) -> Reply:
        call.require("identity:list_projects_for_endpoint")
        rows = await self._identity.db.scan(
            lambda conn: endpoint_store.projects_with(conn, self._endpoint(call, conn))
        )
        return listing(call, "projects", rows, project_body)

    # -- groups --------------------------------------------------------------------------------

    async def of_group(self, call: Call) -> Reply:
        call.require("identity:list_endpoints_associated_with_endpoint_group")

        def find(conn: sa.Connection) -> list[Row]:
            filters = self._group(call, conn)["filters"]
            return [row for row in self._endpoints(call, conn) if meets(row, filters)]

        return listing(call, "endpoints", await self._identity.db.scan(find), endpoint_body)

    async def projects_of_group(self, call: Call) -> Reply:
        call.require("identity:list_projects_associated_with_endpoint_group")
        rows = await self._identity.db.scan(
            lambda conn: endpoint_store.projects_of_group(conn, self._group(call, conn)["id"])
        )
        return listing(call, "projects", rows, project_body)

    async def groups_of_project(self, call: Call) -> Reply:
        call.require("identity:list_endpoint_groups_for_project")
        rows = await self._identity.db.scan(
            lambda conn: endpoint_store.groups_of(conn, self._project(call, conn))
        )
        return listing(call, "endpoint_groups", rows, _group_body)

    async def add_group(self, call: Call) -> None:
        call.require("identity:add_endpoint_group_to_project")

        def write(conn: sa.Connection) -> None:
            group_id = self._group(call, conn)["id"]
            endpoint_store.add_group(conn, self._project(call, conn), group_id)

        await self._identity.write(write)

    async def check_group(self, call: Call) -> Reply:
        call.require("identity:get_endpoint_group_in_project")

        def find(conn: sa.Connection) -> Row:
            group = self._group(call, conn)
            mine = endpoint_store.groups_of(conn, self._project(call, conn))
            if group["id"] not in {row["id"] for row in mine}:
                raise Missing("Could not find this endpoint group in this project.")
            return group

        row = await self._identity.db.read(find)
        return Reply({"endpoint_group": _group_body(row, call.base_url)})

    async def remove_group(self, call: Call) -> None:
        call.require("identity:remove_endpoint_group_from_project")
        project_id, group_id = call.params["project_id"], call.params["endpoint_group_id"]
        if not await self._identity.write(
            lambda conn: endpoint_store.remove_group(conn, project_id, group_id)
        ):
            raise Missing("Could not find this endpoint group in this project.")
