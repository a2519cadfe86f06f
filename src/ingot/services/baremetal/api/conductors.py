"""Processes that work on machines: handlers of /v1/conductors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot import workflow
from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import next_link
from ingot.kit.faults import Invalid, Missing
from ingot.services.baremetal import links
from ingot.services.baremetal.api.common import Handlers, PageQuery, needs
from ingot.services.baremetal.api.nodes import DETAIL_SINCE, FieldsQuery
from ingot.services.baremetal.nodes import conductors, schemas

if TYPE_CHECKING:
    pass

_CONDUCTOR_FIELDS = ("hostname", "conductor_group", "alive", "drivers", "created_at", "updated_at")


class ConductorQuery(PageQuery, kw_only=True):
    fields: list[str] | None = None
    detail: str | None = None


class Conductors(Handlers):
    """Handlers of /v1/conductors: the processes that work on machines."""

    async def list(self, call: Call) -> Reply:
        query: ConductorQuery = call.query
        detail = query.detail is not None and schemas.flag("detail", query.detail)
        if query.detail is not None:
            needs(call, DETAIL_SINCE, "detail")
        if detail and query.fields:
            raise Invalid("Can not specify ?detail=True and fields in the same request.")
        fields = _conductor_fields(query.fields, detail)
        page = self.page(
            query,
            frozenset({"id", "hostname", "conductor_group", "created_at", "updated_at"}),
            "hostname",
        )
        rows = await self.read(self._all)
        key = "hostname" if page.sort_key == "id" else page.sort_key
        shown = sorted(
            (self._conductor(call, row, alive) for row, alive in rows),
            key=lambda one: (one[key], one["hostname"]),
            reverse=page.descending,
        )
        if page.marker is not None:
            hosts = [one["hostname"] for one in shown]
            if page.marker not in hosts:
                raise Missing(f"Conductor {page.marker} could not be found.")
            shown = shown[hosts.index(page.marker) + 1 :]
        cut = shown[: page.limit]
        body: dict[str, Any] = {"conductors": [_picked(one, fields) for one in cut]}
        if len(cut) == page.limit:
            body["next"] = next_link(call, cut[-1]["hostname"], page.limit)
        return Reply(body)

    async def show(self, call: Call) -> Reply:
        query: FieldsQuery = call.query
        fields = _conductor_fields(query.fields, True)
        for row, alive in await self.read(self._all):
            if row.host == call.params["host"]:
                return Reply(_picked(self._conductor(call, row, alive), fields))
        raise Missing(f"Conductor {call.params['host']} could not be found.")

    def _all(self, conn: sa.Connection) -> list[tuple[workflow.ConductorRow, bool]]:
        alive = {row.incarnation for row in conductors.live_conductors(self.ctx, conn)}
        newest: dict[str, workflow.ConductorRow] = {}
        for row in workflow.list_conductors(conn):
            if row.host not in newest or newest[row.host].started_at < row.started_at:
                newest[row.host] = row
        return [(row, row.incarnation in alive) for row in newest.values()]

    def _conductor(self, call: Call, row: workflow.ConductorRow, alive: bool) -> dict[str, Any]:
        return {
            "hostname": row.host,
            "conductor_group": row.group,
            "alive": alive,
            "drivers": list(row.info.get("drivers") or self.ctx.registry.hardware_types()),
            "created_at": row.started_at,
            "updated_at": row.beat_at,
            "links": links.links(call.base_url, f"conductors/{row.host}"),
        }


def _conductor_fields(fields: list[str] | None, detail: bool) -> tuple[str, ...]:
    if fields is None:
        return _CONDUCTOR_FIELDS if detail else _CONDUCTOR_FIELDS[:3]
    if unknown := [name for name in fields if name not in (*_CONDUCTOR_FIELDS, "links")]:
        raise Invalid(f'Field(s) "{", ".join(unknown)}" are not valid')
    return tuple(fields)


def _picked(one: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name in fields or name == "links"}
