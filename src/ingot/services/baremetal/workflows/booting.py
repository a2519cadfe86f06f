"""What a machine is brought up with: the agent's files, its boot medium, and the URLs of both.

Machines that boot from the network ask for their script; machines that boot from a medium get one by their
controller (or firmware), whose URL holds a new secret for every boot. Such a medium carries the agent's token,
so the agent needs no first answer, and nobody else can get one in its place.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.drivers.machine.base import Boot
from ingot.drivers.machine.types import Access, BootMode
from ingot.drivers.machine.vmedia.iso import Template
from ingot.drivers.machine.vmedia.store import Source
from ingot.kit import ids
from ingot.kit.faults import Fault, Invalid, Kind
from ingot.services.baremetal import store
from ingot.services.baremetal.boot import plan as boot_plan
from ingot.services.baremetal.boot.imagerights import Right, lasting, right_to
from ingot.services.baremetal.boot.plan import Intent
from ingot.services.baremetal.ramdisk import tokens as agent_tokens
from ingot.services.baremetal.types import ImageFile, Node
from ingot.services.baremetal.workflows.node_task import Deps, NodeTask

#: For as long as this a URL in a controller's memory must work: an instance may boot by it for years.
FOR_EVER = 10 * 365 * 86400.0
#: For one boot.
FOR_NOW = 3600.0


def boot_of(deps: Deps, node: Node) -> Boot:
    return deps.registry.boot(node.driver, node.interfaces.get("boot"))


def agent_intent(conn: sa.Connection, task: NodeTask, node: Node, inspect: bool) -> Intent:
    """The order to boot the agent: configured, or the node's own."""
    info, kind = node.driver_info, "rescue" if task.op.kind == "rescue" else "deploy"
    known = store.image_rights(conn, node.uuid)
    own = [name for name in ("kernel", "ramdisk", "iso") if info.get(f"{kind}_{name}")]
    return Intent(
        rights=lasting({name: right_to(*known, f"driver_info.{kind}_{name}") for name in own}),
        boot="agent",
        inspect=inspect,
        request_id=task.op.request_id or "",
        extra=str(info.get("kernel_append_params") or ""),
        kernel=str(info.get(f"{kind}_kernel") or ""),
        ramdisk=str(info.get(f"{kind}_ramdisk") or ""),
        iso=str(info.get(f"{kind}_iso") or "") if boot_of(task.deps, node).needs_iso else "",
    )


def ready_medium(conn: sa.Connection, deps: Deps, node: Node) -> None:
    """In the commit after which the machine is started: a new URL, and the token that the agent will have.

    A ready-made ISO has no room for a token; the agent in it asks for one.
    """
    intent = boot_plan.intent_of(node.boot_intent)
    if intent is None or not boot_of(deps, node).needs_iso:
        return
    data = _addresses(conn, deps, node) if intent.boot == "agent" and not intent.iso else {}
    intent = msgspec.structs.replace(intent, media=ids.new_secret(), network_data=data)
    store.update_node(conn, node.uuid, boot_intent=msgspec.to_builtins(intent))
    if intent.boot != "agent" or intent.iso:
        return
    agent_tokens.give(conn, deps.vault, node.uuid)


def _addresses(conn: sa.Connection, deps: Deps, node: Node) -> dict[str, Any]:
    """network_data for the agent: the node's own, or that of its network ports where these have no DHCP.

    Empty: the agent asks DHCP. Source: upstream's order (its documentation, "DHCP-less ramdisk booting").
    """
    if own := store.network_data(conn, node.uuid):
        return own
    cards = [port for port in store.ports_of(conn, node.uuid) if port.pxe_enabled]
    return deps.networks.static_data(conn, node, cards)


async def prepare(
    deps: Deps, node: Node, access: Access, mode: BootMode | None, *, persistent: bool = False
) -> None:
    """Have the machine boot what its intent says: the network's script, or its medium."""
    boot = boot_of(deps, node)
    intent = boot_plan.intent_of(node.boot_intent)
    if not boot.needs_iso or intent is None:
        await boot.prepare_ramdisk(access, mode, persistent=persistent)
        return
    drive = None
    if intent.boot == "kernel" and await _has_config_drive(deps, node):
        drive = boot_plan.media_url(node.uuid, intent, deps.urls, "config.iso")
    url = boot_plan.media_url(node.uuid, intent, deps.urls)
    if intent.iso:
        url = (await _located(deps, node.uuid, intent, "iso", FOR_EVER)).url
    else:
        await template(deps, node.uuid, intent, refresh=True)
    await boot.prepare_ramdisk(access, mode, url, drive_url=drive, persistent=persistent)


async def take_out(task: NodeTask) -> None:
    """Take the boot medium out again; machines that boot from the network have none."""
    node, access = await task.reach("management")
    boot = boot_of(task.deps, node)
    if boot.needs_iso:
        with contextlib.suppress(Fault):
            await boot.clean_up(access)


async def take_out_instance(task: NodeTask) -> None:
    """The instance goes: what it booted from is taken out of the controller's drives."""
    node = await task.node()
    if boot_of(task.deps, node).needs_iso:
        await task.controller_step("take the boot medium out", lambda _ctx: take_out(task))


async def template(deps: Deps, node: str, intent: Intent, *, refresh: bool = False) -> Template:
    """The medium of an intent, without this boot's words."""
    if deps.media is None or not deps.urls.base:
        raise Fault(
            "There is no provisioning listener, so no controller could fetch a boot medium.",
            kind=Kind.UNSUPPORTED,
            next_action="Set provisioning.listen (and provisioning.url) in the settings.",
        )
    files = [await _source(deps, node, intent, name) for name in ("kernel", "ramdisk")]
    return await deps.media.template(
        *files, network_data=bool(intent.network_data), refresh=refresh
    )


async def located(deps: Deps, node: str, intent: Intent) -> Intent:
    """The intent with URLs instead of image ids, for a script that is used at once."""
    found: dict[str, Any] = {}
    for name in ("kernel", "ramdisk", "iso"):
        if getattr(intent, name):
            found[name] = (await _located(deps, node, intent, name, FOR_NOW)).url
    return msgspec.structs.replace(intent, **found) if found else intent


async def _source(deps: Deps, node: str, intent: Intent, name: str) -> Source | None:
    if not getattr(intent, name):
        return None
    file = await _located(deps, node, intent, name, FOR_NOW)
    # By its id, not its name: another tenant's image may have the same one.
    return Source(file.id, file.url)


async def _located(deps: Deps, node: str, intent: Intent, name: str, ttl: float) -> ImageFile:
    right = intent.rights.get(name)
    if right is None:  # an intent from before rights were kept
        _, project_id = await deps.db.read(lambda conn: store.image_rights(conn, node))
        right = right_to(None, project_id, name)
    return await located_file(deps, node, str(getattr(intent, name)), right, ttl)


async def located_file(
    deps: Deps, node: str, ident: str, right: Right, ttl: float = FOR_NOW
) -> ImageFile:
    """Where a kernel, a ramdisk or an ISO is, given by URL or as an image; Missing when `right` does not open it."""
    if ident.startswith(("http://", "https://")):
        return ImageFile(ident, ident)
    return await deps.images.file(ident.removeprefix("glance://"), ttl, right, node)


async def _has_config_drive(deps: Deps, node: Node) -> bool:
    found = await deps.db.read(
        lambda conn: store.read_secret(conn, deps.vault, node.uuid, "configdrive")
    )
    if isinstance(found, str) and found.startswith(("http://", "https://")):
        raise Invalid(
            "A config drive given by URL cannot be put on a boot medium.",
            next_action="Give the config drive itself.",
        )
    return bool(found)
