"""Power of many controllers, read once a period: 5 % are dead, 5 % take ten seconds, the rest is healthy.

The controllers are simulated, half Redfish and half IPMI, in a process of their own on the same cores. When
each of them was asked is noted by them, not by us: lateness is what the controllers see. Dead means that
connections are taken and nothing is ever answered, which holds callers up for longer than a refusal.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import urllib.request
from typing import Any

from bench.cloud import VERSION_HEADER, Cloud
from bench.measure import Figure
from bench.processes import Ground, Machines, Server, cpu_seconds, machines
from bench.scale import Scale

#: Nodes made with an older version are available at once: nobody need manage and provide them.
_OLD = {VERSION_HEADER: "1.10"}
_DEAD = {"bmc_silent": -1}
#: Ten seconds a reading: one answer over Redfish, six packets over IPMI.
_SLOW = {
    "redfish": {"reply_delay": [10.0, 10.0]},
    "ipmi": {"reply_delay": [1.7, 1.7]},
}
#: Every 20th is dead and every 20th slow, pairs of them so that both protocols have some.
_OF = 40
_SETTLE_PERIODS, _MEASURE_PERIODS = 4, 2


async def run(ground: Ground, scale: Scale) -> list[Figure]:
    server = ground.fresh()
    server.settings = f"[baremetal]\npower_sync_seconds = {scale.period:g}"
    with (
        server.running(),
        machines(scale.bmcs, 1.0, server.boot_url, server.state) as fleet,
    ):
        cloud = await Cloud(server).login()
        await _enrol(cloud, fleet.nodes)
        names = [entry["name"] for entry in fleet.nodes]
        await asyncio.sleep(scale.period)
        _tell(fleet, [n for i, n in enumerate(names) if i % _OF in (0, 1)], _DEAD)
        for protocol, faults in _SLOW.items():
            slow = [
                e["name"]
                for i, e in enumerate(fleet.nodes)
                if i % _OF in (2, 3) and e["driver"] == protocol
            ]
            _tell(fleet, slow, faults)
        # Until the dead ones are known to be dead, and all have been logged in to.
        await asyncio.sleep(_SETTLE_PERIODS * scale.period)
        figures = await _measure(server, fleet, scale, names)
        cloud.close()
    return figures


async def _enrol(cloud: Cloud, entries: list[dict[str, Any]]) -> None:
    kept = ("name", "driver", "driver_info", "properties")
    cloud.headers |= _OLD
    bodies = ({name: entry[name] for name in kept} for entry in entries)
    await cloud.each([cloud.ask("POST", "/v1/nodes", body, 201) for body in bodies])


async def _measure(server: Server, fleet: Machines, scale: Scale, names: list[str]) -> list[Figure]:
    began, spent, theirs = _polls(fleet), server.cpu(), cpu_seconds(fleet.pid)
    await asyncio.sleep(_MEASURE_PERIODS * scale.period)
    ended = _polls(fleet)
    seconds = ended["now"] - began["now"]
    spent, theirs = server.cpu() - spent, cpu_seconds(fleet.pid) - theirs
    times = {name: [t for t in ended["polls"][name] if t >= began["now"]] for name in names}
    polls = sum(map(len, times.values()))
    healthy = [name for i, name in enumerate(names) if i % _OF > 3]
    gaps = sorted(
        gap / scale.period
        for name in healthy
        for gap in _gaps(ended["polls"][name], began["now"], ended["now"])
    )
    slow = [len(times[name]) for i, name in enumerate(names) if i % _OF in (2, 3)]
    label = f"{len(names):,} BMCs"
    each = spent * 1000 / max(1, polls)
    return [
        Figure(f"{label}: power polls answered", "per min", [polls * 60 / seconds], [each]),
        Figure("healthy: longest time between two polls", "periods", [gaps[-1]]),
        Figure("healthy: p99 of it", "periods", [gaps[int(len(gaps) * 0.99)]]),
        Figure(
            "answered in 10 s: polls a period", "each", [sum(slow) / len(slow) / _MEASURE_PERIODS]
        ),
        Figure("control plane, share of one core", "%", [spent * 100 / seconds]),
        Figure("simulated BMCs, share of one core", "%", [theirs * 100 / seconds]),
        Figure("memory (PSS), after the run", "MiB", [server.memory()["pss"]]),
    ]


def _gaps(times: list[float], began: float, ended: float) -> list[float]:
    """Between one poll and the next, those that ended in our time; the one that goes on counts too."""
    closed = [after - before for before, after in itertools.pairwise(times) if after >= began]
    return [*closed, ended - (times[-1] if times else began)]


def _polls(fleet: Machines) -> dict[str, Any]:
    with urllib.request.urlopen(f"{fleet.control}/polls", timeout=60) as answer:
        return json.load(answer)


def _tell(fleet: Machines, names: list[str], faults: dict[str, Any]) -> None:
    body = json.dumps({"names": names, "faults": faults}).encode()
    with urllib.request.urlopen(f"{fleet.control}/inject", data=body, timeout=60) as answer:
        answer.read()
