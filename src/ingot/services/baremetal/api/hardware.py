"""What a machine's own settings are: BIOS settings, firmware components, the RAID configuration asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Fault, Invalid, Kind, Missing
from ingot.services.baremetal import links
from ingot.services.baremetal.api.common import Handlers, needs
from ingot.services.baremetal.api.rows import late
from ingot.services.baremetal.nodes import hardware, schemas
from ingot.services.baremetal.nodes.verbs import free

BIOS_SINCE = 40
BIOS_DETAIL_SINCE = 74
FIRMWARE_SINCE = 86
IDENTITY_SINCE = 114
RAID_SINCE = 12
_ALWAYS = ("created_at", "updated_at")
BIOS_BRIEF = ("name", "value")
BIOS_FIELDS = (
    *BIOS_BRIEF,
    "attribute_type",
    "allowable_values",
    "lower_bound",
    "max_length",
    "min_length",
    "read_only",
    "reset_required",
    "unique",
    "upper_bound",
)
FIRMWARE_BRIEF = ("component", "initial_version", "current_version", "last_version_flashed")
IDENTITY = ("vendor", "model", "serial_number")


class PartsQuery(msgspec.Struct, forbid_unknown_fields=True):
    detail: str | None = None
    fields: list[str] | None = None


class Hardware(Handlers):
    """Handlers of …/bios, …/firmware and …/states/raid."""

    async def bios(self, call: Call) -> Reply:
        query: PartsQuery = call.query
        if call.version.minor < BIOS_DETAIL_SINCE:
            _nothing_asked(query)
        shown = _shown(query, BIOS_BRIEF, BIOS_FIELDS)

        def read(conn: sa.Connection) -> Reply:
            found = self.find(conn, call, call.params["id"], "baremetal:node:bios:get")
            rows = hardware.bios(conn, found.uuid)
            return Reply({"bios": [_setting(call, call.params["id"], row, shown) for row in rows]})

        return await self.read(read)

    async def bios_setting(self, call: Call) -> Reply:
        name = call.params["setting"]
        fields = BIOS_FIELDS if call.version.minor >= BIOS_DETAIL_SINCE else BIOS_BRIEF

        def read(conn: sa.Connection) -> Reply:
            found = self.find(conn, call, call.params["id"], "baremetal:node:bios:get")
            rows = hardware.bios(conn, found.uuid, name)
            if not rows:
                raise Missing(f"Node {found.uuid} doesn't have a BIOS setting '{name}'")
            return Reply({name: _setting(call, found.uuid, rows[0], fields)})

        return await self.read(read)

    async def firmware(self, call: Call) -> Reply:
        query: PartsQuery = call.query
        known = FIRMWARE_BRIEF
        if call.version.minor >= IDENTITY_SINCE:
            known = (*known, *IDENTITY)
        elif newer := sorted(set(query.fields or ()) & set(IDENTITY)):
            raise Invalid(
                f"Fields {', '.join(newer)} are not allowed in this API version. They require at "
                f"least API version 1.{IDENTITY_SINCE}."
            )
        shown = _shown(query, known, known)

        def read(conn: sa.Connection) -> Reply:
            found = self.find(conn, call, call.params["id"], "baremetal:node:firmware:get")
            rows = hardware.firmware(conn, found.uuid)
            return Reply({"firmware": [_picked(row, shown) for row in rows]})

        return await self.read(read)

    async def set_raid(self, call: Call) -> Reply:
        config: dict[str, Any] = call.body

        def change(conn: sa.Connection) -> Reply:
            node = self.node(conn, call, call.params["id"], "baremetal:node:set_raid_state")
            needs(call, RAID_SINCE, "RAID configuration")
            name = self.ctx.registry.spec(node.driver, "raid", node.interfaces.get("raid")).name
            if name == "no-raid":
                raise Fault(
                    f"Driver {node.driver} does not support raid (disabled or not implemented).",
                    kind=Kind.MISSING,
                    next_action="Choose another raid_interface.",
                )
            if config:
                hand = self.ctx.registry.raid(node.driver, name)
                if wrong := hand.problems(config):
                    raise Invalid(f"RAID config validation error: {'; '.join(wrong)}")
            free(conn, node)
            hardware.set_target_raid(conn, node.uuid, config, self.ctx.now())
            return Reply()

        return await self.write(change)


def operations(handlers: Hardware) -> tuple[Operation, ...]:
    one = "/v1/nodes/{id}"
    get = "node:bios:get"
    return (
        late("GET", f"{one}/bios", handlers.bios, get, since=BIOS_SINCE, query=PartsQuery),
        late("GET", f"{one}/bios/{{setting}}", handlers.bios_setting, get, since=BIOS_SINCE),
        late(
            "GET",
            f"{one}/firmware",
            handlers.firmware,
            "node:firmware:get",
            since=FIRMWARE_SINCE,
            query=PartsQuery,
        ),
        late(
            "PUT",
            f"{one}/states/raid",
            handlers.set_raid,
            "node:set_raid_state",
            body=dict[str, Any],
            status=204,
        ),
    )


def _nothing_asked(query: PartsQuery) -> None:
    """Older microversions know no query here."""
    for name in ("detail", "fields"):
        value = getattr(query, name)
        if value is not None:
            raise Invalid(f"Invalid query parameter ?{name}={value} received.")


def _shown(query: PartsQuery, brief: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    """Fields to show besides those that always are."""
    detail = query.detail is not None and schemas.flag("detail", query.detail)
    if query.fields is None:
        return known if detail else brief
    if detail:
        raise Invalid("Can not specify ?detail=True and fields in the same request.")
    if unknown := [name for name in query.fields if name not in (*known, *_ALWAYS, "links")]:
        raise Invalid(f'Field(s) "{", ".join(unknown)}" are not valid')
    return [name for name in query.fields if name in known]


def _picked(row: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in (*_ALWAYS, *fields)}


def _setting(
    call: Call, ident: str, row: Mapping[str, Any], fields: Sequence[str]
) -> dict[str, Any]:
    path = f"nodes/{ident}/bios/{row['name']}"
    return {**_picked(row, fields), "links": links.links(call.base_url, path)}
