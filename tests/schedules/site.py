"""Nodes, hosts and the rig of one seed: what clients and machines do, and what must always hold."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from ingot.drivers.machine.fake.world import FakeMachine, FakeWorld
from ingot.drivers.machine.types import BootDevice, PowerState
from ingot.kit.db.database import Database, DatabaseUnavailable
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Conflict
from ingot.kit.tasks.clock import SystemClock
from ingot.services.baremetal import Node, PatchOperation, VerbArguments, store
from ingot.services.baremetal.boot.imagerights import CLOUD
from ingot.services.baremetal.nodes import followup_store, states
from ingot.services.baremetal.tables import nodes
from ingot.workflow import live_operation, operations
from ingot.workflow.tables import operations as operations_table
from ingot.workflow.tables import steps as steps_table
from ingot.workflow.testing import Killed
from tests.life.agents import FakeAgents, SimAgent, inventory
from tests.life.world import LEGAL, empty_database, wrong
from tests.schedules.host import Host
from tests.schedules.rig import Rig

T = TypeVar("T")
#: How a boot goes: how often, of a hundred.
_BOOTS = {"well": 66, "late": 12, "twice": 8, "never": 8, "wrong token": 3, "dies": 3}
_DESTROYS = {
    "erase_devices": frozenset({"clean", "undeploy"}),
    "erase_devices_metadata": frozenset({"clean", "undeploy"}),
    "write_image": frozenset({"deploy"}),
}


class LoopClock(SystemClock):
    """The running loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Nobody(Exception):
    """No process answers."""


class Judge(Database):
    """A line to the database that is never broken, for looks between two transactions."""

    def look(self, query: Callable[[sa.Connection], T]) -> T:
        return self._read(query)


class Errors(logging.Handler):
    """Internal errors that the program itself tells."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "internal error" in text or "a task broke" in text:
            why = record.exc_info[1] if record.exc_info else None
            self.told.append(f"{text}: {why!r}")


class Site:
    """See the module."""

    def __init__(self, folder: str, dice: random.Random) -> None:
        self.folder = folder
        self.dice = dice
        self.url = f"sqlite:///{folder}/life.db"
        self.vault = Vault.at(Path(folder) / "key")
        self.db = Judge(self.url)
        self.hosts: list[Host] = []
        self.numbers = itertools.count(1)
        self.uuids: list[str] = []
        self.mute: set[str] = set()
        self.calm = False
        self.errors = Errors()
        self._walked = 0
        self._dying: list[asyncio.Task[Any]] = []
        self.rig = Rig(FakeWorld(1), FakeAgents(LoopClock()), self._booted, self._owner)

    # -- hosts -------------------------------------------------------------------------------

    async def add_host(self, name: str) -> Host:
        host = Host(self, name)
        self.hosts.append(host)
        await host.start()
        return host

    def join(self, name: str) -> None:
        """Another process starts, in its own time."""
        host = Host(self, name)
        self.hosts.append(host)
        self._dying.append(asyncio.get_running_loop().create_task(self._join(host)))

    async def _join(self, host: Host) -> None:
        with contextlib.suppress(Killed, asyncio.CancelledError):
            try:
                await host.start()
            except Conflict:  # its name is a living process's: it ends, as `ingot serve` does
                if host in self.hosts:
                    await self.kill(host)

    def up(self) -> list[Host]:
        return [host for host in self.hosts if host.up and hasattr(host, "baremetal")]

    def any_host(self) -> Host:
        found = self.up()
        if not found:
            raise Nobody
        return self.dice.choice(found)

    async def kill(self, host: Host) -> None:
        self.hosts.remove(host)
        await host.kill()

    # -- clients -----------------------------------------------------------------------------

    async def write(self, host: Host, change: Any) -> Any:
        """A request's transaction on a host; Away or Killed is what a client sees as a 5xx."""
        return await host.task(host.db.write(change))

    async def verb(self, uuid: str, verb: str, **extras: Any) -> tuple[str, str]:
        """The state before and after, both of the verb's own transaction."""
        host = self.any_host()

        def change(conn: sa.Connection) -> tuple[str, str]:
            was = store.get_node(conn, uuid).provision_state
            host.baremetal.provision(conn, uuid, verb, VerbArguments(**extras))
            return was, store.get_node(conn, uuid).provision_state

        return await self.write(host, change)

    async def power(self, uuid: str, target: str) -> None:
        host = self.any_host()
        await self.write(host, lambda conn: host.baremetal.power(conn, uuid, target))

    async def patch(self, uuid: str, name: str, value: Any) -> None:
        host = self.any_host()
        change = PatchOperation(
            op="remove" if value is None else "add", path=f"/{name}", value=value
        )
        await self.write(host, lambda conn: host.baremetal.patch(conn, uuid, [change]))

    async def prepare(self, uuid: str) -> None:
        host = self.any_host()
        info = {"image_source": "an-image"}
        await self.write(
            host,
            lambda conn: host.baremetal.prepare_instance(
                conn, uuid, instance_info=info, right=CLOUD
            ),
        )

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """A request of a machine; None when nobody answers, or with a 5xx."""
        try:
            host = self.any_host()
            reply = await host.task(
                host.client.simulate_request(
                    method,
                    path,
                    params=query,
                    body=json.dumps(body) if body is not None else None,
                    headers={"X-OpenStack-Ironic-API-Version": "1.68"},
                )
            )
        except (Nobody, Killed, asyncio.CancelledError, DatabaseUnavailable):
            return None
        return reply if reply.status_code < 500 else None

    # -- machines ----------------------------------------------------------------------------

    def body(self, uuid: str) -> FakeMachine:
        return self.rig.world.machine(uuid)

    def _booted(self, body: FakeMachine, device: BootDevice) -> None:
        loop = asyncio.get_running_loop()
        # A machine is no part of the host that switched it on.
        self._dying.append(loop.create_task(self._boot(body, device)))

    async def _boot(self, body: FakeMachine, device: BootDevice) -> None:
        cycles = body.power_cycles
        await asyncio.sleep(self.dice.uniform(10, 40))
        how = "well" if self.calm else self._draw(body)
        while device is BootDevice.PXE and body.power_cycles == cycles and _on(body):
            script = await self.ask("GET", f"/boot/{body.mac}")
            if script is None or "echo Ingot: wait" in script.text:
                await asyncio.sleep(5 if script is None else 10)
                continue
            if "http://b/k" in script.text and how != "never":
                await asyncio.sleep(300 if how == "late" else 5)
                agent = self.rig.agents.boot(body, 0)
                await self._agent(agent, how, "inspection-callback" in script.text)
            return

    def _draw(self, body: FakeMachine) -> str:
        if body.key in self.mute:
            return "never"
        return self.dice.choices(list(_BOOTS), list(_BOOTS.values()))[0]

    async def _agent(self, agent: SimAgent, how: str, inspect: bool) -> None:
        """As the stock agent: inspection data, or lookup and then heartbeats for as long as it lives."""
        uuid = agent.machine.key
        while inspect and agent.alive:
            told = await self.ask(
                "POST", "/v1/continue_inspection", {"inventory": inventory(agent.machine)}
            )
            if told is not None:
                return
            await asyncio.sleep(10)
        while agent.alive:
            found = await self.ask("GET", "/v1/lookup", addresses=agent.machine.mac)
            if found is not None and found.status_code == 200:
                break
            await asyncio.sleep(15)
        else:
            return
        token = found.json["config"]["agent_token"]
        agent.token = token if token != "******" else agent.token
        if how == "dies":
            agent.machine.switch(PowerState.OFF)
        while agent.alive:
            beat = {
                "callback_url": agent.url,
                "agent_token": "wrong" if how == "wrong token" else agent.token or "none",
                "agent_version": "13.0.0",
                "agent_verify_ca": None,
            }
            for _ in range(2 if how == "twice" else 1):
                await self.ask("POST", f"/v1/heartbeat/{uuid}", beat)
            await asyncio.sleep(120)

    # -- what must hold ----------------------------------------------------------------------

    def _owner(self, uuid: str) -> tuple[str, str] | None:
        """Who works on a node now, as the database has it."""
        table = operations_table
        query = sa.select(table.c.kind, table.c.owner).where(
            table.c.subject == f"node:{uuid}", table.c.ended_at.is_(None)
        )
        found = self.db.look(lambda conn: conn.execute(query).first())
        return None if found is None else (found.kind, found.owner or "nobody")

    def judge(self, agent: SimAgent, body: dict[str, Any]) -> None:
        """A command to an agent: is the machine the node's, and was it proved before it is destroyed?"""
        params = body.get("params") or {}
        step = str((params.get("step") or {}).get("step") or "")
        kinds = _DESTROYS.get(step)
        if kinds is None:
            return
        uuid = agent.machine.key
        meant = (params.get("node") or {}).get("uuid")
        if meant != uuid:
            self.rig.problems.append(f"{step} on the machine of {uuid} in the name of {meant}")
        if not (proved := self.db.look(lambda conn: _proved(conn, uuid, kinds))):
            self.rig.problems.append(
                f"{step} on {uuid}, {'unproved' if proved is False else 'unowned'}"
            )

    def check(self) -> None:
        """What holds after every transaction."""
        found = self.rig.problems + self.errors.told + self.db.look(self._wrong)
        assert not found, "\n".join(dict.fromkeys(found))

    def _wrong(self, conn: sa.Connection) -> list[str]:
        query = "SELECT was, now FROM walked LIMIT -1 OFFSET ?"
        walked = conn.exec_driver_sql(query, (self._walked,)).all()
        self._walked += len(walked)
        found = [f"{a} -> {b} is not in the state table" for a, b in walked if (a, b) not in LEGAL]
        for row in conn.execute(sa.select(nodes)):
            found += [f"node {row.uuid} in {row.provision_state}: {p}" for p in wrong(conn, row)]
        return found

    def ended(self) -> None:
        """No operation lost: all have ended, and those that failed with a cause."""

        def query(conn: sa.Connection) -> list[str]:
            rows = operations(conn, limit=10_000)
            live = [f"a {row.kind} never ended: {row}" for row in rows if row.live]
            dumb = [
                f"a {row.kind} failed without a cause: {row}"
                for row in rows
                if row.state != "done" and not (row.fault and row.fault.text) and not row.live
            ]
            return live + dumb

        found = self.db.look(query)
        assert not found, "\n".join(found)

    def node(self, uuid: str) -> Node:
        return self.db.look(lambda conn: store.get_node(conn, uuid))

    async def until_owned(self, uuid: str, step: str) -> Host:
        """Wait for a step to be under way; the host that does it."""
        subject = f"node:{uuid}"
        for _ in range(1000):
            live = self.db.look(lambda conn: live_operation(conn, subject))
            if live is not None and live.owner and live.step == step:
                return next(host for host in self.hosts if host.engine.me == live.owner)
            await asyncio.sleep(0.5)
        raise AssertionError(f"{step} never begins: {self.story(uuid)}")

    async def until_taken(self, uuid: str, before: Host) -> None:
        """Wait for another host to own the node's operation."""
        for _ in range(1000):
            owned = self._owner(uuid)
            if owned is not None and owned[1] not in ("nobody", before.engine.me):
                return
            await asyncio.sleep(0.5)
        raise AssertionError(f"nobody takes it over: {self.story(uuid)}")

    def idle(self, uuid: str) -> bool:
        return self.db.look(
            lambda conn: (
                live_operation(conn, f"node:{uuid}") is None
                and followup_store.verb_of(conn, uuid) is None
            )
        )

    def story(self, uuid: str) -> str:
        def query(conn: sa.Connection) -> str:
            told = operations(conn, f"node:{uuid}", limit=3)
            error = conn.execute(sa.select(nodes.c.last_error).where(nodes.c.uuid == uuid)).scalar()
            return "\n".join([str(error), *(str(row) for row in told)])

        return self.db.look(query)

    # -- life --------------------------------------------------------------------------------

    async def enrol(self, host: Host, kind: str, state: str = "") -> None:
        """A node of one kind, in a given state or one where lives begin."""
        agent = kind == "direct"
        values: dict[str, Any] = {
            "driver": "rig",
            "deploy_interface": kind,
            "inspect_interface": "agent" if agent else "fake",
            "rescue_interface": "agent" if agent else "fake",
            "network_interface": "noop",
        }
        if agent:
            values["driver_info"] = {"deploy_kernel": "http://b/k", "deploy_ramdisk": "http://b/r"}
        begins = (states.ENROLL, states.MANAGEABLE, states.AVAILABLE)
        state = state or self.dice.choice(begins)

        def make(conn: sa.Connection) -> str:
            node = host.baremetal.create_node(conn, values)
            address = self.body(node.uuid).mac
            host.baremetal.create_port(conn, {"address": address, "node_uuid": node.uuid})
            if state != states.ENROLL:
                store.update_node(conn, node.uuid, provision_state=state, power_state="power off")
            return node.uuid

        self.uuids.append(await self.write(host, make))
        self._skip()

    def _skip(self) -> None:
        """What was walked by hand does not count."""
        self._walked = self.db.look(
            lambda conn: conn.exec_driver_sql("SELECT count(*) FROM walked").scalar_one()
        )


def _on(body: FakeMachine) -> bool:
    return body.power is PowerState.ON


def _proved(conn: sa.Connection, uuid: str, kinds: frozenset[str]) -> bool | None:
    """Whether the live operation has proved its machine; None when it has no right to destroy anything."""
    live = live_operation(conn, f"node:{uuid}")
    if live is None or live.kind not in kinds:
        return None
    names = conn.execute(
        sa.select(steps_table.c.name).where(
            steps_table.c.operation_id == live.id, steps_table.c.state == "done"
        )
    ).scalars()
    return {"prove the controller", "prove the machine"} <= set(names)


def in_memory() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory where the machine has such a place."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="schedule-", dir=memory if memory.is_dir() else None)


@contextlib.asynccontextmanager
async def site(dice: random.Random) -> AsyncIterator[Site]:
    with in_memory() as folder:
        shutil.copy(empty_database(), Path(folder) / "life.db")
        made = Site(folder, dice)
        logging.getLogger().addHandler(made.errors)
        try:
            yield made
        finally:
            logging.getLogger().removeHandler(made.errors)
            for host in list(made.hosts):
                await made.kill(host)
            for task in made._dying:
                task.cancel()
            await made.db.close()
