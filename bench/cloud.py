"""The API as the scenarios use it: a token, nodes, ports, verbs, and waiting for states."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bench.processes import PASSWORD, Server
from bench.wire import Answer, Ask, Line, Outcome, load, prepare, shared

#: The newest microversion that the peer was asked with too.
MICROVERSION = "1.99"
VERSION_HEADER = "X-OpenStack-Ironic-API-Version"
WRITERS = 16
#: After so many seconds without progress a verb is given again.
_STUCK_SECONDS = 5.0
#: So often is a look at the server's state made again that was refused or lost.
_LOOKS = 5


_NEXT = re.compile(rb'"next": *"[^"?]*\?([^"]*)"')


class Cloud:
    """A server and a token of its administrator."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.headers = {VERSION_HEADER: MICROVERSION}
        self._line = Line(server.port)

    async def login(self) -> Cloud:
        """A token, where the server asks for one."""
        if not self.server.tokens:
            return self
        user = {"name": "admin", "domain": {"id": "default"}, "password": PASSWORD}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
        }
        answer = await self.call("POST", "/identity/v3/auth/tokens", {"auth": auth}, expect=201)
        self.headers["X-Auth-Token"] = answer.header("X-Subject-Token")
        return self

    def ask(self, method: str, path: str, body: Any = None, expect: int = 200) -> Ask:
        return prepare(method, self._at(path), body, self.headers, expect)

    def _at(self, path: str) -> str:
        """Paths of version 1 are the Bare Metal API's."""
        return self.server.api + path if path.startswith("/v1/") else path

    async def call(
        self, method: str, path: str, body: Any = None, expect: int = 200, **headers: str
    ) -> Answer:
        """One request that must succeed; a lost or refused look (GET) is made again some times."""
        ask = prepare(method, self._at(path), body, {**self.headers, **headers}, expect)
        for _ in range(_LOOKS if method == "GET" else 0):
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                answer = await self._line.ask(ask)
                if answer.status < 500:
                    break
            await asyncio.sleep(0.5)
        else:
            answer = await self._line.ask(ask)
        if answer.status != expect:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:500]!r}")
        return answer

    async def each(self, asks: Sequence[Ask]) -> Outcome:
        """Many requests by 16 clients, all of which must succeed."""
        outcome = await load(self.server.port, WRITERS, shared(asks))
        if outcome.failed:
            raise RuntimeError(f"{outcome.failed} requests failed: {outcome.first_failure}")
        return outcome

    async def some(self, asks: Sequence[Ask]) -> Outcome:
        """Many requests by 16 clients, some of which may fail."""
        return await load(self.server.port, WRITERS, shared(asks))

    # -- nodes ---------------------------------------------------------------------------------

    def node_and_port(self, number: int, **more: Any) -> tuple[Ask, Ask]:
        """A fake node and its port, by name so that both can be prepared before."""
        node = {
            "name": node_name(number),
            "uuid": node_uuid(number),
            "driver": "fake-hardware",
            "automated_clean": False,
            "resource_class": "rare" if number % 10 == 0 else "common",
            "properties": {"cpus": 8, "memory_mb": 16384, "local_gb": 500, "cpu_arch": "x86_64"},
            "extra": {"rack": f"r{number % 40}", "unit": number % 42},
            **more,
        }
        mac = ":".join(f"{octet:02x}" for octet in (0x52, 0x54, *number.to_bytes(4, "big")))
        port = {"node_uuid": node_uuid(number), "address": mac}
        return (
            self.ask("POST", "/v1/nodes", node, 201),
            self.ask("POST", "/v1/ports", port, 201),
        )

    async def enrol(self, numbers: Iterable[int], **more: Any) -> None:
        """Nodes with their ports. What fails is asked for again by one client: this is no measurement."""
        pairs = [self.node_and_port(number, **more) for number in numbers]
        for asks in ([node for node, _ in pairs], [port for _, port in pairs]):
            if (await self.some(asks)).failed:
                for ask in asks:
                    await self._surely(ask)

    async def fill(self, count: int, clients: int) -> None:
        """Nodes alone, by few clients."""
        asks = [self.node_and_port(number)[0] for number in range(count)]
        if (await load(self.server.port, clients, shared(asks))).failed:
            for ask in asks:
                await self._surely(ask)

    async def pages(self, path: str) -> int:
        """Read a list to its end, page after page; gives the number of pages."""
        count, where = 0, path.partition("?")[0]
        while path:
            answer = (await self.call("GET", path)).body
            count += 1
            # Only the link to the next page is looked for: parsing all of it would be measured too.
            link = _NEXT.search(answer)
            path = f"{where}?{link.group(1).decode()}" if link else ""
        return count

    async def _surely(self, ask: Ask) -> None:
        said = ""
        for _ in range(10):
            try:
                answer = await self._line.ask(ask)
            except (OSError, EOFError, TimeoutError) as error:
                said = repr(error)
                continue
            if answer.status in (ask.expect, 409):
                return
            said = f"{answer.status} {answer.body[:300]!r}"
            await asyncio.sleep(0.2)
        raise RuntimeError(f"a node or port could not be made: {said}")

    def verb(self, node: str, target: str) -> Ask:
        path = f"/v1/nodes/{node}/states/provision"
        return self.ask("PUT", path, {"target": target}, 202)

    async def count(self, state: str) -> int:
        """How many nodes are in a state; pages of 1,000, as the server gives them at the most."""
        path = "/v1/nodes?fields=uuid&limit=1000&provision_state=" + state.replace(" ", "%20")
        found, marker = 0, ""
        while True:
            nodes = (await self.call("GET", path + marker)).json["nodes"]
            found += len(nodes)
            if len(nodes) < 1000:
                return found
            marker = f"&marker={nodes[-1]['uuid']}"

    async def until(self, count: int, state: str, seconds: float = 300, pause: float = 0.1) -> None:
        """Wait until so many nodes are in a state; says what the others are at."""
        ends = time.perf_counter() + seconds
        while True:
            found = await self.count(state)
            if found >= count:
                return
            if time.perf_counter() > ends:
                raise RuntimeError(
                    f"{found} of {count} became {state}: {await self._others(state)}"
                )
            await asyncio.sleep(pause)

    async def all_in(
        self, names: Collection[str], state: str, verb: str = "", seconds: float = 600
    ) -> int:
        """Wait until these nodes are in a state; says what the others are at when they do not get there.

        verb: given again to nodes of which none has moved for a while; the number of times is returned.
        """
        ends = time.perf_counter() + seconds
        moved, again, before = time.perf_counter(), 0, -1
        while True:
            there = await self._in_state(state)
            left = [name for name in names if name not in there]
            if not left:
                return again
            now = time.perf_counter()
            if len(left) != before:
                moved, before = now, len(left)
            if now > ends:
                raise RuntimeError(
                    f"{len(left)} did not become {state}: {await self._others(state)}"
                )
            if verb and now - moved > _STUCK_SECONDS:
                moved, again = now, again + len(left)
                await self.some([self.verb(name, verb) for name in left])
            await asyncio.sleep(0.1)

    async def _in_state(self, state: str) -> set[str]:
        """Names of all nodes in a state, page after page."""
        found: set[str] = set()
        path = "/v1/nodes?fields=name&provision_state=" + state.replace(" ", "%20")
        while True:
            page = (await self.call("GET", path)).json
            found.update(node["name"] for node in page["nodes"])
            if not page.get("next"):
                return found
            path = "/v1/nodes?" + page["next"].partition("?")[2]

    async def _others(self, state: str) -> list[str]:
        path = "/v1/nodes?fields=name,provision_state,last_error"
        nodes = (await self.call("GET", path)).json["nodes"]
        left = [node for node in nodes if node["provision_state"] != state]
        return [f"{n['name']} {n['provision_state']}: {n['last_error']}" for n in left[:5]]

    def close(self) -> None:
        self._line.close()


def node_name(number: int) -> str:
    return f"bench-{number:05d}"


def node_uuid(number: int) -> str:
    return f"b0000000-0000-4000-8000-{number:012d}"
