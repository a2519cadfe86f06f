"""Deploy templates and runbooks by the API, and the use of a runbook by a verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.versions import Field, FieldTable
from ingot.kit.db.database import from_json
from ingot.kit.faults import Forbidden, Invalid
from ingot.services.baremetal import tables
from ingot.services.baremetal.api.common import location, needs, optional_body
from ingot.services.baremetal.api.records import RecordQuery, Records, patchable
from ingot.services.baremetal.nodes import guards, patching, schemas
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.policies import owned
from ingot.services.baremetal.ports.resources import PartKind
from ingot.services.baremetal.templates import service as templates
from ingot.services.baremetal.templates import store as template_store
from ingot.services.baremetal.types import Node

TRAITS_SINCE = 112
RUNBOOK_SINCE = 92
DEPLOY_TEMPLATE = PartKind(
    "Deploy template",
    "deploy_templates",
    "deploy_templates",
    tables.deploy_templates,
    FieldTable(
        Field(name) for name in ("uuid", "name", "created_at", "updated_at", "extra", "steps")
    ),
    ("uuid", "name"),
)
RUNBOOK = PartKind(
    "Runbook",
    "runbooks",
    "runbooks",
    tables.runbooks,
    FieldTable(
        [
            *(Field(name) for name in ("uuid", "name", "created_at", "updated_at")),
            *(Field(name) for name in ("disable_ramdisk", "extra", "owner", "public", "steps")),
            Field("description", TRAITS_SINCE),
            Field("traits", TRAITS_SINCE),
        ]
    ),
    ("uuid", "name"),
)


class RunbookQuery(RecordQuery, kw_only=True):
    project: str | None = None


class DeployTemplates(Records):
    """Handlers of /v1/deploy_templates. They belong to the operators of the system."""

    resource = DEPLOY_TEMPLATE
    rule = "deploy_template"
    _editable = ("extra", "name", "steps", "description")

    def check(self, call: Call) -> None:
        call.require("baremetal:deploy_template:get", self.target())

    async def show(self, call: Call) -> Reply:
        self.check(call)
        wanted = self.wanted_of_one(call)

        def find(conn: sa.Connection) -> Reply:
            row = self.look_up(conn, call, call.params["id"])
            return Reply(self.shown(conn, call, row["uuid"], wanted))

        return await self.read(find)

    async def create(self, call: Call) -> Reply:
        call.require("baremetal:deploy_template:create", self.target())
        body: templates.TemplateCreate = call.body
        values = _template_values(body)
        if body.uuid is not None:
            values["uuid"] = schemas.uuid("uuid", body.uuid)

        def change(conn: sa.Connection) -> Reply:
            uuid = templates.insert(self.ctx, conn, self.resource.table, values)
            return self.made(conn, call, uuid)

        return await self.write(change)

    async def patch(self, call: Call) -> Reply:
        call.require("baremetal:deploy_template:update", self.target())
        changes: Sequence[PatchOperation] = call.body
        patching.checked(changes, call.version.minor)
        patchable(changes, self._editable)

        def change(conn: sa.Connection) -> Reply:
            row = self.look_up(conn, call, call.params["id"])
            before = {name: row[name] for name in ("name", "description")}
            before |= {
                "extra": from_json(row["extra"]),
                "steps": templates.whole_steps(self.ctx.vault, row),
            }
            patched = patching.apply(before, changes)
            body = templates.read(patched, templates.Template, "deploy template")
            templates.update(self.ctx, conn, self.resource.table, row, _template_values(body))
            return Reply(self.shown(conn, call, row["uuid"]))

        return await self.write(change)

    async def delete(self, call: Call) -> Reply:
        call.require("baremetal:deploy_template:delete", self.target())

        def change(conn: sa.Connection) -> Reply:
            row = self.look_up(conn, call, call.params["id"])
            template_store.remove(conn, self.resource.table, row["uuid"])
            return Reply()

        return await self.write(change)


def _template_values(body: templates.Template) -> dict[str, Any]:
    guards.traits([body.name])
    return {
        "name": body.name,
        "steps": templates.steps_of(body),
        "description": body.description,
        "extra": body.extra or {},
    }


class Runbooks(Records):
    """Handlers of /v1/runbooks."""

    resource = RUNBOOK
    rule = "runbook"

    # -- reading -----------------------------------------------------------------------------

    def check(self, call: Call) -> None:
        self._project(call)

    def _project(self, call: Call) -> str | None:
        query: RunbookQuery = call.query
        return self.listing_project(call, "runbook", query.project)

    def where(self, conn: sa.Connection, call: Call) -> list[sa.ColumnElement[bool]]:
        """Those of a project and public ones."""
        columns, project = self.resource.table.c, self._project(call)
        return [sa.or_(columns.owner == project, columns.public.is_(sa.true()))] if project else []

    def visible(self, call: Call) -> list[sa.ColumnElement[bool]]:
        columns, own = self.resource.table.c, call.caller.project_id
        seen = sa.or_(columns.owner == own, columns.public.is_(sa.true()))
        return [seen] if self.confined(call, "runbook") else []

    async def show(self, call: Call) -> Reply:
        wanted = self.wanted_of_one(call)

        def find(conn: sa.Connection) -> Reply:
            return Reply(self.shown(conn, call, self._seen(conn, call)["uuid"], wanted))

        return await self.read(find)

    async def traits(self, call: Call) -> Reply:
        def find(conn: sa.Connection) -> Reply:
            return Reply({"traits": from_json(self._seen(conn, call)["traits"])})

        return await self.read(find)

    def _seen(self, conn: sa.Connection, call: Call) -> sa.RowMapping:
        """The runbook of the path."""
        return self.seen(conn, call, call.params["id"])

    def seen(self, conn: sa.Connection, call: Call, ident: str) -> sa.RowMapping:
        """A runbook by uuid or name: its owner's, or public; to everybody else it is not there."""
        row = self.look_up(conn, call, ident)
        place = self.owned_by(row["owner"])
        if not row["public"] and not call.allows("baremetal:runbook:get", place):
            raise self.resource.missing(ident)
        return row

    def _held(self, conn: sa.Connection, call: Call, *rules: str) -> sa.RowMapping:
        row = self._seen(conn, call)
        for rule in rules:
            call.require(f"baremetal:runbook:{rule}", self.owned_by(row["owner"]))
        return row

    # -- writing -----------------------------------------------------------------------------

    async def create(self, call: Call) -> Reply:
        call.require("baremetal:runbook:create", self.target())
        body: templates.RunbookCreate = call.body
        values = _runbook_values(call, body)
        if call.version.minor < TRAITS_SINCE:
            guards.traits([body.name])
        may_run(call, values["steps"], None)
        if not call.caller.system:
            values["owner"] = self._owner(call, body)
        if body.uuid is not None:
            values["uuid"] = schemas.uuid("uuid", body.uuid)

        def change(conn: sa.Connection) -> Reply:
            uuid = templates.insert(self.ctx, conn, self.resource.table, values)
            return self.made(conn, call, uuid)

        return await self.write(change)

    def _owner(self, call: Call, body: templates.Runbook) -> str | None:
        """Projects own the runbooks that they write, and publish none."""
        own = call.caller.project_id
        if body.owner and body.owner != own:
            raise Invalid(
                "Cannot create a runbook as a project scoped admin with an owner other than your "
                "own project."
            )
        if own and body.public:
            raise Invalid("Cannot create a public runbook as a project scoped admin.")
        return own

    async def patch(self, call: Call) -> Reply:
        changes: Sequence[PatchOperation] = call.body
        minor = call.version.minor
        patching.checked(changes, minor)
        allowed = ("disable_ramdisk", "extra", "name", "owner", "public", "steps")
        patchable(changes, allowed + (("description",) if minor >= TRAITS_SINCE else ()))

        def change(conn: sa.Connection) -> Reply:
            row = self._held(conn, call, *_patch_rules(changes))
            names = ("name", "description", "disable_ramdisk", "public", "owner")
            before = {name: row[name] for name in names}
            before |= {
                "extra": from_json(row["extra"]),
                "steps": templates.whole_steps(self.ctx.vault, row),
            }
            _owner_or_public(before, changes)
            body = templates.read(patching.apply(before, changes), templates.Runbook, "runbook")
            values = _runbook_values(call, body)
            if body.description is UNSET:
                values["description"] = None  # it was removed
            if any(one.root == "steps" for one in changes):
                may_run(call, values["steps"], None)
            templates.update(self.ctx, conn, self.resource.table, row, values)
            return Reply(self.shown(conn, call, row["uuid"]))

        return await self.write(change)

    async def delete(self, call: Call) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            row = self._held(conn, call, "delete")
            template_store.remove(conn, self.resource.table, row["uuid"])
            return Reply()

        return await self.write(change)

    # -- traits ------------------------------------------------------------------------------

    async def set_traits(self, call: Call) -> Reply:
        body: schemas.TraitsBody = call.body
        guards.traits(body.traits)
        return await self._retrait(call, lambda _known: set(body.traits))

    async def add_trait(self, call: Call) -> Reply:
        trait = call.params["trait"]
        guards.traits([trait])
        if await optional_body(call, dict[str, Any]):
            raise Invalid("No body should be provided when adding a trait")
        reply = await self._retrait(call, lambda known: known | {trait})
        reply.headers = location(call, f"runbooks/{call.params['id']}/traits/{trait}")
        return reply

    async def remove_traits(self, call: Call) -> Reply:
        gone = call.params.get("trait")
        return await self._retrait(call, lambda known: known - {gone} if gone else set[str]())

    async def _retrait(self, call: Call, new: Callable[[set[str]], set[str]]) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            row = self._held(conn, call, "update")
            traits = sorted(new(set(from_json(row["traits"]))))
            templates.update(self.ctx, conn, self.resource.table, row, {"traits": traits})
            return Reply()

        return await self.write(change)


def _runbook_values(call: Call, body: templates.Runbook) -> dict[str, Any]:
    if not guards.logical_name(body.name):
        raise Invalid(f"Invalid name {body.name!r} for a runbook.")
    values = {
        "name": body.name,
        "steps": templates.steps_of(body),
        "disable_ramdisk": bool(body.disable_ramdisk),
        "extra": body.extra or {},
        "owner": body.owner,
        "public": bool(body.public),
    }
    if body.description is not UNSET:
        values["description"] = body.description
    return values


def _patch_rules(changes: Sequence[PatchOperation]) -> list[str]:
    """What a patch needs; owner and public have rules of their own."""
    special = {change.root for change in changes} & {"owner", "public"}
    rules = [f"update:{name}" for name in sorted(special)]
    if not rules or any(change.root not in special for change in changes):
        rules.append("update")
    return rules


def _owner_or_public(before: dict[str, Any], changes: Sequence[PatchOperation]) -> None:
    """A public runbook has no owner; publishing one takes its owner away."""
    public = [*patching.values(changes, "public")]
    if any(True for _ in patching.values(changes, "owner")) and (
        public[0] if public else before["public"]
    ):
        raise Invalid("There cannot be an owner for a public runbook")
    if public:
        before["owner"] = None


# -- use -----------------------------------------------------------------------------------------


def may_run(call: Call, steps: Sequence[Mapping[str, Any]], node: Node | None) -> None:
    """Rules `baremetal:step:execute:<interface>.<step>`, where an operator has written any."""
    place = {} if node is None else {"node.owner": node.owner, "node.lessee": node.lessee}
    refused = [
        f"insufficient privileges to execute step {step['step']} on interface {step['interface']}"
        for step in steps
        if (rule := f"baremetal:step:execute:{step['interface']}.{step['step']}")
        in call.policy.rules
        and not call.allows(rule, place)
    ]
    if refused:
        raise Forbidden("; ".join(refused))


def with_runbook(
    runbooks: Runbooks, conn: sa.Connection, call: Call, node: Node, body: schemas.ProvisionBody
) -> schemas.ProvisionBody:
    """The body of a verb with the steps of the runbook that it names."""
    if not body.runbook:
        return body
    needs(call, RUNBOOK_SINCE, "runbook")
    row = runbooks.seen(conn, call, body.runbook)
    project = runbooks.ctx.settings.service_project
    call.require("baremetal:runbook:use", owned("runbook", row["owner"], project))
    _approved(call, node, row)
    if body.target not in ("clean", "service"):
        raise Invalid(
            '"runbooks" is only valid when setting target provision state to any of '
            "['clean', 'service']"
        )
    if body.clean_steps or body.service_steps:
        raise Invalid(f'Please provide either "{body.target}_steps" or a runbook, but not both.')
    ordered = sorted(templates.whole_steps(runbooks.ctx.vault, row), key=lambda step: step["order"])
    if row["owner"] is not None and not row["public"]:
        may_run(call, ordered, node)
    return msgspec.structs.replace(
        body,
        runbook=None,
        disable_ramdisk=True if row["disable_ramdisk"] else None,
        **{f"{body.target}_steps": ordered},
    )


def _approved(call: Call, node: Node, row: sa.RowMapping) -> None:
    """Whether operators have approved the runbook for this machine: by a common trait."""
    if call.version.minor < TRAITS_SINCE:
        if row["name"] not in node.traits:
            raise Invalid(
                f"This runbook has not been approved for use on this node {node.uuid}. Please ask "
                "an administrator to add it to your node traits."
            )
        return
    traits: list[str] = from_json(row["traits"])
    if not traits:
        raise Invalid(
            f"Runbook {row['uuid']} has no traits configured. Please ask an administrator to add "
            "traits to the runbook."
        )
    if not set(traits) & set(node.traits):
        raise Invalid(
            f"This runbook has not been approved for use on this node {node.uuid}. The node does "
            f"not have any of the runbook's traits {traits}. Please ask an administrator to add "
            "a matching trait to your node."
        )
