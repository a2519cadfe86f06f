"""`python -m ingot.lab.sim`: a fleet as a process of its own.

Prints one line of JSON when ready (`control`, `network`, `count`) and runs until SIGINT/SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from ingot.lab.sim.agent_state import AgentOptions
from ingot.lab.sim.control import ControlServer
from ingot.lab.sim.fleet import Fleet, FleetOptions
from ingot.lab.sim.personalities import PERSONALITIES, misbehaving


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ingot.lab.sim",
        description="Run a fleet of simulated bare-metal machines with real BMC protocols.",
    )
    add = parser.add_argument
    add("--count", type=int, default=10, help="machines (default 10)")
    add("--seed", type=int, default=0, help="same seed, same run (default 0)")
    add("--boot-url", default="", help="base of the boot server: GET BASE/boot/<mac>")
    add("--speed", type=float, default=100.0, help="simulated seconds per second (default 100)")
    add("--stepped", action="store_true", help="time stands still until stepped by control")
    add("--misbehaving", type=float, default=0.0, metavar="SHARE", help="0..1, all kinds evenly")
    add(
        "--personality",
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help="share of one kind; may be repeated; NAME from --list",
    )
    add("--list", action="store_true", help="list personalities and end")
    add("--protocols", default="redfish,ipmi", help="dealt out in turn (default redfish,ipmi)")
    add("--network", default=None, help="such as 127.77; default: a free one")
    add("--control-port", type=int, default=0, help="default: a free one")
    add("--enrol-file", type=Path, default=None, help="write the enrolment JSON here")
    add("--resource-class", default="baremetal")
    add("--bmc-tls", action="store_true", help="Redfish over HTTPS, self-signed")
    add("--agent-http", action="store_true", help="agents serve plain HTTP")
    add("--agent-port", type=int, default=9999)
    add("--heartbeat-speed", type=float, default=10.0)
    add("--image-fetch", choices=("full", "probe", "auto"), default="auto")
    return parser


def options_from(arguments: argparse.Namespace) -> FleetOptions:
    """Raises ValueError or KeyError for shares that make no sense."""
    shares = misbehaving(arguments.misbehaving) if arguments.misbehaving else {}
    for text in arguments.personality:
        name, _, share = str(text).partition("=")
        shares[name] = float(share or 1.0)
    return FleetOptions(
        count=arguments.count,
        seed=arguments.seed,
        personalities=shares,
        speed=arguments.speed,
        stepped=arguments.stepped,
        boot_url=arguments.boot_url,
        protocols=tuple(str(arguments.protocols).split(",")),
        network=arguments.network,
        bmc_tls=arguments.bmc_tls,
        resource_class=arguments.resource_class,
        agent=AgentOptions(
            tls=not arguments.agent_http,
            port=arguments.agent_port,
            heartbeat_speed=arguments.heartbeat_speed,
            image_fetch=arguments.image_fetch,
        ),
    )


async def _run(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with (
        Fleet(options_from(arguments)) as fleet,
        ControlServer(fleet, arguments.control_port) as control,
    ):
        if arguments.enrol_file is not None:
            arguments.enrol_file.write_text(json.dumps(fleet.enrolment(), indent=1))
        ready = {
            "control": control.url,
            "network": fleet.network,
            "count": len(fleet.machines),
            "seconds": round(time.monotonic() - started, 2),
        }
        print(json.dumps(ready), flush=True)
        await stop.wait()


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.list:
        for one in PERSONALITIES.values():
            print(f"{one.name:24} {one.expect:9} {one.summary}\n{'':34} {one.source}")
        return 0
    try:
        options_from(arguments)
        import uvloop

        uvloop.run(_run(arguments))
    except (ValueError, KeyError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
