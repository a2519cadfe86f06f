"""Instances that boot no disk of theirs: their own kernel and ramdisk, or an ISO, at every start.

Nothing is written to the machine. What is booted stands in its intent, as long as the instance lives.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.baremetal import store
from ingot.baremetal.bootplan import Intent
from ingot.baremetal.imagerights import Right, lasting
from ingot.baremetal.types import Node
from ingot.baremetal.workflows import booting, steps
from ingot.baremetal.workflows.room import Case
from ingot.kit.faults import Invalid
from ingot.workflow import StepContext


def is_ramdisk(case: Case, node: Node) -> bool:
    """Whether the node's deploy style keeps the instance off the disk."""
    return case.room.registry.deploy(node.driver, node.interfaces.get("deploy")).boots_ramdisk


async def prepare_boot(case: Case) -> None:
    """From now on the machine boots its instance, wherever that is."""
    node = await case.node()
    if not is_ramdisk(case, node):
        await steps.prepare_disk_boot(case)
        return

    async def find() -> _Parts:
        fresh = await case.node()
        found = await _parts(case, fresh)
        # A machine whose image cannot be opened would ask for its boot script for ever.
        for name, ident in found.files.items():
            await booting.located_file(case.room, case.uuid, ident, found.rights[name])
        return found

    parts = await case.op.step(
        "find what the instance boots", lambda _ctx: find(), deadline=120, result_type=_Parts
    )
    if not parts.files:  # found before rights were kept: that record tells no more than the files
        parts = await find()
    await case.op.commit("order the instance's boot", lambda conn: _order(case, conn, parts))

    async def choose(_ctx: StepContext) -> None:
        fresh, access = await case.reach("management")
        mode = steps.boot_mode(fresh)
        await booting.boot_of(case.room, fresh).clean_up(access)
        await booting.prepare(case.room, fresh, access, mode, persistent=True)

    more = 120 if booting.boot_of(case.room, node).needs_iso else 0
    await case.controller_step("boot the instance from now on", choose, more=more)


class _Parts(msgspec.Struct, frozen=True):
    """files: kernel and ramdisk, or iso: URLs or images. rights: by whose right each is opened."""

    files: dict[str, str] = {}
    rights: dict[str, Right] = {}


async def _parts(case: Case, node: Node) -> _Parts:
    """What the instance boots, from instance_info or the image's properties."""
    info: dict[str, Any] = await case.room.db.read(
        lambda conn: store.instance_info(conn, case.room.vault, node)
    )
    names = ("boot_iso", "kernel", "ramdisk", "image_source")
    rights = await case.rights_to(*(f"instance_info.{name}" for name in names))
    if info.get("boot_iso"):
        return _Parts({"iso": str(info["boot_iso"])}, {"iso": rights["boot_iso"]})
    pair = ("kernel", "ramdisk")
    if all(info.get(name) for name in pair):
        files = {name: str(info[name]) for name in pair}
        return _Parts(files, {name: rights[name] for name in pair})
    source = str(info.get("image_source") or "")
    if source and not source.startswith(("http://", "https://")):
        right = rights["image_source"]
        # What the properties name must be seen by who ordered the image, and by its owner, who wrote them.
        found, both = await case.room.images.properties(source.removeprefix("glance://"), right)
        if found.get("boot_iso_id"):
            return _Parts({"iso": found["boot_iso_id"]}, {"iso": both})
        if all(found.get(f"{name}_id") for name in pair):
            files = {name: found[f"{name}_id"] for name in pair}
            return _Parts(files, dict.fromkeys(pair, both))
    raise Invalid(
        "instance_info names neither boot_iso nor kernel and ramdisk.",
        next_action="Set them, or image_source to an image with kernel_id and ramdisk_id.",
    )


def _order(case: Case, conn: sa.Connection, parts: _Parts) -> None:
    info = store.get_node(conn, case.uuid).instance_info
    words = (info.get("ramdisk_kernel_arguments"), info.get("kernel_append_params"))
    extra = " ".join(str(word).replace("%default%", "").strip() for word in words if word)
    intent = Intent(
        boot="kernel",
        extra=extra,
        kernel=parts.files.get("kernel", ""),
        ramdisk=parts.files.get("ramdisk", ""),
        iso=parts.files.get("iso", ""),
        rights=lasting(parts.rights),
    )
    steps.set_intent(conn, case, intent)
    booting.ready_medium(conn, case.room, store.get_node(conn, case.uuid))
