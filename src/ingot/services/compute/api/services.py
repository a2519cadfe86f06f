"""Processes that work on servers: /os-services."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import NAMESPACE_OID, uuid5

from ingot import workflow
from ingot.kit.api.operations import Call, Reply
from ingot.kit.db.database import when
from ingot.services.compute.api.common import (
    Handlers,
    Wire,
    naive,
    own,
)

#: What clients know our processes as, and after how many seconds of silence one is down.
_BINARY = "nova-compute"
_SILENCE = 60.0


class Services(Handlers):
    """/os-services: the processes that work on servers' operations."""

    async def index(self, call: Call) -> Reply:
        call.require("os_compute_api:os-services:list", own(call))
        found = await self.compute.db.read(workflow.list_conductors)
        args = dict(call.args)
        if args.get("binary", _BINARY) != _BINARY:
            found = []
        dead = self.compute.clock.now() - timedelta(seconds=_SILENCE)
        shown = [
            self._service(call, number, row, dead)
            for number, row in enumerate(found, 1)
            if args.get("host", row.host) == row.host
        ]
        return Reply({"services": shown})

    def _service(self, call: Call, number: int, row: workflow.ConductorRow, dead: datetime) -> Wire:
        at = when(row.beat_at)
        alive = not row.gone and at is not None and at > dead
        shown: Wire = {
            "id": number if call.version.minor < 53 else str(uuid5(NAMESPACE_OID, row.host)),
            "binary": _BINARY,
            "host": row.host,
            "zone": self.compute.settings.availability_zone,
            "status": "enabled",
            "state": "up" if alive else "down",
            "updated_at": naive(row.beat_at),
            "disabled_reason": None,
        }
        if call.version.minor >= 11:
            shown["forced_down"] = False
        return shown
