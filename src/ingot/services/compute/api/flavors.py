"""Flavors, their extra specs, and who may see them."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import next_link
from ingot.kit.faults import Conflict, Invalid, Missing
from ingot.services.compute import store
from ingot.services.compute.api import views
from ingot.services.compute.api.common import (
    MOST,
    Body,
    Handlers,
    boolean,
    mapping,
    number,
    own,
    part,
    read,
    since,
    strict_query,
)
from ingot.services.compute.types import Flavor

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^\S(.*\S)?\Z")]
Least1 = Annotated[int, msgspec.Meta(ge=1, le=0x7FFFFFFF)]
Least0 = Annotated[int, msgspec.Meta(ge=0, le=0x7FFFFFFF)]
_SPEC = re.compile(r"^[a-zA-Z0-9-_:. ]{1,255}\Z")
#: What GET /flavors may be asked; all that come are 2.96 at most, which knows no filter by name.
_QUERY = frozenset({"limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir"})
_ID = re.compile(r"^(?! )[a-zA-Z0-9. _-]+(?<! )\Z")


class FlavorIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /flavors."""

    name: Name
    ram: Least1
    vcpus: Least1
    disk: Least0
    id: str | int | None = None
    swap: Least0 = 0
    ephemeral: Least0 = msgspec.field(default=0, name="OS-FLV-EXT-DATA:ephemeral")
    rxtx_factor: Any = 1.0
    is_public: Any = msgspec.field(default=True, name="os-flavor-access:is_public")
    description: Annotated[str, msgspec.Meta(max_length=65535)] | None = None


class Flavors(Handlers):
    """/flavors and what is below it."""

    def _seen(self, call: Call) -> Any:
        admin = "admin" in call.caller.roles
        return store.visible_flavors(call.caller.project_id, admin)

    def _get(self, conn: sa.Connection, call: Call) -> Flavor:
        flavor_id = call.params["id"]
        found = store.find_flavor(conn, flavor_id, self._seen(call))
        if found is None:
            raise Missing(f"Flavor {flavor_id} could not be found.")
        return found

    # -- flavors -----------------------------------------------------------------------------

    async def index(self, call: Call) -> Reply:
        """GET /flavors."""
        return await self._list(call, brief=True)

    async def detail(self, call: Call) -> Reply:
        """GET /flavors/detail."""
        return await self._list(call, brief=False)

    async def _list(self, call: Call, *, brief: bool) -> Reply:
        args = dict(call.args)
        strict_query(call, _QUERY)
        where = [self._filter(call, args)]
        for name in ("minRam", "minDisk"):
            if name in args:
                if not args[name].isdecimal() or len(args[name]) > 18:
                    raise Invalid(f"Invalid {name} filter [{args[name]}]")
                where.append(store.flavor_where(name, int(args[name])))
        key, way = args.get("sort_key", "flavorid"), args.get("sort_dir", "asc")
        if key not in store.FLAVOR_SORT or way not in ("asc", "desc"):
            raise Invalid(f"Sort key or direction supplied is invalid: {key} {way}")
        found = await self.compute.db.read(
            lambda conn: store.select_flavors(conn, *where, sort_key=key, descending=way == "desc")
        )
        marker, limit = args.get("marker"), number(call, "limit")
        if marker is not None:
            known = [flavor.id for flavor in found]
            if marker not in known:
                raise Invalid(f"marker [{marker}] not found")
            found = found[known.index(marker) + 1 :]
        most = MOST if limit is None else min(limit, MOST)
        shown = [views.flavor(call, flavor, brief=brief) for flavor in found[:most]]
        body: Body = {"flavors": shown}
        if shown and (len(found) > most or (limit is not None and len(shown) == most)):
            link = next_link(call, found[most - 1].id, most)
            body["flavors_links"] = [{"rel": "next", "href": link}]
        return Reply(body)

    def _filter(self, call: Call, args: dict[str, str]) -> Any:
        """is_public is the administrators' filter: None shows all, others see what is theirs."""
        if "admin" not in call.caller.roles:
            return self._seen(call)
        text = args.get("is_public")
        if text is not None and text.lower() == "none":
            return sa.true()
        return store.flavor_where("is_public", text is None or boolean(text, "is_public"))

    async def show(self, call: Call) -> Reply:
        """GET /flavors/{id}."""
        found = await self.compute.db.read(lambda conn: self._get(conn, call))
        return Reply({"flavor": views.flavor(call, found)})

    async def create(self, call: Call) -> Reply:
        """POST /flavors."""
        given = mapping(part(call.body, "flavor"), "flavor")
        since(call, given, {"description": 55})
        order = read(FlavorIn, given, "flavor")
        flavor = self._new(order)

        def change(conn: sa.Connection) -> None:
            if store.find_flavor(conn, flavor.id) is not None:
                raise Conflict(f"Flavor with ID {flavor.id} already exists.")
            if any(other.name == flavor.name for other in store.select_flavors(conn)):
                raise Conflict(f"Flavor with name {flavor.name} already exists.")
            store.insert_flavor(conn, flavor, self.compute.now())

        await self.compute.db.write(change)
        return Reply({"flavor": views.flavor(call, flavor)})

    @staticmethod
    def _new(order: FlavorIn) -> Flavor:
        wanted = order.id
        flavor_id = ids.new_uuid() if wanted in (None, "auto", "") else str(wanted)
        if not _ID.match(flavor_id) or len(flavor_id) > 255:
            raise Invalid(f"Invalid input for field/attribute id. Value: {wanted}.")
        try:
            factor = float(order.rxtx_factor)
        except (TypeError, ValueError):
            factor = 0.0
        if not 0 < factor < 3.4e38:
            raise Invalid(
                f"Invalid input for field/attribute rxtx_factor. Value: {order.rxtx_factor}."
            )
        return Flavor(
            id=flavor_id,
            name=order.name,
            vcpus=order.vcpus,
            ram=order.ram,
            disk=order.disk,
            ephemeral=order.ephemeral,
            swap=order.swap,
            rxtx_factor=factor,
            is_public=boolean(order.is_public, "os-flavor-access:is_public"),
            description=order.description,
        )

    async def update(self, call: Call) -> Reply:
        """PUT /flavors/{id} (2.55): the description only."""
        given = mapping(part(call.body, "flavor"), "flavor")
        text = given.get("description", 0)
        if set(given) != {"description"} or not (text is None or isinstance(text, str)):
            raise Invalid("Invalid input for field/attribute flavor: description is needed.")

        def change(conn: sa.Connection) -> Flavor:
            found = self._get(conn, call)
            store.update_flavor(conn, found.id, self.compute.now(), description=text)
            return self._get(conn, call)

        return Reply({"flavor": views.flavor(call, await self.compute.db.write(change))})

    async def delete(self, call: Call) -> None:
        """DELETE /flavors/{id}; servers keep what they were ordered with."""
        await self.compute.db.write(
            lambda conn: store.delete_flavor(conn, self._get(conn, call).id)
        )

    # -- extra specs -------------------------------------------------------------------------

    async def specs(self, call: Call) -> Reply:
        """GET …/os-extra_specs."""
        call.require("os_compute_api:os-flavor-extra-specs:index", own(call))
        found = await self.compute.db.read(lambda conn: self._get(conn, call))
        return Reply({"extra_specs": found.extra_specs})

    async def spec(self, call: Call) -> Reply:
        """GET …/os-extra_specs/{key}."""
        call.require("os_compute_api:os-flavor-extra-specs:show", own(call))
        found = await self.compute.db.read(lambda conn: self._get(conn, call))
        key = call.params["key"]
        if key not in found.extra_specs:
            raise Missing(f"Flavor {found.id} has no extra specs with key {key}.")
        return Reply({key: found.extra_specs[key]})

    async def set_specs(self, call: Call) -> Reply:
        """POST …/os-extra_specs."""
        specs = _specs(part(call.body, "extra_specs"))
        await self.compute.db.write(lambda conn: self._merge(conn, call, specs))
        return Reply({"extra_specs": specs})

    async def set_spec(self, call: Call) -> Reply:
        """PUT …/os-extra_specs/{key}."""
        specs, key = _specs(call.body), call.params["key"]
        if set(specs) != {key}:
            raise Invalid("Request body and URI mismatch")
        await self.compute.db.write(lambda conn: self._merge(conn, call, specs))
        return Reply(specs)

    def _merge(self, conn: sa.Connection, call: Call, specs: dict[str, str]) -> None:
        found = self._get(conn, call)
        merged = {**found.extra_specs, **specs}
        store.update_flavor(conn, found.id, self.compute.now(), extra_specs=merged)

    async def delete_spec(self, call: Call) -> None:
        """DELETE …/os-extra_specs/{key}."""
        key = call.params["key"]

        def change(conn: sa.Connection) -> None:
            found = self._get(conn, call)
            if key not in found.extra_specs:
                raise Missing(f"Flavor {found.id} has no extra specs with key {key}.")
            left = {name: value for name, value in found.extra_specs.items() if name != key}
            store.update_flavor(conn, found.id, self.compute.now(), extra_specs=left)

        await self.compute.db.write(change)

    # -- access ------------------------------------------------------------------------------

    async def access(self, call: Call) -> Reply:
        """GET …/os-flavor-access."""

        def query(conn: sa.Connection) -> Body:
            found = self._get(conn, call)
            if found.is_public:
                raise Missing("Access list not available for public flavors.")
            return self._access(conn, found.id)

        return Reply(await self.compute.db.read(query))

    @staticmethod
    def _access(conn: sa.Connection, flavor_id: str) -> Body:
        return {
            "flavor_access": [
                {"flavor_id": flavor_id, "tenant_id": project}
                for project in store.access_of(conn, flavor_id)
            ]
        }

    async def act(self, call: Call) -> Reply:
        """POST /flavors/{id}/action: addTenantAccess, removeTenantAccess."""
        if len(call.body) != 1:
            raise Invalid("Malformed request body: it must name exactly one action.")
        ((name, given),) = call.body.items()
        if name not in ("addTenantAccess", "removeTenantAccess"):
            raise Invalid(f"There is no such action: {name}")
        project = str(mapping(given, name).get("tenant") or "")
        if not project:
            raise Invalid("Invalid input for field/attribute tenant.")

        def change(conn: sa.Connection) -> Body:
            found = self._get(conn, call)
            has = project in store.access_of(conn, found.id)
            if name == "addTenantAccess":
                if found.is_public:
                    raise Conflict("Can not add access to a public flavor.")
                if has:
                    raise Conflict(
                        f"Flavor access already exists for flavor {found.id} and project "
                        f"{project} combination."
                    )
                store.give_access(conn, found.id, project)
            elif not store.take_access(conn, found.id, project):
                raise Missing(f"Flavor access not found for {found.id} / {project} combination.")
            return self._access(conn, found.id)

        return Reply(await self.compute.db.write(change))


def _specs(given: object) -> dict[str, str]:
    specs: dict[str, str] = {}
    for key, value in mapping(given, "extra_specs").items():
        good = _SPEC.match(key) and isinstance(value, str | int | float)
        if not good or len(str(value)) > 255:
            raise Invalid(f"Invalid input for field/attribute extra_specs. Key: {key}.")
        specs[key] = str(value)
    return specs
