"""Vendor methods over IPMI: raw bytes and a reset of the controller."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.ipmi.lan import IpmiLan
from ingot.drivers.machine.types import Access, VendorMethod

BYTE = re.compile(r"(0x)?[0-9a-fA-F]{1,2}\Z")


class IpmiVendor:
    def __init__(self, context: DriverContext) -> None:
        self._lan = context.shared(IpmiLan, lambda: IpmiLan(context))

    def methods(self) -> tuple[VendorMethod, ...]:
        return (
            VendorMethod("send_raw", ("POST",), "Send raw bytes (raw_bytes) to the controller."),
            VendorMethod("bmc_reset", ("POST",), "Reset the controller; warm (default true)."),
        )

    async def call(
        self, access: Access, method: str, http_method: str, args: Mapping[str, object]
    ) -> object:
        if method == "send_raw":
            return await self._send_raw(access, str(args.get("raw_bytes") or ""))
        if method == "bmc_reset":
            cold = str(args.get("warm", True)).lower() in ("false", "0", "no", "f")
            await self._lan.ask(access, 0x06, 0x02 if cold else 0x03)
            return None
        raise Unsupported(f"there is no vendor method {method}")

    async def _send_raw(self, access: Access, text: str) -> None:
        words = text.split()
        if len(words) < 2 or not all(BYTE.match(word) for word in words):
            raise Refused(
                "raw_bytes must be at least two bytes such as 0x00 0x01",
                next_action="Correct raw_bytes.",
            )
        netfn, command, *data = (int(word, 16) for word in words)
        await self._lan.ask(access, netfn, command, bytes(data))
