"""A whole bare-metal service over imaginary machines, in virtual time and cheap enough for thousands of runs.

Nothing of the room is replaced: verbs go through its front door, agents call through the provisioning
listener's own handlers, operations run in the real engine on a real database. Only the two wires are imaginary:
the controllers (`fake-hardware`) and the agents (`agents.FakeAgents`). A trigger of the database writes down every
change of a provision state, so that no step outside the state table can go unseen.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import falcon.testing
import sqlalchemy as sa

from ingot.drivers.faults import DriverFault, Unreachable
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.fake.world import FakeMachine, FakeWorld
from ingot.drivers.machine.hardware import build_registry
from ingot.drivers.machine.types import PowerState
from ingot.kit.api.operations import Service
from ingot.kit.api.versions import Microversions, Version
from ingot.kit.auth.policy import Policy
from ingot.kit.db.database import Database, metadata
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Missing
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.http.server import WebApp, plain_envelope
from ingot.kit.tasks.clock import VirtualClock
from ingot.services.baremetal import Baremetal, Node, PatchOperation, VerbArguments, store
from ingot.services.baremetal.boot.imagerights import CLOUD
from ingot.services.baremetal.boot.imagesources import ImageSources
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.loops import FollowUps
from ingot.services.baremetal.nodes import followup_store, states
from ingot.services.baremetal.ramdisk.api import RamdiskApi, RamdiskFiles
from ingot.services.baremetal.tables import node_history, nodes
from ingot.services.baremetal.workflows import Deps, ImageFacts, Orphans, Timing, workflows
from ingot.workflow import Engine, LocalDispatcher, Op, live_operation, operations
from ingot.workflow.testing import Killed
from tests.life.agents import FakeAgents, SimAgent, inventory

VERSIONS = Microversions(
    "baremetal", Version(1, 1), Version(1, 115), Version(1, 1), "X-OpenStack-Ironic-API-Version"
)
#: Deadlines in virtual seconds: short, so that giving up is part of every run.
TIMING = Timing(
    agent=900, inspection=900, write=1800, clean_step=1800, power=120, agent_silence=60, poll=2
)
_TRIGGER = """
CREATE TABLE walked (uuid TEXT, was TEXT, now TEXT);
CREATE TRIGGER walk AFTER UPDATE OF provision_state ON nodes WHEN OLD.provision_state <> NEW.provision_state
BEGIN INSERT INTO walked VALUES (NEW.uuid, OLD.provision_state, NEW.provision_state); END;
"""
LEGAL = {(row.state, row.next) for row in states.ROWS}
#: States whose operation is named in the table, and those in which others may run.
PASSING = frozenset({"power", "boot device", "restore"})


class Controllers(FakeWorld):
    """Imaginary machines whose controllers may be out of order."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.trouble: dict[str, type[DriverFault]] = {}

    def machine(self, key: str) -> FakeMachine:
        fault = self.trouble.get(key)
        if fault is not None:
            raise fault("simulated trouble of the controller")
        return super().machine(key)

    def hardware(self, key: str) -> FakeMachine:
        """The machine itself, whatever its controller does."""
        return super().machine(key)


class Counted(Database):
    """A database that knows whether anybody waits for it: while so, virtual time must stand still."""

    busy = 0

    async def read(self, query: Any) -> Any:
        return await self._counted(super().read(query))

    async def scan(self, query: Any) -> Any:
        return await self._counted(super().scan(query))

    async def write(self, change: Any, *, serializable: bool = True) -> Any:
        return await self._counted(super().write(change, serializable=serializable))

    async def _counted(self, call: Awaitable[Any]) -> Any:
        self.busy += 1
        try:
            return await call
        finally:
            self.busy -= 1


class NoImages:
    def revoke(self, *_: Any) -> None: ...

    async def for_deploy(self, ident: str, ttl: float, *_: Any) -> ImageFacts:
        raise Missing(f"No image {ident}.")


class NoNetworks:
    def plug_provisioning(self, *_: Any) -> None: ...
    def unplug_provisioning(self, *_: Any) -> None: ...
    def plug_vif(self, *_: Any) -> None: ...
    def unplug_vif(self, *_: Any) -> None: ...

    def static_data(self, *_: Any) -> dict[str, Any]:
        return {}


@dataclass
class Life:
    """The world of one run."""

    db: Counted
    clock: VirtualClock
    world: Controllers
    agents: FakeAgents
    deps: Deps
    baremetal: Baremetal
    client: Any
    uuids: list[str] = field(default_factory=list[str])
    mute: set[str] = field(default_factory=set[str])  # machines whose agents never call
    crash_in: int = 0  # probe points until the process dies; 0: it does not
    crashes: int = 0
    _died: bool = False
    _booted: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        self.follow_ups = FollowUps(self.baremetal.ctx)
        self.orphans = Orphans(self.deps)

    # -- the process -------------------------------------------------------------------------

    async def start(self) -> None:
        self.engine = Engine(
            self.db, self.clock, workflows(self.deps), "host-a", beat=5000, dead=15000
        )
        self.engine.probe = self._probe
        self.dispatcher = LocalDispatcher(self.engine, poll=4000, scan=4000)
        await self.dispatcher.start()

    async def crash(self) -> None:
        """kill -9 and a new start under the same name."""
        self._died, self.crash_in = False, 0
        self.crashes += 1
        await self.dispatcher.kill()
        await self.start()

    async def _probe(self, point: str, op: Op, label: str, sort: str) -> None:
        if self._died:
            raise Killed
        if self.crash_in:
            self.crash_in -= 1
            if not self.crash_in:
                self._died = True
                raise Killed

    # -- requests ----------------------------------------------------------------------------

    async def node(self, uuid: str) -> Node:
        return await self.db.read(lambda conn: store.get_node(conn, uuid))

    async def verb(self, uuid: str, verb: str, **extras: Any) -> tuple[str, str]:
        """The state before and after, both of the verb's own transaction."""

        def change(conn: sa.Connection) -> tuple[str, str]:
            was = store.get_node(conn, uuid).provision_state
            self.baremetal.provision(conn, uuid, verb, VerbArguments(**extras))
            return was, store.get_node(conn, uuid).provision_state

        return await self.db.write(change)

    async def power(self, uuid: str, target: str) -> None:
        await self.db.write(lambda conn: self.baremetal.power(conn, uuid, target))

    async def patch(self, uuid: str, name: str, value: Any) -> None:
        op = "remove" if value is None else "add"
        change = PatchOperation(op=op, path=f"/{name}", value=value)
        await self.db.write(lambda conn: self.baremetal.patch(conn, uuid, [change]))

    async def prepare(self, uuid: str) -> None:
        info = {"image_source": "http://images/i", "image_checksum": "0" * 64}
        await self.db.write(
            lambda conn: self.baremetal.prepare_instance(
                conn, uuid, instance_info=info, right=CLOUD
            )
        )

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        reply = await self.client.simulate_request(
            method,
            path,
            params=query,
            body=json.dumps(body) if body is not None else None,
            headers={"X-OpenStack-Ironic-API-Version": "1.68"},
        )
        assert reply.status_code < 500, reply.text
        return reply

    # -- machines ----------------------------------------------------------------------------

    def hardware(self, uuid: str) -> FakeMachine:
        return self.world.hardware(uuid)

    async def _machines(self) -> None:
        """Machines that were switched on boot what their node is to boot; agents call when it is time."""
        for uuid in self.uuids:
            body = self.hardware(uuid)
            if body.power is not PowerState.ON or self._booted.get(uuid) == body.power_cycles:
                continue
            self._booted[uuid] = body.power_cycles
            node = await self.node(uuid)
            if (node.boot_intent or {}).get("boot") == "agent":
                self.agents.boot(body, after=20)
        for agent in self.agents.lives():
            due = not agent.called and self.clock.monotonic() >= agent.calls_at
            if due and agent.machine.key not in self.mute:
                await self.call(agent)

    async def call(self, agent: SimAgent) -> None:
        """Lookup, then a heartbeat or the inspection data, as the stock agent does."""
        uuid = agent.machine.key
        node = await self.node(uuid)
        if (node.boot_intent or {}).get("inspect"):
            data = {"inventory": inventory(agent.machine)}
            await self.ask("POST", "/v1/continue_inspection", data)
            agent.called = True
            return
        found = await self.ask("GET", "/v1/lookup", addresses=agent.machine.mac)
        if found.status_code != 200:
            agent.calls_at = self.clock.monotonic() + 10
            return
        token = found.json["config"]["agent_token"]
        if token != "******":
            agent.token = token
        beat = {
            "callback_url": agent.url,
            "agent_token": agent.token,
            "agent_version": "13.0.0",
            "agent_verify_ca": None,
        }
        await self.ask("POST", f"/v1/heartbeat/{uuid}", beat)
        agent.called = True

    # -- time --------------------------------------------------------------------------------

    async def quiet(self) -> None:
        """Until nothing happens any more without time passing."""
        while True:
            await self._settle()
            if self._died:
                await self.crash()
                continue
            before = len(self.agents.agents)
            await self._machines()
            begun = await self.follow_ups.run()
            if not begun and len(self.agents.agents) == before:
                return

    async def _settle(self) -> None:
        """Until all that can go on without time passing has gone on, however slow this machine is."""
        calm = 0
        while calm < 3:
            for _ in range(8):
                await asyncio.sleep(0)
            if self.db.busy or self.engine.busy:
                await asyncio.sleep(0.0005)
                calm = 0
            else:
                calm += 1

    async def live(self, seconds: float) -> None:
        """Let time pass, from sleeper to sleeper."""
        end = self.clock.monotonic() + seconds
        while True:
            await self.quiet()
            left = end - self.clock.monotonic()
            if left <= 0:
                return
            pause = min(left, self.clock.next_wake() or left, self._next_call(left))
            self.clock.advance(max(pause, 0.001))

    def _next_call(self, most: float) -> float:
        now = self.clock.monotonic()
        due = [a.calls_at - now for a in self.agents.lives() if not a.called]
        return max(0.001, min([most, *(seconds for seconds in due if seconds > 0)]))

    # -- what must hold ----------------------------------------------------------------------

    async def check(self) -> None:
        problems = await self.db.read(self._problems)
        assert not problems, "\n".join(problems)

    def _problems(self, conn: sa.Connection) -> list[str]:
        walked = conn.exec_driver_sql("SELECT uuid, was, now FROM walked").all()
        found = [
            f"{was} -> {now} is not in the state table"
            for _, was, now in walked
            if (was, now) not in LEGAL
        ]
        for row in conn.execute(sa.select(nodes)):
            found += [f"node {row.uuid} in {row.provision_state}: {p}" for p in wrong(conn, row)]
        return found

    async def changes(self) -> int:
        """How many changes of a provision state there were."""
        count = "SELECT count(*) FROM walked"
        return await self.db.read(lambda conn: conn.exec_driver_sql(count).scalar_one())

    async def story(self, uuid: str) -> str:
        def query(conn: sa.Connection) -> str:
            told = operations(conn, f"node:{uuid}", limit=3)
            error = self.baremetal.last_error(conn, uuid)
            return "\n".join([str(error), *(str(row) for row in told)])

        return await self.db.read(query)


def wrong(conn: sa.Connection, row: Any) -> list[str]:
    """What must not be true of a node between two transactions."""
    state = states.STATES.get(row.provision_state)
    if state is None:
        return ["an unknown state"]
    live = live_operation(conn, f"node:{row.uuid}")
    next_verb = followup_store.verb_of(conn, row.uuid)
    found: list[str] = []
    if state.operation:
        if live is None and next_verb is None:
            found.append("nobody works on it")
        if live is not None and live.kind != state.operation and next_verb is None:
            undeploying = state.operation == "clean" and live.kind == "undeploy"
            if not undeploying:
                found.append(f"a {live.kind} works in this state")
    elif live is not None and live.kind not in PASSING:
        found.append(f"a {live.kind} works on a node at rest")
    if live is None and next_verb is None:
        if row.reservation is not None:
            found.append(f"locked by {row.reservation} for ever")
        if row.target_power_state is not None:
            found.append("a power change is announced that nobody makes")
        if not states.verbs_of(state.name):
            found.append("no verb leads on")
        for column in ("clean_step", "deploy_step", "service_step"):
            if getattr(row, column) not in (None, "{}"):
                found.append(f"{column} is still shown")
        if state.kind == "failed" and not row.last_error and not _told(conn, row.uuid):
            found.append("failed without a cause")
    return found


def _told(conn: sa.Connection, uuid: str) -> bool:
    """Whether the history tells of an error. A power change after it clears last_error, as upstream does."""
    told = sa.select(sa.func.count()).where(
        node_history.c.node_uuid == uuid, node_history.c.severity == "ERROR"
    )
    return conn.execute(told).scalar_one() > 0


@functools.cache
def empty_database() -> Path:
    """An empty database, made once a process."""
    path = Path(tempfile.mkdtemp(prefix="life-template-")) / "life.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    with contextlib.closing(sqlite3.connect(path)) as plain:
        plain.executescript("PRAGMA journal_mode=WAL;" + _TRIGGER)
    return path


def _folder() -> tempfile.TemporaryDirectory[str]:
    """In memory where the machine has such a place."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="life-", dir=memory if memory.is_dir() else None)


@contextlib.asynccontextmanager
async def life(kinds: tuple[str, ...] = ("fake", "direct")) -> AsyncIterator[Life]:
    """A world with one node of each kind of deploy interface, enrolled."""
    with _folder() as name:
        folder = Path(name)
        shutil.copy(empty_database(), folder / "life.db")
        db, clock, world = Counted.at(folder / "life.db"), VirtualClock(), Controllers()
        vault = Vault.at(folder / "key")
        registry = build_registry(DriverContext(clock, run_dir=folder, world=world))
        agents = FakeAgents(clock)
        baremetal = Baremetal(db, clock, vault, registry, None, "host-a")
        deps = Deps(
            ctx=baremetal.ctx,
            sources=ImageSources(egress=Egress.of(LOOPBACK)),
            images=NoImages(),
            networks=NoNetworks(),
            agents=agents,
            urls=BootUrls("http://b", "http://b/k", "http://b/r"),
            timing=TIMING,
        )
        ramdisk = RamdiskApi(deps, RamdiskFiles({}), egress=Egress.of(LOOPBACK))
        service = Service(
            "ramdisk", "", ramdisk.operations(), plain_envelope, Policy({}), versions=VERSIONS
        )
        app = WebApp([service])
        async with falcon.testing.ASGIConductor(app.asgi) as client:
            made = Life(db, clock, world, agents, deps, baremetal, client)
            for kind in kinds:
                made.uuids.append(await _enrol(made, kind))
            await made.start()
            try:
                yield made
            finally:
                await made.dispatcher.kill()
                await db.close()


async def _enrol(made: Life, kind: str) -> str:
    agent = kind == "direct"
    values: dict[str, Any] = {
        "driver": "fake-hardware",
        "deploy_interface": kind,
        "inspect_interface": "agent" if agent else "fake",
        "rescue_interface": "agent" if agent else "fake",
        "network_interface": "noop",
    }
    if agent:
        values["driver_info"] = {"deploy_kernel": "http://k", "deploy_ramdisk": "http://r"}

    def make(conn: sa.Connection) -> str:
        node = made.baremetal.create_node(conn, values)
        address = made.hardware(node.uuid).mac
        made.baremetal.create_port(conn, {"address": address, "node_uuid": node.uuid})
        return node.uuid

    return await made.db.write(make)


__all__ = ["Life", "Unreachable", "empty_database", "life"]
