"""Unified limits: what every project may have of a resource (registered), and what single projects or domains may.

Limits are kept for the services that ask for them; they are not the quotas of this cloud's own services. The model
is flat: a limit of a project says nothing about the projects below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from ingot.kit.api.crud import operations as crud_operations
from ingot.kit.api.fields import MAY, MUST, Field, Id, LongText, Name, Row
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.api.resource import Hooks, Resource, Values, Where
from ingot.kit.api.styles import KEYSTONE
from ingot.kit.db.tx import Tx
from ingot.kit.faults import Forbidden, Invalid
from ingot.services.identity import schemas, store, tables
from ingot.services.identity.catalogue import own_services

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

#: -1 is no limit.
Amount = Annotated[int, Meta(ge=-1, le=0x7FFFFFFF)]
_MODEL = {
    "name": "flat",
    "description": "Limit enforcement and validation does not take project hierarchy into consideration.",
}
_PLACE = ("service_id", "region_id", "resource_name")


def operations(identity: Identity, prefix: str) -> list[Operation]:
    return [
        Operation(
            "GET",
            "/v3/limits/model",
            _model,
            rule="identity:get_limit_model",
            reply=schemas.LimitModelReply,
        ),
        *crud_operations(registered_limits(identity), identity.transactions),
        *crud_operations(limits(identity), identity.transactions),
    ]


async def _model(_call: Call) -> Reply:
    return Reply({"model": _MODEL})


def _or_null(name: str) -> Field:
    """A field whose column holds the empty text for null, since NULLs never collide."""
    return Field(
        name, Id, create=MAY, nullable=True, filter="equal",
        read=lambda row: row[name] or None,
    )  # fmt: skip


def registered_limits(identity: Identity) -> Resource:
    """What each project may have, unless a limit says otherwise."""

    def validate(tx: Tx, _call: Call, values: Values, row: Row | None) -> Values:
        values = _with_texts(values, ("region_id",))
        _check_place(identity, tx, values)
        moved = row is not None and any(values.get(name, row[name]) != row[name] for name in _PLACE)
        if row is not None and moved:
            _unused(tx, row)
        return values

    def deleted(tx: Tx, _call: Call, row: Row) -> None:
        _unused(tx, row)

    return Resource(
        name="registered_limit",
        plural="registered_limits",
        path="registered_limits",
        table=tables.registered_limits,
        style=KEYSTONE,
        owner="",
        several=True,
        fields=(
            Field("service_id", Id, create=MUST, update=True, filter="equal"),
            Field("region_id", Id, create=MAY, update=True, nullable=True,
                  filter="equal", read=lambda row: row["region_id"] or None),
            Field("resource_name", Name, create=MUST, update=True, filter="equal"),
            Field("default_limit", Amount, create=MUST, update=True),
            Field("description", LongText, create=MAY, update=True, nullable=True),
        ),
        hooks=Hooks(validate=validate, deleted=deleted),
        conflict="A registered limit of {resource_name} exists already.",
    )  # fmt: skip


def limits(identity: Identity) -> Resource:
    """What one project or domain may have."""

    def validate(tx: Tx, _call: Call, values: Values, row: Row | None) -> Values:
        if row is not None:
            return values
        values = _with_texts(values, ("region_id", "project_id", "domain_id"))
        project_id, domain_id = values.get("project_id"), values.get("domain_id")
        if bool(project_id) == bool(domain_id):
            raise Invalid("A limit is for a project or for a domain: name one of the two.")
        _check_place(identity, tx, values)
        what = "project" if project_id else "domain"
        store.need(tx.conn, tables.projects, project_id or domain_id or "", what)
        place = [(name, values.get(name, "")) for name in _PLACE]
        known = store.find(tx.conn, tables.registered_limits, place)
        if not known:
            raise Forbidden(
                "Unable to create a limit that has no corresponding registered limit.",
                next_action="Create the registered limit first.",
            )
        return {**values, "registered_limit_id": known[0]["id"]}

    return Resource(
        name="limit",
        plural="limits",
        table=tables.limits,
        style=KEYSTONE,
        owner="",
        several=True,
        fields=(
            _or_null("project_id"),
            _or_null("domain_id"),
            Field("service_id", Id, create=MUST, filter="equal"),
            _or_null("region_id"),
            Field("resource_name", Name, create=MUST, filter="equal"),
            Field("resource_limit", Amount, create=MUST, update=True),
            Field("description", LongText, create=MAY, update=True, nullable=True),
        ),
        target=_target,
        scope=_seen,
        hooks=Hooks(validate=validate),
        conflict="A limit of {resource_name} exists already there.",
    )


def _target(_tx: Tx | None, row: Row | None) -> dict[str, object]:
    return {
        "target.limit.project_id": row.get("project_id") or None if row else None,
        "target.limit.domain_id": row.get("domain_id") or None if row else None,
    }


def _seen(_resource: Resource, call: Call) -> Where | None:
    """All to administrators; to others the limits of the project or domain that their token is for."""
    if call.allows("identity:see_all_limits"):
        return None
    return store.limits_of(call.caller.project_id, call.caller.domain_id)


def _with_texts(values: Values, names: tuple[str, ...]) -> Values:
    return {
        name: "" if value is None and name in names else value for name, value in values.items()
    }


def _check_place(identity: Identity, tx: Tx, values: Values) -> None:
    """The service and the region that a limit names must be there; Invalid."""
    service_id, region_id = values.get("service_id"), values.get("region_id")
    known = {row["id"] for row in own_services(identity.catalog)}
    if (
        service_id
        and service_id not in known
        and not store.get(tx.conn, tables.services, service_id)
    ):
        raise Invalid(f"Could not find service: {service_id}.")
    if region_id and not store.get(tx.conn, tables.regions, region_id):
        raise Invalid(f"Could not find region: {region_id}.")


def _unused(tx: Tx, row: Row) -> None:
    if store.find(tx.conn, tables.limits, [("registered_limit_id", row["id"])], limit=1):
        raise Forbidden(
            f"Unable to update or delete registered limit {row['id']} because there are limits associated with it.",
            next_action="Delete those limits first.",
        )
