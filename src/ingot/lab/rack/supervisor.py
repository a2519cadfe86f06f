"""The one process that holds a rack up: it starts everything, answers on a socket, ends everything.

Run as `python -m ingot.lab.rack.supervisor STATE [--name NAME] [RACK.toml]`. It prints one JSON line when the
BMCs answer (or when they never will) and then lives until `down`, SIGTERM, SIGINT or, if its
standard input is a pipe, until that is closed.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingot.kit.namespace import enter_namespace
from ingot.lab.rack import accel, ipmi, namespace, packages, process, redfish
from ingot.lab.rack.console import Console
from ingot.lab.rack.libvirt import Cell, LibvirtMachine, domain
from ingot.lab.rack.qemu import Power, QemuMachine, make_disks, runtime_directory
from ingot.lab.rack.router import NoRouter
from ingot.lab.rack.state import StateDirectory
from ingot.lab.rack.types import Accel, BmcSpec, MachineSpec, RackError, RackSpec

_ANSWER = 30.0
_POLL = 0.1
_ACTIONS = ("on", "off", "cycle", "reset", "soft")


class Supervisor:
    """A running rack."""

    def __init__(self, spec: RackSpec, state: StateDirectory) -> None:
        self.spec = spec
        self.ended = asyncio.Event()
        self._state = state
        self._runtime = runtime_directory(spec.name)
        self._control = self._runtime / "control"
        self._accel: Accel = "tcg"
        self._consoles: dict[str, Console] = {}
        self._machines: dict[str, Power] = {}
        self._bmcs: dict[str, asyncio.subprocess.Process] = {}
        # BMC (by its owner's name) -> the machine at the end of its wires, and the machine whose
        # identity it reports.
        self._wires = {machine.name: machine.name for machine in spec.machines}
        self._says = dict(self._wires)
        self._cell: Cell | None = None
        self._server: asyncio.Server | None = None
        self._router: NoRouter | None = None
        self._python = Path(sys.executable)

    async def up(self) -> None:
        """Build all of it; returns when every BMC answers."""
        packages.require_packages(self.spec)
        if any(machine.bmc.kind == "redfish" for machine in self.spec.machines):
            self._python = await asyncio.to_thread(redfish.environment)
        if namespace.exists(self.spec.name):
            raise RackError(
                f"a network namespace {self.spec.name!r} is there already: "
                f"another rack of that name is up (`ingot lab down` in its state directory)"
            )
        self._accel = await accel.probe() if self.spec.accel == "auto" else self.spec.accel
        shutil.rmtree(self._runtime, ignore_errors=True)
        self._runtime.mkdir(parents=True, mode=0o700)
        await asyncio.to_thread(namespace.create, self.spec)
        enter_namespace(self.spec.name)
        self._server = await asyncio.start_unix_server(self._serve, self._control)
        with contextlib.suppress(OSError):  # a host without IPv6: machines boot 13 s slower
            self._router = NoRouter(self.spec.bridge)
        for machine in self.spec.machines:
            await self._prepare(machine)
        for machine in self.spec.machines:
            await self._start_bmc(machine)
        await asyncio.gather(*(self._answers(machine) for machine in self.spec.machines))

    async def down(self) -> None:
        """End everything and remove the namespace; disks and logs stay in the state directory."""
        if self._server is not None:
            self._server.close()
        if self._router is not None:
            self._router.close()
        await asyncio.gather(*(process.stop(child, 5) for child in self._bmcs.values()))
        for machine in self._machines.values():
            if isinstance(machine, QemuMachine):
                await machine.power("off")
        if self._cell is not None:
            await self._cell.stop()
        for console in self._consoles.values():
            await console.stop()
        await asyncio.to_thread(namespace.remove, self.spec.name)
        shutil.rmtree(self._runtime, ignore_errors=True)
        self._state.forget_processes()

    async def _prepare(self, machine: MachineSpec) -> None:
        folder = self._state.machine(machine.name)
        await asyncio.to_thread(make_disks, machine, folder)
        console = Console(machine.name, self._runtime, folder / "console.log")
        await console.start()
        self._consoles[machine.name] = console
        if machine.bmc.kind != "redfish":
            uart = console.machine_socket
            log = folder / "qemu.log"
            self._machines[machine.name] = QemuMachine(machine, self._accel, folder, uart, log)
            return
        if self._cell is None:
            cache = redfish.cache_directory() / "libvirt"
            self._cell = Cell(self._state.path / "libvirt", self._runtime, cache)
            await self._cell.start()
        await self._define(machine, machine)

    async def _define(self, owner: MachineSpec, body: MachineSpec) -> None:
        """Make the domain that libvirt calls `owner` be the machine `body`."""
        assert self._cell is not None
        folder = self._state.machine(body.name)
        uart = self._consoles[body.name].machine_socket
        xml = domain(owner, body, self._accel, folder, uart, self.spec.bridge)
        await self._cell.define(xml, self._state.machine(owner.name) / "domain.xml")
        self._machines[body.name] = LibvirtMachine(owner.name, self._cell)

    async def _start_bmc(self, machine: MachineSpec) -> None:
        """(Re)start the BMC that has this machine's address, with its present wires."""
        folder = self._state.machine(machine.name) / "bmc"
        if machine.name in self._bmcs:
            await process.stop(self._bmcs[machine.name], 5)
        if machine.bmc.kind == "ipmi":
            port = self._consoles[self._wires[machine.name]].port
            identity = self.spec.machine(self._says[machine.name]).uuid
            argv = ipmi.write_config(
                folder, machine.bmc, machine.name, identity, self._control, port
            )
        else:
            assert self._cell is not None
            system = self.spec.machine(self._says[machine.name]).uuid
            argv = await asyncio.to_thread(
                redfish.write_config, folder, self._python, machine.bmc, system, self._cell.uri
            )
        self._bmcs[machine.name] = await process.spawn(argv, folder / "bmc.log")
        self._record()

    async def _answers(self, machine: MachineSpec) -> None:
        """Wait until the BMC answers on its address; `RackError` when it ended or never does."""
        log = self._state.machine(machine.name) / "bmc" / "bmc.log"
        probe = ipmi.answers if machine.bmc.kind == "ipmi" else redfish.answers
        deadline = asyncio.get_running_loop().time() + _ANSWER
        # No thread: threads that were started before we entered the namespace are outside of it.
        while not await _in_namespace(probe, machine):
            child = self._bmcs[machine.name]
            late = asyncio.get_running_loop().time() > deadline
            if late or child.returncode is not None:
                why = f"does not answer in {_ANSWER:.0f} s" if late else "ended"
                raise RackError(
                    f"BMC of {machine.name} at {machine.bmc.address} {why}: "
                    f"{process.log_tail(log)} (see {log})"
                )
            await asyncio.sleep(_POLL)

    def _record(self) -> None:
        records = [process.record("supervisor", os.getpid())]
        for name, child in self._bmcs.items():
            if child.returncode is None:
                records.append(process.record(f"bmc {name}", child.pid))
        if self._cell is not None and self._cell.process is not None:
            records.append(process.record("libvirt", self._cell.process.pid))
        for name, machine in self._machines.items():
            if isinstance(machine, QemuMachine) and machine.pid is not None:
                records.append(process.record(f"machine {name}", machine.pid))
        self._state.record_processes(records)

    # The control socket: one JSON object per line in, one out.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                reply = await self._answer(line)
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request: dict[str, Any] = json.loads(line)
            verbs = {
                "status": self._do_status,
                "power": self._do_power,
                "chassis": self._do_chassis,
                "swap": self._do_swap,
                "down": self._do_down,
            }
            result = await verbs[request["do"]](request)
        except (RackError, OSError) as error:
            return {"ok": False, "error": str(error)}
        except (ValueError, KeyError, TypeError) as error:
            return {"ok": False, "error": f"bad request: {error!r}"}
        return {"ok": True, "result": result}

    async def _do_status(self, request: dict[str, Any]) -> dict[str, Any]:
        states = await asyncio.gather(*(machine.is_on() for machine in self._machines.values()))
        on = dict(zip(self._machines, states, strict=True))
        return {
            "name": self.spec.name,
            "namespace": self.spec.name,
            "bridge": self.spec.bridge,
            "address": self.spec.address,
            "accel": self._accel,
            "state_dir": str(self._state.path),
            "supervisor_pid": os.getpid(),
            "machines": [self._report(machine, on[machine.name]) for machine in self.spec.machines],
        }

    def _report(self, machine: MachineSpec, on: bool) -> dict[str, Any]:
        return {
            "name": machine.name,
            "power": "on" if on else "off",
            "firmware": machine.firmware,
            "pxe": machine.pxe,
            "cpus": machine.cpus,
            "memory_mb": machine.memory_mb,
            "disks_gb": list(machine.disks_gb),
            "mac": machine.mac,
            "uuid": machine.uuid,
            "serial": machine.serial,
            "console_log": str(self._consoles[machine.name].log),
            "console_socket": str(self._consoles[machine.name].watch_socket),
            "bmc": {
                "kind": machine.bmc.kind,
                "address": machine.bmc.address,
                "port": machine.bmc.port,
                "username": machine.bmc.username,
                "controls": self._wires[machine.name],
                "reports_uuid_of": self._says[machine.name],
            },
        }

    async def _do_power(self, request: dict[str, Any]) -> dict[str, Any]:
        """The person at the rack: the machine of that name, whichever BMC reaches it."""
        name, action = self.spec.machine(request["name"]).name, request["action"]
        if action not in _ACTIONS:
            raise RackError(f"power {action!r}: wants one of {', '.join(_ACTIONS)}")
        body = self._machines[name]
        await body.power(action)
        self._record()
        return {"name": name, "power": "on" if await body.is_on() else "off"}

    async def _do_chassis(self, request: dict[str, Any]) -> dict[str, Any]:
        """What an IPMI BMC asks for: power, reset, shutdown and boot device of its machine."""
        machine = self._machines[self._wires[request["bmc"]]]
        assert isinstance(machine, QemuMachine)
        words: list[str] = request["words"]
        if request["verb"] == "get":
            known = {"power": str(int(await machine.is_on())), "boot": machine.boot}
            return {word: known[word] for word in words}
        for word, value in zip(words[::2], words[1::2], strict=False):
            if word == "power":
                await machine.power("on" if value == "1" else "off")
            elif word == "reset":
                await machine.power("reset")
            elif word == "shutdown":
                await machine.power("soft")
            elif word == "boot" and value in ipmi.BOOT_DEVICES:
                machine.boot = value
            elif word != "identify":  # there is no lamp to blink
                raise RackError(f"chassis control {word!r}={value!r} is not supported")
        self._record()
        return {}

    async def _do_swap(self, request: dict[str, Any]) -> dict[str, Any]:
        """Exchange two BMCs: their addresses, or (lying) only the wires behind them."""
        first, second = (self.spec.machine(name) for name in request["names"])
        lying = bool(request.get("lying"))
        if first.bmc.kind != second.bmc.kind or first is second:
            raise RackError(
                f"cannot swap {first.name} ({first.bmc.kind}) with {second.name} "
                f"({second.bmc.kind}): it takes two BMCs of one kind"
            )
        a, b = first.name, second.name
        if lying and first.bmc.kind == "redfish":
            await self._cross_domains(first, second)
        self._wires[a], self._wires[b] = self._wires[b], self._wires[a]
        if not lying:
            self._says[a], self._says[b] = self._says[b], self._says[a]
        for machine in (first, second):
            await self._start_bmc(machine)
        await asyncio.gather(self._answers(first), self._answers(second))
        return {bmc: self._wires[bmc] for bmc in (a, b)}

    async def _cross_domains(self, first: MachineSpec, second: MachineSpec) -> None:
        for machine in (first, second):
            body = self._wires[machine.name]
            if await self._machines[body].is_on():
                raise RackError(f"{body} is on: power it off before its wires are crossed")
        for bmc, other in ((first, second), (second, first)):
            owner = self.spec.machine(self._says[bmc.name])
            body = self.spec.machine(self._wires[other.name])
            await self._define(owner, body)

    async def _do_down(self, request: dict[str, Any]) -> dict[str, Any]:
        self.ended.set()
        return {}


async def _in_namespace(probe: Callable[[BmcSpec], bool], machine: MachineSpec) -> bool:
    """Run a blocking probe in a thread that is made now, inside the namespace."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bool] = loop.create_future()

    def ask() -> None:
        result = probe(machine.bmc)
        loop.call_soon_threadsafe(lambda: None if answer.done() else answer.set_result(result))

    threading.Thread(target=ask, daemon=True).start()
    return await answer


async def _watch_stdin(ended: asyncio.Event) -> None:
    """End the rack when the other end of our standard input is gone."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while await reader.read(4096):
        pass
    ended.set()


def _say(message: dict[str, Any]) -> None:
    """One line for whoever started us, and nothing after it: the reader may be gone."""
    print(json.dumps(message), flush=True)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stdout.fileno())
    os.close(quiet)


async def _hold(spec: RackSpec, state: StateDirectory) -> int:
    rack = Supervisor(spec, state)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, rack.ended.set)
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(rack.ended.wait())]
    if stat.S_ISFIFO(os.fstat(0).st_mode) or stat.S_ISSOCK(os.fstat(0).st_mode):
        tasks.append(asyncio.create_task(_watch_stdin(rack.ended)))
    building = asyncio.create_task(rack.up())
    try:
        await asyncio.wait([building, tasks[0]], return_when=asyncio.FIRST_COMPLETED)
        if not building.done():
            building.cancel()
            await asyncio.wait([building])
            return 1
        building.result()
        _say({"ok": True, "pid": os.getpid()})
        await rack.ended.wait()
        return 0
    except (RackError, OSError) as error:
        _say({"ok": False, "error": str(error)})
        return 1
    finally:
        await rack.down()
        for task in tasks:
            task.cancel()


def main(argv: list[str]) -> int:
    """Hold the rack of a state directory until told to end; 1 when it cannot be brought up."""
    parser = argparse.ArgumentParser(prog="ingot.lab.rack.supervisor")
    parser.add_argument("state", type=Path)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--name")
    args = parser.parse_args(argv)
    state = StateDirectory(args.state)
    try:
        spec = state.read(args.file, args.name)
        lock = (state.path / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state.keep(spec)
    except BlockingIOError:
        _say({"ok": False, "error": f"the rack of {state.path} is up already"})
        return 1
    except (RackError, OSError) as error:
        _say({"ok": False, "error": str(error)})
        return 1
    return asyncio.run(_hold(spec, state))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
