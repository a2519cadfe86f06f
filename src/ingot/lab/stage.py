"""A rack with a cloud on it, driven as a user would: stock clients, ssh. For the demonstration and for tests.

The cloud is a process of its own (`ingot serve`), so that it can be killed and started again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ingot.cli.client import Cloud, cloud
from ingot.lab.rack.client import Rack
from ingot.lab.rack.enrol import enrol_file

#: What the cloud is told. The provisioning network is the rack's own.
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

# From inspection to an instance a machine starts twice instead of four times.
[baremetal]
fast_track = {fast_track}

[ramdisk]
kernel = "{kernel}"
initramfs = "{initramfs}"
params = "console=tty0 console=ttyS0,115200n8"

# Emulated machines start in a minute or two; the defaults suit servers that take half an hour.
[deadlines]
agent = 600
inspection = 600
"""


_IRONIC = {"X-OpenStack-Ironic-API-Version": "1.81"}


class StageFailed(Exception):
    """Something did not come as it should; the text says what and where to look."""


class Stage:
    """state: folder of disks, logs and the cloud's own state. rack_file: None for the built-in rack."""

    #: Whether machines keep their agent between operations.
    fast_track = False

    def __init__(self, state: Path, listen: str, name: str, rack_file: Path | None = None) -> None:
        self.state = state
        self.listen = listen
        self.rack = Rack.load(rack_file, state=state / "rack", name=name)
        self.clouds = state / "cloud" / "clouds.yaml"
        self.key = state / "demo_key"
        self.image: dict[str, Any] = {}
        self._server: asyncio.subprocess.Process | None = None
        self._log = (state / "stage.log").open("ab")

    # -- rack and cloud ----------------------------------------------------------------------

    async def build(self) -> None:
        """Ramdisk and image, from the cache after the first time; writes the cloud's settings."""
        ramdisk = await self._built("ramdisk", "build")
        self.image = await self._built("image", "build", "debian")
        files = ramdisk["files"]
        self.config.write_text(
            _SETTINGS.format(
                state=self.state,
                listen=self.listen,
                namespace=self.rack.spec.name,
                kernel=files["kernel"],
                initramfs=files["initramfs"],
                fast_track=str(self.fast_track).lower(),
            )
        )

    @property
    def config(self) -> Path:
        return self.state / "ingot.toml"

    @property
    def cloud(self) -> Cloud:
        return cloud("ingot-system", str(self.clouds))

    async def _built(self, *words: str) -> dict[str, Any]:
        return json.loads(await self.run(*ingot(), *words, "-f", "json", errors=None))

    async def serve(self) -> str:
        """Start the cloud; gives the line that it prints when it is ready."""
        log = (self.state / "serve.log").open("ab")
        self._server = await asyncio.create_subprocess_exec(
            *ingot(),
            *("serve", "--config", str(self.config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        assert self._server.stdout is not None
        line = await asyncio.wait_for(self._server.stdout.readline(), 60)
        if not line:
            raise StageFailed(
                f"the cloud did not start; its log ends with\n{self._tail('serve.log')}"
            )
        return line.decode().strip()

    def _tail(self, name: str, lines: int = 15) -> str:
        """The end of one of our logs; the folder may be gone when somebody reads of the failure."""
        text = (self.state / name).read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    async def kill(self) -> None:
        """kill -9: nothing is said, nothing is saved."""
        if self._server is not None:
            self._server.kill()
            await self._server.wait()

    async def close(self) -> None:
        """End the cloud and the rack; nothing of ours stays behind."""
        if self._server is not None and self._server.returncode is None:
            self._server.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._server.wait(), 30)
            except TimeoutError:
                await self.kill()
        await self.rack.down()
        self._log.close()

    # -- an operator's deeds -----------------------------------------------------------------

    async def enrol(self) -> None:
        """The first machine by the stock client's own words, the others from a file."""
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
        uuid = (await self.openstack(*words, "-f", "value", "-c", "uuid", secret=True)).strip()
        for port in first["ports"]:
            await self.openstack("baremetal", "port", "create", port["address"], "--node", uuid)
        for node in others:
            node["resource_class"] = "baremetal"
        if others:
            file = self.state / "nodes.json"
            file.touch(0o600)
            file.write_text(json.dumps({"nodes": others}))
            await self.openstack("baremetal", "create", str(file))

    async def until_available(self, seconds: float) -> None:
        """Until all machines are available; a failed one ends the wait with its cause."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            path = "/baremetal/v1/nodes?fields=name,provision_state,last_error"
            answer = await asyncio.to_thread(self.cloud.get, path, **_IRONIC)
            nodes: list[dict[str, Any]] = answer["nodes"]
            if all(node["provision_state"] == "available" for node in nodes):
                return
            for node in nodes:
                state = str(node["provision_state"])
                if "failed" in state or state == "error":
                    raise StageFailed(f"{node['name']} is {state}: {node['last_error']}")
            await asyncio.sleep(3)
        raise StageFailed(f"the machines did not become available within {seconds:g} s")

    # -- a tenant's deeds --------------------------------------------------------------------

    async def prepare_tenant(self) -> None:
        """Image, flavor and key."""
        await self.openstack(
            *("image", "create", "debian", "--disk-format", "qcow2", "--public"),
            *("--file", self.image["files"]["qcow2"]),
            project=True,
        )
        await self.openstack(
            *("flavor", "create", "bm", "--vcpus", "2", "--ram", "3072", "--disk", "9"),
            *("--property", "resources:CUSTOM_BAREMETAL=1", "--property", "resources:VCPU=0"),
            *("--property", "resources:MEMORY_MB=0", "--property", "resources:DISK_GB=0"),
            project=True,
        )
        if not self.key.exists():
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)]
            await asyncio.to_thread(subprocess.run, words, check=True)
        await self.openstack(
            "keypair", "create", "--public-key", f"{self.key}.pub", "demo", project=True
        )

    async def order(self, name: str, *more: str) -> str:
        """`openstack server create`; gives what it prints as JSON."""
        words = ("server", "create", "--flavor", "bm", "--image", "debian", "--network", "provider")
        return await self.openstack(
            *words, "--key-name", "demo", *more, name, "-f", "json", project=True
        )

    async def active(self, name: str, seconds: float) -> str:
        """Until the server is ACTIVE; its address."""
        ends = time.monotonic() + seconds
        status = ""
        while time.monotonic() < ends:
            text = await self.openstack("server", "show", name, "-f", "json", project=True)
            server: dict[str, Any] = json.loads(text)
            status = server["status"]
            if status == "ACTIVE":
                return next(ip for ips in server["addresses"].values() for ip in ips)
            if status == "ERROR":
                raise StageFailed(f"server {name}: {server.get('fault')}")
            await asyncio.sleep(2)
        raise StageFailed(f"server {name} is still {status} after {seconds:g} s")

    def ssh(self, address: str) -> list[str]:
        """ssh as the image's user, from inside the rack's namespace."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        words = [*self.rack.inside("ssh"), "-i", str(self.key), "-o", "ConnectTimeout=10"]
        return [*words, *(w for option in options for w in ("-o", option)), f"debian@{address}"]

    async def ssh_answers(self, address: str, seconds: float = 300) -> None:
        """Until ssh with the key works."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            process = await asyncio.create_subprocess_exec(
                *self.ssh(address), "true", stdout=self._log, stderr=self._log
            )
            if await process.wait() == 0:
                return
            await asyncio.sleep(1)
        raise StageFailed(
            f"no ssh answer from {address} within {seconds:g} s; "
            f"console logs are below {self.rack.state}"
        )

    async def run_there(self, address: str, script: str) -> str:
        return await self.run(*self.ssh(address), script)

    # -- tools -------------------------------------------------------------------------------

    async def openstack(self, *words: str, project: bool = False, **options: Any) -> str:
        """The stock client, as admin of project admin or (bare metal) with system scope."""
        environment = {
            **os.environ,
            "OS_CLIENT_CONFIG_FILE": str(self.clouds),
            "OS_CLOUD": "ingot" if project else "ingot-system",
        }
        return await self.run(program("openstack"), *words, environment=environment, **options)

    async def run(
        self,
        *words: str,
        environment: dict[str, str] | None = None,
        errors: Any = asyncio.subprocess.PIPE,
        show: bool = False,
        secret: bool = False,
        check: bool = True,
    ) -> str:
        """Run a program to its end; gives what it printed. errors: None shows its stderr."""
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=errors, env=environment
        )
        out, err = await process.communicate()
        self._log.write(out + (err or b""))
        self._log.flush()
        text = out.decode(errors="replace")
        if check and process.returncode != 0:
            shown = " ".join(words[:6] if secret else words)
            said = (text + (err or b"").decode(errors="replace"))[-2000:]
            raise StageFailed(f"{shown} ended with {process.returncode}:\n{said}")
        if show:
            print(text, end="", flush=True)
        return text


def ingot() -> list[str]:
    return [sys.executable, "-m", "ingot.cli.main"]


def program(name: str) -> str:
    """A program beside this Python, or from the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise StageFailed(f"{name} is not installed; run `make setup`")
    return found
