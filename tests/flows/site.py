"""A small site for flow tests: the bare-metal room, its engine and its provisioning listener, for real.

Machines are simulated (real Redfish and IPMI on the wire, the real agent protocol); the image is served by
a real HTTP server. Nothing is patched.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from ingot.baremetal import Baremetal
from ingot.baremetal.api.others import Roots
from ingot.baremetal.bootplan import BootUrls
from ingot.baremetal.ramdisk_api import RamdiskApi, RamdiskFiles
from ingot.baremetal.workflows import ImageFacts, Room, Timing, workflows
from ingot.drivers.agent.client import AgentClient
from ingot.drivers.context import DriverContext
from ingot.drivers.hardware import hardware_types
from ingot.drivers.registry import Registry
from ingot.kit.asgi import WebApp, plain_envelope
from ingot.kit.clock import SystemClock
from ingot.kit.db import Database
from ingot.kit.faults import Missing
from ingot.kit.policy import Policy
from ingot.kit.vault import Vault
from ingot.kit.versions import Microversions, Version
from ingot.kit.web import Operation, Service
from ingot.lab.sim import Fleet, FleetOptions, Timings
from ingot.workflow import Engine, LocalDispatcher, live_operation, steps
from ingot.workflow import operations as operations_of

VERSIONS = Microversions(
    "baremetal", Version(1, 1), Version(1, 115), Version(1, 1), "X-OpenStack-Ironic-API-Version"
)


class NoImages:
    """Images come by URL in these tests."""

    async def for_deploy(self, ident: str, ttl: float) -> ImageFacts:
        raise Missing(f"No image {ident}.")


class NoNetworks:
    """Simulated machines need no DHCP."""

    def plug_provisioning(self, *_: Any) -> None:
        return None

    def unplug_provisioning(self, *_: Any) -> None:
        return None

    def plug_vif(self, *_: Any) -> None:
        return None

    def unplug_vif(self, *_: Any) -> None:
        return None


@dataclass
class Site:
    db: Database
    room: Room
    baremetal: Baremetal
    engine: Engine
    fleet: Fleet
    image_url: str
    image_sum: str

    async def enrol(self) -> list[str]:
        """All machines of the fleet as nodes; their uuids."""
        uuids: list[str] = []
        for node in self.fleet.enrolment()["nodes"]:
            ports = node.pop("ports")
            node["network_interface"] = "noop"
            made = await self.db.write(
                lambda conn, node=node: self.baremetal.create_node(conn, node)
            )
            for port in ports:
                values = {**port, "node_uuid": made.uuid}
                await self.db.write(
                    lambda conn, values=values: self.baremetal.create_port(conn, values)
                )
            uuids.append(made.uuid)
        return uuids

    async def verb(self, uuid: str, verb: str) -> None:
        await self.db.write(lambda conn: self.baremetal.provision(conn, uuid, verb))

    async def prepare(self, uuid: str) -> None:
        info = {
            "image_source": self.image_url,
            "image_checksum": self.image_sum,
            "image_disk_format": "raw",
        }
        await self.db.write(
            lambda conn: self.baremetal.prepare_instance(
                conn, uuid, instance_info=info, configdrive=None
            )
        )

    async def until(self, uuid: str, *states: str, deadline: float = 30) -> str:
        """Wait for the node to rest in one of the states; says why when it does not."""
        ends = asyncio.get_running_loop().time() + deadline
        while True:
            node = await self.db.read(lambda conn: self.baremetal.get_node(conn, uuid))
            live = await self.db.read(lambda conn: live_operation(conn, f"node:{uuid}"))
            if live is None and node.provision_state in states:
                return node.provision_state
            if (live is None and node.provision_state.endswith("failed")) or (
                asyncio.get_running_loop().time() > ends
            ):
                raise AssertionError(
                    f"{uuid} is {node.provision_state!r}: {await self.story(uuid)}"
                )
            await asyncio.sleep(0.02)

    async def story(self, uuid: str) -> str:
        def query(conn: Any) -> str:
            found = operations_of(conn, f"node:{uuid}", limit=1)
            told = steps(conn, found[0].id) if found else []
            lines = [
                f"{step.label}: {step.state} {step.fault.text if step.fault else ''}"
                for step in told
            ]
            return "\n".join([str(self.baremetal.last_error(conn, uuid)), *lines])

        return await self.db.read(query)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.asynccontextmanager
async def listening(app: Any, port: int) -> AsyncIterator[None]:
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")
    )
    task = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def site(
    count: int = 2,
    *,
    database: str = "",
    timing: Timing | None = None,
    speed: float = 1000,
    **fleet_options: Any,
) -> AsyncIterator[Site]:
    """The site, up; everything ends with the context."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        image = base / "image.raw"
        image.write_bytes(b"\0" * 65536 + b"ingot" * 1000)
        (base / "kernel").write_bytes(b"kernel")
        (base / "ramdisk").write_bytes(b"ramdisk")
        clock = SystemClock()
        db = Database(database) if database else Database.at(base / "ingot.db")
        await db.create_all()
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        vault = Vault.at(base / "vault.key")
        registry = Registry(DriverContext(clock, run_dir=base), hardware_types())
        agents = AgentClient(clock)
        room = Room(
            db=db,
            clock=clock,
            vault=vault,
            registry=registry,
            images=NoImages(),
            networks=NoNetworks(),
            agents=agents,
            urls=BootUrls(url, f"{url}/files/kernel", f"{url}/files/ramdisk"),
            host="conductor-1",
            timing=timing
            or Timing(agent=20, inspection=20, write=30, power=20, agent_silence=5, poll=0.05),
        )
        files = RamdiskFiles(
            {"kernel": base / "kernel", "ramdisk": base / "ramdisk", "image.raw": image}
        )
        api = RamdiskApi(room, files)
        baremetal = Baremetal(db, clock, vault, registry, None, "conductor-1")
        roots = Roots(baremetal)
        operations = [
            Operation("GET", "/", roots.root, rule=None),
            Operation("GET", "/v1", roots.v1, rule=None),
            *api.operations(),
        ]
        baremetal = Baremetal(db, clock, vault, registry, None, "conductor-1")
        roots = Roots(baremetal)
        operations = [
            Operation("GET", "/", roots.root, rule=None),
            Operation("GET", "/v1", roots.v1, rule=None),
            *api.operations(),
        ]
        service = Service(
            "ramdisk", "", operations, plain_envelope, Policy({}), versions=VERSIONS
        )
        engine = Engine(db, clock, workflows(room), "conductor-1")
        options = FleetOptions(
            count=count, speed=speed, boot_url=url, timings=Timings(), **fleet_options
        )
        async with (
            listening(WebApp([service]).asgi, port),
            LocalDispatcher(engine),
            Fleet(options) as fleet,
        ):
            try:
                yield Site(
                    db,
                    room,
                    baremetal,
                    engine,
                    fleet,
                    f"{url}/files/image.raw",
                    hashlib.sha256(image.read_bytes()).hexdigest(),
                )
            finally:
                await registry.aclose()
                await agents.aclose()
        await db.close()
