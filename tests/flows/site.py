"""A small site for flow tests: the bare-metal service, its engine and its provisioning listener, for real.

Machines are simulated (real Redfish and IPMI on the wire, the real agent protocol); the image is served by
a real HTTP server. Nothing is patched. `site` is all in one process; `cloud` is the controller's side alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from ingot.drivers.machine.agent.client import AgentClient
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.hardware import build_registry
from ingot.drivers.machine.vmedia.iso import BootLoaders
from ingot.drivers.machine.vmedia.store import MediaStore
from ingot.kit.api.operations import Operation, Service
from ingot.kit.api.versions import Microversions, Version
from ingot.kit.auth.policy import Caller, Policy
from ingot.kit.db.database import Database
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Missing
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.http.server import WebApp, plain_envelope
from ingot.kit.tasks.clock import Clock, SystemClock, VirtualClock
from ingot.lab.sim import Fleet, FleetOptions
from ingot.services.baremetal import Baremetal, BaremetalSettings, Node, VerbArguments
from ingot.services.baremetal.adapters import OwnImages, OwnNetworks
from ingot.services.baremetal.api import make_service
from ingot.services.baremetal.api.root import Roots
from ingot.services.baremetal.boot.imagerights import CLOUD, Right
from ingot.services.baremetal.boot.imagesources import ImageSources
from ingot.services.baremetal.boot.media_api import MediaApi
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.loops import FollowUps
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.nodes.verbs import followers
from ingot.services.baremetal.ramdisk.api import RamdiskApi, RamdiskFiles
from ingot.services.baremetal.types import ImageFile
from ingot.services.baremetal.workflows import (
    AgentLogOptions,
    Deps,
    ImageFacts,
    Orphans,
    Timing,
    workflows,
)
from ingot.services.image.api import provisioning_operations
from ingot.workflow import ClusterDispatcher, Engine, LocalDispatcher, Loop, live_operation, steps
from ingot.workflow import operations as operations_of
from ingot.workflow.engine import Probe

VERSIONS = Microversions(
    "baremetal", Version(1, 1), Version(1, 115), Version(1, 1), "X-OpenStack-Ironic-API-Version"
)


class NoImages:
    """Images come by URL in these tests."""

    def revoke(self, *_: Any) -> None: ...

    async def for_deploy(self, ident: str, ttl: float, *_: Any) -> ImageFacts:
        raise Missing(f"No image {ident}.")

    async def properties(self, ident: str, *_: Any) -> tuple[dict[str, str], Right]:
        raise Missing(f"No image {ident}.")

    async def file(self, ident: str, ttl: float, *_: Any) -> ImageFile:
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

    def static_data(self, *_: Any) -> dict[str, Any]:
        return {}


class HurriedClock(VirtualClock):
    """`factor` times as fast as the machine's own clock while the event loop keeps up, slower when it does not.

    A deadline of an hour passes in minutes; but what the machine takes for itself, because other work goes on
    beside the test, is no time in which a simulated agent could have answered.
    """

    #: Seconds between two looks at the machine's clock, and the most that one look may count.
    TICK, MOST = 0.005, 0.03

    def __init__(self, factor: float) -> None:
        super().__init__(datetime.now(UTC))
        self.factor = factor

    async def run(self) -> None:
        """Let time pass until cancelled."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(self.TICK)
            moment = time.monotonic()
            self.advance(min(moment - before, self.MOST) * self.factor)
            before = moment


@dataclass
class Site:
    """The controller's side; `fleet` is None in a process that has no machines of its own."""

    db: Database
    deps: Deps
    baremetal: Baremetal
    engine: Engine
    image_url: str
    image_sum: str
    url: str
    _fleet: Fleet | None = None

    @property
    def fleet(self) -> Fleet:
        assert self._fleet is not None, "this process has no machines"
        return self._fleet

    async def enrol(self, state: str = "enroll", **fields: Any) -> list[str]:
        """All machines of the fleet as nodes in a state, with these fields; their uuids."""
        uuids: list[str] = []
        for node in self.fleet.enrolment()["nodes"]:
            ports = node.pop("ports")
            node.update({"network_interface": "noop", **fields})
            made = await self.db.write(
                lambda conn, node=node: self.baremetal.create_node(
                    conn, node, provision_state=state
                )
            )
            for port in ports:
                values = {**port, "node_uuid": made.uuid}
                await self.db.write(
                    lambda conn, values=values: self.baremetal.create_port(conn, values)
                )
            uuids.append(made.uuid)
        return uuids

    async def verb(self, uuid: str, verb: str, **extras: Any) -> None:
        await self.db.write(
            lambda conn: self.baremetal.provision(conn, uuid, verb, VerbArguments(**extras))
        )

    async def node(self, uuid: str) -> Node:
        return await self.db.read(lambda conn: self.baremetal.get_node(conn, uuid))

    async def rest(self, uuid: str, deadline: float = 150) -> str:
        """Wait until no operation works on the node, nor a verb waits for its end; its state then."""
        ends = asyncio.get_running_loop().time() + deadline
        while True:
            if await self.db.read(lambda conn: _idle(conn, uuid)):
                return (await self.node(uuid)).provision_state
            if asyncio.get_running_loop().time() > ends:
                raise AssertionError(f"{uuid} does not come to rest: {await self.story(uuid)}")
            await asyncio.sleep(0.05)

    async def prepare(self, uuid: str) -> None:
        info = {
            "image_source": self.image_url,
            "image_checksum": self.image_sum,
            "image_disk_format": "raw",
        }
        await self.db.write(
            lambda conn: self.baremetal.prepare_instance(
                conn, uuid, instance_info=info, right=CLOUD
            )
        )

    async def order_instance(self, uuid: str, info: dict[str, Any], right: Right = CLOUD) -> None:
        """Write what the machine is to become."""
        await self.db.write(
            lambda conn: self.baremetal.prepare_instance(
                conn, uuid, instance_info=info, right=right
            )
        )

    async def edit(self, uuid: str, field: str, value: Any) -> None:
        change = PatchOperation("replace", f"/{field}", value)
        await self.db.write(lambda conn: self.baremetal.patch(conn, uuid, [change]))

    async def until(self, uuid: str, *states: str, deadline: float = 120) -> str:
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


def _idle(conn: Any, uuid: str) -> bool:
    # Each statement of a read sees the newest state: a verb that waited may begin between two of them.
    subject = f"node:{uuid}"
    return (
        live_operation(conn, subject) is None
        and uuid not in followers(conn)
        and live_operation(conn, subject) is None
    )


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


def lay_out(base: Path) -> Path:
    """The files that machines fetch; gives the image."""
    image = base / "image.raw"
    image.write_bytes(b"\0" * 65536 + b"ingot" * 1000)
    (base / "kernel").write_bytes(b"kernel")
    (base / "ramdisk").write_bytes(b"ramdisk")
    return image


@contextlib.asynccontextmanager
async def cloud(
    base: Path,
    *,
    database: str = "",
    port: int = 0,
    host: str = "conductor-1",
    timing: Timing | None = None,
    clock: Clock | None = None,
    networks: Callable[[Database, Clock], Any] = lambda *_: NoNetworks(),
    cluster: bool = False,
    work: bool = True,
    provisioning: str = "",
    helping: bool = True,
    probe: Probe | None = None,
    beat: float = 10,
    dead: float = 30,
    fast_track: bool = False,
    logs: str = "on_failure",
    options: BaremetalSettings | None = None,
    images: Callable[[Database, Clock, Path, str], OwnImages] | None = None,
) -> AsyncIterator[Site]:
    """The controller's side under a folder: room, engine, loops, provisioning listener and API.

    cluster: dispatched by Procrastinate. work=False: an API process. provisioning: base URL of the process
    that serves booting machines, where it is another one. helping=False: no loops. logs: when the agents'
    are kept.
    """
    time = clock or SystemClock()
    image = lay_out(base)
    db = Database(database) if database else Database.at(base / "ingot.db")
    await db.create_all()
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    boots = provisioning or url
    vault = Vault.at(base / "vault.key")
    registry = build_registry(DriverContext(time, run_dir=base))
    agents = AgentClient(time, egress=Egress.of(LOOPBACK))
    wired = networks(db, time)
    pictures = images(db, time, base, boots) if images else None
    own = wired if isinstance(wired, OwnNetworks) else None
    baremetal = Baremetal(db, time, vault, registry, own, host, options)
    deps = Deps(
        ctx=baremetal.ctx,
        sources=ImageSources(egress=Egress.of(LOOPBACK)),
        images=pictures or NoImages(),
        networks=wired,
        agents=agents,
        urls=BootUrls(boots, f"{boots}/files/kernel", f"{boots}/files/ramdisk"),
        timing=timing
        or Timing(agent=60, inspection=60, write=90, power=40, agent_silence=15, poll=0.05),
        fast_track=fast_track,
        agent_logs=AgentLogOptions(logs, base / "agent-logs", 2),
        media=MediaStore(
            base / "media", base / "kernel", base / "ramdisk", _loaders, egress=Egress.of(LOOPBACK)
        ),
    )
    files = RamdiskFiles(
        {"kernel": base / "kernel", "ramdisk": base / "ramdisk", "image.raw": image}
    )
    roots = Roots(baremetal)
    operations = [
        Operation("GET", "/", roots.root, rule=None),
        Operation("GET", "/v1", roots.v1, rule=None),
        *RamdiskApi(deps, files, egress=Egress.of(LOOPBACK)).operations(),
        *MediaApi(deps).operations(),
        *(provisioning_operations(pictures.service) if pictures else ()),
    ]
    service = Service("ramdisk", "", operations, plain_envelope, Policy({}), versions=VERSIONS)
    engine = Engine(db, time, workflows(deps), host, beat=beat, dead=dead)
    engine.probe = probe
    dispatcher: ClusterDispatcher | LocalDispatcher = (
        ClusterDispatcher(engine, work=work) if cluster else LocalDispatcher(engine, scan=1)
    )
    app = WebApp([service, make_service(baremetal, _operator)])
    loops = [
        Loop("verbs that wait", 0.5, FollowUps(baremetal.ctx).run),
        Loop("orphans", 2, Orphans(deps).run),
    ]
    async with listening(app.asgi, port), dispatcher:
        for loop in loops if helping else []:
            await loop.start()
        try:
            digest = hashlib.sha256(image.read_bytes()).hexdigest()
            yield Site(db, deps, baremetal, engine, f"{url}/files/image.raw", digest, url)
        finally:
            for loop in loops:
                await loop.stop()
            await registry.aclose()
            await agents.aclose()
    await db.close()


def _loaders() -> BootLoaders:
    """Simulated machines look only at the boot loader's configuration."""
    return BootLoaders({"BOOTX64.EFI": b"MZ"}, bytes(4096))


async def _operator(_header: Callable[[str], str | None]) -> Caller:
    return Caller(user_id="operator", system=True, roles=frozenset({"admin", "member", "reader"}))


@contextlib.asynccontextmanager
async def _hurried(factor: float) -> AsyncIterator[HurriedClock | None]:
    """A clock whose time passes; none where it need not be faster than the machine's."""
    if factor == 1:
        yield None
        return
    clock = HurriedClock(factor)
    passing = asyncio.create_task(clock.run())
    try:
        yield clock
    finally:
        passing.cancel()


@contextlib.asynccontextmanager
async def site(
    count: int = 2,
    *,
    database: str = "",
    timing: Timing | None = None,
    speed: float = 1000,
    hurry: float = 1,
    probe: Probe | None = None,
    networks: Callable[[Database, Clock], Any] = lambda *_: NoNetworks(),
    fast_track: bool = False,
    logs: str = "on_failure",
    options: BaremetalSettings | None = None,
    images: Callable[[Database, Clock, Path, str], OwnImages] | None = None,
    **fleet_options: Any,
) -> AsyncIterator[Site]:
    """A cloud with simulated machines; everything ends with the context.

    speed: of the machines' time. hurry: of the controller's own time, for its deadlines and pauses.
    """
    with tempfile.TemporaryDirectory() as folder:
        async with _hurried(hurry) as clock:
            made = cloud(
                Path(folder),
                database=database,
                timing=timing,
                clock=clock,
                probe=probe,
                networks=networks,
                fast_track=fast_track,
                logs=logs,
                options=options,
                images=images,
            )
            async with made as here:
                options = FleetOptions(count=count, speed=speed, boot_url=here.url, **fleet_options)
                async with Fleet(options) as fleet:
                    here._fleet = fleet
                    yield here
