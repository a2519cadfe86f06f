"""One real `ingot serve` over simulated machines, and raw hands to use it with.

The server is a process of its own with a settings file; the machines live in the test's process and are
reached only through sockets. Its image store is a small file system of its own, made in a mount namespace
that ends with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from ingot.lab.sim import Fleet, FleetOptions

INGOT = Path(sys.executable).with_name("ingot")
OPENSTACK = Path(sys.executable).with_name("openstack")
#: Octets of a small whole-disk image.
IMAGE = b"\0" * 65536 + b"ingot" * 1000
#: Uploads stop 256 MiB before the image store's end; this leaves room for about four more.
STORE = "260m"
#: Room for everything, where the whole state is to fill up.
STATE = "32m"
BASE = {
    "identity": "/identity",
    "image": "/image",
    "network": "/network",
    "compute": "/compute/v2.1",
    "baremetal": "/baremetal",
}
NEWEST = {
    "X-OpenStack-Ironic-API-Version": "1.95",
    "OpenStack-API-Version": "compute 2.96",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without other clouds and settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "INGOT_"))}
    return {**kept, **more}


async def run(*words: str, cwd: Path, wait: float = 30, **env: str) -> tuple[int, str, str]:
    """`ingot WORDS` until it ends: exit code, stdout, stderr."""
    child = await asyncio.create_subprocess_exec(
        str(INGOT),
        *words,
        cwd=cwd,
        env=clean_environment(**env),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), wait)
    return child.returncode or 0, out.decode(), err.decode()


@dataclass
class Answer:
    """What came back. `text` is the fault's public text in whatever envelope it came."""

    status: int
    body: Any
    headers: Any
    envelope: str = ""
    text: str = ""


def opened(status: int, body: Any, headers: Any) -> Answer:
    """Find out by its shape which service's envelope an answer has."""
    answer = Answer(status, body, headers)
    if status < 400 or not isinstance(body, dict):
        return answer
    if "NeutronError" in body:
        told = body["NeutronError"]
        assert set(told) == {"type", "message", "detail"}, told
        answer.envelope = "neutron"
        answer.text = f"{told['message']} {told['detail']}".strip()
    elif "error_message" in body:
        told = body["error_message"]
        if isinstance(told, str):
            told = json.loads(told)
            answer.envelope = "ironic, encoded twice"
        else:
            answer.envelope = "ironic"
        answer.text = told["faultstring"]
    elif "error" in body:
        answer.envelope, answer.text = "keystone", body["error"]["message"]
        assert body["error"]["code"] == status, body
    elif len(body) == 1:
        (name, told), *_ = body.items()
        assert told["code"] == status, body
        answer.envelope, answer.text = f"nova {name}", told["message"]
    return answer


@dataclass
class Site:
    """A running cloud."""

    folder: Path
    api: int
    boot: int
    http: aiohttp.ClientSession
    fleet: Fleet | None = None
    child: asyncio.subprocess.Process | None = None
    network: str = ""
    image: str = ""
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api}"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def settings(self, **sections: dict[str, Any]) -> Path:
        """Write the settings file: fast deadlines, no DHCP; `sections` on top ("" is the file's head)."""
        tree: dict[str, dict[str, Any]] = {
            "provisioning": {"listen": f"127.0.0.1:{self.boot}", "dhcp": False},
            "ramdisk": {
                "kernel": str(self.folder / "kernel"),
                "initramfs": str(self.folder / "ramdisk"),
            },
            "baremetal": {"power_sync_seconds": 3600},
            "deadlines": {
                "agent": 4,
                "inspection": 4,
                "boots": 1,
                "write": 20,
                "power": 6,
                "agent_silence": 3,
                "poll": 0.05,
            },
            "identity": {"password_cost": 10, "admin_password": "site-secret"},
        }
        head = sections.pop("", {})
        for name, values in sections.items():
            tree.setdefault(name, {}).update(values)
        for name in ("kernel", "ramdisk"):
            (self.folder / name).write_bytes(name.encode())
        lines = [f'state = "{self.state}"', f'listen = "127.0.0.1:{self.api}"']
        lines += [f"{name} = {json.dumps(value)}" for name, value in head.items()]
        for name, values in tree.items():
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
        file = self.folder / "ingot.toml"
        file.write_text("\n".join(lines) + "\n")
        return file

    async def start(
        self, file: Path, *, small_store: bool = False, small_state: bool = False
    ) -> None:
        words = [str(INGOT), "serve", "--config", str(file)]
        if small_store or small_state:
            store = self.state / "images" if small_store else self.state
            store.mkdir(parents=True, exist_ok=True)
            size = STORE if small_store else STATE
            mount = f'mount -t tmpfs -o size={size} site "$0" && exec "$@"'
            rights = ["-m"] if os.geteuid() == 0 else ["-Urm"]
            words = ["unshare", *rights, "sh", "-c", mount, str(store), *words]
        self.child = await asyncio.create_subprocess_exec(
            *words,
            cwd=self.folder,
            env=clean_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=(self.folder / "serve.log").open("ab"),
        )
        assert self.child.stdout is not None
        line = await asyncio.wait_for(self.child.stdout.readline(), 30)
        assert line.startswith(b"ingot is ready"), (line, self.log()[-2000:])

    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.child is not None
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)
        return await asyncio.wait_for(self.child.wait(), 20)

    # -- raw requests --------------------------------------------------------------------------

    async def login(self, who: str = "admin", password: str = "") -> Answer:
        secret = password or ("site-secret" if who == "admin" else self.demo_password())
        domain = {"id": "default"}
        user = {"name": who, "domain": domain, "password": secret}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": who, "domain": domain}},
            }
        }
        return await self.ask("identity", "POST", "/v3/auth/tokens", body, who="")

    def demo_password(self) -> str:
        import yaml

        clouds = yaml.safe_load((self.state / "clouds.yaml").read_text())["clouds"]
        return clouds["ingot-demo"]["auth"]["password"]

    async def token(self, who: str) -> str:
        if who not in self.tokens:
            answer = await self.login(who)
            assert answer.status == 201, answer
            self.tokens[who] = answer.headers["X-Subject-Token"]
        return self.tokens[who]

    async def ask(
        self,
        service: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: str = "admin",
        raw: bytes | AsyncIterator[bytes] | None = None,
        status: int | None = None,
        **headers: str,
    ) -> Answer:
        """One request. `raw`: octets instead of JSON. `status`: what it must answer."""
        sent = {"Content-Type": "application/json", **NEWEST}
        if who:
            sent["X-Auth-Token"] = await self.token(who)
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        url = f"{self.url}{BASE.get(service, service)}{path}"
        async with self.http.request(method, url, data=data, headers=sent) as reply:
            text = await reply.read()
            is_json = "json" in reply.headers.get("Content-Type", "")
            found = json.loads(text) if text and is_json else text.decode(errors="replace")
            answer = opened(reply.status, found, reply.headers)
        assert status is None or answer.status == status, (method, path, answer.status, found)
        return answer

    # -- furniture -----------------------------------------------------------------------------

    async def make_network(self, name: str, cidr: str, first: str, last: str) -> str:
        """A shared flat network with one pool of addresses; its id."""
        body = {
            "name": name,
            "shared": True,
            "provider:network_type": "flat",
            "provider:physical_network": f"phys-{name}",
        }
        made = await self.ask("network", "POST", "/v2.0/networks", {"network": body}, status=201)
        network = made.body["network"]["id"]
        subnet = {
            "network_id": network,
            "cidr": cidr,
            "ip_version": 4,
            "allocation_pools": [{"start": first, "end": last}],
        }
        await self.ask("network", "POST", "/v2.0/subnets", {"subnet": subnet}, status=201)
        return network

    async def make_image(self, name: str, disk_format: str = "raw") -> str:
        body = {
            "name": name,
            "disk_format": disk_format,
            "container_format": "bare",
            "visibility": "public",
        }
        return (await self.ask("image", "POST", "/v2/images", body, status=201)).body["id"]

    async def upload(self, image: str, data: bytes | AsyncIterator[bytes]) -> Answer:
        return await self.ask(
            "image",
            "PUT",
            f"/v2/images/{image}/file",
            raw=data,
            Content_Type="application/octet-stream",
        )

    async def make_flavor(self, name: str, **specs: str) -> str:
        body = {"flavor": {"name": name, "ram": 1024, "vcpus": 1, "disk": 10}}
        made = await self.ask("compute", "POST", "/flavors", body, status=200)
        flavor = made.body["flavor"]["id"]
        wanted = {k.replace("__", ":"): v for k, v in specs.items()}
        await self.ask(
            "compute",
            "POST",
            f"/flavors/{flavor}/os-extra_specs",
            {"extra_specs": wanted},
            status=200,
        )
        return flavor

    # -- machines ------------------------------------------------------------------------------

    def entry(self, machine: str) -> dict[str, Any]:
        """A machine as it would be enrolled."""
        assert self.fleet is not None
        (found,) = self.fleet.enrolment(machine)["nodes"]
        return found

    async def enrol(self, machine: str, **changes: Any) -> str:
        """A node with its port, in `enroll`; its uuid."""
        entry = {**self.entry(machine), "automated_clean": False, **changes}
        ports = entry.pop("ports")
        made = await self.ask("baremetal", "POST", "/v1/nodes", entry, status=201)
        uuid = made.body["uuid"]
        for port in ports:
            body = {**port, "node_uuid": uuid}
            await self.ask("baremetal", "POST", "/v1/ports", body, status=201)
        return uuid

    async def provide(self, machine: str, **changes: Any) -> str:
        """An available node; its uuid."""
        uuid = await self.enrol(machine, **changes)
        for target, state in (("manage", "manageable"), ("provide", "available")):
            await self.verb(uuid, target)
            await self.node_in(uuid, state)
        return uuid

    async def verb(self, uuid: str, target: str, status: int = 202, **more: Any) -> Answer:
        body = {"target": target, **more}
        path = f"/v1/nodes/{uuid}/states/provision"
        return await self.ask("baremetal", "PUT", path, body, status=status)

    async def node(self, uuid: str) -> dict[str, Any]:
        return (await self.ask("baremetal", "GET", f"/v1/nodes/{uuid}", status=200)).body

    async def node_in(self, uuid: str, *states: str, deadline: float = 25) -> dict[str, Any]:
        """Wait for a node that rests in one of some states."""
        ends = time.monotonic() + deadline
        while True:
            node = await self.node(uuid)
            if node["provision_state"] in states and node["reservation"] is None:
                return node
            assert time.monotonic() < ends, (node["provision_state"], node["last_error"])
            await asyncio.sleep(0.03)

    async def discard(self, uuid: str) -> None:
        """Delete a node, whatever state it rests in."""
        body = {"reason": "end of a test"}
        await self.ask("baremetal", "PUT", f"/v1/nodes/{uuid}/maintenance", body)
        await self.ask("baremetal", "DELETE", f"/v1/nodes/{uuid}", status=204)

    # -- servers -------------------------------------------------------------------------------

    def order(self, flavor: str, **more: Any) -> dict[str, Any]:
        return {
            "server": {
                "name": "one",
                "flavorRef": flavor,
                "imageRef": self.image,
                "networks": [{"uuid": self.network}],
                **more,
            }
        }

    async def boot_server(self, flavor: str, **more: Any) -> str:
        body = self.order(flavor, **more)
        made = await self.ask("compute", "POST", "/servers", body, status=202)
        return made.body["server"]["id"]

    async def server_is(self, uuid: str, wanted: str, deadline: float = 25) -> dict[str, Any]:
        """Wait for a server's status; "gone" is none."""
        ends = time.monotonic() + deadline
        while True:
            answer = await self.ask("compute", "GET", f"/servers/{uuid}")
            found = answer.body["server"]["status"] if answer.status == 200 else "gone"
            if found == wanted:
                return answer.body["server"] if answer.status == 200 else {}
            assert time.monotonic() < ends, answer.body
            assert found != "ERROR" or wanted == "gone", answer.body
            await asyncio.sleep(0.03)

    async def remove_server(self, uuid: str) -> None:
        await self.ask("compute", "DELETE", f"/servers/{uuid}", status=204)
        await self.server_is(uuid, "gone")

    async def nothing_claimed(self, *nodes: str) -> None:
        """No node has an instance, an order, a VIF or live work; no server and no node has a port."""
        for uuid in nodes:
            node = await self.node(uuid)
            assert node["instance_uuid"] is None and node["reservation"] is None, node
            vifs = await self.ask("baremetal", "GET", f"/v1/nodes/{uuid}/vifs", status=200)
            assert vifs.body["vifs"] == [], vifs.body
        ports = await self.ask("network", "GET", "/v2.0/ports", status=200)
        assert ports.body["ports"] == []
        servers = await self.ask("compute", "GET", "/servers/detail?all_tenants=1", status=200)
        assert servers.body["servers"] == []

    async def client(self, *words: str, cloud: str = "ingot", **env: str) -> tuple[int, str]:
        """The stock `openstack` command: exit code, and all that it says. env: instead of a cloud."""
        file = str(self.state / "clouds.yaml")
        child = await asyncio.create_subprocess_exec(
            str(OPENSTACK),
            *words,
            cwd=self.folder,
            env=clean_environment(**(env or {"OS_CLOUD": cloud, "OS_CLIENT_CONFIG_FILE": file})),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(child.communicate(), 60)
        return child.returncode or 0, out.decode()


@contextlib.asynccontextmanager
async def site(
    folder: Path,
    count: int = 0,
    *,
    machines: Mapping[str, Any] | None = None,
    small_store: bool = False,
    small_state: bool = False,
    **sections: dict[str, Any],
) -> AsyncIterator[Site]:
    """A cloud with `count` simulated machines; all ends with the context. machines: further FleetOptions."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        here = Site(folder, free_port(), free_port(), http)
        if count:
            url = f"http://127.0.0.1:{here.boot}"
            more = {"speed": 1000, **(machines or {})}
            options = FleetOptions(count=count, boot_url=url, **more)
            here.fleet = await stack.enter_async_context(Fleet(options))
        try:
            file = here.settings(**sections)
            await here.start(file, small_store=small_store, small_state=small_state)
            yield here
        finally:
            if here.child is not None and here.child.returncode is None:
                await here.stop()


def has_tools() -> bool:
    return shutil.which("unshare") is not None
