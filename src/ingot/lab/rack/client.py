"""`Rack`: bring a virtual rack up, act on it, take it down. For tests, demos and the command line.

async with Rack.load(state=tmp_path) as rack:
    await rack.power("node-1", "on")
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from ingot.lab.rack import namespace, process
from ingot.lab.rack.qemu import runtime_directory
from ingot.lab.rack.state import StateDirectory
from ingot.lab.rack.types import MachineSpec, PowerAction, RackError, RackSpec

_UP = 600.0  # the first time, sushy-tools is installed and libvirt probes QEMU
_DOWN = 60.0
_REPLY = 120.0


class BmcStatus(msgspec.Struct, frozen=True):
    """A BMC as it is now; `controls` names the machine at the end of its wires."""

    kind: str
    address: str
    port: int
    username: str
    controls: str
    reports_uuid_of: str


class MachineStatus(msgspec.Struct, frozen=True):
    """A machine as it is now. Memory in MiB, disks in GiB."""

    name: str
    power: str
    firmware: str
    pxe: str
    cpus: int
    memory_mb: int
    disks_gb: list[int]
    mac: str
    uuid: str
    serial: str
    console_log: str
    console_socket: str
    bmc: BmcStatus


class RackStatus(msgspec.Struct, frozen=True):
    """A running rack; the shape of `ingot lab status -f json`."""

    name: str
    namespace: str
    bridge: str
    address: str
    accel: str
    state_dir: str
    supervisor_pid: int
    machines: list[MachineStatus]


class Rack:
    """A rack as others see it: a state directory, and a supervisor process while it is up."""

    def __init__(self, state: StateDirectory, spec: RackSpec, file: Path | None = None) -> None:
        self.spec = spec
        self.state = state.path
        self._directory = state
        self._file = file
        self._child: asyncio.subprocess.Process | None = None

    @classmethod
    def load(cls, file: Path | None = None, *, state: Path, name: str | None = None) -> Self:
        """The rack of a TOML file (None: the built-in rack of three machines) kept under `state`.

        `name` replaces the rack's name, and so its namespace's, for several racks of one file.
        Nothing is started. Raises `RackError` for a file that is wrong.
        """
        directory = StateDirectory(state)
        return cls(directory, directory.read(file, name), file)

    @classmethod
    def at(cls, state: Path) -> Self:
        """The rack that was brought up under `state` before; `RackError` when there is none."""
        directory = StateDirectory(state)
        spec = directory.current()
        if spec is None:
            raise RackError(f"no rack under {directory.path}: `ingot lab up` makes one")
        return cls(directory, spec)

    @property
    def machines(self) -> tuple[MachineSpec, ...]:
        """The machines with addresses, identities and BMC credentials."""
        return self.spec.machines

    def machine(self, name: str) -> MachineSpec:
        """One machine by name."""
        return self.spec.machine(name)

    @property
    def log(self) -> Path:
        """The supervisor's log."""
        return self.state / "supervisor.log"

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.down()

    async def up(self, *, detached: bool = False) -> None:
        """Start everything; returns when all BMCs answer. Raises `RackError`.

        Attached (the default), the rack ends with this process, whatever ends it. Detached, it
        stays until `down`.
        """
        self._clear_remains()
        argv = [sys.executable, "-m", "ingot.lab.rack.supervisor"]
        argv += ["--name", self.spec.name, str(self.state)]
        if self._file is not None:
            argv.append(str(self._file.absolute()))
        devnull = asyncio.subprocess.DEVNULL
        with self.log.open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                *argv,
                stdin=devnull if detached else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert child.stdout is not None
        try:
            async with asyncio.timeout(_UP):
                line = await child.stdout.readline()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            await child.wait()
            raise
        reply: dict[str, Any] = json.loads(line or b'{"ok": false}')
        if not reply["ok"]:
            await child.wait()
            why = reply.get("error") or process.log_tail(self.log)
            raise RackError(f"{why} (log: {self.log})")
        self._child = child

    async def ended(self) -> None:
        """Return when the rack that this object brought up has ended, for whatever reason."""
        if self._child is not None:
            await self._child.wait()

    async def down(self) -> None:
        """End everything that belongs to the rack; no fault when it is down already."""
        records = self._directory.processes()
        with contextlib.suppress(RackError):
            await self._ask({"do": "down"})
        deadline = time.monotonic() + _DOWN
        while any(record.alive for record in records):
            if time.monotonic() > deadline:
                for record in records:
                    if record.alive:
                        os.kill(record.pid, signal.SIGKILL)
            await asyncio.sleep(0.05)
        if self._child is not None:
            await self._child.wait()
            self._child = None
        self._clear_remains()

    def _clear_remains(self) -> None:
        """Remove what a supervisor that was killed left behind: its namespace and its record."""
        records = self._directory.processes()
        if not records:
            return
        if any(record.alive for record in records):
            raise RackError(f"the rack of {self.state} is up already")
        namespace.remove(self.spec.name)
        shutil.rmtree(runtime_directory(self.spec.name), ignore_errors=True)
        self._directory.forget_processes()

    async def status(self) -> RackStatus:
        """What runs now; `RackError` when the rack is not up."""
        return msgspec.convert(await self._ask({"do": "status"}), RackStatus)

    async def power(self, name: str, action: PowerAction) -> None:
        """Press the machine's button or pull its plug, past its BMC."""
        await self._ask({"do": "power", "name": name, "action": action})

    async def swap_bmcs(self, first: str, second: str, *, lying: bool = False) -> None:
        """Inject a fault: exchange which machine two BMCs (of one kind) control.

        As when two BMC addresses are mixed up: each answers with the identity of the other
        machine. With `lying`, each keeps the identity that it reported before, and only what is at
        the end of its wires changes; Redfish machines must be off for that.
        """
        await self._ask({"do": "swap", "names": [first, second], "lying": lying})

    def inside(self, *argv: str) -> list[str]:
        """The command line that runs `argv` inside the rack's namespace (as root)."""
        return ["ip", "netns", "exec", self.spec.name, *argv]

    def console_log(self, name: str) -> str:
        """All that the machine's serial line has said in all its boots."""
        path = self._directory.machine(self.machine(name).name) / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def wait_console(self, name: str, text: str, timeout: float, start: int = 0) -> float:
        """Wait until `text` is in the console log after offset `start`; seconds that it took."""
        began = time.monotonic()
        while text not in self.console_log(name)[start:]:
            if time.monotonic() - began > timeout:
                tail = self.console_log(name)[start:][-400:]
                raise RackError(f"{name}: console did not say {text!r} in {timeout} s: {tail!r}")
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        path = runtime_directory(self.spec.name) / "control"
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise RackError(
                f"rack {self.spec.name!r} is not up ({path}: {error.strerror})"
            ) from error
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            async with asyncio.timeout(_REPLY):
                line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise RackError(f"rack {self.spec.name!r} ended while it was asked")
        reply: dict[str, Any] = json.loads(line)
        if not reply["ok"]:
            raise RackError(reply["error"])
        return reply["result"]
