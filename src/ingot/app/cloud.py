"""The whole cloud of one process: what `build` made, and its life from the first start of a loop to the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingot.agents.dhcp.dnsmasq import Dnsmasq
from ingot.app import access, keys, retention, starts
from ingot.app.bootstrap import bootstrap
from ingot.app.database import reach, tell_new
from ingot.app.listeners import Listeners
from ingot.app.machines import Base, Machines
from ingot.app.options import has_dhcp, needed, offers
from ingot.kit import log
from ingot.kit.audit.recorder import Audit
from ingot.kit.db.database import Database, DatabaseUnavailable
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import Clock
from ingot.kit.tasks.events import EventHub
from ingot.migrations import left, migrate
from ingot.services.baremetal import TcpConsoles, WebsocketConsoles
from ingot.services.baremetal.loops import FollowUps
from ingot.services.baremetal.monitoring.controller_events import KIND
from ingot.services.baremetal.monitoring.power_sync import LOOK_SECONDS
from ingot.services.compute import Compute, ConsoleKeeper
from ingot.services.identity import Identity
from ingot.services.identity.outside import OutsideIdentity
from ingot.services.image import Images
from ingot.services.module import BuiltService
from ingot.services.network import Networks
from ingot.services.network.loops import DhcpLoop
from ingot.services.server_events import ServerEvents
from ingot.settings import Settings
from ingot.workflow import ClusterDispatcher, Engine, LocalDispatcher, Loop, list_conductors

_log = log.get("app")
#: Controllers of machines may be slow to end their sessions.
_HAND_OVER_SECONDS = 15.0


@dataclass
class Cloud:
    """Constructed by `build`; `open` starts what works in the background, `drain` and `close` end it.

    own_identity: our identity service, where callers are known by it. outside: the Keystone that knows them instead.
    nova: tells an outside Nova of its servers.
    """

    base: Base
    services: Mapping[str, BuiltService]
    identity: Identity
    own_identity: Identity | None
    outside: OutsideIdentity | None
    images: Images
    networks: Networks
    machines: Machines
    compute: Compute
    console_keeper: ConsoleKeeper
    webconsoles: WebsocketConsoles
    engine: Engine
    hub: EventHub
    audit: Audit
    policies: access.PolicyFiles
    nova: ServerEvents
    listeners: Listeners
    _dispatches: LocalDispatcher | ClusterDispatcher | None = field(default=None, init=False)
    _console_keepers: list[TcpConsoles | ConsoleKeeper] = field(
        default_factory=list[TcpConsoles | ConsoleKeeper], init=False
    )
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack, init=False)

    @property
    def db(self) -> Database:
        return self.base.db

    @property
    def clock(self) -> Clock:
        return self.base.clock

    @property
    def _settings(self) -> Settings:
        return self.base.settings

    async def open(self) -> None:
        """Migrate, bootstrap, start loops and the dispatcher."""
        await reach(self.db)
        await tell_new(self.db, self._settings.state_dir)
        # Other processes of a cluster may be of the release before.
        await migrate(self.db, "all" if self.db.is_sqlite else "expand")
        for revision, phase in await left(self.db):
            _log.warning(
                "run `ingot db migrate` at the end of the upgrade", revision=revision, phase=phase
            )
        await self.db.read(self.machines.baremetal.prove_key)
        self.base.vault.keep()  # a new key, made where there was none; not before the database bore it
        marks = keys.marks(self._settings.keys_dir)
        keys.compare(marks, self._settings.hostname, await self.db.read(list_conductors))
        await self.hub.open()
        await self.audit.open()
        await starts.tell(self.db, self._settings.hostname)
        self._stack.push_async_callback(self.hub.close)
        self._stack.push_async_callback(self.nova.close)
        await bootstrap(self._settings, self.db, self.networks, self.own_identity)
        await self.images.start()
        self._stack.push_async_callback(self.images.close)
        if self.policies.any:
            reread = Loop(
                "policy files", access.REREAD_SECONDS, self.policies.reread, clock=self.clock
            )
            await reread.start()
            self._stack.push_async_callback(reread.stop)
        await self._start_consoles()
        if "conductor" in self._settings.roles:
            await self._start_loops()
        self._dispatches = self._dispatcher()
        await self._dispatches.start()

    def _dispatcher(self) -> LocalDispatcher | ClusterDispatcher:
        works = "conductor" in self._settings.roles
        if self.db.is_sqlite:
            return LocalDispatcher(self.engine)
        return ClusterDispatcher(self.engine, work=works)

    async def _start_loops(self) -> None:
        sync = self.machines.power_sync
        follow_ups = FollowUps(self.machines.baremetal.ctx)
        waiting = Loop("verbs that wait", 30, follow_ups.run, clock=self.clock)
        self._stack.push_async_callback(sync.stop)
        if self._settings.monitoring.event_url:
            ears = asyncio.create_task(self._hear_controllers(), name="controllers' events")
            self._stack.callback(ears.cancel)
        loops = [waiting, retention.loop(self.db, self.clock, self._settings, self.identity)]
        if self._settings.baremetal.power_sync_seconds > 0:
            loops.append(Loop("power sync", LOOK_SECONDS, sync.look, clock=self.clock))
        for name in needed(self._settings):
            loops += self.services[name].loops()
        for loop in loops:
            await loop.start()
            self._stack.push_async_callback(loop.stop)
        told = await events.bind(self.db, self.clock)
        told.publishers.append(lambda event: waiting.kick() if follow_ups.concerns(event) else None)
        if not has_dhcp(self._settings):
            return
        hostd = Dnsmasq(self._settings.state_dir / "dnsmasq", self.clock, self._dhcp_said)
        self._stack.push_async_callback(hostd.close)
        dhcp = DhcpLoop(self.networks, hostd, self.clock, self._settings.hostname)
        await dhcp.start()
        self._stack.push_async_callback(dhcp.stop)

    async def _start_consoles(self) -> None:
        """What holds machines' consoles, and what lets people in; guests of others' are passed on."""
        if {"conductor", "console"} <= set(self._settings.roles):
            self._console_keepers = [
                self.machines.consoles,
                *([self.console_keeper] if offers(self._settings, "compute") else []),
            ]
        for keeper in (*self._console_keepers, self.webconsoles):
            await keeper.start()
            self._stack.push_async_callback(keeper.stop)
        told = await events.bind(self.db, self.clock)
        for door in (self.machines.consoles, self.webconsoles):
            told.publishers.append(
                lambda event, door=door: door.kick() if event.kind == "console" else None
            )

    async def _hand_consoles_over(self) -> None:
        """Let other controllers have them, while those who came in here by websocket are still served."""
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                await asyncio.gather(*(keeper.stop() for keeper in self._console_keepers))
                await self.engine.membership.lay_down("console")
        except (DatabaseUnavailable, TimeoutError) as error:
            _log.warning(
                "consoles are not handed over; others will see that this one is gone",
                why=str(error),
            )
        self.webconsoles.kick()

    async def _hear_controllers(self) -> None:
        """What controllers sent to any process of the cluster, to who cares for their machines."""
        async with self.hub.subscribe(wanted=lambda event: event.kind == KIND) as heard:
            async for event in heard:
                self.machines.power_sync.hear(event)

    def _dhcp_said(self, mac: str | None, what: str, text: str) -> None:
        """DHCP's own words, in the log and in the timeline of the machine's operation."""
        _log.info("dhcp", mac=mac, what=what, text=text)
        if mac is not None:
            self.machines.ramdisk.dhcp_said(mac, what, text)

    async def drain(self) -> None:
        """End well what is under way, and hand the rest to others, while clients are still answered."""
        self.listeners.leaving = True
        await starts.tell_end(self.db, self._settings.hostname)
        dispatches, self._dispatches = self._dispatches, None
        own = self._settings.cluster
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
        await self.machines.registry.aclose()
        await self.machines.agents.aclose()
        await self.identity.close()
        if self.outside is not None:
            await self.outside.close()
        await self.db.close()
