"""The rest of imaginary hardware: deploy, inspect, network, storage, console, vendor and rescue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine.fake.base import Fake
from ingot.drivers.machine.fake.settings import FakeSteps
from ingot.drivers.machine.flat.network import choose_port
from ingot.drivers.machine.types import Access, PortFacts, StepInfo, VendorMethod, VifFacts


class FakeDeploy(FakeSteps):
    """One step that takes as long as `fake_delay` for deploy.deploy says."""

    uses_agent = False
    writes_disk = False
    boots_ramdisk = False
    _capability = "deploy"
    _restarts = False
    _steps = (StepInfo("deploy", "deploy", 100, kinds=("deploy",)),)

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        return ()


class FakeInspect(Fake):
    """An inventory made up from the machine's name."""

    uses_agent = False

    async def inspect(self, access: Access) -> Mapping[str, object]:
        machine = await self.touch(access, "inspect.inspect")
        return {
            "inventory": {
                "interfaces": [{"name": "eth0", "mac_address": machine.mac, "has_carrier": True}],
                "cpu": {"count": 4, "architecture": "x86_64", "model_name": "Imaginary"},
                "disks": [{"name": "/dev/sda", "size": 100 * 2**30, "rotational": False}],
                "memory": {"physical_mb": 8192, "total": 8192 * 2**20},
                "system_vendor": {
                    "manufacturer": "Imaginary",
                    "product_name": "Fake",
                    "serial_number": machine.serial,
                },
                "boot": {
                    "current_boot_mode": machine.boot_mode.value,
                    "pxe_interface": machine.mac,
                },
                "bmc_address": "0.0.0.0",
                "hostname": machine.key,
            }
        }


class FakeNetwork:
    """As noop."""

    accepts_vifs = True
    binds_ports = False
    separate_networks = False

    def choose_port(self, ports: Sequence[PortFacts], vif: VifFacts) -> PortFacts:
        return choose_port(ports, vif)


class FakeStorage:
    attaches_volumes = False


class FakeConsoleSession:
    """Says who it is, then echoes what is sent."""

    def __init__(self, greeting: bytes) -> None:
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._chunks.put_nowait(greeting)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def send(self, data: bytes) -> None:
        self._chunks.put_nowait(data)

    async def aclose(self) -> None:
        self._chunks.put_nowait(None)


class FakeConsole(Fake):
    kind = "socat"

    async def open(self, access: Access) -> FakeConsoleSession:
        machine = await self.touch(access, "console.open")
        return FakeConsoleSession(f"imaginary console of {machine.key}\r\n".encode())


class FakeWebsocketConsole(FakeConsole):
    kind = "websocket"


class FakeVendor(FakeSteps):
    """The methods and steps of upstream's fake vendor; `bar` is compared with a word of each."""

    _capability = "vendor"
    _restarts = False
    _words = {
        "second_method": "kazoo",
        "third_method_sync": "meow",
        "fourth_method_shared_lock": "woof",
    }
    _steps = (
        StepInfo("vendor", "log_passthrough", 1, kinds=("clean",)),
        StepInfo("vendor", "log_passthrough", kinds=("service",)),
        StepInfo("vendor", "trigger_servicewait", kinds=("service",)),
    )

    def methods(self) -> tuple[VendorMethod, ...]:
        def method(name: str, is_async: bool = True, lock: bool = True) -> VendorMethod:
            return VendorMethod(
                name,
                ("POST",),
                f"Test if the value of bar is {self._words[name]}",
                is_async,
                require_exclusive_lock=lock,
                required=("bar",),
            )

        return (
            method("second_method"),
            method("third_method_sync", is_async=False),
            method("fourth_method_shared_lock", lock=False),
            VendorMethod("log_passthrough", ("POST",), "Test pass-through to wait."),
        )

    async def call(
        self, access: Access, method: str, http_method: str, args: Mapping[str, object]
    ) -> object:
        if method not in [m.name for m in self.methods()]:
            raise Unsupported(f"there is no vendor method {method}")
        if method in self._words and not args.get("bar"):
            raise Refused(f"Parameter 'bar' not passed to method '{method}'.")
        await self.touch(access, f"vendor.{method}")
        return args.get("bar") == self._words[method] if method in self._words else None


class FakeRescue(Fake):
    uses_agent = False

    async def rescue(self, access: Access) -> None:
        (await self.touch(access, "rescue.rescue")).rescued = True

    async def unrescue(self, access: Access) -> None:
        (await self.touch(access, "rescue.unrescue")).rescued = False
