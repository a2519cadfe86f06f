"""A service of two resources, whole: what it takes to add one. `tests/contracts` runs over it.

Shelves belong to projects, are counted, tagged, and have a field that came with microversion 1.3; boxes are on
shelves, and may be fragile only where the policy lets a caller say so.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from ingot.kit.api.crud import operations
from ingot.kit.api.fields import MAY, MUST, Field, LongText, Moment, Name, Positive
from ingot.kit.api.operations import Authenticator, Call, Service
from ingot.kit.api.quotas import Quotas, quota_tables
from ingot.kit.api.resource import Hooks, Parent, Resource, Row, Values
from ingot.kit.api.styles import NEUTRON, NOVA, Style
from ingot.kit.api.versions import Microversions, Version
from ingot.kit.auth.policy import Policy
from ingot.kit.db.database import json_column
from ingot.kit.db.tx import Transactions, Tx
from ingot.kit.faults import Conflict, Fault, Kind

metadata = sa.MetaData()
_MOMENT, _JSON = {"moment": True}, {"json": True}
shelves = sa.Table(
    "shelves",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("capacity", sa.Integer, nullable=False),
    sa.Column("boxes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("note", sa.Text),
    json_column("tags", nullable=False, info=_JSON),
    sa.Column("revision_number", sa.Integer, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False, info=_MOMENT),
    sa.Column("updated_at", sa.String(32), nullable=False, info=_MOMENT),
    sa.UniqueConstraint("project_id", "name"),
)
boxes = sa.Table(
    "boxes",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("shelf_id", sa.ForeignKey("shelves.id"), nullable=False, index=True),
    sa.Column("label", sa.String(255), nullable=False),
    sa.Column("fragile", sa.Boolean, nullable=False),
    sa.Column("revision_number", sa.Integer, nullable=False),
)
LIMITS, USAGE = quota_tables("sample", metadata)
RULES = {
    "see_all": "role:admin",
    "for_other_project": "role:admin",
    "get_shelf": "role:reader",
    "create_shelf": "role:member",
    "update_shelf": "role:member",
    "delete_shelf": "role:member",
    "get_box": "role:reader",
    "create_box": "role:member",
    "create_box:fragile": "role:manager",
    "update_box": "role:member",
    "update_box:fragile": "role:manager",
    "delete_box": "role:member",
}


def _fits(tx: Tx, _call: Call, values: Values, row: Row | None) -> Values:
    """A shelf takes no more boxes than its capacity: counted in the same statement."""
    if row is None:
        more = sa.update(shelves).where(
            shelves.c.id == values["shelf_id"], shelves.c.boxes < shelves.c.capacity
        )
        if not tx.conn.execute(more.values(boxes=shelves.c.boxes + 1)).rowcount:
            raise Conflict("The shelf is full.", next_action="Use another shelf.")
    return values


def _taken_off(tx: Tx, _call: Call, row: Row) -> None:
    mine = shelves.c.id == row["shelf_id"]
    tx.conn.execute(sa.update(shelves).where(mine).values(boxes=shelves.c.boxes - 1))


def resources(style: Style) -> tuple[Resource, Resource]:
    """Shelves and boxes in the manners of a style."""
    rules = NEUTRON.rules
    shelf = Resource(
        name="shelf",
        plural="shelves",
        table=shelves,
        style=style,
        rules=rules("shelf", "shelves"),
        fields=(
            Field("name", Name, create=MUST, update=True, filter="equal", sort=True),
            Field("capacity", Positive, create=MAY, update=True, default=10, filter="equal", sort=True),
            Field("boxes", int),
            Field("note", LongText, create=MAY, update=True, nullable=True, since=3),
            Field("created_at", Moment, sort=True),
            Field("updated_at", Moment),
            Field("revision_number", int, filter="equal"),
        ),
        quota="shelf",
        tags=True,
    )  # fmt: skip
    box = Resource(
        name="box",
        plural="boxes",
        table=boxes,
        style=style,
        rules=rules("box", "boxes"),
        fields=(
            Field("label", Name, create=MUST, update=True, filter="equal", sort=True),
            Field("fragile", bool, create=MAY, update=True, default=False, filter="equal",
                  rule="{verb}_box:fragile"),
            Field("shelf_id", str),
            Field("revision_number", int),
        ),
        owner="",
        parent=Parent(shelf, "shelf_id"),
        hooks=Hooks(validate=_fits, deleted=_taken_off),
    )  # fmt: skip
    return shelf, box


def _envelope(fault: Fault, status: int) -> tuple[bytes, str]:
    body = {"error": {"code": status, "message": fault.text, "next": fault.next_action}}
    return msgspec.json.encode(body), "application/json"


def make_service(
    transactions: Transactions, authenticator: Authenticator, style: Style = NOVA
) -> Service:
    """The whole service."""
    quotas = Quotas(LIMITS, USAGE, {"shelf": 60})
    return Service(
        name="sample",
        prefix="/sample",
        operations=[
            row for one in resources(style) for row in operations(one, transactions, quotas)
        ],
        envelope=_envelope,
        policy=Policy(RULES),
        authenticator=authenticator,
        versions=Microversions("sample", Version(1, 1), Version(1, 3), Version(1, 1)),
        status={Kind.LIMIT: 409},
    )
