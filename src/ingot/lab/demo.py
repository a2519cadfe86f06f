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
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ingot.cli.client import Cloud, CloudError, cloud
from ingot.cli.watch import Printer
from ingot.lab.rack.client import Rack
from ingot.lab.rack.enrol import enrol_file
from ingot.lab.rack.types import RackError

#: What the cloud of the demonstration is told. The provisioning network is the rack's own.
_SETTINGS = """\
state = "{state}/cloud"
listen = "{listen}"
netns = "{namespace}"

[provisioning]
listen = "172.30.0.1:6386"
interface = "prov0"
cidr = "172.30.0.0/24"
pool = "172.30.0.100-172.30.0.199"
gateway = "172.30.0.1"

[ramdisk]
kernel = "{kernel}"
initramfs = "{initramfs}"
params = "console=tty0 console=ttyS0,115200n8"

# Emulated machines start in a minute or two; the defaults suit servers that take half an hour.
[deadlines]
agent = 600
inspection = 600
"""


class DemoFailed(Exception):
    """The demonstration did not reach its end; the text says where and why."""


class Demo:
    """One run. state: folder of disks, logs and the cloud's own state."""

    def __init__(self, state: Path, listen: str, name: str) -> None:
        self.state = state
        self.listen = listen
        self.rack = Rack.load(None, state=state / "rack", name=name)
        self.clouds = state / "cloud" / "clouds.yaml"
        self.key = state / "demo_key"
        self._server: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()
        self._log = (state / "demo.log").open("ab")

    # -- the story ---------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        took = time.monotonic() - self._began
        print(f"\n== [{took:6.1f} s] {text}", flush=True)

    async def run(self) -> None:
        self.tell("Building the agent ramdisk and a Debian image (cached after the first time)")
        ramdisk = await self._built("ramdisk", "build")
        image = await self._built("image", "build", "debian")
        self.tell("Powering the rack: three machines behind IPMI and Redfish controllers")
        await self.rack.up()
        self.tell("Starting the cloud: ingot serve")
        await self._serve(ramdisk)
        with self._timeline():
            await self._enrol()
            await self._make_ready()
            server = await self._order(image)
            await self._prove(server)
        if not _stays():
            await self._give_back()

    async def _built(self, *words: str) -> dict[str, Any]:
        text = await self._ingot(*words, "-f", "json", show=True)
        return json.loads(text)

    async def _enrol(self) -> None:
        self.tell("Enrolling: the first by the stock client, the others from a file")
        nodes = enrol_file(self.rack.spec)["nodes"]
        first, others = nodes[0], nodes[1:]
        words = ["baremetal", "node", "create", "--driver", first["driver"]]
        words += ["--name", first["name"], "--resource-class", "baremetal"]
        for flag, values in (
            ("--driver-info", first["driver_info"]),
            ("--property", first["properties"]),
        ):
            for key, value in values.items():
                words += [flag, f"{key}={value}"]
        uuid = (await self._openstack(*words, "-f", "value", "-c", "uuid", secret=True)).strip()
        for port in first["ports"]:
            await self._openstack("baremetal", "port", "create", port["address"], "--node", uuid)
        for node in others:
            node["resource_class"] = "baremetal"
        file = self.state / "nodes.json"
        file.touch(0o600)
        file.write_text(json.dumps({"nodes": others}))
        await self._openstack("baremetal", "create", str(file))

    async def _make_ready(self) -> None:
        names = [machine.name for machine in self.rack.machines]
        self.tell("Manage: the controllers are asked who they are")
        await self._openstack("baremetal", "node", "manage", *names, "--wait", "300")
        self.tell("Inspect: each machine starts the agent and tells what it is made of")
        await self._openstack("baremetal", "node", "inspect", *names, "--wait", "1200")
        self.tell("Provide: disks are cleaned, the machines become available")
        await self._openstack("baremetal", "node", "provide", *names, "--wait", "1200")
        await self._openstack("baremetal", "node", "list", show=True)

    async def _order(self, image: dict[str, Any]) -> str:
        self.tell("Image, flavor, key: what a tenant needs")
        files = image["files"]
        await self._openstack(
            *("image", "create", "debian", "--disk-format", "qcow2", "--public"),
            *("--file", files["qcow2"]),
            project=True,
        )
        await self._openstack(
            *("flavor", "create", "bm", "--vcpus", "2", "--ram", "3072", "--disk", "9"),
            *("--property", "resources:CUSTOM_BAREMETAL=1", "--property", "resources:VCPU=0"),
            *("--property", "resources:MEMORY_MB=0", "--property", "resources:DISK_GB=0"),
            project=True,
        )
        if not self.key.exists():
            await asyncio.to_thread(
                subprocess.run,
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)],
                check=True,
            )
        await self._openstack(
            "keypair", "create", "--public-key", f"{self.key}.pub", "demo", project=True
        )
        self.tell("openstack server create --flavor bm --image debian --network provider --wait")
        began = time.monotonic()
        words = ("server", "create", "--flavor", "bm", "--image", "debian", "--network", "provider")
        text = await self._openstack(
            *words, "--key-name", "demo", "--wait", "first", "-f", "json", project=True
        )
        server = json.loads(text)
        addresses = [ip for ips in server["addresses"].values() for ip in ips]
        self.tell(f"Server {server['name']} is {server['status']} at {addresses[0]}")
        await self._ssh_answers(addresses[0])
        self.tell(f"ssh answers {time.monotonic() - began:.0f} s after the order")
        return addresses[0]

    async def _prove(self, address: str) -> None:
        self.tell("Proof: the console, and ssh into the operating system on the machine's disk")
        text = await self._openstack(
            "console", "log", "show", "first", "--lines", "12", project=True, check=False
        )
        print(text, flush=True)
        script = "echo HOSTNAME $(hostname); ip -br -4 addr show scope global; lsblk -o NAME,SIZE,TYPE,MOUNTPOINT"
        print(await self._run(*self.ssh(address), script, show=False), flush=True)
        await self._openstack("server", "list", show=True, project=True)

    async def _give_back(self) -> None:
        with self._timeline():
            self.tell("Reboot, then delete: the machine goes back through cleaning")
            await self._openstack("server", "delete", "--wait", "first", project=True)
            await self._until_available(900)
            await self._openstack("baremetal", "node", "list", show=True)

    async def _until_available(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            text = await self._openstack(
                "baremetal", "node", "list", "-f", "value", "-c", "Provisioning State"
            )
            states = text.split("\n")[:-1]
            if all(state == "available" for state in states):
                return
            if any("failed" in state or state == "error" for state in states):
                raise DemoFailed(f"machines are {', '.join(states)}")
            await asyncio.sleep(3)
        raise DemoFailed(f"the machines did not become available within {seconds:g} s")

    # -- tools -------------------------------------------------------------------------------

    def ssh(self, address: str) -> list[str]:
        """ssh as the image's user, from inside the rack's namespace."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        words = [*self.rack.inside("ssh"), "-i", str(self.key), "-o", "ConnectTimeout=10"]
        return [*words, *(w for option in options for w in ("-o", option)), f"debian@{address}"]

    async def _ssh_answers(self, address: str, seconds: float = 300) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            process = await asyncio.create_subprocess_exec(
                *self.ssh(address), "true", stdout=self._log, stderr=self._log
            )
            if await process.wait() == 0:
                return
            await asyncio.sleep(1)
        raise DemoFailed(
            f"no ssh answer from {address} within {seconds:g} s; console logs are below {self.rack.state}"
        )

    async def _serve(self, ramdisk: dict[str, Any]) -> None:
        config = self.state / "ingot.toml"
        files = ramdisk["files"]
        config.write_text(
            _SETTINGS.format(
                state=self.state,
                listen=self.listen,
                namespace=self.rack.spec.name,
                kernel=files["kernel"],
                initramfs=files["initramfs"],
            )
        )
        log = (self.state / "serve.log").open("ab")
        self._server = subprocess.Popen(
            [*_ingot(), "serve", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        assert self._server.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self._server.stdout.readline), 60)
        if not line:
            raise DemoFailed(f"the cloud did not start; its log is {self.state / 'serve.log'}")
        print(line.decode().strip(), flush=True)

    @contextlib.contextmanager
    def _timeline(self) -> Generator[None, None, None]:
        """Show every step of every operation while the block runs."""
        here = cloud("ingot-system", str(self.clouds))
        follower = threading.Thread(target=_follow, args=(here,), daemon=True)
        follower.start()
        yield

    async def _openstack(self, *words: str, project: bool = False, **options: Any) -> str:
        """The stock client, as admin of project admin or (bare metal) with system scope."""
        cloud_name = "ingot" if project else "ingot-system"
        environment = {
            **os.environ,
            "OS_CLIENT_CONFIG_FILE": str(self.clouds),
            "OS_CLOUD": cloud_name,
        }
        return await self._run(_program("openstack"), *words, environment=environment, **options)

    async def _ingot(self, *words: str, show: bool = False) -> str:
        return await self._run(*_ingot(), *words, errors=None if show else self._log)

    async def _run(
        self,
        *words: str,
        environment: dict[str, str] | None = None,
        errors: Any = subprocess.STDOUT,
        show: bool = False,
        secret: bool = False,
        check: bool = True,
    ) -> str:
        process = await asyncio.create_subprocess_exec(
            *words, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        out, _ = await process.communicate()
        text = out.decode(errors="replace")
        self._log.write(out)
        self._log.flush()
        if check and process.returncode != 0:
            shown = " ".join(words[:6] if secret else words)
            raise DemoFailed(f"{shown} ended with {process.returncode}:\n{text[-2000:]}")
        if show:
            print(text, end="", flush=True)
        return text

    async def close(self) -> None:
        """End the cloud and the rack; nothing of ours stays behind."""
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._server.wait, 30)
            self._server.kill()
        await self.rack.down()
        self._log.close()

    def play(self) -> None:
        """On a terminal: the cloud is the user's until they press Enter."""
        print(
            f"""
The cloud is yours. In another terminal, in this folder:

    export OS_CLIENT_CONFIG_FILE={self.clouds} OS_CLOUD=ingot
    {_program("openstack")} server list
    {_program("openstack")} server reboot --wait first
    {_program("openstack")} server rebuild --wait --image debian first
    {_program("openstack")} server delete first
    {" ".join(_ingot())} watch --clouds {self.clouds}
    {" ".join(self.ssh("ADDRESS"))}

Press Enter here to take everything down."""
        )
        sys.stdin.readline()


def _follow(here: Cloud) -> None:
    printer = Printer(False)
    with contextlib.suppress(CloudError, OSError, ValueError):
        for event in here.stream("/timeline/v1/stream"):
            if not event["title"].startswith("DHCP:"):
                printer.show(event)


def _ingot() -> list[str]:
    return [sys.executable, "-m", "ingot.cli.main"]


def _program(name: str) -> str:
    """A program beside this Python, or from the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise DemoFailed(f"{name} is not installed; run `make setup`")
    return found


def _stays() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("ONCE")


async def _demo(state: Path, listen: str, name: str) -> int:
    demo = Demo(state, listen, name)
    try:
        await demo.run()
        if _stays():
            await asyncio.to_thread(demo.play)
        demo.tell("All went well; taking everything down")
        return 0
    except (DemoFailed, RackError, CloudError, TimeoutError) as error:
        print(f"\nThe demonstration failed: {error}\nLogs are below {state}.", file=sys.stderr)
        return 1
    finally:
        await demo.close()


def main() -> int:
    """`python -m ingot.lab.demo`; options by environment: DEMO_STATE, DEMO_LISTEN, ONCE."""
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
