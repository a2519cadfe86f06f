"""Servers: create, list, show, update, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import check_keys, next_link
from ingot.kit.faults import Forbidden, Invalid
from ingot.kit.patterns import BadPattern, Pattern, compiled
from ingot.services.compute import states, store
from ingot.services.compute.api import views
from ingot.services.compute.api.common import (
    MOST,
    Body,
    Handlers,
    boolean,
    links,
    mapping,
    moment,
    number,
    own,
    part,
    read,
    since,
    unexpected,
)
from ingot.services.compute.api.ordering import (
    Name,
    Ordering,
    address,
    check_texts,
    disk_config,
    hostname,
)
from ingot.services.compute.service import Draft, Ordered
from ingot.services.compute.tables import servers as table
from ingot.services.compute.types import Server

Where = sa.ColumnElement[bool]


class UpdateIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name | None = None
    disk_config: str | None = msgspec.field(default=None, name="OS-DCF:diskConfig")
    accessIPv4: str | None = None
    accessIPv6: str | None = None
    description: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    hostname: str | None = None


class Servers(Handlers):
    """/servers and /servers/{id}."""

    # -- create ------------------------------------------------------------------------------

    async def create(self, call: Call) -> Reply:
        """POST /servers."""
        call.require("os_compute_api:servers:create", own(call))
        wanted = Ordering(self.compute).draft(call, call.body)

        def create(conn: sa.Connection) -> tuple[Draft, Ordered]:
            draft = wanted.look_up(conn)
            return draft, self.compute.create(conn, draft, call.caller, call.request_id)

        draft, made = await self.compute.db.write(
            # A project's count is one row, changed by a condition; only groups' members are counted.
            create,
            serializable=wanted.grouped,
        )
        if boolean(wanted.order.return_reservation_id, "return_reservation_id"):
            return Reply({"reservation_id": made.reservation})
        first = made.uuids[0]
        shown = {
            "id": first,
            "links": links(call, f"servers/{first}"),
            "OS-DCF:diskConfig": draft.disk_config,
            "security_groups": [{"name": name} for name in draft.security_groups],
            "adminPass": draft.secrets.admin_pass,
        }
        where = f"{call.base_url}/v2.1/servers/{first}"
        return Reply({"server": shown}, headers={"Location": where})

    # -- lists -------------------------------------------------------------------------------

    async def index(self, call: Call) -> Reply:
        """GET /servers."""

        def brief(server: Server) -> Body:
            return {
                "id": server.uuid,
                "name": server.name,
                "links": links(call, f"servers/{server.uuid}"),
            }

        return await self._list(call, "servers:index", brief)

    async def detail(self, call: Call) -> Reply:
        """GET /servers/detail."""
        return await self._list(
            call,
            "servers:detail",
            lambda server: views.server(self.compute, call, server, listed=True),
        )

    async def _list(self, call: Call, rule: str, render: Callable[[Server], Body]) -> Reply:
        call.require(f"os_compute_api:{rule}", own(call))
        search = Search(self, call, rule)
        limit = number(call, "limit")
        most = MOST if limit is None else min(limit, MOST)
        found = await self.compute.db.scan(
            lambda conn: self.compute.with_groups(conn, search.run(conn, most + 1))
        )
        shown = [render(server) for server in found[:most]]
        body: Body = {"servers": shown}
        if shown and (len(found) > most or (limit is not None and len(shown) == most)):
            link = next_link(call, found[most - 1].uuid, most)
            body["servers_links"] = [{"rel": "next", "href": link}]
        return Reply(body)

    # -- one ---------------------------------------------------------------------------------

    async def show(self, call: Call) -> Reply:
        """GET /servers/{id}."""
        server = await self.server(call, "servers:show")
        (server,) = await self.compute.db.read(
            lambda conn: self.compute.with_groups(conn, [server])
        )
        return Reply({"server": views.server(self.compute, call, server)})

    async def update(self, call: Call) -> Reply:
        """PUT /servers/{id}."""
        given = mapping(part(call.body, "server"), "server")
        since(call, given, {"description": 19, "hostname": 90})
        order = read(UpdateIn, given, "server")
        check_texts(order)
        values: dict[str, Any] = {}
        for name in given:
            if name == "name":
                if order.name is None:
                    raise Invalid("Invalid input for field/attribute name. Value: None.")
                values["name"] = order.name
            elif name == "OS-DCF:diskConfig":
                values["disk_config"] = disk_config(order.disk_config or "")
            elif name in ("accessIPv4", "accessIPv6"):
                version = int(name[-1])
                values[f"access_ip_v{version}"] = address(getattr(order, name), version)
            elif name == "description":
                values["description"] = order.description
            else:
                if order.hostname is None:
                    raise Invalid("Invalid input for field/attribute hostname. Value: None.")
                values["hostname"] = hostname(order.hostname, call.version.minor)

        def change(conn: sa.Connection, server: Server) -> Server:
            if values:
                self.compute.update(conn, server.uuid, **values)
            (changed,) = self.compute.with_groups(conn, [self.compute.get(conn, server.uuid)])
            return changed

        server = await self.change(call, "servers:update", change, serializable=False)
        return Reply({"server": views.server(self.compute, call, server, changed=True)})

    async def delete(self, call: Call) -> None:
        """DELETE /servers/{id}."""
        await self.change(
            call,
            "servers:delete",
            lambda conn, server: self.compute.delete(conn, server, call.caller, call.request_id),
        )


# -- searching -----------------------------------------------------------------------------------

_EVERYBODY = frozenset(
    [
        "name",
        "status",
        "image",
        "flavor",
        "reservation_id",
        "ip",
        "ip6",
        "changes-since",
        "changes-before",
        "not-tags",
        "not-tags-any",
        "tags",
        "tags-any",
        "locked",
        "access_ip_v4",
        "access_ip_v6",
        "config_drive",
        "created_at",
        "description",
        "display_description",
        "display_name",
        "hostname",
        "image_ref",
        "key_name",
        "launch_index",
        "launched_at",
        "power_state",
        "progress",
        "task_state",
        "terminated_at",
        "user_id",
        "uuid",
        "vm_state",
    ]
)
_ADMINS = frozenset(
    [
        "all_tenants",
        "project_id",
        "tenant_id",
        "deleted",
        "host",
        "node",
        "availability_zone",
        "disk_config",
        "root_device_name",
        "kernel_id",
        "ramdisk_id",
        "instance_type_id",
        "locked_by",
        "soft_deleted",
        "updated_at",
    ]
)
#: By these a list would tell which servers are on one machine, and in which order machines are.
_ADMINS_ORDER = frozenset({"host", "node"})
#: A number with more may not fit its column.
_DIGITS = 9
#: Tags that a list may be filtered by, each a condition of its own.
_MOST_TAGS = 100
_PAGING = frozenset({"limit", "marker", "sort_key", "sort_dir"})
_COLUMNS: Mapping[str, Any] = {
    "image": table.c.image_id,
    "image_ref": table.c.image_id,
    "reservation_id": table.c.reservation_id,
    "access_ip_v4": table.c.access_ip_v4,
    "access_ip_v6": table.c.access_ip_v6,
    "description": table.c.description,
    "display_description": table.c.description,
    "hostname": table.c.hostname,
    "key_name": table.c.key_name,
    "task_state": table.c.task_state,
    "vm_state": table.c.vm_state,
    "user_id": table.c.user_id,
    "uuid": table.c.uuid,
    "node": table.c.node_uuid,
    "availability_zone": table.c.availability_zone,
    "disk_config": table.c.disk_config,
}
_SINCE = {
    "locked": 73,
    "changes-before": 66,
    "tags": 26,
    "tags-any": 26,
    "not-tags": 26,
    "not-tags-any": 26,
}


class Search:
    """The query string of a list, read: what the database filters, and what only we can."""

    def __init__(self, handlers: Handlers, call: Call, rule: str) -> None:
        self.compute = handlers.compute
        self.call = call
        self.admin = call.allows("os_compute_api:servers:allow_all_filters", own(call))
        self.where: list[Where] = []
        self.tests: list[Callable[[store.SearchFields], bool]] = []
        self.nothing = False
        self.sealed = rule == "servers:detail" and views.shows_user_data(call, own(call))
        self._read(rule)

    def run(self, conn: sa.Connection, most: int) -> list[Server]:
        """At most so many servers, from behind the marker on."""
        if self.nothing:
            return []
        marker = dict(self.call.args).get("marker")
        after = None
        if marker is not None:
            after = store.find_server(conn, marker, deleted=True)
            if after is None or not self.compute.sees(self.call.caller, after):
                raise Invalid(f"marker [{marker}] not found")
        where, orders, sealed = self.where, self.orders(), self.sealed
        if self.tests:
            return store.tested_servers(conn, where, orders, self.tests, most, after, sealed)
        return store.select_servers(conn, where, orders, limit=most, after=after, sealed=sealed)

    def orders(self) -> list[store.Order]:
        keys = [value for name, value in self.call.args if name == "sort_key"]
        ways = [value for name, value in self.call.args if name == "sort_dir"]
        check_keys(keys)
        for key in keys:
            if key not in store.SORTABLE:
                raise Invalid(f"Sort key supplied is invalid: {key}")
            if key in _ADMINS_ORDER and not self.admin:
                raise Forbidden(f"Only administrators can sort servers by {key}")
        for way in ways:
            if way not in ("asc", "desc"):
                raise Invalid(f"Unknown sort direction, must be one of: asc, desc: {way}")
        default = ways[0] if ways else "desc"
        keys = keys or ["created_at"]
        ways += [default] * (len(keys) - len(ways))
        return [store.Order(key, way == "desc") for key, way in zip(keys, ways, strict=False)]

    # -- reading -----------------------------------------------------------------------------

    def _read(self, rule: str) -> None:
        strict = self.call.version.minor >= 75
        unknown: set[str] = set()
        args = dict(self.call.args)
        for name in args:
            early = self.call.version.minor < _SINCE.get(name, 0)
            if name in _PAGING:
                continue
            if name not in _EVERYBODY | _ADMINS or (early and name != "locked"):
                unknown.add(name)
        if unknown and strict:
            raise unexpected(unknown)
        self._scope(args, rule)
        statuses = [value for name, value in self.call.args if name == "status"]
        if statuses:
            self._status(statuses)
        for name, value in args.items():
            if name in unknown or name in _PAGING or name == "status":
                continue
            if name in _ADMINS and not self.admin:
                continue
            self._filter(name, value)

    def _scope(self, args: Mapping[str, str], rule: str) -> None:
        everything = "all_tenants" in args and (
            args["all_tenants"] == "" or boolean(args["all_tenants"], "all_tenants")
        )
        if everything:
            self.call.require(f"os_compute_api:{rule}:get_all_tenants", own(self.call))
            project = args.get("project_id") or args.get("tenant_id")
        else:
            project = self.call.caller.project_id or ""
        if project is not None:
            self.where.append(table.c.project_id == project)
        wants_deleted = self.admin and "deleted" in args and boolean(args["deleted"], "deleted")
        if wants_deleted:
            self.where.append(table.c.deleted_at.is_not(None))
        elif "changes-since" not in args:
            self.where.append(table.c.deleted_at.is_(None))

    def _status(self, names: Sequence[str]) -> None:
        found: list[Where] = []
        for name in names:
            wanted = states.search(name)
            if wanted is None:
                continue  # A status that no server of ours can have matches nothing.
            vm_state, tasks = wanted
            if vm_state is not None:
                busy = ("rebooting", "rebooting_hard", "rebuilding", "rebuild_spawning")
                calm = sa.or_(table.c.task_state.is_(None), table.c.task_state.not_in(busy))
                found.append(sa.and_(table.c.vm_state == vm_state, calm))
            else:
                found.append(table.c.task_state.in_(tasks))
        if found:
            self.where.append(sa.or_(*found))
        else:
            self.nothing = True

    def _filter(self, name: str, value: str) -> None:
        if name in _COLUMNS:
            self.where.append(_COLUMNS[name] == value)
        elif name in ("name", "display_name"):
            self._name(name, value)
        elif name in ("ip", "ip6"):
            pattern, version = _pattern(value, name), 6 if name == "ip6" else 4
            self.where.append(store.has_address(value))
            self.tests.append(
                lambda seen: any(
                    a.version == version and pattern.search(a.addr) for a in seen.addresses
                )
            )
        elif name == "flavor":
            self.where.append(store.of_flavor(value))
        elif name == "host":
            self.nothing = self.nothing or value != self.compute.settings.host
        elif name == "locked":
            self.where.append(table.c.locked.is_(boolean(value, name)))
        elif name == "power_state":
            self._number(name, table.c.power_state, value)
        elif name == "launch_index":
            self._number(name, table.c.launch_index, value)
        elif name == "config_drive":
            wanted = "True" if boolean(value, name) else ""
            self.where.append(table.c.config_drive == wanted)
        elif name in ("changes-since", "changes-before"):
            at = moment(value, name)
            column = table.c.updated_at
            self.where.append(column >= at if name == "changes-since" else column <= at)
        elif "tags" in name:
            self._tags(name, frozenset(value.split(",")))

    def _number(self, name: str, column: sa.Column[int], value: str) -> None:
        """Servers with this number; none where it is no number."""
        if not value.isdecimal():
            self.where.append(sa.false())
        elif len(value) > _DIGITS:
            raise Invalid(f"Invalid input for query parameters {name}. Value: {value[:40]}.")
        else:
            self.where.append(column == int(value))

    def _name(self, name: str, value: str) -> None:
        pattern = _pattern(value, name)
        found = store.named_like(value)
        if found is None:
            self.tests.append(lambda seen: pattern.search(seen.name))
        else:
            self.where.append(found)

    def _tags(self, name: str, wanted: frozenset[str]) -> None:
        if len(wanted) > _MOST_TAGS:
            raise Invalid(f"Invalid input for query parameters {name}: at most {_MOST_TAGS} tags.")
        if not name.startswith("not"):
            self.where.append(store.has_tags(wanted, every=not name.endswith("any")))

        def test(seen: store.SearchFields) -> bool:
            have = wanted & set(seen.tags)
            matched = bool(have) if name.endswith("any") else have == wanted
            return matched is not name.startswith("not")

        self.tests.append(test)


def _pattern(value: str, name: str) -> Pattern:
    try:
        return compiled(value, ignore_case=True)
    except BadPattern as wrong:
        raise Invalid(f"Invalid regular expression for {name}: {value[:100]!r}: {wrong}.") from None
