"""The API of `api_support` with its engine: operations are really done, on imaginary machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.agent.client import AgentClient
from ingot.drivers.machine.fake.world import FakeMachine
from ingot.kit.faults import Missing
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.tasks.clock import Clock, SystemClock
from ingot.services.baremetal import Node, Port, store
from ingot.services.baremetal.boot.imagesources import ImageSources
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.types import ImageFile
from ingot.services.baremetal.workflows import Deps, ImageFacts, Timing, workflows
from ingot.workflow import Engine, LocalDispatcher, live_operation
from tests.baremetal.api_support import World, world

PATIENCE = 60.0
QUICK = Timing(agent=5, inspection=5, write=5, power=20, agent_silence=5, poll=0.02)


class NoImages:
    def revoke(self, *_: Any) -> None: ...

    async def for_deploy(self, ident: str, ttl: float, *_: Any) -> ImageFacts:
        raise Missing(f"No image {ident}.")

    async def file(self, ident: str, ttl: float, *_: Any) -> ImageFile:
        raise Missing(f"No image {ident}.")


class NoNetworks:
    def plug_provisioning(
        self, conn: sa.Connection, node: Node, port: Port, vif: str | None
    ) -> str | None:
        return None

    def unplug_provisioning(self, conn: sa.Connection, node: Node) -> None:
        return None

    def plug_vif(self, conn: sa.Connection, node: Node, port: Port, vif: str) -> None:
        return None

    def unplug_vif(self, conn: sa.Connection, node: Node, vif: str) -> None:
        return None

    def static_data(self, conn: sa.Connection, node: Node, ports: Sequence[Port]) -> dict[str, Any]:
        return {}


class Working(World):
    """A world in which operations are done."""

    engine: Engine
    deps: Deps

    def machine(self, uuid: str) -> FakeMachine:
        """The imaginary machine behind a node."""
        return self.baremetal.ctx.registry.context.world.machine(uuid)

    async def rest(self, ident: str) -> dict[str, Any]:
        """The node as the API shows it when no operation works on it any more."""
        async with asyncio.timeout(PATIENCE):
            while await self.db.read(
                lambda conn: live_operation(conn, store.get_node(conn, ident).subject)
            ):
                await asyncio.sleep(0.01)
        return (await self.ask("GET", f"/v1/nodes/{ident}")).json

    async def verb(self, ident: str, target: str, **more: Any) -> dict[str, Any]:
        """Ask for a verb and see it through."""
        path = f"/v1/nodes/{ident}/states/provision"
        reply = await self.ask("PUT", path, {"target": target, **more})
        assert reply.status == 202, reply.json
        return await self.rest(ident)

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not what():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def working(
    folder: Path, clock: Clock | None = None, timing: Timing = QUICK, **options: Any
) -> AsyncIterator[Working]:
    async with world(folder, clock or SystemClock(), **options) as made:
        ctx = made.baremetal.ctx
        agents = AgentClient(ctx.clock, egress=Egress.of(LOOPBACK))
        deps = Deps(
            ctx=ctx,
            sources=ImageSources(egress=Egress.of(LOOPBACK)),
            images=NoImages(),
            networks=NoNetworks(),
            agents=agents,
            urls=BootUrls("http://127.0.0.1:1", "", ""),
            timing=timing,
        )
        engine = Engine(made.db, ctx.clock, workflows(deps), ctx.host)
        async with LocalDispatcher(engine, scan=1):
            here = Working(made.db, made.baremetal, made.app, made.client, made.callers)
            here.engine, here.deps = engine, deps
            yield here
        await agents.aclose()
