"""Availability zones: /os-availability-zone."""

from __future__ import annotations

from typing import Any

from ingot.kit.api.operations import Call, Reply
from ingot.services.compute.api.common import (
    Handlers,
    Wire,
    naive,
)


class Zones(Handlers):
    """/os-availability-zone: one zone."""

    async def index(self, _call: Call) -> Reply:
        return Reply({"availabilityZoneInfo": [self._zone(None)]})

    async def detail(self, _call: Call) -> Reply:
        at = naive(self.compute.now())
        state = {"available": True, "active": True, "updated_at": at}
        return Reply(
            {
                "availabilityZoneInfo": [
                    self._zone({self.compute.settings.host: {"nova-compute": state}})
                ]
            }
        )

    def _zone(self, hosts: Any) -> Wire:
        return {
            "zoneName": self.compute.settings.availability_zone,
            "zoneState": {"available": True},
            "hosts": hosts,
        }
