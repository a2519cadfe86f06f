"""`ingot lab`: the virtual rack from the command line."""

import argparse
import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import stat
import sys
import termios
import tty
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ingot.cli.client import CloudError
from ingot.lab import Rack, RackError, RackStatus, enrol_file
from ingot.lab.scenarios import ScenarioError, find, play, read, shipped, show

_DETACH = b"\x1d"  # Ctrl-]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their options."""
    parser.description = "A rack of virtual machines with real BMC protocols. Needs root."
    commands = parser.add_subparsers(dest="lab_command", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument(
            "--state",
            type=Path,
            default=default_state(),
            metavar="DIR",
            help="where disks, logs and the password are kept (default: %(default)s)",
        )
        return added

    up = command("up", "start the rack; returns when its BMCs answer")
    up.add_argument("rack", nargs="?", type=Path, metavar="RACK.toml", help="default: built in")
    up.add_argument("--name", help="name of rack and namespace (default: the rack file's)")
    up.add_argument(
        "--foreground",
        action="store_true",
        help="stay, and end the rack on SIGINT, SIGTERM or when standard input (a pipe) is closed",
    )
    status = command("status", "show the machines")
    status.add_argument("-f", "--format", choices=("table", "json"), default="table")
    command("down", "end all that belongs to the rack; disks and logs stay")
    console = command("console", "attach to a machine's serial console (Ctrl-] leaves)")
    console.add_argument("name", metavar="NAME")
    console.add_argument("--log", action="store_true", help="print what it has said, and return")
    power = command("power", "press the power button or pull the plug, past the BMC")
    power.add_argument("name", metavar="NAME")
    power.add_argument("action", choices=("on", "off", "cycle", "reset", "soft"))
    swap = command("swap-bmc", "inject a fault: exchange which machines two BMCs control")
    swap.add_argument("first", metavar="A")
    swap.add_argument("second", metavar="B")
    swap.add_argument(
        "--lying", action="store_true", help="each BMC goes on reporting its old machine's UUID"
    )
    inside = command("exec", "run a command inside the rack's network namespace")
    inside.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD")
    command("enrol-file", "print the file that `openstack baremetal create` takes")
    commands.add_parser("scenarios", help="list the scenarios that are shipped")
    play_it = commands.add_parser(
        "run",
        help="carry out a scenario with simulated machines; ends with 0 when all is as expected",
    )
    play_it.add_argument(
        "scenario", metavar="SCENARIO", help="a name of `scenarios`, or a file (TOML)"
    )
    play_it.add_argument(
        "--cloud", default="", metavar="NAME", help="of clouds.yaml (default: its own)"
    )
    play_it.add_argument("--clouds", metavar="FILE", help="the clouds.yaml")
    play_it.add_argument(
        "--boot-url", default="", metavar="URL", help="provisioning listener of --cloud"
    )
    play_it.add_argument(
        "--remove",
        action="store_true",
        help="take nodes of the machines' names out of --cloud, before and after",
    )
    play_it.add_argument("--machines", type=int, metavar="N", help="so many instead of the file's")
    play_it.add_argument("--seed", type=int, metavar="N", help="another seed than the file's")
    play_it.add_argument("--state", type=Path, metavar="DIR", help="keep files and logs here")


def default_state() -> Path:
    """$INGOT_LAB_STATE, or `ingot/lab` in the user's state directory."""
    if given := os.environ.get("INGOT_LAB_STATE"):
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "ingot" / "lab"


def run(args: argparse.Namespace) -> int:
    """Do the sub-command; 0, or 1 with the reason on standard error."""
    actions: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, int]]] = {
        "up": _up,
        "status": _status,
        "down": _down,
        "console": _console,
        "power": _power,
        "swap-bmc": _swap,
        "exec": _exec,
        "enrol-file": _enrol,
        "scenarios": _scenarios,
        "run": _play,
    }
    try:
        return asyncio.run(actions[args.lab_command](args))
    except (RackError, ScenarioError, CloudError) as error:
        print(f"ingot lab {args.lab_command}: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


async def _up(args: argparse.Namespace) -> int:
    rack = Rack.load(args.rack, state=args.state, name=args.name)
    if not args.foreground:
        await rack.up(detached=True)
        _print_table(await rack.status())
        return 0
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if sys.stdin is not None and not sys.stdin.isatty() and _is_pipe(0):
        loop.add_reader(0, _on_input, ended)
    ending = asyncio.create_task(ended.wait())
    starting = asyncio.create_task(rack.up())
    try:
        await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            return 130
        starting.result()
        _print_table(await rack.status())
        sys.stdout.flush()
        gone = asyncio.create_task(rack.ended())
        await asyncio.wait([ending, gone], return_when=asyncio.FIRST_COMPLETED)
        return 0
    finally:
        ending.cancel()
        await rack.down()


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _on_input(ended: asyncio.Event) -> None:
    if not os.read(0, 4096):
        asyncio.get_running_loop().remove_reader(0)
        ended.set()


async def _status(args: argparse.Namespace) -> int:
    status = await Rack.at(args.state).status()
    if args.format == "json":
        print(msgspec.json.format(msgspec.json.encode(status)).decode())
    else:
        _print_table(status)
    return 0


def _print_table(status: RackStatus) -> None:
    print(f"rack {status.name}: namespace {status.namespace}, {status.bridge} {status.address}")
    rows = [("MACHINE", "POWER", "FIRMWARE", "MAC", "BMC", "CONTROLS")]
    rows += [
        (
            machine.name,
            machine.power,
            machine.firmware,
            machine.mac,
            f"{machine.bmc.kind} {machine.bmc.address}:{machine.bmc.port}",
            machine.bmc.controls,
        )
        for machine in status.machines
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )


async def _down(args: argparse.Namespace) -> int:
    await Rack.at(args.state).down()
    return 0


async def _power(args: argparse.Namespace) -> int:
    await Rack.at(args.state).power(args.name, args.action)
    return 0


async def _swap(args: argparse.Namespace) -> int:
    await Rack.at(args.state).swap_bmcs(args.first, args.second, lying=args.lying)
    return 0


async def _exec(args: argparse.Namespace) -> int:
    argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not argv:
        raise RackError("exec: which command? (ingot lab exec -- CMD ARGUMENT...)")
    inside = Rack.at(args.state).inside(*argv)
    sys.stdout.flush()
    os.execvp(inside[0], inside)


async def _enrol(args: argparse.Namespace) -> int:
    print(json.dumps(enrol_file(Rack.at(args.state).spec), indent=2))
    return 0


async def _scenarios(_args: argparse.Namespace) -> int:
    for name, path in shipped().items():
        scenario = read(path)
        print(f"{name:20}{scenario.title} ({scenario.fleet.machines} machines)")
        print(f"{'':20}{scenario.text}")
    return 0


async def _play(args: argparse.Namespace) -> int:
    scenario = read(find(args.scenario))
    changes = {"machines": args.machines, "seed": args.seed}
    fleet = {name: value for name, value in changes.items() if value is not None}
    scenario = msgspec.structs.replace(
        scenario, fleet=msgspec.structs.replace(scenario.fleet, **fleet)
    )
    say = partial(print, flush=True)
    say(f"{scenario.title}: {scenario.text}")
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    outcome = await play(
        scenario,
        say,
        cloud=args.cloud,
        clouds=args.clouds,
        boot_url=args.boot_url,
        remove=args.remove,
        folder=args.state,
    )
    show(outcome, say)
    return 1 if outcome.wrong else 0


async def _console(args: argparse.Namespace) -> int:
    rack = Rack.at(args.state)
    if args.log:
        sys.stdout.write(rack.console_log(args.name))
        return 0
    status = await rack.status()
    rack.machine(args.name)
    path = next(m.console_socket for m in status.machines if m.name == args.name)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        print(f"console of {args.name}; Ctrl-] leaves", file=sys.stderr)
        with _raw_terminal():
            _relay(line)
    return 0


@contextlib.contextmanager
def _raw_terminal() -> Generator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _relay(line: socket.socket) -> None:
    """Bytes both ways until either side ends or Ctrl-] is typed."""
    while True:
        ready, _, _ = select.select([0, line], [], [])
        if line in ready:
            data = line.recv(65536)
            if not data:
                return
            os.write(1, data)
        if 0 in ready:
            data = os.read(0, 4096)
            if not data or _DETACH in data:
                return
            line.sendall(data)
