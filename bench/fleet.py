"""A site of thousands of simulated machines: enrol all, edit some, deploy many, watch, list meanwhile.

Everything is for real but the machines: the public API, DHCP by dnsmasq on a wire of its own, Redfish and IPMI on
the wire, the agent's protocol. Needs root for the wire. Machines, watchers and the measuring side share the
cores with the control plane; CPU seconds are told for each apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cloud import Cloud
from bench.deploys import deployable_image
from bench.measure import Figure
from bench.processes import Ground, Server, cpu_seconds, machines
from bench.scale import Scale
from bench.wire import Line
from bench.wire_ns import ADDRESS, BRIDGE, CIDR, POOL, Wire, wire

WATCHERS = 100
#: Nodes that one list gives in full.
PAGE = 1000
EDITS = 200
STATE_SECONDS = 1800.0
EDIT_SECONDS = 10.0
#: Fields of a list in full: all of a node.
LIST = f"/v1/nodes/detail?limit={PAGE}"


@dataclass
class FleetServer(Server):
    """`ingot serve` that lives in a wire's namespace and gives DHCP there."""

    netns: str = ""
    poll: int = 60

    def _provisioning(self) -> str:
        return (
            f'[provisioning]\nlisten = "{ADDRESS}:{self.boot_port}"\ninterface = "{BRIDGE}"\n'
            f'cidr = "{CIDR}"\npool = "{POOL}"\n'
            f"[baremetal]\npower_sync_seconds = {self.poll}\n"
            '[egress]\nallow = ["127.0.0.0/8"]\n'  # where the simulated machines are
        )

    @property
    def boot_url(self) -> str:
        return f"http://{ADDRESS}:{self.boot_port}"

    def _command(self) -> list[str]:
        return [*super()._command(), "--netns", self.netns]

    @property
    def hosts(self) -> Path:
        """Where dnsmasq's host files are."""
        return self.state / "dnsmasq" / "physnet1" / "hosts"


@dataclass
class Site:
    """What the phases share. names: of the nodes, in the order of the machines."""

    server: FleetServer
    cloud: Cloud
    wire: Wire
    entries: list[dict[str, Any]]
    figures: list[Figure] = field(default_factory=list[Figure])

    @property
    def names(self) -> list[str]:
        return [entry["name"] for entry in self.entries]

    def tell(self, name: str, unit: str, value: float, note: str = "") -> None:
        self.figures.append(Figure(name, unit, [value], note=note))
        print(f"  {name}: {value:.4g} {unit} {note}", file=sys.stderr, flush=True)


async def run(ground: Ground, scale: Scale) -> list[Figure]:
    with wire() as own:
        plain = ground.fresh()
        server = FleetServer(
            plain.state,
            plain.database,
            plain.database_pid,
            netns=own.name,
            poll=scale.poll,
        )
        with (
            server.running(),
            machines(scale.fleet, scale.speed, server.boot_url, server.state, own.inside) as (
                pid,
                entries,
                _,
            ),
        ):
            site = Site(server, await Cloud(server).login(), own, entries)
            await enrol(site, min(scale.managed, scale.fleet))
            site.tell(f"memory (PSS), {scale.fleet:,} nodes", "MiB", server.memory()["pss"])
            await edits(site, scale.at_once)
            await deploys(site, scale, pid)
            site.tell("memory (PSS) after the deploys", "MiB", server.memory()["pss"])
            site.cloud.close()
        await again(site)
    return site.figures


async def enrol(site: Site, managed: int) -> None:
    """All machines as nodes with their ports, by 16 clients, and so many of them available."""
    cloud, count = site.cloud, len(site.entries)
    began, spent = time.perf_counter(), site.server.cpu()
    nodes, ports = [], []
    for number, entry in enumerate(site.entries):
        uuid = f"b0000000-0000-4000-8000-{number:012d}"
        cards = entry.pop("ports")
        body = {**entry, "uuid": uuid, "network_interface": "flat", "automated_clean": False}
        nodes.append(cloud.ask("POST", "/v1/nodes", body, 201))
        ports += [
            cloud.ask("POST", "/v1/ports", {**card, "node_uuid": uuid}, 201) for card in cards
        ]
        entry["mac"] = cards[0]["address"]
    await cloud.each(nodes)
    await cloud.each(ports)
    site.tell(f"{count:,} nodes and ports created", "s", time.perf_counter() - began)
    site.tell("CPU a node and port, control plane", "CPU s", (site.server.cpu() - spent) / count)
    middle = site.server.cpu()
    names = site.names[:managed]
    await _go(site, names, "manage", "manageable")
    await _go(site, names, "provide", "available")
    whole = time.perf_counter() - began
    site.tell(f"{managed:,} of them available", "s", whole, "from the first request")
    cpu = (site.server.cpu() - middle) / managed
    site.tell("CPU a machine to available, control plane", "CPU s", cpu)


async def edits(site: Site, deployed: int) -> None:
    """Edits of ports until the boot script and DHCP's own file show them.

    deployed: so many machines lose their addresses afterwards; the others' hosts stay DHCP's.
    """
    boot: list[float] = []
    dhcp: list[float] = []
    network = (await site.cloud.call("GET", "/network/v2.0/networks")).json["networks"][0]["id"]
    me = (await site.cloud.call("GET", "/identity/v3/auth/tokens", **_myself(site))).json["token"]
    quota = f"/network/v2.0/quotas/{me['project']['id']}"
    await site.cloud.call("PUT", quota, {"quota": {"port": -1}})
    # A site where all machines have an address: every one a host of DHCP's.
    asks = [
        site.cloud.ask("POST", "/network/v2.0/ports", _port(network, entry["mac"]), 201)
        for entry in site.entries
    ]
    await site.cloud.each(asks)
    await _hosts(site, len(asks))
    lines = await _boot_line(site)
    spent = site.server.cpu()
    for number in range(min(EDITS, len(site.entries))):
        boot.append(await _edit_node(site, lines, number))
        dhcp.append(await _edit_address(site, network, number))
    cpu = (site.server.cpu() - spent) / (len(boot) + len(dhcp)) * 1000
    for name, found in (("boot script", boot), ("DHCP", dhcp)):
        site.tell(f"edit until the {name} shows it, p99", "ms", share(found, 0.99))
        site.tell(f"edit until the {name} shows it, p50", "ms", share(found, 0.50))
    site.tell("CPU an edit, control plane", "ms", cpu)
    left = await _ports(site, network)
    theirs = {entry["mac"] for entry in site.entries[:deployed]}
    paths = [f"/network/v2.0/ports/{port['id']}" for port in left if port["mac_address"] in theirs]
    await site.cloud.each([site.cloud.ask("DELETE", path, expect=204) for path in paths])
    await _hosts(site, len(left) - len(paths))


def _myself(site: Site) -> dict[str, str]:
    return {"X-Subject-Token": site.cloud.headers["X-Auth-Token"]}


def _port(network: str, mac: str) -> dict[str, Any]:
    return {"port": {"network_id": network, "mac_address": mac, "device_owner": "bench"}}


async def _ports(site: Site, network: str) -> list[dict[str, str]]:
    """Ids and MACs of all of a network's ports, page by page."""
    query = f"/network/v2.0/ports?network_id={network}&fields=id&fields=mac_address&limit=1000"
    found: list[dict[str, str]] = []
    while True:
        marker = f"&marker={found[-1]['id']}" if found else ""
        page = (await site.cloud.call("GET", query + marker)).json["ports"]
        if not page:
            return found
        found += page


async def _hosts(site: Site, count: int) -> None:
    """Wait until DHCP has so many host files."""
    ends = time.monotonic() + 120
    while (found := len(list(site.server.hosts.glob("[!.]*")))) != count:
        if time.monotonic() > ends:
            raise RuntimeError(f"DHCP has {found} hosts, not {count}")
        await asyncio.sleep(0.2)


async def _boot_line(site: Site) -> Line:
    sock = await asyncio.to_thread(site.wire.connect, site.server.boot_port)
    return await Line.over(sock)


async def _edit_node(site: Site, line: Line, number: int) -> float:
    """The card of a machine is exchanged: seconds from the edit's begin until it gets its script."""
    mac = _made_up(number, 1)
    uuid = f"b0000000-0000-4000-8000-{number:012d}"
    ports = (await site.cloud.call("GET", f"/v1/nodes/{uuid}/ports")).json["ports"]
    change = [{"op": "replace", "path": "/address", "value": mac}]
    began = time.perf_counter()
    await site.cloud.call("PATCH", f"/v1/ports/{ports[0]['uuid']}", change)
    ask = site.cloud.ask("GET", f"/boot/{mac}")
    while (await line.ask(ask)).status != 200:
        if time.perf_counter() - began > EDIT_SECONDS:
            raise RuntimeError(f"/boot/{mac} does not know the edited port")
    took = time.perf_counter() - began
    back = [{"op": "replace", "path": "/address", "value": site.entries[number]["mac"]}]
    await site.cloud.call("PATCH", f"/v1/ports/{ports[0]['uuid']}", back)
    return took


async def _edit_address(site: Site, network: str, number: int) -> float:
    """A machine gets one more address: seconds from the edit's begin until DHCP's file is there."""
    mac = _made_up(number, 2)
    began = time.perf_counter()
    body = _port(network, mac)
    made = (await site.cloud.call("POST", "/network/v2.0/ports", body, 201)).json["port"]
    address = made["fixed_ips"][0]["ip_address"]
    path = site.server.hosts / f"{mac.replace(':', '-')}_{address}"
    while not path.exists():
        if time.perf_counter() - began > EDIT_SECONDS:
            raise RuntimeError(f"DHCP does not know {mac} {address}")
        await asyncio.sleep(0.001)
    return time.perf_counter() - began


def _made_up(number: int, kind: int) -> str:
    return f"52:54:ee:{kind:02x}:{number >> 8:02x}:{number & 255:02x}"


async def deploys(site: Site, scale: Scale, pid: int) -> None:
    """Many machines at once, first without, then with watchers and readers of lists."""
    image = await deployable_image(site.cloud)
    names = site.names[: scale.at_once]
    lists = Figure("list of 1,000 in full while 200 deploys run, p95", "ms")
    for watched in (False, True):
        await _order(site, names, image)
        with _watchers(site, WATCHERS if watched else 0) as told:
            spent, other, began = site.server.cpu(), cpu_seconds(pid), time.perf_counter()
            await _go(site, names, "active", "active")
            wall = time.perf_counter() - began
            cpu = (site.server.cpu() - spent) / len(names)
            theirs = (cpu_seconds(pid) - other) / len(names)
        which = f" with {WATCHERS} watchers" if watched else ""
        site.tell(f"{len(names):,} deploys at once{which}", "s", wall)
        site.tell(f"CPU a deploy, control plane{which}", "CPU s", cpu)
        site.tell(f"CPU a deploy, simulated machine{which}", "CPU s", theirs)
        if watched:
            note = f"{told['events']} events, {told['lost']} watchers lost"
            for name in ("p50", "p95", "p99"):
                site.tell(f"step events reach {WATCHERS} watchers, {name}", "ms", told[name], note)
        await _go(site, names, "deleted", "available")
    await _lists(site, names[:200], image, lists)


async def _lists(site: Site, names: Sequence[str], image: str, figure: Figure) -> None:
    """One client lists the first thousand in full, again and again, while deploys run."""
    await _order(site, names, image)
    taken: list[float] = []
    done = asyncio.Event()

    async def lists() -> None:
        line = Line(site.server.port)
        while not done.is_set():
            began = time.perf_counter()
            answer = await line.ask(site.cloud.ask("GET", LIST))
            taken.append(time.perf_counter() - began)
            if answer.status != 200:
                raise RuntimeError(f"the list failed: {answer.status} {answer.body[:200]!r}")
            await asyncio.sleep(0.05)
        line.close()

    listing = asyncio.ensure_future(lists())
    try:
        await _go(site, names, "active", "active")
    finally:
        done.set()
    await listing
    site.tell(figure.name, figure.unit, share(taken, 0.95), f"{len(taken)} lists")
    await _go(site, names, "deleted", "available")


@contextlib.contextmanager
def _watchers(site: Site, count: int) -> Iterator[dict[str, Any]]:
    """The watchers' process; what they saw is in the dictionary afterwards."""
    told: dict[str, Any] = {}
    if not count:
        yield told
        return
    command = [sys.executable, "-m", "bench.watchers", str(site.server.port), str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(site.cloud.headers["X-Auth-Token"] + "\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the watchers did not start")
        yield told
        process.stdin.close()
        told.update(json.loads(process.stdout.readline()))
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(20)


async def again(site: Site) -> None:
    """The same server once more, with all its nodes."""
    site.tell("start again with all nodes", "s", site.server.start())
    await asyncio.sleep(3)
    site.tell("memory (PSS) after a restart", "MiB", site.server.memory()["pss"])
    site.tell("CPU of a start and 3 s", "CPU s", site.server.cpu())
    site.server.stop()


async def _order(site: Site, names: Sequence[str], image: str) -> None:
    change = [{"op": "add", "path": "/instance_info", "value": {"image_source": image}}]
    asks = [site.cloud.ask("PATCH", f"/v1/nodes/{name}", change) for name in names]
    await site.cloud.each(asks)


async def _go(site: Site, names: Sequence[str], verb: str, state: str) -> None:
    """A verb to all of them, until so many are in the state."""
    before = await site.cloud.count(state)
    await site.cloud.each([site.cloud.verb(name, verb) for name in names])
    await site.cloud.until(before + len(names), state, STATE_SECONDS, pause=0.5)


def share(values: Sequence[float], part: float) -> float:
    """Milliseconds below which this part of the values (seconds) lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000
