"""Boot media as controllers and firmware fetch them: an ISO of this boot, a config drive.

The URL's secret is of this boot and stands only in the node's intent: a URL of an earlier boot opens nothing.
Nothing is made per boot; this boot's words are put into a shared image on the way out.
"""

from __future__ import annotations

import asyncio
import hmac
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from ingot.drivers.machine.vmedia import iso
from ingot.kit import ids, log
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.db.database import to_json
from ingot.kit.faults import Missing
from ingot.kit.http.files import send_bytes, send_file
from ingot.services.baremetal import store
from ingot.services.baremetal.boot import configdrive
from ingot.services.baremetal.boot import plan as boot_plan
from ingot.services.baremetal.boot.plan import Intent
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows import booting
from ingot.services.baremetal.workflows.node_task import Deps

_log = log.get("media")
ISO = "application/octet-stream"


class MediaApi:
    """Operations of the provisioning listener, at its root."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def operations(self) -> list[Operation]:
        base = "/media/{node}/{secret}"
        return [
            Operation("GET", f"{base}/boot.iso", self.medium, rule=None),
            Operation("GET", f"{base}/config.iso", self.config_drive, rule=None),
        ]

    async def medium(self, call: Call) -> Reply:
        node, intent, token, mac = await self._deps.db.read(lambda conn: self._ordered(conn, call))
        if not node.boot_seen_at:
            await self._deps.db.write(lambda conn: self._seen(conn, node.uuid))
            _log.info("boot medium", node=node.uuid, boots=intent.boot)
        made = await booting.template(self._deps, node.uuid, intent)
        words = boot_plan.media_words(intent, self._deps.urls, token, mac)
        addresses = to_json(intent.network_data).encode() if intent.network_data else b""
        filled = made.filled(iso.config(words), addresses)
        return await send_file(call, Path(made.path), content_type=ISO, patch=filled.patch)

    async def config_drive(self, call: Call) -> Reply:
        node, _, _, _ = await self._deps.db.read(lambda conn: self._ordered(conn, call))
        drive: Any = await self._deps.db.read(
            lambda conn: store.read_secret(conn, self._deps.vault, node.uuid, "configdrive")
        )
        if not drive:
            raise Missing("This instance has no config drive.")
        return send_bytes(call, await asyncio.to_thread(_drive, drive), content_type=ISO)

    def _ordered(self, conn: sa.Connection, call: Call) -> tuple[Node, Intent, str, str]:
        """The node, what it boots, its agent's token and the card that boots; one answer for all reasons."""
        uuid = call.params["node"]
        node = store.find_node(conn, uuid) if ids.is_uuid(uuid) else None
        intent = boot_plan.intent_of(node.boot_intent) if node is not None else None
        if node is None or intent is None or not _opens(call.params["secret"], intent):
            raise Missing("There is no such medium.")
        agent = agent_store.get_agent(conn, self._deps.vault, node.uuid)
        cards = [port.address for port in store.ports_of(conn, node.uuid) if port.pxe_enabled]
        token = agent.token if agent is not None and intent.boot == "agent" else ""
        return node, intent, token or "", cards[0] if len(cards) == 1 else ""

    def _seen(self, conn: sa.Connection, uuid: str) -> None:
        store.update_node(conn, uuid, boot_seen_at=self._deps.now(), started_at=None)


def _opens(secret: str, intent: Intent) -> bool:
    return bool(intent.media) and hmac.compare_digest(secret.encode(), intent.media.encode())


def _drive(stored: Any) -> bytes:
    if isinstance(stored, dict):
        return configdrive.iso(configdrive.files(cast("dict[str, Any]", stored)))
    return configdrive.unpack(str(stored).encode())
