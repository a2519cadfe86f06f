"""States of a node and the verbs that change them; VIFs, history, inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import next_link
from ingot.kit.db.database import raw_json
from ingot.kit.faults import Fault, Invalid, Kind, Missing
from ingot.services.baremetal import paging_store, tables
from ingot.services.baremetal.api.common import Handlers, PageQuery, accepted, by, needs
from ingot.services.baremetal.api.templates import Runbooks, may_run, with_runbook
from ingot.services.baremetal.inspection import store as inventories
from ingot.services.baremetal.nodes import history_store, node_fields, schemas, states
from ingot.services.baremetal.nodes import store as node_store
from ingot.services.baremetal.nodes.verbs import VerbArguments
from ingot.services.baremetal.ports import vifs

SOFT_POWER_SINCE = 27
REBUILD_DRIVE_SINCE = 35
BUILD_DRIVE_SINCE = 56
VENDOR_DATA_SINCE = 59
DEPLOY_STEPS_SINCE = 69
CLEAN_RAMDISK_SINCE = 70
SERVICE_RAMDISK_SINCE = 108
VIF_PORT_SINCE = 67
_SOFT = ("soft rebooting", "soft power off")
_DRIVE_KEYS = frozenset({"meta_data", "network_data", "user_data", "vendor_data"})
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\n\r\t ")


class HistoryQuery(PageQuery, kw_only=True):
    detail: str | None = None


class States(Handlers):
    """Handlers below /v1/nodes/{id}."""

    async def show(self, call: Call) -> Reply:
        names = node_fields.STATES.names(call.version)

        def query(conn: sa.Connection) -> Reply:
            found = self.find(conn, call, call.params["id"], "baremetal:node:get_states")
            body = node_store.columns_of(conn, found.uuid, names)
            for name in ("raid_config", "target_raid_config"):
                if name in body:
                    body[name] = raw_json(body[name])
            body["provision_state"] = node_fields.old_state(
                body["provision_state"], call.version.minor
            )
            place = self.redaction(call).of(found.owner, found.lessee)
            if "last_error" in place:
                body["last_error"] = place["last_error"]
            return Reply(body)

        return await self.read(query)

    async def power(self, call: Call) -> Reply:
        body: schemas.PowerBody = call.body
        if body.target in _SOFT or body.timeout:
            needs(call, SOFT_POWER_SINCE, "soft power")
        timeout = _whole("timeout", body.timeout)

        def change(conn: sa.Connection) -> Reply:
            found = self.find(conn, call, call.params["id"], "baremetal:node:set_power_state")
            self.bm.power(conn, found.uuid, body.target, timeout, by=by(call))
            return accepted(call, f"nodes/{call.params['id']}/states")

        return await self.write(change)

    async def provision(self, call: Call) -> Reply:
        body: schemas.ProvisionBody = call.body
        verb = states.VERBS.get(body.target)
        if verb is not None:
            needs(call, verb[1], f"the verb {body.target}")

        def change(conn: sa.Connection) -> Reply:
            rules = ["baremetal:node:set_provision_state"]
            if body.clean_steps and not body.runbook:
                rules.append("baremetal:node:set_provision_state:clean_steps")
            if body.service_steps and not body.runbook:
                rules.append("baremetal:node:set_provision_state:service_steps")
            found = self.standing(conn, call, call.params["id"], *rules)
            node = found.node
            if not body.runbook:
                may_run(call, _steps(body) or (), node)
                self._may_ask_children(conn, call, _steps(body) or ())
            row = states.following(node.provision_state, verb[0]) if verb else None
            if row is not None:
                needs(call, row.since, f"{body.target} in state {node.provision_state}")
                full = with_runbook(Runbooks(self.bm), conn, call, node, body)
                extras = _extras(call, full)
            else:
                extras = VerbArguments()
            self.bm.provision(conn, found, body.target, extras, by(call))
            return accepted(call, f"nodes/{call.params['id']}/states")

        return await self.write(change)

    def _may_ask_children(
        self, conn: sa.Connection, call: Call, steps: Sequence[Mapping[str, Any]]
    ) -> None:
        """Child nodes that a step names: 404 and 403 as for themselves."""
        for step in steps:
            asked = step.get("execute_on_child_nodes")
            for child in (asked and step.get("limit_child_node_execution")) or ():
                if not ids.is_uuid(child):
                    raise Invalid(
                        "Invalid entry detected for execute_on_child_node parameter in step "
                        f"{step['step']}."
                    )
                self.find(conn, call, child, "baremetal:node:set_provision_state")

    async def no_such_state(self, call: Call) -> Reply:
        """As upstream: what cannot be set is a wrong method, not a missing path."""
        raise Fault(f"There is no state {call.params['state']} to set.", kind=Kind.METHOD)

    # -- VIFs --------------------------------------------------------------------------------

    async def vifs(self, call: Call) -> Reply:
        def query(conn: sa.Connection) -> Reply:
            node = self.node(conn, call, call.params["id"], "baremetal:node:vif:list")
            return Reply({"vifs": vifs.listed(conn, node)})

        return await self.read(query)

    async def attach_vif(self, call: Call) -> Reply:
        body: schemas.VifBody = call.body
        chosen = call.version.minor >= VIF_PORT_SINCE
        if chosen and body.port_uuid and body.portgroup_uuid:
            raise Invalid("Cannot specify both port_uuid and portgroup_uuid")

        def change(conn: sa.Connection) -> Reply:
            found = self.find(conn, call, call.params["id"], "baremetal:node:vif:attach")
            try:
                self.bm.attach_vif(
                    conn,
                    found.uuid,
                    body.id,
                    port_uuid=body.port_uuid if chosen else None,
                    portgroup_uuid=body.portgroup_uuid if chosen else None,
                    project_id=self.ctx.networks.reach(call.caller),
                )
            except Invalid:
                if not vifs.are_words(conn, found.uuid):
                    raise
            return Reply()

        return await self.write(change)

    async def detach_nothing(self, call: Call) -> Reply:
        """Detaching without a VIF's id is the client's mistake, not a missing route."""
        await self.read(
            lambda conn: self.find(conn, call, call.params["id"], "baremetal:node:vif:detach")
        )
        raise Invalid('Missing argument: "vif_id"')

    async def detach_vif(self, call: Call) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            found = self.find(conn, call, call.params["id"], "baremetal:node:vif:detach")
            try:
                self.bm.detach_vif(conn, found.uuid, call.params["vif"])
            except Invalid:
                if not vifs.are_words(conn, found.uuid):
                    raise
            return Reply()

        return await self.write(change)

    # -- history and inventory ---------------------------------------------------------------

    async def history(self, call: Call) -> Reply:
        query: HistoryQuery = call.query
        detail = query.detail is not None and schemas.flag("detail", query.detail)
        names = None if detail else ("uuid", "created_at", "severity", "event")
        page = self.page(query, paging_store.sortable(tables.node_history), "created_at")

        def find(conn: sa.Connection) -> Reply:
            node = self.find(conn, call, call.params["id"], "baremetal:node:history:get")
            found = history_store.read_history(
                conn, node.uuid, page, call.base_url, names, call.version
            )
            body: dict[str, Any] = {"history": found}
            if len(found) == page.limit:
                body["next"] = next_link(call, found[-1]["uuid"], page.limit)
            return Reply(body)

        return await self.read(find)

    async def history_entry(self, call: Call) -> Reply:
        event = call.params["event"]
        page = self.page(PageQuery(), frozenset({"id"}))

        def find(conn: sa.Connection) -> Reply:
            node = self.find(conn, call, call.params["id"], "baremetal:node:history:get")
            found = history_store.read_history(
                conn, node.uuid, page, call.base_url, None, call.version, event
            )
            if not found:
                raise Missing(f"Node history record {event} could not be found.")
            return Reply(found[0])

        return await self.read(find)

    async def inventory(self, call: Call) -> Reply:
        def find(conn: sa.Connection) -> Reply:
            node = self.find(conn, call, call.params["id"], "baremetal:node:inventory:get")
            row = inventories.inventory_texts(conn, node.uuid)
            if row is None:
                raise Missing(f"Inventory of node {node.uuid} could not be found.")
            return Reply({"inventory": raw_json(row[0]), "plugin_data": raw_json(row[1])})

        return await self.read(find)


def _whole(name: str, value: int | str | None) -> int | None:
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise Invalid(f"Expected an integer for {name} but received {value}.") from None


def _extras(call: Call, body: schemas.ProvisionBody) -> VerbArguments:
    """What comes with a verb, checked against verb and microversion."""
    target = body.target
    for kind, given, verbs in (
        ("clean", body.clean_steps, ("clean",)),
        ("deploy", body.deploy_steps, ("active", "rebuild", "deploy")),
        ("service", body.service_steps, ("service",)),
    ):
        if given and target not in verbs:
            raise Invalid(
                f'"{kind}_steps" is only valid when setting target provision state to '
                f"{' or '.join(verbs)}"
            )
        if target == kind != "deploy" and not given:
            raise Invalid(
                f'"{kind}_steps" is required when setting target provision state to {target}'
            )
    if body.rescue_password is not None and target != "rescue":
        raise Invalid(
            '"rescue_password" is only valid when setting target provision state to rescue'
        )
    if body.deploy_steps:
        needs(call, DEPLOY_STEPS_SINCE, "deploy_steps")
    return VerbArguments(
        steps=_steps(body),
        disable_ramdisk=_disable_ramdisk(call, body),
        configdrive=_config_drive(call, body),
        rescue_password=body.rescue_password,
    )


def _steps(body: schemas.ProvisionBody) -> list[dict[str, Any]] | None:
    for kind, given in (
        ("clean", body.clean_steps),
        ("deploy", body.deploy_steps),
        ("service", body.service_steps),
    ):
        if given:
            return schemas.steps(kind, given)
    return None


def _disable_ramdisk(call: Call, body: schemas.ProvisionBody) -> bool:
    if body.disable_ramdisk is None:
        return False
    needs(call, CLEAN_RAMDISK_SINCE, "disable_ramdisk")
    if body.target == "service":
        needs(call, SERVICE_RAMDISK_SINCE, "disable_ramdisk with service")
    elif body.target != "clean":
        raise Invalid("disable_ramdisk is only supported with manual cleaning or servicing")
    return schemas.flag("disable_ramdisk", body.disable_ramdisk)


def _config_drive(call: Call, body: schemas.ProvisionBody) -> dict[str, Any] | str | None:
    drive = body.configdrive
    if not drive:
        return None
    minor = call.version.minor
    targets = ["active", "deploy"] + (["rebuild"] if minor >= REBUILD_DRIVE_SINCE else [])
    if body.target not in targets:
        raise Invalid(
            "Adding a config drive is only supported when setting provision state to "
            + ", ".join(targets)
        )
    if isinstance(drive, str):
        if "://" not in drive and set(drive) - _BASE64:
            raise Invalid(
                "Invalid configdrive format: it is neither a JSON, nor a URL, nor a base64 string"
            )
        return drive
    if minor < BUILD_DRIVE_SINCE:
        raise Invalid(
            "Providing a JSON object for configdrive is only supported starting with API version "
            f"1.{BUILD_DRIVE_SINCE}"
        )
    if unknown := sorted(set(drive) - _DRIVE_KEYS):
        raise Invalid(f"Invalid configdrive format: unknown {', '.join(unknown)}.")
    for name in ("meta_data", "network_data", "vendor_data"):
        if name in drive and not isinstance(drive[name], dict):
            raise Invalid(f"Invalid configdrive format: {name} must be an object.")
    if "vendor_data" in drive and minor < VENDOR_DATA_SINCE:
        raise Invalid(
            "Providing vendor_data in configdrive is only supported starting with API version "
            f"1.{VENDOR_DATA_SINCE}"
        )
    return drive
