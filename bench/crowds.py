"""What a crowd of clients gets done: several checkouts side by side, three processes on PostgreSQL or one on SQLite.

    python -m bench.crowds old=/path/of/another/checkout new=. --postgres --rounds 5

Every kind of change is asked for by 24 clients at once, of each checkout in turn, on clouds of their own that live
at the same time. Printed: answers a second, their median and 95th percentile in milliseconds, CPU milliseconds each
(the database's too), and how many were refused or failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import PASSWORD, cpu_seconds, end, family, free_port
from bench.wire import Ask, Line, prepare

CLIENTS = 24
_VERSIONS = {
    "X-OpenStack-Ironic-API-Version": "1.99",
    "X-OpenStack-Nova-API-Version": "2.90",
}
_NETWORK, _METAL, _COMPUTE = "/network/v2.0", "/baremetal/v1", "/compute/v2.1"


@dataclass
class Cloud:
    """The processes of one checkout on one database, and their clients."""

    label: str
    ports: list[int]
    pids: list[int]
    database: int
    url: str = ""
    programs: Path = Path()
    headers: dict[str, str] = field(default_factory=lambda: dict(_VERSIONS))
    system: dict[str, str] = field(default_factory=dict[str, str])
    lines: list[Line] = field(default_factory=list[Line])
    project: str = ""
    user: str = ""
    count: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def log_in(self) -> None:
        domain = {"id": "default"}
        user = {"name": "admin", "domain": domain, "password": PASSWORD}
        identity = {"methods": ["password"], "password": {"user": user}}
        scopes = ({"project": {"name": "admin", "domain": domain}}, {"system": {"all": True}})
        tokens: list[Any] = []
        for scope in scopes:
            auth = {"auth": {"identity": identity, "scope": scope}}
            answer = await Line(self.ports[0]).ask(
                prepare("POST", "/identity/v3/auth/tokens", auth)
            )
            assert answer.status == 201, answer.body
            tokens.append(answer)
        of_project, of_system = tokens
        self.headers["X-Auth-Token"] = of_project.header("X-Subject-Token")
        self.system = {"X-Auth-Token": of_system.header("X-Subject-Token")}
        token = of_project.json["token"]
        self.project, self.user = token["project"]["id"], token["user"]["id"]
        self.lines = [Line(self.ports[n % len(self.ports)]) for n in range(CLIENTS)]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Ask:
        return prepare(method, path, body, {**self.headers, **headers})

    async def make(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request that must succeed; its answer's JSON."""
        answer = await self.lines[0].ask(self.ask(method, path, body, **headers))
        assert answer.status < 300, (path, answer.status, answer.body[:500])
        return answer.json if answer.body else None

    def ended(self) -> int:
        """Transactions that PostgreSQL has rolled back."""
        if not self.url:
            return 0
        time.sleep(1.1)  # it tells once a second
        where = self.url.rpartition("/")
        text = f"SELECT xact_rollback FROM pg_stat_database WHERE datname = '{where[2]}'"
        command = [str(self.programs / "psql"), self.url, "-Atc", text]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def cpu(self) -> float:
        total = 0.0
        for pid in [*self.pids, *(family(self.database) if self.database else ())]:
            with contextlib.suppress(
                OSError
            ):  # a session that has just ended is its parent's by now
                total += cpu_seconds(pid)
        return total


#: What is asked of a cloud in one round: its requests.
Kind = Callable[[Cloud, int], Awaitable[Sequence[Ask]]]
KINDS: dict[str, Kind] = {}


def _kind(work: Kind) -> Kind:
    KINDS[work.__name__.strip("_").replace("_", " ")] = work
    return work


# -- network ---------------------------------------------------------------------------------------


async def _network(cloud: Cloud) -> str:
    number = next(cloud.count)
    free = {"network": -1, "port": -1, "subnet": -1, "security_group": -1}
    await cloud.make("PUT", f"{_NETWORK}/quotas/{cloud.project}", {"quota": free})
    network = {"name": f"n{number}", "provider:physical_network": f"w{number}", "shared": True}
    made = await cloud.make("POST", f"{_NETWORK}/networks", {"network": network})
    ident = made["network"]["id"]
    subnet = {"network_id": ident, "cidr": "10.64.0.0/14", "ip_version": 4}
    await cloud.make("POST", f"{_NETWORK}/subnets", {"subnet": subnet})
    return str(ident)


def _port_of(cloud: Cloud, network: str) -> Ask:
    return cloud.ask("POST", f"{_NETWORK}/ports", {"port": {"network_id": network}})


async def _some_ports(cloud: Cloud, network: str, count: int) -> list[str]:
    made = await asyncio.gather(
        *(_each(line, [_port_of(cloud, network)] * (count // 8)) for line in cloud.lines[:8])
    )
    return [answer["port"]["id"] for answers in made for answer in answers]


async def _each(line: Line, asks: Sequence[Ask]) -> list[Any]:
    answers: list[Any] = []
    for ask in asks:
        answer = await line.ask(ask)
        assert answer.status < 300, answer.body[:300]
        answers.append(answer.json if answer.body else None)
    return answers


@_kind
async def _ports_of_one_network(cloud: Cloud, size: int) -> Sequence[Ask]:
    network = await _network(cloud)
    return [_port_of(cloud, network) for _ in range(size)]


@_kind
async def _ports_of_eight_networks(cloud: Cloud, size: int) -> Sequence[Ask]:
    networks = [await _network(cloud) for _ in range(8)]
    return [_port_of(cloud, networks[n % 8]) for n in range(size)]


@_kind
async def _port_changes(cloud: Cloud, size: int) -> Sequence[Ask]:
    ids = await _some_ports(cloud, await _network(cloud), 96)
    return [
        cloud.ask("PUT", f"{_NETWORK}/ports/{ids[n % 96]}", {"port": {"name": f"p{n}"}})
        for n in range(size)
    ]


@_kind
async def _port_deletions(cloud: Cloud, size: int) -> Sequence[Ask]:
    ids = await _some_ports(cloud, await _network(cloud), size)
    return [cloud.ask("DELETE", f"{_NETWORK}/ports/{ident}") for ident in ids]


@_kind
async def _networks(cloud: Cloud, size: int) -> Sequence[Ask]:
    await _network(cloud)
    path = f"{_NETWORK}/networks"
    wires = [f"x{next(cloud.count)}" for _ in range(size)]
    return [
        cloud.ask("POST", path, {"network": {"provider:physical_network": wire}}) for wire in wires
    ]


@_kind
async def _network_tags(cloud: Cloud, size: int) -> Sequence[Ask]:
    """Of one network, from which they go again."""
    path = f"{_NETWORK}/networks/{await _network(cloud)}/tags"
    return [cloud.ask("PUT", f"{path}/t{n % 40}") for n in range(size)]


@_kind
async def _security_groups(cloud: Cloud, size: int) -> Sequence[Ask]:
    await _network(cloud)
    path = f"{_NETWORK}/security-groups"
    return [cloud.ask("POST", path, {"security_group": {"name": f"g{n}"}}) for n in range(size)]


# -- bare metal ------------------------------------------------------------------------------------


async def _nodes(cloud: Cloud, count: int, **more: Any) -> list[str]:
    body = {"driver": "fake-hardware", **more}
    ids: list[str] = []
    for _ in range(count):
        ids.append((await cloud.make("POST", f"{_METAL}/nodes", body))["uuid"])
    return ids


@_kind
async def _node_creations(cloud: Cloud, size: int) -> Sequence[Ask]:
    body = {"driver": "fake-hardware"}
    return [cloud.ask("POST", f"{_METAL}/nodes", body) for _ in range(size)]


@_kind
async def _node_deletions(cloud: Cloud, size: int) -> Sequence[Ask]:
    ids = await _nodes(cloud, size)
    return [cloud.ask("DELETE", f"{_METAL}/nodes/{ident}") for ident in ids]


def _patch(cloud: Cloud, path: str, **values: Any) -> Ask:
    patch = [
        {"op": "add", "path": "/" + k.replace("__", "/"), "value": v} for k, v in values.items()
    ]
    return cloud.ask("PATCH", path, patch)


@_kind
async def _changes_of_many_nodes(cloud: Cloud, size: int) -> Sequence[Ask]:
    ids = await _nodes(cloud, 48)
    return [
        _patch(cloud, f"{_METAL}/nodes/{ids[n % 48]}", description=f"d{n}") for n in range(size)
    ]


@_kind
async def _changes_of_one_node(cloud: Cloud, size: int) -> Sequence[Ask]:
    (one,) = await _nodes(cloud, 1)
    return [_patch(cloud, f"{_METAL}/nodes/{one}", **{f"extra__k{n % 40}": n}) for n in range(size)]


@_kind
async def _traits_of_one_node(cloud: Cloud, size: int) -> Sequence[Ask]:
    (one,) = await _nodes(cloud, 1)
    path = f"{_METAL}/nodes/{one}/traits"
    return [cloud.ask("PUT", f"{path}/CUSTOM_T{n % 40}") for n in range(size)]


@_kind
async def _node_ports(cloud: Cloud, size: int) -> Sequence[Ask]:
    ids = await _nodes(cloud, 48)
    asks: list[Ask] = []
    for n in range(size):
        tail = next(cloud.count).to_bytes(4, "big")
        mac = ":".join(f"{octet:02x}" for octet in (0x52, 0x54, *tail))
        asks.append(
            cloud.ask("POST", f"{_METAL}/ports", {"node_uuid": ids[n % 48], "address": mac})
        )
    return asks


@_kind
async def _templates(cloud: Cloud, size: int) -> Sequence[Ask]:
    steps = [{"interface": "deploy", "step": "s", "args": {}, "priority": 10}]
    body = {"name": f"CUSTOM_M{next(cloud.count)}", "steps": steps}
    made = await cloud.make("POST", f"{_METAL}/deploy_templates", body, **cloud.system)
    path = f"{_METAL}/deploy_templates/{made['uuid']}"
    return [
        cloud.ask(
            "PATCH", path, [{"op": "add", "path": f"/extra/k{n % 40}", "value": n}], **cloud.system
        )
        for n in range(size)
    ]


@_kind
async def _claims(cloud: Cloud, size: int) -> Sequence[Ask]:
    """instance_uuid of 48 nodes: most are refused."""
    ids = await _nodes(cloud, 48)
    return [
        _patch(
            cloud,
            f"{_METAL}/nodes/{ids[n % 48]}",
            instance_uuid=f"00000000-0000-4000-8000-{next(cloud.count):012x}",
        )
        for n in range(size)
    ]


# -- compute, images, identity -----------------------------------------------------------------------


@_kind
async def _key_pairs(cloud: Cloud, size: int) -> Sequence[Ask]:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFmJKxM2tYq0hZB1aZ2dhXcKBC8ZBKhl3RmeDkyAbO4v"
    path = f"{_COMPUTE}/os-keypairs"
    names = [f"k{next(cloud.count)}" for _ in range(size)]
    for old in (await cloud.make("GET", path))["keypairs"]:
        await cloud.make("DELETE", f"{path}/{old['keypair']['name']}")
    bodies = [{"keypair": {"name": n, "public_key": key, "type": "ssh"}} for n in names]
    return [cloud.ask("POST", path, body) for body in bodies]


async def _flavor(cloud: Cloud) -> str:
    name = f"f{next(cloud.count)}"
    body = {"flavor": {"name": name, "ram": 1, "vcpus": 1, "disk": 1}}
    return str((await cloud.make("POST", f"{_COMPUTE}/flavors", body))["flavor"]["id"])


@_kind
async def _extra_specs(cloud: Cloud, size: int) -> Sequence[Ask]:
    path = f"{_COMPUTE}/flavors/{await _flavor(cloud)}/os-extra_specs"
    return [cloud.ask("POST", path, {"extra_specs": {f"k{n % 40}": f"v{n}"}}) for n in range(size)]


async def _order(cloud: Cloud) -> dict[str, Any]:
    free = {"instances": -1, "cores": -1, "ram": -1}
    await cloud.make("PUT", f"{_COMPUTE}/os-quota-sets/{cloud.project}", {"quota_set": free})
    specs = {"container_format": "bare", "disk_format": "raw", "name": "i"}
    image = await cloud.make("POST", "/image/v2/images", specs)
    headers = {"Content-Type": "application/octet-stream"}
    await cloud.make("PUT", f"/image/v2/images/{image['id']}/file", b"x" * 4096, **headers)
    flavor = await _flavor(cloud)
    return {
        "name": "s",
        "imageRef": image["id"],
        "flavorRef": flavor,
        "networks": "none",
    }


@_kind
async def _servers(cloud: Cloud, size: int) -> Sequence[Ask]:
    """Without any machine for them: what is measured is the order."""
    body = {"server": await _order(cloud)}
    return [cloud.ask("POST", f"{_COMPUTE}/servers", body) for _ in range(size)]


@_kind
async def _server_metadata(cloud: Cloud, size: int) -> Sequence[Ask]:
    made = await cloud.make("POST", f"{_COMPUTE}/servers", {"server": await _order(cloud)})
    path = f"{_COMPUTE}/servers/{made['server']['id']}/metadata"
    await asyncio.sleep(1)
    return [cloud.ask("POST", path, {"metadata": {f"k{n % 40}": f"v{n}"}}) for n in range(size)]


async def _image(cloud: Cloud) -> str:
    specs = {"container_format": "bare", "disk_format": "raw", "name": "i"}
    return str((await cloud.make("POST", "/image/v2/images", specs))["id"])


@_kind
async def _image_properties(cloud: Cloud, size: int) -> Sequence[Ask]:
    path = f"/image/v2/images/{await _image(cloud)}"
    kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    return [
        cloud.ask("PATCH", path, [{"op": "add", "path": f"/k{n % 40}", "value": f"v{n}"}], **kind)
        for n in range(size)
    ]


@_kind
async def _image_tags(cloud: Cloud, size: int) -> Sequence[Ask]:
    path = f"/image/v2/images/{await _image(cloud)}/tags"
    return [cloud.ask("PUT", f"{path}/t{n % 40}") for n in range(size)]


@_kind
async def _images(cloud: Cloud, size: int) -> Sequence[Ask]:
    specs = {"container_format": "bare", "disk_format": "raw", "name": "i"}
    return [cloud.ask("POST", "/image/v2/images", specs) for _ in range(size)]


@_kind
async def _role_assignments(cloud: Cloud, size: int) -> Sequence[Ask]:
    roles = (await cloud.make("GET", "/identity/v3/roles?name=reader"))["roles"]
    users: list[str] = []
    for _ in range(48):
        name = {"user": {"name": f"u{next(cloud.count)}", "domain_id": "default"}}
        users.append((await cloud.make("POST", "/identity/v3/users", name))["user"]["id"])
    path = f"/identity/v3/projects/{cloud.project}/users"
    return [cloud.ask("PUT", f"{path}/{users[n % 48]}/roles/{roles[0]['id']}") for n in range(size)]


@_kind
async def _project_tags(cloud: Cloud, size: int) -> Sequence[Ask]:
    path = f"/identity/v3/projects/{cloud.project}/tags"
    return [cloud.ask("PUT", f"{path}/t{n % 40}") for n in range(size)]


# -- measuring -------------------------------------------------------------------------------------


@dataclass
class Round:
    """rate: answers a second. Latencies and CPU in milliseconds. again: transactions that were ended, for each answer."""

    rate: float
    median: float
    late: float
    cpu: float
    again: float
    statuses: Counter[int]


async def measure(cloud: Cloud, asks: Sequence[Ask]) -> Round:
    drawn, latencies = iter(asks), list[float]()
    statuses: Counter[int] = Counter()

    async def client(line: Line) -> None:
        for ask in drawn:
            began = time.perf_counter()
            answer = await line.ask(ask)
            latencies.append(time.perf_counter() - began)
            statuses[answer.status] += 1

    ended = cloud.ended()
    cpu, began = cloud.cpu(), time.perf_counter()
    await asyncio.gather(*(client(line) for line in cloud.lines))
    seconds, used = time.perf_counter() - began, cloud.cpu() - cpu
    latencies.sort()
    count = len(latencies)
    return Round(
        count / seconds,
        latencies[count // 2] * 1000,
        latencies[int(count * 0.95)] * 1000,
        used / count * 1000,
        (cloud.ended() - ended) / count,
        statuses,
    )


def told(rounds: Sequence[Round]) -> str:
    """A table's cells."""
    names = ("rate", "median", "late", "cpu", "again")
    cells = [f"{statistics.median(getattr(one, name) for one in rounds):.1f}" for name in names]
    statuses: Counter[int] = sum((one.statuses for one in rounds), Counter())
    others = " ".join(f"{s}:{n}" for s, n in sorted(statuses.items()) if s >= 300)
    return " | ".join([*cells, others])


async def run(clouds: Sequence[Cloud], kinds: Sequence[str], rounds: int, size: int) -> None:
    for cloud in clouds:
        await cloud.log_in()
    print("| kind | checkout | a second | median ms | p95 ms | CPU ms each | ended | refused |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for kind in kinds:
        found: dict[str, list[Round]] = {cloud.label: [] for cloud in clouds}
        for number in range(rounds):
            for cloud in clouds if number % 2 else reversed(clouds):
                asks = await KINDS[kind](cloud, size)
                found[cloud.label].append(await measure(cloud, asks))
        for label, measured in found.items():
            print(f"| {kind} | {label} | {told(measured)} |", flush=True)


@contextlib.contextmanager
def _processes(
    label: str, checkout: Path, folder: Path, database: str, pid: int
) -> Iterator[Cloud]:
    """One checkout's cloud: three processes on PostgreSQL, or one on SQLite."""
    count = 3 if database else 1
    home = folder / label
    (home / "keys").mkdir(mode=0o700, parents=True)
    cloud = Cloud(label, [free_port() for _ in range(count)], [], pid)
    with contextlib.ExitStack() as stack:
        for number, port in enumerate(cloud.ports):
            state = home / f"c{number}"
            lines = [
                f'state = "{state}"',
                f'host = "c{number}"',
                f'listen = "127.0.0.1:{port}"',
                'roles = ["api", "conductor"]',
            ]
            if database:
                lines += [f'database = "{database}"', "[cluster]", f'keys = "{home / "keys"}"']
                lines.append(f'images = "{home / "images"}"')
            lines += ["[provisioning]", f'listen = "127.0.0.1:{free_port()}"', "dhcp = false"]
            lines += ["[identity]", f'admin_password = "{PASSWORD}"', "password_cost = 10"]
            lines += ["[baremetal]", "power_sync_seconds = 3600", "[log]", 'level = "warning"']
            file = home / f"c{number}.toml"
            file.write_text("\n".join(lines) + "\n")
            command = [str(checkout / ".venv/bin/ingot"), "serve", "--config", str(file)]
            log = stack.enter_context((home / f"c{number}.log").open("wb"))
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, cwd=home, env=_environment()
            )
            stack.callback(end, process)
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith(b"ingot is ready"), (home / f"c{number}.log").read_text()
            cloud.pids.append(process.pid)
        yield cloud


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("INGOT", "PYTHON"))}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.crowds", description=__doc__)
    parser.add_argument("checkouts", nargs="+", metavar="LABEL=DIR")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL instead of SQLite")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=480, help="requests a round")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only these")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingot-crowds-")))
        servers: list[Any] = []
        clouds: list[Cloud] = []
        for text in options.checkouts:
            label, _, where = text.partition("=")
            url, pid = "", 0
            if options.postgres:
                from tests import postgres

                servers.append(stack.enter_context(postgres.server()))
                url = servers[-1].create()
                status = servers[-1].folder / "data" / "postmaster.pid"
                pid = int(status.read_text().splitlines()[0])
            checkout = Path(where).resolve()
            clouds.append(stack.enter_context(_processes(label, checkout, folder, url, pid)))
            if servers:
                clouds[-1].url, clouds[-1].programs = url, servers[-1].programs
        asyncio.run(run(clouds, options.kind or list(KINDS), options.rounds, options.size))


if __name__ == "__main__":
    main()
