"""One process of the cluster, as `ingot serve` is: conductor, API and provisioning listener in one.

Everything that it does passes through its clock, its database and its wires. So it can be killed (nothing more
happens, nothing is saved), frozen (SIGSTOP: everything stands still and goes on later as if nothing had been),
cut off from its database, and its wall clock can be set.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import falcon.testing
import sqlalchemy as sa

from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.registry import Registry
from ingot.kit.api.operations import Service
from ingot.kit.api.versions import Microversions, Version
from ingot.kit.auth.policy import Policy
from ingot.kit.db.database import Database, DatabaseUnavailable
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.http.server import WebApp, plain_envelope
from ingot.kit.tasks import events
from ingot.services.baremetal import Baremetal
from ingot.services.baremetal.boot.imagerights import Right
from ingot.services.baremetal.boot.imagesources import ImageSources
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.loops import FollowUps
from ingot.services.baremetal.ramdisk.api import RamdiskApi, RamdiskFiles
from ingot.services.baremetal.types import ImageFacts, ImageFile
from ingot.services.baremetal.workflows import Deps, Orphans, Timing, workflows
from ingot.workflow import Engine, LocalDispatcher, Loop
from ingot.workflow.testing import Killed
from tests.schedules import rig, virtual

if TYPE_CHECKING:
    from tests.schedules.site import Site

T = TypeVar("T")
VERSIONS = Microversions(
    "baremetal", Version(1, 1), Version(1, 115), Version(1, 1), "X-OpenStack-Ironic-API-Version"
)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: Virtual seconds: short, so that giving up is part of every run.
TIMING = Timing(
    agent=240,
    inspection=240,
    write=600,
    clean_step=600,
    power=90,
    agent_silence=60,
    poll=5,
    boots=2,
)
BEAT, DEAD = 20.0, 60.0


_COMPILED: dict[Any, Any] = {}


class HostClock:
    """A host's clocks: the wall clock may be set, the other one never jumps."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.offset = 0.0

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic() + self.offset)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0))
        await self._host.go()


class HostDatabase(Database):
    """A host's own line to the one database; transactions are atomic, and may fail on either side of COMMIT."""

    def __init__(self, url: str, host: Host) -> None:
        super().__init__(url)
        assert self._sqlite is not None
        # Statements are compiled once for all hosts of all seeds.
        self._sqlite = self._sqlite.execution_options(compiled_cache=_COMPILED)
        self._host = host
        self.away_until = 0.0
        self.breaks: list[str] = []  # "before" or "after": the next commits

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        await self._host.go()
        self._there()
        return self._read(query)

    async def scan(self, query: Callable[[sa.Connection], T]) -> T:
        return await self.read(query)

    async def write(self, change: Callable[[sa.Connection], T], *, serializable: bool = True) -> T:
        # As the real one: a transaction that has begun is ended, whatever becomes of its caller.
        return await asyncio.shield(asyncio.ensure_future(self._change(change)))

    async def _change(self, change: Callable[[sa.Connection], T]) -> T:
        await self._host.go()
        self._there()
        broken = self.breaks.pop(0) if self.breaks else ""

        def whole(conn: sa.Connection) -> T:
            result = change(conn)
            if broken == "before":
                raise lost()
            return result

        result, actions = self._write(whole)
        if broken == "after":
            raise lost()
        for action in actions:
            action()
        await self._host.go()
        return result

    def _there(self) -> None:
        if asyncio.get_running_loop().time() < self.away_until:
            raise lost()


def lost() -> DatabaseUnavailable:
    return DatabaseUnavailable(ConnectionError("simulated"))


class Images:
    """An image service with every image."""

    def revoke(self, *_: Any) -> None: ...

    async def for_deploy(self, ident: str, ttl: float, *_: Any) -> ImageFacts:
        return ImageFacts(ident, f"http://b/i/{ident}", "raw", "sha512", "0" * 128, 1 << 20)

    async def properties(self, ident: str, *_: Any) -> tuple[dict[str, str], Right]:
        return {}, Right()

    async def file(self, ident: str, ttl: float, *_: Any) -> ImageFile:
        return ImageFile(ident, f"http://b/f/{ident}")


class Networks:
    """VIFs are only names."""

    def plug_provisioning(self, *_: Any) -> None: ...
    def unplug_provisioning(self, *_: Any) -> None: ...
    def plug_vif(self, *_: Any) -> None: ...
    def unplug_vif(self, *_: Any) -> None: ...

    def static_data(self, *_: Any) -> dict[str, Any]:
        return {}


class SiteProcesses:
    """As one machine tells of its processes: each knows whether another has been killed."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def name(self) -> str:
        return str(self._host.number)

    def ended(self, name: str) -> bool:
        return all(str(host.number) != name for host in self._host.site.hosts)


class Host:
    """See the module. number: of the process; its name may be that of an earlier one, or of a living one."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name
        self.number = next(site.numbers)
        self.dead = False
        self.frozen = False
        self.clock = HostClock(self)
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in the order of their birth
        self._gate: list[asyncio.Future[None]] = []
        self._context = contextvars.copy_context()
        self._context.run(virtual.born.set, self._born)
        self.db = HostDatabase(site.url, self)
        self._loops: list[Loop] = []

    @property
    def up(self) -> bool:
        return not self.dead and not self.frozen

    def __str__(self) -> str:
        return f"{self.name}{' (frozen)' if self.frozen else ''}{' (dead)' if self.dead else ''}"

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """The process starts. It goes on in tasks of its own; this ends when it has joined the others."""
        self._make()
        await self.task(self._start())

    def _make(self) -> None:
        site = self.site
        context = DriverContext(self.clock, world=rig.HostWorld(self), run_dir=Path(site.folder))
        registry = Registry(context, (rig.hardware_type(self),))
        self.baremetal = Baremetal(self.db, self.clock, site.vault, registry, None, self.name)
        self.deps = Deps(
            ctx=self.baremetal.ctx,
            sources=ImageSources(egress=Egress.of(LOOPBACK)),
            images=Images(),
            networks=Networks(),
            agents=rig.HostAgents(self),
            urls=BootUrls("http://b", "http://b/k", "http://b/r"),
            timing=TIMING,
        )
        ramdisk = RamdiskApi(self.deps, RamdiskFiles({}), egress=Egress.of(LOOPBACK))
        service = Service(
            "ramdisk", "", ramdisk.operations(), plain_envelope, Policy({}), versions=VERSIONS
        )
        self.app = WebApp([service])
        self.client = falcon.testing.ASGIConductor(self.app.asgi)
        self.engine = Engine(
            self.db,
            self.clock,
            workflows(self.deps),
            self.name,
            beat=BEAT,
            dead=DEAD,
            fenced=True,
            processes=SiteProcesses(self),
        )
        self.dispatcher = LocalDispatcher(self.engine, poll=15, scan=45)
        self.follow_ups = FollowUps(self.baremetal.ctx)
        self.orphans = Orphans(self.deps)

    async def _start(self) -> None:
        while True:
            try:
                await self._join()
                return
            except DatabaseUnavailable:
                await self.clock.sleep(5)  # as whoever starts services would

    async def _join(self) -> None:
        await self.dispatcher.start()
        waiting = Loop("verbs that wait", 30, self.follow_ups.run, clock=self.clock)
        told = await events.bind(self.db, self.clock)
        told.publishers.append(
            lambda event: waiting.kick() if self.follow_ups.concerns(event) else None
        )
        self._loops = [waiting, Loop("orphans", 60, self.orphans.run, clock=self.clock)]
        for loop in self._loops:
            await loop.start()

    def _born(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Something that this process does."""
        return self._context.run(asyncio.get_running_loop().create_task, work)

    async def kill(self) -> None:
        """kill -9."""
        self.dead = True
        self.thaw()
        while left := [task for task in self._tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left)
        await self.db.close()

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        """Everything that stood still goes on, in any order."""
        self.frozen = False
        waiting, self._gate = self._gate, []
        self.site.dice.shuffle(waiting)
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def go(self) -> None:
        """Everything that this process does to the world passes here."""
        while self.frozen and not self.dead:
            stand: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._gate.append(stand)
            await stand
        if self.dead:
            raise Killed
