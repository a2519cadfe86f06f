"""Memory and start: idle, with 1,000 nodes, after they were read; the command line's own start."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from bench.cloud import Cloud
from bench.measure import Figure
from bench.processes import Ground, Server
from bench.scale import Scale

#: What a fresh server still does after its first answer, it does within this time.
_SETTLE_SECONDS = 3.0


async def run(ground: Ground, scale: Scale) -> list[Figure]:
    first = Figure("first start, makes schema and users", "s")
    empty = Figure("start again, empty", "s")
    full = Figure(f"start again, {scale.nodes:,} nodes", "s")
    idle = Figure("memory (PSS), idle", "MiB")
    resident = Figure("memory (RSS), idle", "MiB")
    loaded = Figure(f"memory (PSS), {scale.nodes:,} nodes", "MiB")
    server = ground.fresh()
    for number in range(scale.rounds):
        server = ground.fresh() if number else server
        first.values.append(_started(server))
    for _ in range(scale.rounds):
        empty.values.append(server.start())
        await asyncio.sleep(_SETTLE_SECONDS)
        idle.values.append(server.memory()["pss"])
        resident.values.append(server.memory()["rss"])
        server.stop()
    await _fill(server, scale.nodes)
    for _ in range(scale.rounds):
        full.values.append(server.start())
        await _use(server)
        loaded.values.append(server.memory()["pss"])
        server.stop()
    return [first, empty, full, idle, resident, loaded, _command_line(scale)]


def _started(server: Server) -> float:
    seconds = server.start()
    server.stop()
    return seconds


async def _fill(server: Server, count: int) -> None:
    with server.running():
        cloud = await Cloud(server).login()
        pairs = [cloud.node_and_port(number) for number in range(count)]
        await cloud.each([node for node, _ in pairs])
        await cloud.each([port for _, port in pairs])
        cloud.close()


async def _use(server: Server) -> None:
    """Read all nodes in detail once, as a dashboard does."""
    cloud = await Cloud(server).login()
    await cloud.call("GET", "/v1/nodes/detail")
    await asyncio.sleep(_SETTLE_SECONDS)
    cloud.close()


def _command_line(scale: Scale) -> Figure:
    figure = Figure("ingot --help", "ms")
    command = [sys.executable, "-m", "ingot.cli.main", "--help"]
    for _ in range(scale.rounds + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        figure.values.append((time.perf_counter() - began) * 1000)
    figure.values.pop(0)  # the first reads the files from the disk
    return figure
