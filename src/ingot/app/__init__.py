"""The only place that constructs: settings, database, drivers, hosts, services, listeners, workers.

Everything else asks nobody for its collaborators; they are given here, in the order of the floors.
`serving` is `ingot serve` around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.agents.dhcp.dnsmasq import Dnsmasq, find_loader
from ingot.app import (
    access,
    auditsinks,
    keys,
    nova,
    retention,
    space,
    starts,
)
from ingot.app import bare as bare  # before parts of uvicorn
from ingot.app.bootstrap import OWN_PROJECT, bootstrap
from ingot.app.database import reach, tell_new
from ingot.app.database_retry import retry_while_unavailable
from ingot.app.metrics import Metrics, RequestTimes, count_statement
from ingot.app.options import (
    egress_of,
    identity_options,
    image_options,
    machine_options,
    peer_address,
    server_options,
    with_bodies,
)
from ingot.drivers.machine.agent.client import AgentClient
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.fake.world import FakeWorld
from ingot.drivers.machine.hardware import build_registry
from ingot.drivers.machine.registry import Registry
from ingot.drivers.machine.vmedia.store import MediaStore
from ingot.kit import log
from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.auth.policy import Policy
from ingot.kit.db.database import Database, DatabaseUnavailable
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Unavailable
from ingot.kit.http.proxies import Proxies
from ingot.kit.http.server import WebApp, plain_envelope
from ingot.kit.http.websockets import Channel
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import SystemClock
from ingot.kit.tasks.events import EventHub
from ingot.migrations import left, migrate
from ingot.services.baremetal import (
    CONSOLE_ADDRESS,
    CONSOLE_PATH,
    Baremetal,
    ConsoleSessions,
    TcpConsoles,
    WebsocketConsoles,
)
from ingot.services.baremetal.adapters import AloneNetworks, OwnImages, OwnNetworks
from ingot.services.baremetal.api import make_service as baremetal_api
from ingot.services.baremetal.api.machines import make_service as machines_api
from ingot.services.baremetal.api.root import Roots
from ingot.services.baremetal.boot.imagesources import ImageSources
from ingot.services.baremetal.boot.media_api import MediaApi
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.inspection.facts import inspection_options
from ingot.services.baremetal.loops import FollowUps
from ingot.services.baremetal.monitoring.controller_events import KIND, EventApi
from ingot.services.baremetal.monitoring.power_sync import LOOK_SECONDS, PowerSync
from ingot.services.baremetal.ramdisk.api import RamdiskApi, RamdiskFiles
from ingot.services.baremetal.workflows import AgentLogOptions, Deps, Orphans, Timing
from ingot.services.baremetal.workflows import workflows as baremetal_workflows
from ingot.services.compute import Compute, ConsoleKeeper
from ingot.services.compute.api import make_service as compute_api
from ingot.services.compute.loops import loops as compute_loops
from ingot.services.compute.workflows import workflows as compute_workflows
from ingot.services.identity import (
    CatalogueEntry,
    Identity,
)
from ingot.services.identity.api import make_service as identity_api
from ingot.services.image import BEAT, Images
from ingot.services.image.api import make_service as image_api
from ingot.services.image.api import provisioning_operations
from ingot.services.network import Networks, NetworkSettings, ProvisioningWire
from ingot.services.network.api import make_service as network_api
from ingot.services.network.loops import DhcpLoop
from ingot.settings import Settings, parse_listen
from ingot.workflow import ClusterDispatcher, Engine, LocalDispatcher, Loop, list_conductors
from ingot.workflow.api import Timeline

_log = log.get("app")
#: Controllers of machines may be slow to end their sessions.
_HAND_OVER_SECONDS = 15.0
_CATALOG = (
    CatalogueEntry("baremetal", "ironic", "/baremetal", "Bare Metal (Ingot)"),
    CatalogueEntry("image", "glance", "/image", "Image (Ingot)"),
    CatalogueEntry("network", "neutron", "/network", "Networking (Ingot)"),
    CatalogueEntry("compute", "nova", "/compute/v2.1", "Compute (Ingot)"),
)


class App:
    """The whole cloud of one process, constructed; `open` starts what works in the background."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self._proxies = Proxies(settings.trusted_proxies)
        state = settings.state_dir
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.db = Database(settings.database or f"sqlite:///{state / 'ingot.db'}")
        self.db.on_statement(count_statement)
        self._times = RequestTimes()
        self.vault = Vault.at(settings.keys_dir / "vault.key", keep=False)
        self.hub = EventHub(self.db, self.clock)
        self.audit = auditsinks.recorder(settings, self.db, self.clock)
        self.identity = self._identity()
        self.outside = access.outside_identity(settings, self.clock)
        self.policies = access.PolicyFiles(settings)
        self.policies.check()
        self.tokens = (
            access.Gate(self.outside.authenticate, self.outside.still, self.outside.challenge)
            if self.outside
            else access.Gate(self.identity.authenticate, self.identity.still)
        )
        self.gate = access.baremetal_gate(settings, self.clock, self.tokens)
        self.images = Images(self.db, self.clock, image_options(settings, self.boot_url))
        self.nova = nova.events_of(settings.nova, self.clock)
        self.networks = Networks(
            self.db, self.clock, NetworkSettings(wires=self._wires()), self.nova
        )
        self.egress = egress_of(settings)
        self.registry = self._registry(state)
        self.agents = AgentClient(self.clock, settings.baremetal.max_agent_reply_bytes, self.egress)
        kind = OwnNetworks if self.offers("network") else AloneNetworks
        self.provisioning = kind(
            self.networks,
            settings.provisioning.network,
            self._own_project,
            has_wires=bool(self._wires()),
        )
        self.baremetal = Baremetal(
            self.db,
            self.clock,
            self.vault,
            self.registry,
            self.provisioning,
            settings.hostname,
            machine_options(settings, self._has_websockets()),
            OwnImages(self.images, self.gate.still),
            self.nova,
        )
        self.power_sync = PowerSync(self.baremetal.ctx)
        self.deps = self._deps()
        lines = ConsoleSessions(self.baremetal.ctx)
        node_grant = self.baremetal.console_grant(self.gate.still)
        self.doors = TcpConsoles(self.baremetal.ctx, lines, node_grant)
        self.consoles = self._console_keeper(lines)
        self.compute = Compute(
            self.db,
            self.clock,
            self.vault,
            self.baremetal,
            self.networks,
            self.images,
            server_options(settings),
            self.consoles,
            still=self.tokens.still,
        )
        grants = {"node": node_grant, "server": self.compute.console_grant()}
        self.webdoors = WebsocketConsoles(self.baremetal.ctx, lines, grants)
        self.engine = Engine(
            self.db,
            self.clock,
            [*baremetal_workflows(self.deps), *compute_workflows(self.compute)],
            settings.hostname,
            # Operations on servers belong to no group of machines: every conductor takes them.
            groups=tuple(dict.fromkeys((settings.group, ""))),
            beat=settings.cluster.beat_seconds,
            dead=settings.cluster.dead_seconds,
            roles=settings.roles,
            info=self._told(),
        )
        self.engine.on_expelled.append(lines.drop)
        self.ramdisk = RamdiskApi(
            self.deps,
            RamdiskFiles(self._boot_files()),
            require_tls=settings.baremetal.require_agent_tls,
            egress=self.egress,
        )
        self.timeline = Timeline(self.db, self.hub)
        #: Set when this process was told to stop; load balancers are told so.
        self.leaving = False
        self._dispatches: LocalDispatcher | ClusterDispatcher | None = None
        self._line_keepers: list[TcpConsoles | ConsoleKeeper] = []
        self._stack = contextlib.AsyncExitStack()

    # -- parts -------------------------------------------------------------------------------

    @property
    def boot_url(self) -> str:
        """The provisioning listener as booting machines reach it; "" when there is none."""
        own = self.settings.provisioning
        return own.url.rstrip("/") or (f"http://{own.listen}" if own.listen else "")

    @property
    def _takes_events(self) -> bool:
        return bool(self.settings.monitoring.event_url)

    def _identity(self) -> Identity:
        offered = [entry for entry in _CATALOG if self.offers(entry.type)]
        return Identity(
            self.db, self.clock, identity_options(self.settings), offered, self._held, self.vault
        )

    @property
    def own_identity(self) -> Identity | None:
        """Our own identity service, where this cloud has one."""
        return self.identity if self.offers("identity") and not self.outside else None

    def _own_project(self) -> str:
        """The project of what the cloud has itself on its networks."""
        own = self.own_identity
        return own.service_project_id if own else OWN_PROJECT

    def _held(self, conn: sa.Connection, project_id: str) -> dict[str, int]:
        """What a project has outside of the identity service."""
        return {
            "servers": self.compute.held_by(conn, project_id),
            "machines": self.baremetal.held_by(conn, project_id),
        }

    def _console_keeper(self, lines: ConsoleSessions) -> ConsoleKeeper:
        folder = _path(self.settings.console.folder) or self.settings.state_dir / "consoles"
        return ConsoleKeeper(self.db, self.clock, self.baremetal, lines, folder)

    def _told(self) -> dict[str, Any]:
        """What this process tells the others of itself."""
        return {
            "drivers": list(self.registry.hardware_types()),
            keys.INFO: keys.marks(self.settings.keys_dir),
            CONSOLE_ADDRESS: peer_address(self.settings),
        }

    def _registry(self, state: Path) -> Registry:
        settings = self.settings
        world, folder = FakeWorld(recall=self._last_power), _private(state / "run")
        return build_registry(
            DriverContext(self.clock, world=world, run_dir=folder, egress=self.egress),
            enabled_hardware_types=settings.baremetal.hardware_types or None,
            enabled_interfaces=settings.baremetal.interfaces or None,
            default_interfaces=settings.baremetal.default_interfaces,
        )

    async def _last_power(self, node_uuid: str) -> str | None:
        """The power that a node was last seen with."""
        node = await self.db.read(lambda conn: self.baremetal.find_node(conn, node_uuid))
        return node.power_state if node else None

    def _wires(self) -> dict[str, ProvisioningWire]:
        own = self.settings.provisioning
        if not (own.dhcp and own.interface and own.listen):
            return {}
        address, _ = parse_listen(own.listen)
        return {own.physical_network: ProvisioningWire(own.interface, address, self.boot_url)}

    def _boot_files(self) -> dict[str, Path]:
        """The agent, and the loaders for machines that fetch theirs by HTTP."""
        own = self.settings.ramdisk
        found = {"agent.kernel": own.kernel, "agent.initramfs": own.initramfs}
        files = {name: Path(path) for name, path in found.items() if path}
        if self._wires():
            loaders = self.networks.settings.loaders.values()
            files.update({name: find_loader(name) for name in loaders})
        return files

    def _deps(self) -> Deps:
        settings, base = self.settings, self.boot_url
        has_agent = bool(settings.ramdisk.kernel and settings.ramdisk.initramfs)
        files = ("agent.kernel", "agent.initramfs") if has_agent else ("", "")
        return Deps(
            self.baremetal.ctx,
            images=OwnImages(self.images, self.gate.still),
            sources=ImageSources(
                folders=[Path(folder) for folder in settings.baremetal.file_images],
                base_url=base,
                vault=self.vault,
                clock=self.clock,
                probe=True,
                most_bytes=settings.baremetal.max_image_bytes,
                egress=self.egress,
            ),
            networks=self.provisioning,
            agents=self.agents,
            urls=BootUrls(
                base,
                *(f"{base}/files/{name}" if name else "" for name in files),
                params=settings.ramdisk.params,
            ),
            timing=Timing(**msgspec.structs.asdict(settings.deadlines)),
            clean_whole_disks=settings.baremetal.clean_whole_disks,
            automated_clean=settings.baremetal.automated_clean,
            fast_track=settings.baremetal.fast_track,
            media=MediaStore(
                settings.state_dir / "media",
                _path(settings.ramdisk.kernel),
                _path(settings.ramdisk.initramfs),
                egress=self.egress,
                own_url=base,
            ),
            agent_logs=AgentLogOptions(
                settings.ramdisk.logs,
                Path(settings.ramdisk.logs_folder or settings.state_dir / "agent-logs"),
                settings.ramdisk.logs_kept,
            ),
            install_boot_loaders=settings.baremetal.install_boot_loaders,
            inspection=inspection_options(msgspec.to_builtins(settings.inspection)),
        )

    # -- listeners ---------------------------------------------------------------------------

    def api(self) -> WebApp:
        """All services that are offered, on one port under path prefixes."""
        who = self.tokens.authenticator
        services = {
            "identity": None if self.outside else identity_api(self.identity),
            "image": image_api(self.images, who),
            "network": network_api(self.networks, who),
            "baremetal": self._baremetal_service(),
            "compute": compute_api(self.compute, who),
        }
        offered = [service for name, service in services.items() if service and self.offers(name)]
        # Whoever may see the machines of a cloud that has nothing else may see what happens to them.
        gate = self.tokens if self.offers("identity") or self.outside else self.gate
        timeline = self.timeline.service(gate.authenticator)
        offered.append(dataclasses.replace(timeline, still=gate.still))
        offered += [machines_api(self.baremetal, s) for s in offered if s.name == "baremetal"]
        offered = [
            dataclasses.replace(service, challenge=service.challenge or gate.challenge)
            for service in offered
        ]
        self.policies.lay_over(offered)
        channels = [Channel(CONSOLE_PATH, self.webdoors.enter)]
        observe, patience = self._times.observe, with_bodies(self.settings)
        services, audit = [*offered, self._house()], self.audit.note
        return WebApp(services, observe, channels, patience, audit, self._proxies)

    def _has_websockets(self) -> bool:
        """Whether consoles are served here: where their sessions are, beside the API. Others pass on."""
        return {"api", "conductor", "console"} <= set(self.settings.roles)

    def offers(self, name: str) -> bool:
        """Whether this cloud offers a service."""
        return name in self.settings.rooms

    def _baremetal_service(self) -> Service:
        """Also under the root, where clients look that know only an address and a port."""
        service = baremetal_api(self.baremetal, self.gate.authenticator, self._public_ramdisk())
        return dataclasses.replace(service, aliases=("",), challenge=self.gate.challenge)

    def _public_ramdisk(self) -> list[Operation]:
        return self.ramdisk.agent_operations() if self.settings.baremetal.public_ramdisk_api else []

    def boot(self) -> WebApp:
        """What a booting machine may reach, and nothing else."""
        api = baremetal_api(self.baremetal, self.gate.authenticator)
        roots = Roots(self.baremetal)
        operations = [
            Operation("GET", "/", roots.root, rule=None),
            Operation("GET", "/v1", roots.v1, rule=None),
            *self.ramdisk.operations(),
            *MediaApi(self.deps).operations(),
            *self.deps.sources.operations(),
            *provisioning_operations(self.images),
            *(EventApi(self.baremetal.ctx).operations() if self._takes_events else ()),
        ]
        alive = Operation("GET", "/healthz", self._alive, rule=None)
        service = Service(
            name="provisioning",
            prefix="",
            operations=[
                alive,
                *(retry_while_unavailable(operation, self.clock) for operation in operations),
            ],
            envelope=api.envelope,
            policy=Policy({}),
            versions=api.versions,
            status=api.status,
        )
        observe, patience = self._times.observe, with_bodies(self.settings)
        return WebApp([service], observe, patience=patience, proxies=self._proxies)

    def _house(self) -> Service:
        return Service(
            name="house",
            prefix="",
            operations=[
                Operation("GET", "/healthz", self._healthy, rule=None),
                Operation("GET", "/metrics", self.metrics.show, rule=None),
            ],
            envelope=plain_envelope,
            policy=Policy({}),
        )

    async def _healthy(self, call: Call) -> Reply:
        """200 when the database answers, there is room for changes, and this process is not about to go."""
        await space.require(self.db, self.settings.state_dir)
        return await self._alive(call)

    async def _alive(self, _call: Call) -> Reply:
        """200 when this process is not about to go: booting machines wait for a database that is away."""
        if self.leaving:
            raise Unavailable("This process is about to stop.", retry_after=1)
        return Reply({"status": "ok", "host": self.settings.hostname})

    @functools.cached_property
    def metrics(self) -> Metrics:
        return Metrics(
            self._times,
            lambda: self.power_sync.text() + self.audit.text(),
            self.settings.monitoring.metrics_from,
        )

    # -- life --------------------------------------------------------------------------------

    async def open(self) -> None:
        """Migrate, bootstrap, start loops and the dispatcher."""
        await reach(self.db)
        await tell_new(self.db, self.settings.state_dir)
        # Other processes of a cluster may be of the release before.
        await migrate(self.db, "all" if self.db.is_sqlite else "expand")
        for revision, phase in await left(self.db):
            _log.warning(
                "run `ingot db migrate` at the end of the upgrade", revision=revision, phase=phase
            )
        await self.db.read(self.baremetal.prove_key)
        self.vault.keep()  # a new key, made where there was none; not before the database bore it
        marks = keys.marks(self.settings.keys_dir)
        keys.compare(marks, self.settings.hostname, await self.db.read(list_conductors))
        await self.hub.open()
        await self.audit.open()
        await starts.tell(self.db, self.settings.hostname)
        self._stack.push_async_callback(self.hub.close)
        self._stack.push_async_callback(self.nova.close)
        await bootstrap(self.settings, self.db, self.networks, self.own_identity)
        await self.images.start()
        self._stack.push_async_callback(self.images.close)
        if self.policies.any:
            reread = Loop(
                "policy files", access.REREAD_SECONDS, self.policies.reread, clock=self.clock
            )
            await reread.start()
            self._stack.push_async_callback(reread.stop)
        await self._start_consoles()
        if "conductor" in self.settings.roles:
            await self._start_loops()
        self._dispatches = self._dispatcher()
        await self._dispatches.start()

    def _dispatcher(self) -> LocalDispatcher | ClusterDispatcher:
        works = "conductor" in self.settings.roles
        if self.db.is_sqlite:
            return LocalDispatcher(self.engine)
        return ClusterDispatcher(self.engine, work=works)

    async def _start_loops(self) -> None:
        sync = self.power_sync
        follow_ups = FollowUps(self.baremetal.ctx)
        waiting = Loop("verbs that wait", 30, follow_ups.run, clock=self.clock)
        self._stack.push_async_callback(sync.stop)
        if self._takes_events:
            ears = asyncio.create_task(self._hear_controllers(), name="controllers' events")
            self._stack.callback(ears.cancel)
        loops = [waiting, retention.loop(self.db, self.clock, self.settings, self.identity)]
        if self.settings.baremetal.power_sync_seconds > 0:
            loops.append(Loop("power sync", LOOK_SECONDS, sync.look, clock=self.clock))
        orphans = Orphans(self.deps)
        loops.append(Loop("orphans", 60, orphans.run, clock=self.clock))
        if self.offers("image"):
            loops.append(Loop("uploads", BEAT, self.images.look_after, clock=self.clock))
        if self.offers("compute"):
            loops += compute_loops(self.compute)
        for loop in loops:
            await loop.start()
            self._stack.push_async_callback(loop.stop)
        told = await events.bind(self.db, self.clock)
        told.publishers.append(lambda event: waiting.kick() if follow_ups.concerns(event) else None)
        if not self._wires():
            return
        hostd = Dnsmasq(self.settings.state_dir / "dnsmasq", self.clock, self._dhcp_said)
        self._stack.push_async_callback(hostd.close)
        dhcp = DhcpLoop(self.networks, hostd, self.clock, self.settings.hostname)
        await dhcp.start()
        self._stack.push_async_callback(dhcp.stop)

    async def _start_consoles(self) -> None:
        """What holds machines' consoles, and what lets people in; guests of others' are passed on."""
        if {"conductor", "console"} <= set(self.settings.roles):
            self._line_keepers = [
                self.doors,
                *([self.consoles] if self.offers("compute") else []),
            ]
        for keeper in (*self._line_keepers, self.webdoors):
            await keeper.start()
            self._stack.push_async_callback(keeper.stop)
        told = await events.bind(self.db, self.clock)
        for door in (self.doors, self.webdoors):
            told.publishers.append(
                lambda event, door=door: door.kick() if event.kind == "console" else None
            )

    async def _hand_consoles_over(self) -> None:
        """Let other controllers have them, while those who came in here by websocket are still served."""
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                await asyncio.gather(*(keeper.stop() for keeper in self._line_keepers))
                await self.engine.membership.lay_down("console")
        except (DatabaseUnavailable, TimeoutError) as error:
            _log.warning(
                "consoles are not handed over; others will see that this one is gone",
                why=str(error),
            )
        self.webdoors.kick()

    async def _hear_controllers(self) -> None:
        """What controllers sent to any process of the cluster, to who cares for their machines."""
        async with self.hub.subscribe(wanted=lambda event: event.kind == KIND) as heard:
            async for event in heard:
                self.power_sync.hear(event)

    def _dhcp_said(self, mac: str | None, what: str, text: str) -> None:
        """DHCP's own words, in the log and in the timeline of the machine's operation."""
        _log.info("dhcp", mac=mac, what=what, text=text)
        if mac is not None:
            self.ramdisk.dhcp_said(mac, what, text)

    async def drain(self) -> None:
        """End well what is under way, and hand the rest to others, while clients are still answered."""
        self.leaving = True
        await starts.tell_end(self.db, self.settings.hostname)
        dispatches, self._dispatches = self._dispatches, None
        own = self.settings.cluster
        # Alone there is nobody to hand it to; the next start goes on with it.
        grace = min(5.0, own.drain_seconds) if self.db.is_sqlite else own.drain_seconds
        leave = asyncio.sleep(own.leave_seconds)
        others = [] if self.db.is_sqlite else [self._hand_consoles_over()]
        await asyncio.gather(leave, *others, *([dispatches.stop(grace)] if dispatches else []))

    async def close(self) -> None:
        if self._dispatches is not None:
            await self._dispatches.stop(0)
        await self._stack.aclose()
        await self.audit.close()
        await self.registry.aclose()
        await self.agents.aclose()
        await self.identity.close()
        if self.outside is not None:
            await self.outside.close()
        await self.db.close()


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
