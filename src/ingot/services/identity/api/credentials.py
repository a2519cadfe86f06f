"""Credentials: secrets that users keep for other ways in (EC2 keys, certificates, seeds of one-time passwords).

What a credential holds (`blob`) is sealed in the database. Users see their own; administrators see all.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, cast

import sqlalchemy as sa
from msgspec import Meta

from ingot.kit.api.crud import operations as crud_operations
from ingot.kit.api.fields import MAY, MUST, Field, Id, Name, Row
from ingot.kit.api.operations import Call, Operation
from ingot.kit.api.resource import Hooks, Resource, Values, Where
from ingot.kit.api.styles import KEYSTONE
from ingot.kit.db.tx import Tx
from ingot.kit.faults import Forbidden, Invalid
from ingot.services.identity import store, tables

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

Blob = Annotated[str, Meta(min_length=1, max_length=65535, pattern=r"^[^\x00]*\Z")]
EC2 = "ec2"


def operations(identity: Identity, prefix: str) -> list[Operation]:
    return crud_operations(resource(identity), identity.transactions)


def resource(identity: Identity) -> Resource:
    """Credentials of one identity service."""
    vault = identity.vault

    def opened(row: Row) -> str:
        return vault.open(row["blob"])

    def validate(tx: Tx, call: Call, values: Values, row: Row | None) -> Values:
        values = _checked(tx, call, values, row)
        return {**values, "blob": vault.seal(values["blob"])} if "blob" in values else values

    return Resource(
        name="credential",
        plural="credentials",
        table=tables.credentials,
        style=KEYSTONE,
        owner="user_id",
        fields=(
            Field("user_id", Id, create=MAY, filter="equal"),
            Field("type", Name, create=MUST, update=True, filter="equal"),
            Field("blob", Blob, create=MUST, update=True, read=opened),
            Field("project_id", Id, create=MAY, update=True, nullable=True),
        ),
        target=_target,
        scope=_seen,
        hooks=Hooks(validate=validate, allowed=undelegated),
        conflict="A credential with this access key exists already.",
    )


def access_id(access: str) -> str:
    """The id of the credential that holds an EC2 access key."""
    return hashlib.sha256(access.encode()).hexdigest()


def undelegated(call: Call) -> None:
    """Forbidden to tokens that stand for less than their user: credentials would outlive and outgrow them."""
    extra = call.caller.extra
    if not extra.get("unrestricted", True) or extra.get("trust_id"):
        raise Forbidden(
            "A restricted application credential or a trust does not give access to credentials."
        )


def _target(_tx: Tx | None, row: Row | None) -> dict[str, object]:
    return {"target.credential.user_id": row["user_id"] if row else None}


def _seen(_resource: Resource, call: Call) -> Where | None:
    if call.allows("identity:list_credentials", _target(None, None)):
        return None
    own = call.caller.user_id
    return tables.credentials.c.user_id == own if own else sa.false()


def _checked(tx: Tx, call: Call, values: Values, row: Row | None) -> Values:
    """The values with the id of an EC2 key; Invalid or Missing where they name what is not there."""
    now: Values = {**(row or {}), **values}
    if row is None:
        store.need(tx.conn, tables.users, now["user_id"], "user")
        values = {**values, "app_cred_id": call.caller.extra.get("application_credential_id")}
    if values.get("project_id"):
        store.need(tx.conn, tables.projects, values["project_id"], "project")
    if now["type"] != EC2:
        return values
    if not now.get("project_id"):
        raise Invalid("An EC2 credential needs a project_id.")
    if "blob" in values:
        access = key_of(values["blob"])["access"]
        if row is None:
            values = {**values, "id": access_id(access)}
    elif row is not None and row["type"] != EC2:
        raise Invalid("A credential becomes an EC2 key only with a blob of one.")
    return values


def key_of(blob: str) -> dict[str, str]:
    """Access and secret key that a blob holds; Invalid where it does not."""
    try:
        found: Any = json.loads(blob)
    except ValueError:
        found = None
    pair = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    access, secret = pair.get("access"), pair.get("secret")
    if not (isinstance(access, str) and isinstance(secret, str) and access and secret):
        raise Invalid("The blob of an EC2 credential is a JSON object with access and secret.")
    return {"access": access, "secret": secret}
