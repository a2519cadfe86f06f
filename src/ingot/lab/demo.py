"""The demonstration: a rack, a cloud, and an operating system on a machine's disk, ordered by flavor.

Everything is done as a user would do it: machines behind real BMC protocols, the stock `openstack` client,
ssh at the end. The timeline of every step is shown while it runs. On a terminal the cloud stays up for
playing; with ONCE=1 or without a terminal all is taken down and the exit code says how it went.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from ingot.cli.client import Cloud, CloudError
from ingot.cli.watch import Printer
from ingot.lab.rack.types import RackError
from ingot.lab.stage import Stage, StageFailed, ingot, program

_PROOF = (
    "echo HOSTNAME $(hostname); ip -br -4 addr show scope global; "
    "lsblk -o NAME,SIZE,TYPE,MOUNTPOINT"
)


class Demo(Stage):
    """The story, told on a stage."""

    fast_track = True
    _began = time.monotonic()

    def tell(self, text: str) -> None:
        took = time.monotonic() - self._began
        print(f"\n== [{took:6.1f} s] {text}", flush=True)

    async def play_once(self) -> None:
        self.tell("Building the agent ramdisk and a Debian image (cached after the first time)")
        await self.build()
        self.tell("Powering the rack: three machines behind IPMI and Redfish controllers")
        await self.rack.up()
        self.tell("Starting the cloud: ingot serve")
        print(await self.serve(), flush=True)
        threading.Thread(target=_follow, args=(self.cloud,), daemon=True).start()
        await self.make_ready()
        await self.serve_a_tenant()
        if not _stays():
            await self.give_back()

    async def make_ready(self) -> None:
        names = [machine.name for machine in self.rack.machines]
        self.tell("Enrolling: the first by the stock client, the others from a file")
        await self.enrol()
        self.tell("Manage: the controllers are asked who they are")
        await self.openstack("baremetal", "node", "manage", *names, "--wait", "300")
        self.tell("Inspect: one machine of each kind starts the agent and tells what it is made of")
        await self.openstack("baremetal", "node", "inspect", *names[:2], "--wait", "1200")
        self.tell("Provide: disks are cleaned, the machines become available")
        await self.openstack("baremetal", "node", "provide", *names, "--wait", "1200")
        await self.openstack("baremetal", "node", "list", show=True)

    async def serve_a_tenant(self) -> None:
        self.tell("Image, flavor, key: what a tenant needs")
        await self.prepare_tenant()
        self.tell("openstack server create --flavor bm --image debian --network provider --wait")
        began = time.monotonic()
        server = json.loads(await self.order("first", "--wait"))
        address = next(ip for ips in server["addresses"].values() for ip in ips)
        self.tell(f"Server {server['name']} is {server['status']} at {address}")
        await self.ssh_answers(address)
        self.tell(f"ssh answers, {time.monotonic() - began:.0f} s after the order")
        self.tell("Proof: the console, and ssh into the operating system on the machine's disk")
        words = ("console", "log", "show", "first", "--lines", "12")
        print(await self.openstack(*words, project=True, check=False), flush=True)
        print(await self.run_there(address, _PROOF), flush=True)
        await self.openstack("server", "list", show=True, project=True)

    async def give_back(self) -> None:
        self.tell("Delete: the machine goes back through cleaning to available")
        await self.openstack("server", "delete", "--wait", "first", project=True)
        await self.until_available(900)
        await self.openstack("baremetal", "node", "list", show=True)

    def let_play(self) -> None:
        """On a terminal: the cloud is the user's until they press Enter."""
        stock = program("openstack")
        print(
            f"""
The cloud is yours. In another terminal:

    export OS_CLIENT_CONFIG_FILE={self.clouds} OS_CLOUD=ingot
    {stock} server list
    {stock} server reboot --wait first
    {stock} server rebuild --wait --image debian first
    {stock} server delete first
    {" ".join(ingot())} watch --os-cloud ingot-system
    {" ".join(self.ssh("ADDRESS"))}

Press Enter here to take everything down."""
        )
        sys.stdin.readline()


def _follow(here: Cloud) -> None:
    """Show every step of every operation, until the cloud ends."""
    printer = Printer(False, here)
    with contextlib.suppress(CloudError, OSError, ValueError):
        for event in here.stream("/timeline/v1/stream"):
            if not event["title"].startswith("DHCP:"):
                printer.show(event)


def _stays() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("ONCE")


async def _demo(state: Path, listen: str, name: str) -> int:
    demo = Demo(state, listen, name)
    try:
        await demo.play_once()
        if _stays():
            await asyncio.to_thread(demo.let_play)
        demo.tell("All went well; taking everything down")
        return 0
    except (StageFailed, RackError, CloudError, TimeoutError) as error:
        print(f"\nThe demonstration failed: {error}\nLogs are below {state}.", file=sys.stderr)
        return 1
    finally:
        await demo.close()


def main() -> int:
    """`python -m ingot.lab.demo`; by environment: DEMO_STATE, DEMO_LISTEN, DEMO_RACK, ONCE."""
    if os.geteuid() != 0:
        print(
            "The demonstration needs root for its network namespace: sudo make demo",
            file=sys.stderr,
        )
        return 2
    chosen = os.environ.get("DEMO_STATE")
    state = Path(chosen) if chosen else Path(tempfile.mkdtemp(prefix="ingot-demo-"))
    state.mkdir(parents=True, exist_ok=True)
    listen = os.environ.get("DEMO_LISTEN", "127.0.0.1:6385")
    return asyncio.run(_demo(state, listen, os.environ.get("DEMO_RACK", "ingot-demo")))


if __name__ == "__main__":
    raise SystemExit(main())
