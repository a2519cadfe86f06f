"""Deploy templates and runbooks: lists of steps that are kept, named and used again.

What clients see of a step's arguments has its secrets masked; the steps as they were given are sealed
beside it. A client that sends the mask back keeps the secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, Meta, UnsetType

from ingot.kit import ids
from ingot.kit.db.database import from_json, to_json
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Invalid
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes import masking
from ingot.services.baremetal.nodes.schemas import whole_number
from ingot.services.baremetal.templates import store as template_store

Steps = list[dict[str, Any]]

#: Interfaces whose steps a plan may name.
INTERFACES = frozenset({"vendor", "power", "management", "firmware", "deploy", "bios", "raid"})

_Number = int | str
_Name = Annotated[str, Meta(min_length=1)]
_Description = Annotated[str, Meta(max_length=255)] | None
_Owner = Annotated[str, Meta(max_length=255)] | None


class TemplateStep(msgspec.Struct, forbid_unknown_fields=True):
    """A step of a deploy template; priority 0 switches the step of that name off."""

    interface: str
    step: _Name
    args: dict[str, Any]
    priority: _Number


class RunbookStep(msgspec.Struct, forbid_unknown_fields=True):
    """A step of a runbook; steps run by rising order."""

    interface: str
    step: _Name
    order: _Number
    args: dict[str, Any] | UnsetType = UNSET


class Template(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A deploy template as a client writes it."""

    name: str
    steps: Annotated[list[TemplateStep], Meta(min_length=1)]
    description: _Description = None
    extra: dict[str, Any] | None = None


class TemplateCreate(Template, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/deploy_templates."""

    uuid: str | None = None


class Runbook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A runbook as a client writes it."""

    name: str
    steps: Annotated[list[RunbookStep], Meta(min_length=1)]
    description: _Description | UnsetType = UNSET
    disable_ramdisk: bool | None = None
    extra: dict[str, Any] | None = None
    owner: _Owner = None
    public: bool | None = None


class RunbookCreate(Runbook, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/runbooks."""

    uuid: str | None = None


def read(document: Mapping[str, Any], shape: type[Any], what: str) -> Any:
    """A patched document as a template or runbook; Invalid says what is wrong with it."""
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid input for {what}: {wrong}.") from None


def steps_of(body: Template | Runbook) -> Steps:
    """The steps in one form: interface, step, args and a whole priority or order. 400 for bad ones."""
    made = [_plain(step) for step in body.steps]
    counted = Counter((step["interface"], step["step"]) for step in made)
    twice = [f"interface: {i}, step: {s}" for (i, s), count in counted.items() if count > 1]
    if twice:
        raise Invalid(
            "Duplicate deploy steps. A template cannot have multiple deploy steps with the same "
            f"interface and step. Duplicates: {'; '.join(twice)}"
        )
    return made


def _plain(step: TemplateStep | RunbookStep) -> dict[str, Any]:
    if step.interface not in INTERFACES:
        raise Invalid(
            f"Invalid step: {step.interface!r} is no interface with steps.",
            next_action=f"Interfaces with steps: {', '.join(sorted(INTERFACES))}.",
        )
    if isinstance(step, TemplateStep):
        key, number, args = "priority", step.priority, step.args
    else:
        key, number, args = "order", step.order, {} if step.args is UNSET else step.args
    if not whole_number(number):
        raise Invalid(f"Invalid step: {key} {number!r} is no whole number from 0 on.")
    return {"interface": step.interface, "step": step.step, "args": args, key: int(number)}


# -- rows ----------------------------------------------------------------------------------------


def whole_steps(vault: Vault, row: sa.RowMapping) -> Steps:
    """The steps of a row with their secrets, for work only."""
    return from_json(vault.open(row["sealed"]) if row["sealed"] else row["steps"])


def insert(ctx: Context, conn: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> str:
    """A new row; its uuid. values: columns, with `steps` and other JSON as plain values."""
    uuid = values.get("uuid") or ids.new_uuid()
    row = _row(ctx, {**values, "uuid": uuid}, None) | {"created_at": ctx.now()}
    template_store.insert(conn, table, row)
    return uuid


def update(
    ctx: Context, conn: sa.Connection, table: sa.Table, old: sa.RowMapping, values: dict[str, Any]
) -> None:
    """Change columns of a row."""
    row = _row(ctx, values, old) | {"updated_at": ctx.now()}
    template_store.update(conn, table, old["uuid"], row)


def _row(ctx: Context, values: Mapping[str, Any], old: sa.RowMapping | None) -> dict[str, Any]:
    row = dict(values)
    if "steps" in row:
        before = None if old is None else {"steps": whole_steps(ctx.vault, old)}
        shown, sealed = masking.part({"steps": row["steps"]}, (), before)
        row["steps"] = to_json(shown["steps"])
        row["sealed"] = ctx.vault.seal(to_json(sealed["steps"])) if sealed else None
    for name in ("extra", "traits"):
        if name in row:
            row[name] = to_json(row[name])
    return row
