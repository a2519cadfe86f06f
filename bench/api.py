"""API rates over 1,000 fake nodes with a port each: reads, edits, agents' calls, allocations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.cloud import VERSION_HEADER, WRITERS, Cloud, node_name, node_uuid
from bench.measure import Figure
from bench.processes import Ground, Server
from bench.scale import Scale
from bench.wire import Ask, Line, Outcome, load, prepare, repeated, shared

_AGENTS = 16
#: So long may the last allocation stay undecided.
_DECIDED_SECONDS = 20.0

Source = Callable[[], Callable[[int], Iterator[Ask]]]


async def run(ground: Ground, scale: Scale) -> list[Figure]:
    server = ground.fresh()
    with server.running():
        cloud = await Cloud(server).login()
        bench = _Api(server, cloud, scale)
        await bench.fill()
        await bench.reads()
        await bench.edits()
        await bench.agents()
        await bench.allocations()
        memory = server.memory()
        bench.figures.append(Figure("memory (PSS), after the run", "MiB", [memory["pss"]]))
        await bench.deletes()
        cloud.close()
    return bench.figures


class _Api:
    def __init__(self, server: Server, cloud: Cloud, scale: Scale) -> None:
        self.server, self.cloud, self.scale = server, cloud, scale
        self.figures: list[Figure] = []

    def _note(self, figure: Figure, outcome: Outcome, spent: float) -> None:
        figure.values.append(
            outcome.seconds * 1000 / max(1, outcome.done) if figure.unit == "ms" else outcome.rate
        )
        figure.cpu_ms.append(spent * 1000 / max(1, outcome.done))
        figure.p99.append(outcome.p99)
        figure.failed += outcome.failed
        figure.note = figure.note or outcome.first_failure

    async def _round(
        self,
        figure: Figure,
        clients: int,
        asks: Callable[[int], Iterator[Ask]],
        *,
        timed: bool = True,
        port: int = 0,
    ) -> Outcome:
        before = self.server.cpu()
        seconds = self.scale.seconds if timed else None
        outcome = await load(port or self.server.port, clients, asks, seconds)
        self._note(figure, outcome, self.server.cpu() - before)
        return outcome

    async def _measure(
        self, name: str, asks: list[Ask], *clients: int, unit: str = "per s", port: int = 0
    ) -> None:
        """The same requests again and again, by so many clients at once."""
        for count in clients:
            label = name if unit == "ms" else f"{name}, {count} client{'s' if count > 1 else ''}"
            figure = Figure(label, unit)
            self.figures.append(figure)
            for _ in range(self.scale.rounds):
                await self._round(figure, count, repeated(asks), port=port)

    # -- nodes -------------------------------------------------------------------------------

    async def fill(self) -> None:
        """Create all nodes: a third of the rounds' share by one client, the rest by 16."""
        alone = Figure("create node + port, 1 client", "per s")
        many = Figure("create node + port, 16 clients", "per s")
        self.figures += [alone, many]
        share = self.scale.nodes // self.scale.rounds
        made = 0
        for number in range(self.scale.rounds):
            last = number == self.scale.rounds - 1
            for figure, clients, count in (
                (alone, 1, share // 3),
                (many, WRITERS, self.scale.nodes - made - share // 3 if last else share * 2 // 3),
            ):
                await self._create(figure, clients, made, count)
                made += count
            if number == 0:
                await self._few(made)

    async def _create(self, figure: Figure, clients: int, first: int, count: int) -> None:
        numbers = iter(range(first, first + count))

        def asks(_client: int) -> Iterator[Ask]:
            for number in numbers:
                yield from self.cloud.node_and_port(number)

        before = self.server.cpu()
        outcome = await load(self.server.port, clients, asks)
        # A node and its port are one piece of work.
        outcome.latencies = outcome.latencies[::2]
        self._note(figure, outcome, self.server.cpu() - before)

    async def _few(self, made: int) -> None:
        """An edit must cost the same with few nodes and with many."""
        await self._measure(f"PATCH extra, {made} nodes there", self._patches(made), 1)

    async def reads(self) -> None:
        ask, numbers = self.cloud.ask, range(self.scale.nodes)
        nodes = "/v1/nodes"
        await self._measure(
            "GET one node", [ask("GET", f"{nodes}/{node_uuid(n)}") for n in numbers], 1, 16, 64
        )
        size = f"list {self.scale.nodes:,}"
        await self._measure(f"{size} in detail", [ask("GET", f"{nodes}/detail")], 1, unit="ms")
        await self._measure(f"{size} brief", [ask("GET", nodes)], 1, unit="ms")
        three = ask("GET", f"{nodes}?fields=uuid,name,provision_state")
        await self._measure(f"{size}, three fields", [three], 1, unit="ms")
        rare = ask("GET", f"{nodes}?resource_class=rare")
        await self._measure(
            f"filter to {self.scale.nodes // 10} of {self.scale.nodes:,}", [rare], 1, 16
        )
        await self._instances()
        instances = [ask("GET", f"{nodes}?instance_uuid={_instance(n)}") for n in range(20)]
        await self._measure("filter by instance", instances, 1, 16)

    async def _instances(self) -> None:
        """Twenty nodes get an instance, for which is asked then."""
        for number in range(20):
            change = [{"op": "add", "path": "/instance_uuid", "value": _instance(number)}]
            path = f"/v1/nodes/{node_uuid(number)}"
            await self.cloud.call("PATCH", path, change)

    def _patches(self, nodes: int) -> list[Ask]:
        asks: list[Ask] = []
        for number in range(nodes):
            change = [{"op": "add", "path": "/extra/note", "value": f"edit {number}"}]
            asks.append(self.cloud.ask("PATCH", f"/v1/nodes/{node_uuid(number)}", change))
        return asks

    async def edits(self) -> None:
        await self._measure("PATCH extra", self._patches(self.scale.nodes), 1, 16)

    # -- agents ------------------------------------------------------------------------------

    async def agents(self) -> None:
        """Lookup and heartbeat over the provisioning listener, 16 nodes that are being deployed."""
        first = self.scale.nodes
        numbers = range(first, first + _AGENTS)
        await self._available(numbers, driver_info=self.server.long_deploy)
        if self.server.long_deploy:
            names = [node_name(n) for n in numbers]
            await self.cloud.each([self.cloud.verb(name, "active") for name in names])
            await self.cloud.all_in(names, "deploying")
        headers = {VERSION_HEADER: "1.68"}
        lookups = [
            prepare("GET", f"/v1/lookup?node_uuid={node_uuid(n)}", None, headers) for n in numbers
        ]
        beats = [await self._beat(n, ask) for n, ask in zip(numbers, lookups, strict=True)]
        port = self.server.boot_port
        await self._measure("agent lookup", lookups, 1, 16, port=port)
        await self._measure("agent heartbeat", beats, 1, 16, port=port)

    async def _available(self, numbers: Sequence[int], **more: Any) -> None:
        """More nodes, brought to where they can be used."""
        await self.cloud.enrol(numbers, **more)
        names = [node_name(n) for n in numbers]
        for verb, state in (("manage", "manageable"), ("provide", "available")):
            await self.cloud.some([self.cloud.verb(name, verb) for name in names])
            await self.cloud.all_in(names, state, verb)

    async def _beat(self, number: int, lookup: Ask) -> Ask:
        """The first lookup gives the token that the heartbeats need."""
        line = Line(self.server.boot_port)
        answer = await line.ask(lookup)
        line.close()
        body = {
            "callback_url": f"https://127.0.0.1:{9000 + number}",
            "agent_token": answer.json["config"]["agent_token"],
            "agent_version": "13.0.0",
        }
        headers = {VERSION_HEADER: "1.68"}
        return prepare("POST", f"/v1/heartbeat/{node_uuid(number)}", body, headers, 202)

    # -- allocations -------------------------------------------------------------------------

    async def allocations(self) -> None:
        """Machines claimed by class, twice as many free as wanted, until all are decided; then given back."""
        first, wanted = self.scale.nodes + _AGENTS, self.scale.allocations
        numbers = range(first, first + 2 * wanted)
        await self._available(numbers, resource_class="wanted")
        await self._powered(numbers)
        figures = [
            Figure(f"{what}, {count} client{'s' if count > 1 else ''}", "per s")
            for count in (1, WRITERS)
            for what in ("allocations until active", "delete allocation")
        ]
        self.figures += figures
        for number in range(self.scale.rounds):
            for place, clients in enumerate((1, WRITERS)):
                names = [f"claim-{number}-{clients}-{n}" for n in range(wanted)]
                await self._claims(figures[2 * place], clients, names)
                asks = [self.cloud.ask("DELETE", f"/v1/allocations/{n}", expect=204) for n in names]
                await self._round(figures[2 * place + 1], clients, shared(asks), timed=False)

    async def _powered(self, numbers: Sequence[int]) -> None:
        """Nodes whose power is not known are not given away; the peer does not know a fake node's before."""
        body = {"target": "power on"}
        for _ in range(20):
            path = "/v1/nodes?resource_class=wanted&fields=uuid,power_state"
            nodes = (await self.cloud.call("GET", path)).json["nodes"]
            left = [node["uuid"] for node in nodes if node["power_state"] != "power on"]
            if not left:
                return
            path = "/v1/nodes/{}/states/power"
            await self.cloud.some(
                [self.cloud.ask("PUT", path.format(uuid), body, 202) for uuid in left]
            )
            await asyncio.sleep(2)
        raise RuntimeError(f"{len(left)} of {len(numbers)} nodes could not be powered on")

    async def _claims(self, figure: Figure, clients: int, names: Sequence[str]) -> None:
        """Those that are not active after a while count as failed too."""
        body = {"resource_class": "wanted"}
        asks = [
            self.cloud.ask("POST", "/v1/allocations", {**body, "name": name}, 201) for name in names
        ]
        before, began = self.server.cpu(), time.perf_counter()
        outcome = await load(self.server.port, clients, shared(asks))
        made, ends = outcome.done, time.perf_counter() + _DECIDED_SECONDS
        while True:
            path = "/v1/allocations?state=active&fields=name"
            active = {
                row["name"] for row in (await self.cloud.call("GET", path)).json["allocations"]
            }
            done = len(active.intersection(names))
            if done >= made or time.perf_counter() > ends:
                break
            await asyncio.sleep(0.05)
        outcome.seconds = time.perf_counter() - began
        if done < made:
            outcome.failed += made - done
            outcome.first_failure = outcome.first_failure or await self._undecided(names)
            outcome.latencies = outcome.latencies[:done]
        self._note(figure, outcome, self.server.cpu() - before)

    async def _undecided(self, names: Sequence[str]) -> str:
        path = "/v1/allocations?fields=name,state,last_error"
        rows = (await self.cloud.call("GET", path)).json["allocations"]
        left = [r for r in rows if r["name"] in names and r["state"] != "active"]
        return (
            f"{len(left)} are not active, one is {left[0]['state']}: {left[0]['last_error']}"
            if left
            else "lost"
        )

    async def deletes(self) -> None:
        """Nodes with their ports, from those without an instance."""
        figure = Figure("delete node, 16 clients", "per s")
        self.figures.append(figure)
        free = iter(range(20, self.scale.nodes))
        for _ in range(self.scale.rounds):
            numbers = [next(free) for _ in range(self.scale.nodes // 10)]
            asks = [
                self.cloud.ask("DELETE", f"/v1/nodes/{node_uuid(n)}", expect=204) for n in numbers
            ]
            await self._round(figure, WRITERS, shared(asks), timed=False)


def _instance(number: int) -> str:
    return f"c0000000-0000-4000-8000-{number:012d}"
