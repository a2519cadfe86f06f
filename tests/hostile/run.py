"""A long run of hostile requests against a real `ingot serve`: `python -m tests.hostile.run --requests 1000000`.

All services, both listeners, as an administrator, a member, with a bad token and without one. Good is: no answer of
500, no request without an answer, /healthz never silent for long, and memory that does not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import postgres
from tests.hostile.requests import Generator, Sent, rows, seeded
from tests.site.server import IMAGE, Site, site

WORKERS = 8
#: Longer than any bound of the listeners: whoever gets no answer by then got none.
ANSWER_SECONDS = 30.0
#: Of all requests, before memory is looked at first: caches fill, threads start.
WARM = 0.2
_PROBE = """
import socket, sys, time
port, longest = int(sys.argv[1]), 0.0
ask = b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
line = socket.create_connection(("127.0.0.1", port))
while True:
    began = time.monotonic()
    line.sendall(ask)
    if b" 200 " not in line.recv(65536):
        print("bad", flush=True)
    took = time.monotonic() - began
    if took > longest:
        longest = took
        print(took, flush=True)
    time.sleep(0.02)
"""


@dataclass
class Outcome:
    """What came of it. errors: requests that were answered 500; unanswered: that were not. silence: seconds."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    errors: list[str] = field(default_factory=list[str])
    unanswered: list[str] = field(default_factory=list[str])
    silence: float = 0.0
    #: Octets of resident memory after the warm part and at the end.
    memory: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    tell: bool = False
    #: Seconds and what was sent: where to look when /healthz was silent.
    slowest: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    def note(self, seconds: float, sent: Sent) -> None:
        if len(self.slowest) < 10 or seconds > self.slowest[-1][0]:
            self.slowest.append((seconds, f"{sent.listener} {sent.data[:700]!r}"))
            self.slowest = sorted(self.slowest, reverse=True)[:10]


class Line:
    """A connection that is made anew when the other side has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, sent: Sent) -> int:
        """The status; 0 when there was no answer."""
        for fresh in (False, True):
            used = self._writer is not None and not fresh
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    status = await self._once(sent)
            except (OSError, EOFError, ValueError, TimeoutError):
                status = 0
            if not status or not sent.whole:
                self.close()
            # The other side may have closed an idle connection.
            if status or not used:
                return status
        return 0

    async def _once(self, sent: Sent) -> int:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._port, limit=1 << 22
            )
        assert self._reader is not None
        self._writer.write(sent.data)
        if not sent.whole:
            self._writer.write_eof()
        await self._writer.drain()
        status = 100
        head = b""
        while status == 100:
            head = await self._reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
        lower = head.lower()
        if not (sent.data.startswith(b"HEAD ") or status in (204, 304)):
            await self._body(lower)
        if b"connection: close" in lower:
            self.close()
        return status

    async def _body(self, head: bytes) -> None:
        assert self._reader is not None
        if b"transfer-encoding: chunked" in head:
            while size := int((await self._reader.readuntil(b"\r\n")).strip(), 16):
                await self._reader.readexactly(size + 2)
            await self._reader.readexactly(2)
            return
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await self._reader.readexactly(int(line.split(b":")[1]))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def hostile(here: Site, requests: int, seed: int, *, tell: bool = False) -> Outcome:
    """Send so many requests to a running cloud. tell: progress, on standard error."""
    table = await asyncio.to_thread(rows, here.folder / "table")
    await _enter_system(here)
    known, things = await _furniture(here)
    tokens = {name: await here.token(name) for name in ("admin", "demo", "system")}
    outcome = Outcome(tell=tell)
    began = time.monotonic()
    async with _probing(here, outcome):
        first, second = int(requests * WARM), requests - int(requests * WARM)
        await _storm(here, outcome, table, tokens, known, first, seed, things)
        warm = _resident(here)
        await _storm(here, outcome, table, tokens, known, second, seed + 1, things)
        outcome.memory = (warm, _resident(here))
    outcome.seconds = time.monotonic() - began
    return outcome


async def _storm(
    here: Site,
    outcome: Outcome,
    table: Any,
    tokens: dict[str, str],
    known: list[str],
    requests: int,
    seed: int,
    things: dict[str, str],
) -> None:
    async def work(number: int) -> None:
        generator = Generator(seeded(seed, number), table, tokens, known, things)
        lines = {"api": Line(here.api), "boot": Line(here.boot)}
        for _ in range(requests // WORKERS):
            sent = generator.next()
            asked = time.monotonic()
            status = await lines[sent.listener].ask(sent)
            outcome.note(time.monotonic() - asked, sent)
            outcome.statuses[status] += 1
            if outcome.tell and sum(outcome.statuses.values()) % 10_000 == 0:
                print(f"{sum(outcome.statuses.values())} requests", file=sys.stderr, flush=True)
            if status == 500 or status not in range(600):
                outcome.errors.append(f"{sent.listener} {sent.data[:2000]!r}")
            elif status == 0 and sent.whole:
                outcome.unanswered.append(f"{sent.listener} {sent.data[:2000]!r}")
        for line in lines.values():
            line.close()

    await asyncio.gather(*(work(number) for number in range(WORKERS)))


async def _enter_system(here: Site) -> None:
    """The administrator with the whole system as scope, as some of the Bare Metal API wants it."""
    user = {"name": "admin", "domain": {"id": "default"}, "password": "site-secret"}
    identity = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": identity, "scope": {"system": {"all": True}}}}
    made = await here.ask("identity", "POST", "/v3/auth/tokens", body, who="", status=201)
    here.tokens["system"] = made.headers["X-Subject-Token"]


async def _furniture(here: Site) -> tuple[list[str], dict[str, str]]:
    """Something of each kind that the requests may hit: their ids and names, and ids by kind."""
    things: dict[str, str] = {}
    known = ["n1", "n2", "m1", "admin", "demo", "default", "fake-hardware"]
    for name in ("n1", "n2"):
        body = {"driver": "fake-hardware", "name": name}
        made = await here.ask("baremetal", "POST", "/v1/nodes", body, status=201)
        known.append(made.body["uuid"])
        port = {"node_uuid": made.body["uuid"], "address": f"52:54:00:00:00:0{name[-1]}"}
        made = await here.ask("baremetal", "POST", "/v1/ports", port, status=201)
        known += [made.body["uuid"], made.body["address"]]
        things |= {"node": made.body["node_uuid"], "bmport": made.body["uuid"]}
    things["image"] = await here.make_image("i1")
    await here.upload(things["image"], IMAGE)
    things["flavor"] = await here.make_flavor("m1")
    things["network"] = await here.make_network("net", "10.8.0.0/24", "10.8.0.10", "10.8.0.250")
    made = await here.ask("baremetal", "POST", "/v1/chassis", {}, who="system", status=201)
    things["chassis"] = made.body["uuid"]
    port = {"port": {"network_id": things["network"]}}
    made = await here.ask("network", "POST", "/v2.0/ports", port, status=201)
    things["netport"] = made.body["port"]["id"]
    # It finds no machine, and stays as one in ERROR.
    server = {"name": "s", "flavorRef": things["flavor"], "imageRef": things["image"]}
    server |= {"networks": [{"uuid": things["network"]}]}
    made = await here.ask("compute", "POST", "/servers", {"server": server}, status=202)
    things["server"] = made.body["server"]["id"]
    group = {"security_group": {"name": "g"}}
    made = await here.ask("network", "POST", "/v2.0/security-groups", group, who="demo", status=201)
    things["group"] = made.body["security_group"]["id"]
    for path, key in (("/v3/projects", "projects"), ("/v3/users", "users"), ("/v3/roles", "roles")):
        listed = await here.ask("identity", "GET", path, status=200)
        known += [one["id"] for one in listed.body[key][:3]]
        things[key.removesuffix("s")] = listed.body[key][0]["id"]
    return [*known, *things.values()], things


@contextlib.asynccontextmanager
async def _probing(here: Site, outcome: Outcome) -> Any:
    """Ask /healthz all the time, from a process that does nothing else."""
    words = [sys.executable, "-c", _PROBE, str(here.api)]
    probe = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    assert probe.stdout is not None
    try:
        yield
    finally:
        probe.terminate()
        said, _ = await probe.communicate()
        assert b"bad" not in said, "/healthz said that something is wrong"
        outcome.silence = max((float(line) for line in said.split()), default=0.0)


def _resident(here: Site) -> int:
    assert here.child is not None
    pages = Path(f"/proc/{here.child.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


async def _main(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        head: dict[str, Any] = {}
        if args.postgres:
            head["database"] = stack.enter_context(postgres.server()).create()
        async with site(Path(folder), **{"": head, "log": {"level": "error"}}) as here:
            outcome = await hostile(here, args.requests, args.seed, tell=True)
            log = here.log()
    print(json.dumps({str(status): count for status, count in sorted(outcome.statuses.items())}))
    print(f"{sum(outcome.statuses.values())} requests in {outcome.seconds:.0f} s, seed {args.seed}")
    print(f"longest silence of /healthz: {outcome.silence * 1000:.0f} ms")
    print(
        "resident memory: {:.1f} MiB, then {:.1f} MiB".format(*(m / 2**20 for m in outcome.memory))
    )
    if outcome.silence > args.silence:
        for seconds, text in outcome.slowest:
            print(f"{seconds:.2f} s: {text}")
    for text in outcome.errors[:20]:
        print("500:", text)
    for text in outcome.unanswered[:20]:
        print("no answer:", text)
    if outcome.errors:
        print(log[-6000:])
    grown = outcome.memory[1] > outcome.memory[0] * 1.5
    bad = outcome.errors or outcome.unanswered or grown or outcome.silence > args.silence
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL instead of SQLite")
    parser.add_argument("--silence", type=float, default=0.1, help="of /healthz, seconds")
    return asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
