"""What `validate` says of a node beyond its options: does the chosen boot, deploy and storage fit together?

No device is asked: an answer comes at once, also for machines whose controller is away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.agent import imagespec
from ingot.kit.faults import Fault
from ingot.services.baremetal import store
from ingot.services.baremetal.boot import imagerights, imagesources
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.types import Node

Info = Mapping[str, Any]


def boot_problems(ctx: Context, conn: sa.Connection, node: Node) -> list[str]:
    """What hinders the machine from booting the agent, or the instance, in the chosen way."""
    registry = ctx.registry
    boot = registry.boot(node.driver, node.interfaces.get("boot"))
    style = registry.deploy(node.driver, node.interfaces.get("deploy"))
    found: list[str] = []
    if boot.needs_dhcp and not any(p.pxe_enabled for p in store.ports_of(conn, node.uuid)):
        found.append(
            f"Node {node.uuid} does not have any port associated with it that may boot (pxe_enabled)."
        )
    if style.uses_agent:
        found += _agent_files(ctx, node, boot.needs_iso)
    if style.boots_ramdisk and boot.loader == "" and not boot.needs_iso:
        found.append("The boot interface cannot boot a ramdisk or ISO of the instance.")
    return found


def _agent_files(ctx: Context, node: Node, by_medium: bool) -> list[str]:
    info: Info = node.driver_info
    if by_medium and info.get("deploy_iso"):
        return []
    named = [name for name in ("deploy_kernel", "deploy_ramdisk") if info.get(name)]
    if len(named) == 1:
        return [f"driver_info has {named[0]} only; the kernel and the ramdisk belong together."]
    if not named and not ctx.settings.agent_ramdisk:
        return [
            "No agent ramdisk is configured: set ramdisk.kernel and ramdisk.initramfs in the settings, "
            "or driver_info.deploy_kernel and deploy_ramdisk."
        ]
    return []


def raid_problems(ctx: Context, conn: sa.Connection, node: Node) -> list[str]:
    """What is wrong with the logical disks that are asked for, if any are."""
    wanted = store.target_raid_config(conn, node.uuid)
    if not wanted:
        return []
    return list(ctx.registry.raid(node.driver, node.interfaces.get("raid")).problems(wanted))


def deploy_problems(ctx: Context, conn: sa.Connection, node: Node) -> list[str]:
    """What instance_info and driver_info lack for the deploy style."""
    style = ctx.registry.deploy(node.driver, node.interfaces.get("deploy"))
    info = store.instance_info(conn, ctx.vault, node)
    found = list(style.problems(info))
    found += image_problems(ctx, conn, node, info)
    source = str(info.get("image_source") or "")
    if style.writes_disk and source:
        found += _source_problems(ctx, source, info)
    if style.writes_disk:
        found += imagespec.proxy_problems(node.driver_info)
    return found


def image_problems(ctx: Context, conn: sa.Connection, node: Node, info: Info) -> list[str]:
    """Images that instance_info names and whoever has named them does not see."""
    if ctx.images is None:
        return []
    rights = store.image_rights(conn, node.uuid)
    found: list[str] = []
    for name in imagerights.NAMES["instance_info"]:
        ident = str(info.get(name) or "")
        if not ident or ("://" in ident and not ident.startswith("glance://")):
            continue
        right = imagerights.right_to(*rights, f"instance_info.{name}")
        # Orders of the cloud's own services were checked by them.
        if not right.cloud:
            problem = ctx.images.problem(conn, ident.removeprefix("glance://"), right)
            found += [f"instance_info.{name}: {problem}"] if problem else []
    return found


def _source_problems(ctx: Context, source: str, info: Info) -> list[str]:
    """What the deploy would say of the image without asking anybody."""
    if "://" not in source or source.startswith("glance://"):
        if ctx.settings.image_service:
            return []
        return ["This cloud has no image service: instance_info.image_source must be a URL."]
    try:
        imagesources.check(source, info, ctx.settings.egress, ctx.settings.file_images)
    except Fault as fault:
        return [fault.sentence()]
    return []


def storage_problems(ctx: Context, conn: sa.Connection, node: Node) -> list[str]:
    """Volumes are known, but machines do not boot from them yet."""
    if not port_store.has_boot_volume(conn, node.uuid):
        return []
    storage = ctx.registry.storage(node.driver, node.interfaces.get("storage"))
    if not storage.attaches_volumes:
        return ["The node has a boot volume, but its storage interface attaches none."]
    return ["Boot from a volume is not built yet: delete the volume target with boot_index 0."]
