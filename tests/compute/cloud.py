"""A whole cloud over simulated machines on loopback ports: identity, image, network, bare metal, compute.

Everything speaks over real wires; only the machines are simulated, and there is no DHCP.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from ingot.drivers.machine.agent.client import AgentClient
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.fake.world import FakeWorld
from ingot.drivers.machine.hardware import hardware_types
from ingot.drivers.machine.registry import Registry
from ingot.kit.api.operations import Service
from ingot.kit.auth.policy import Policy
from ingot.kit.db.database import Database
from ingot.kit.db.vault import Vault
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.http.server import WebApp, plain_envelope
from ingot.kit.http.websockets import Channel
from ingot.kit.tasks.clock import SystemClock
from ingot.lab.sim import Fleet, FleetOptions
from ingot.services.baremetal import (
    CONSOLE_PATH,
    Baremetal,
    BaremetalSettings,
    ConsoleSessions,
    WebsocketConsoles,
)
from ingot.services.baremetal import store as nodes
from ingot.services.baremetal.adapters import OwnImages, OwnNetworks
from ingot.services.baremetal.api import make_service as baremetal_api
from ingot.services.baremetal.api.root import Roots
from ingot.services.baremetal.boot.imagesources import ImageSources
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.ramdisk.api import RamdiskApi, RamdiskFiles
from ingot.services.baremetal.workflows import Deps, Timing
from ingot.services.baremetal.workflows import workflows as baremetal_workflows
from ingot.services.compute import Compute, ComputeSettings, ConsoleKeeper
from ingot.services.compute.api import make_service as compute_api
from ingot.services.compute.loops import loops as compute_loops
from ingot.services.compute.workflows import workflows as compute_workflows
from ingot.services.identity import (
    Bootstrap,
    CatalogueEntry,
    Identity,
    IdentitySettings,
    write_clouds_yaml,
)
from ingot.services.identity.api import make_service as identity_api
from ingot.services.image import Images, ImageSettings
from ingot.services.image.api import make_service as image_api
from ingot.services.image.api import provisioning_operations
from ingot.services.network import Networks, NetworkSettings
from ingot.services.network.api import make_service as network_api
from ingot.workflow import Engine, LocalDispatcher, live_operation, operations, steps
from tests.flows.site import VERSIONS, Operation, free_port, listening

OPENSTACK = Path(sys.executable).with_name("openstack")
CATALOG = (
    CatalogueEntry("baremetal", "ironic", "/baremetal"),
    CatalogueEntry("image", "glance", "/image"),
    CatalogueEntry("network", "neutron", "/network"),
    CatalogueEntry("compute", "nova", "/compute/v2.1"),
)
IMAGE = b"\0" * 65536 + b"ingot" * 1000


@dataclass
class Cloud:
    """A running cloud and hands to use it with."""

    base: Path
    url: str
    db: Database
    baremetal: Baremetal
    networks: Networks
    images: Images
    compute: Compute
    fleet: Fleet
    made: Bootstrap
    session: aiohttp.ClientSession
    engine_of: Any = field(repr=False)
    dispatcher: LocalDispatcher = field(repr=False)
    network_id: str = ""
    image_id: str = ""
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    world: FakeWorld = field(default_factory=FakeWorld)

    # -- machines ----------------------------------------------------------------------------

    async def enrol(self, *, network_interface: str = "flat") -> list[str]:
        """All machines of the fleet as available nodes; their uuids."""
        uuids: list[str] = []
        for entry in self.fleet.enrolment()["nodes"]:
            ports = entry.pop("ports")
            entry |= {"network_interface": network_interface, "automated_clean": False}

            def enrol(conn: Any, entry: Any = entry, ports: Any = ports) -> str:
                made = self.baremetal.create_node(conn, entry)
                for port in ports:
                    self.baremetal.create_port(conn, {**port, "node_uuid": made.uuid})
                return made.uuid

            uuids.append(await self.db.write(enrol))
        await asyncio.gather(*(self._provide(uuid) for uuid in uuids))
        return uuids

    async def enrol_imaginary(self, count: int, **values: Any) -> list[str]:
        """Available nodes of the fake driver, whose steps take no time; their uuids."""

        def enrol(conn: Any) -> list[str]:
            made: list[str] = []
            for number in range(count):
                node = self.baremetal.create_node(
                    conn,
                    {
                        "name": f"imaginary-{number}",
                        "driver": "fake-hardware",
                        "network_interface": "flat",
                        "resource_class": "baremetal",
                        "automated_clean": False,
                        **values,
                    },
                    provision_state="available",
                )
                nodes.update_node(conn, node.uuid, power_state="power off")
                mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
                self.baremetal.create_port(conn, {"address": mac, "node_uuid": node.uuid})
                made.append(node.uuid)
            return made

        return await self.db.write(enrol)

    async def _provide(self, uuid: str) -> None:
        for verb, state in (("manage", "manageable"), ("provide", "available")):
            await self.db.write(lambda conn, v=verb: self.baremetal.provision(conn, uuid, v))
            await self.node_is(uuid, state)

    async def node(self, uuid: str) -> Any:
        return await self.db.read(lambda conn: self.baremetal.get_node(conn, uuid))

    async def node_is(self, uuid: str, state: str, deadline: float = 30) -> Any:
        """Wait for a node that rests in a state."""
        ends = asyncio.get_running_loop().time() + deadline
        while True:
            node = await self.node(uuid)
            live = await self.db.read(lambda conn: live_operation(conn, f"node:{uuid}"))
            if live is None and node.provision_state == state:
                return node
            if asyncio.get_running_loop().time() > ends:
                story = await self.story(node.subject)
                raise AssertionError(f"{node.label} is {node.provision_state!r}: {story}")
            await asyncio.sleep(0.02)

    async def claimed(self) -> list[str]:
        """Nodes that have an instance."""

        def query(conn: Any) -> list[str]:
            from ingot.services.baremetal.tables import nodes as table

            rows = conn.execute(table.select()).mappings()
            return [row["name"] for row in rows if row["instance_uuid"]]

        return await self.db.read(query)

    async def story(self, subject: str) -> str:
        def query(conn: Any) -> str:
            lines: list[str] = []
            for op in operations(conn, subject, limit=3):
                lines.append(f"{op.kind} {op.state} {op.fault.text if op.fault else ''}")
                lines += [
                    f"  {s.label}: {s.state} {s.fault.text if s.fault else ''}"
                    for s in steps(conn, op.id)
                ]
            return "\n".join(lines)

        return await self.db.read(query)

    # -- the API -----------------------------------------------------------------------------

    async def token(self, who: str) -> str:
        if who not in self.tokens:
            password = self.made.admin_password if who == "admin" else self.made.demo_password
            domain = {"id": "default"}
            body = {
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {"user": {"name": who, "domain": domain, "password": password}},
                    },
                    "scope": {"project": {"name": who, "domain": domain}},
                }
            }
            async with self.session.post(f"{self.url}/identity/v3/auth/tokens", json=body) as reply:
                assert reply.status == 201, await reply.text()
                self.tokens[who] = reply.headers["X-Subject-Token"]
        return self.tokens[who]

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: str = "admin",
        version: str | None = None,
        status: int | None = None,
        raw: bytes | None = None,
    ) -> tuple[int, Any, Any]:
        """(status, body, headers) of a call below /compute/v2.1."""
        headers = {"Content-Type": "application/json"}
        if who:
            headers["X-Auth-Token"] = await self.token(who)
        if version:
            headers["OpenStack-API-Version"] = f"compute {version}"
        data = raw if raw is not None else (msgspec.json.encode(body) if body is not None else None)
        url = f"{self.url}/compute/v2.1{path}"
        async with self.session.request(method, url, data=data, headers=headers) as reply:
            text = await reply.read()
            found = msgspec.json.decode(text) if text else None
            assert status is None or reply.status == status, (reply.status, found)
            return reply.status, found, reply.headers

    async def get(self, path: str, **how: Any) -> Any:
        return (await self.call("GET", path, status=how.pop("status", 200), **how))[1]

    async def post(self, path: str, body: Any, **how: Any) -> Any:
        return (await self.call("POST", path, body, **how))[1]

    async def flavor(self, name: str = "bm", **specs: str) -> str:
        body = {"flavor": {"name": name, "ram": 1024, "vcpus": 1, "disk": 10}}
        made = (await self.post("/flavors", body, status=200))["flavor"]["id"]
        wanted = {k.replace("__", ":"): v for k, v in specs.items()}
        wanted = wanted or {"resources:CUSTOM_BAREMETAL": "1"}
        await self.post(f"/flavors/{made}/os-extra_specs", {"extra_specs": wanted}, status=200)
        return str(made)

    async def boot(self, flavor: str, name: str = "one", *, who: str = "admin", **more: Any) -> str:
        """Order a server on the provider network; its uuid."""
        order = {
            "name": name,
            "flavorRef": flavor,
            "imageRef": self.image_id,
            "networks": [{"uuid": self.network_id}],
            **more,
        }
        made = await self.post("/servers", {"server": order}, who=who, status=202)
        return str(made["server"]["id"])

    async def server_is(self, uuid: str, *wanted: str, deadline: float = 40) -> Any:
        """Wait for a server's status ("gone": 404); the server."""
        ends = asyncio.get_running_loop().time() + deadline
        while True:
            status, body, _ = await self.call("GET", f"/servers/{uuid}", version="2.96")
            found = body["server"]["status"] if status == 200 else "gone"
            if found in wanted:
                return body.get("server")
            broken = found == "ERROR" and "gone" not in wanted
            if asyncio.get_running_loop().time() > ends or broken:
                story = await self.story(f"server:{uuid}")
                node = status == 200 and body["server"]["OS-EXT-SRV-ATTR:hypervisor_hostname"]
                story += "\n" + (await self.story(f"node:{node}") if node else "")
                raise AssertionError(f"{uuid} is {found}: {body}\n{story}")
            await asyncio.sleep(0.03)

    async def client(self, *words: str, ok: bool = True, cloud: str = "ingot") -> str:
        """The stock `openstack` command."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
        process = await asyncio.create_subprocess_exec(
            str(OPENSTACK),
            *words,
            env={
                **clean,
                "OS_CLOUD": cloud,
                "OS_CLIENT_CONFIG_FILE": str(self.base / "clouds.yaml"),
            },
            cwd=self.base,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 100)
        assert not ok or process.returncode == 0, f"{words}: {out.decode()}{err.decode()}"
        return (out + err).decode() if not ok else out.decode().strip()

    async def restart(self) -> None:
        """As after kill -9: a new engine over the same database."""
        await self.dispatcher.kill()
        self.dispatcher = LocalDispatcher(self.engine_of())
        await self.dispatcher.start()


@contextlib.asynccontextmanager
async def cloud(
    base: Path,
    count: int = 2,
    *,
    settings: ComputeSettings | None = None,
    database: str = "",
    undeploy_under_server: str = "refuse",
    **fleet: Any,
) -> AsyncIterator[Cloud]:
    """The cloud, up; everything ends with the context."""
    (base / "kernel").write_bytes(b"kernel")
    (base / "ramdisk").write_bytes(b"ramdisk")
    clock = SystemClock()
    db = Database(database) if database else Database.at(base / "ingot.db")
    api_port, boot_port = free_port(), free_port()
    url, boot_url = f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{boot_port}"
    vault = Vault.at(base / "vault.key")
    identity = Identity(db, clock, IdentitySettings(state_dir=base, password_cost=10), CATALOG)
    images = Images(
        db, clock, ImageSettings(state_dir=base, deploy_base_url=boot_url, reserve_bytes=0)
    )
    networks = Networks(db, clock, NetworkSettings())
    world = FakeWorld(seed=1)
    registry = Registry(DriverContext(clock, run_dir=base, world=world), hardware_types())
    agents = AgentClient(clock, egress=Egress.of(LOOPBACK))
    own = OwnNetworks(networks, "provider", lambda: identity.service_project_id, has_wires=False)
    baremetal = Baremetal(
        db,
        clock,
        vault,
        registry,
        own,
        "conductor-1",
        BaremetalSettings(console_websockets=True, undeploy_under_server=undeploy_under_server),
    )
    compute = Compute(db, clock, vault, baremetal, networks, images, settings, still=identity.still)
    lines = ConsoleSessions(baremetal.ctx)
    keeper = ConsoleKeeper(db, clock, baremetal, lines, base / "consoles")
    compute.consoles = keeper
    webdoors = WebsocketConsoles(baremetal.ctx, lines, {"server": compute.console_grant()})
    channels = [Channel(CONSOLE_PATH, webdoors.enter)]
    await db.create_all()
    made = await identity.bootstrap()
    write_clouds_yaml(
        base / "clouds.yaml",
        f"{url}/identity",
        admin_password=made.admin_password or "",
        demo_password=made.demo_password or "",
    )
    deps = Deps(
        ctx=baremetal.ctx,
        sources=ImageSources(egress=Egress.of(LOOPBACK)),
        images=OwnImages(images, identity.still),
        networks=own,
        agents=agents,
        urls=BootUrls(boot_url, f"{boot_url}/files/kernel", f"{boot_url}/files/ramdisk"),
        timing=Timing(agent=20, inspection=20, write=30, power=20, agent_silence=5, poll=0.05),
    )
    ramdisk = RamdiskApi(
        deps,
        RamdiskFiles({"kernel": base / "kernel", "ramdisk": base / "ramdisk"}),
        egress=Egress.of(LOOPBACK),
    )
    roots = Roots(baremetal)
    boot = Service(
        "boot",
        "",
        [
            Operation("GET", "/", roots.root, rule=None),
            Operation("GET", "/v1", roots.v1, rule=None),
            *ramdisk.operations(),
            *provisioning_operations(images),
        ],
        plain_envelope,
        Policy({}),
        versions=VERSIONS,
    )
    who = identity.authenticate
    services = [
        identity_api(identity),
        image_api(images, who),
        network_api(networks, who),
        baremetal_api(baremetal, who),
        compute_api(compute, who),
    ]

    def engine() -> Engine:
        kinds = [*baremetal_workflows(deps), *compute_workflows(compute)]
        return Engine(db, clock, kinds, "conductor-1")

    await images.start()
    dispatcher = LocalDispatcher(engine())
    await dispatcher.start()
    loops = compute_loops(compute)
    options = FleetOptions(count=count, boot_url=boot_url, **{"speed": 1000, **fleet})
    async with (
        listening(WebApp([boot]).asgi, boot_port),
        listening(WebApp(services, channels=channels).asgi, api_port),
        Fleet(options) as machines,
        aiohttp.ClientSession() as session,
    ):
        here = Cloud(
            base, url, db, baremetal, networks, images, compute, machines, made, session,
            engine, dispatcher, world=world,
        )  # fmt: skip
        try:
            for loop in loops:
                await loop.start()
            await keeper.start()
            await webdoors.start()
            await _furnish(here)
            yield here
        finally:
            await webdoors.stop()
            await keeper.stop()
            for loop in loops:
                await loop.stop()
            await here.dispatcher.stop()
            await registry.aclose()
            await agents.aclose()
    await identity.close()
    await images.close()
    await db.close()


async def _furnish(here: Cloud) -> None:
    """A shared provider network and a public image."""

    def network(conn: Any) -> str:
        return here.networks.ensure_flat_network(
            conn, "provider", "physnet1", "192.0.2.0/24", None, "192.0.2.1", ["192.0.2.53"],
            project_id=here.made.admin_project_id,
        ).id  # fmt: skip

    here.network_id = await here.db.write(network)
    headers = {"X-Auth-Token": await here.token("admin")}
    body = {
        "name": "debian",
        "disk_format": "raw",
        "container_format": "bare",
        "visibility": "public",
    }
    async with here.session.post(f"{here.url}/image/v2/images", json=body, headers=headers) as r:
        here.image_id = (await r.json())["id"]
    file = f"{here.url}/image/v2/images/{here.image_id}/file"
    headers["Content-Type"] = "application/octet-stream"
    async with here.session.put(file, data=IMAGE, headers=headers) as r:
        assert r.status == 204, await r.text()


def sha(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()
