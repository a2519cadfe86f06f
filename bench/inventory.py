"""Lists of a large inventory: 10,000 nodes without ports, page after page as clients read them."""

from __future__ import annotations

import time

from bench.cloud import Cloud
from bench.measure import Figure
from bench.processes import Ground, Server
from bench.scale import Scale

_FILLERS = 4


async def run(ground: Ground, scale: Scale) -> list[Figure]:
    server = ground.fresh()
    size = f"list {scale.inventory:,}"
    with server.running():
        cloud = await Cloud(server).login()
        await cloud.fill(scale.inventory, _FILLERS)
        figures = [
            await _lists(server, cloud, f"{size} in detail", "/v1/nodes/detail", scale),
            await _lists(server, cloud, f"{size} brief", "/v1/nodes", scale),
            await _lists(
                server,
                cloud,
                f"{size}, three fields",
                "/v1/nodes?fields=uuid,name,power_state",
                scale,
            ),
            await _lists(
                server,
                cloud,
                f"filter to {scale.inventory // 10:,} of {scale.inventory:,}",
                "/v1/nodes?resource_class=rare",
                scale,
            ),
        ]
        memory = Figure(f"memory (PSS), {scale.inventory:,} nodes", "MiB", [server.memory()["pss"]])
        server.stop()
        again = Figure(f"start again, {scale.inventory:,} nodes", "s", [server.start()])
        cloud.close()
    return [*figures, memory, again]


async def _lists(server: Server, cloud: Cloud, name: str, path: str, scale: Scale) -> Figure:
    figure = Figure(name, "ms")
    for _ in range(scale.rounds):
        spent, began = server.cpu(), time.perf_counter()
        await cloud.pages(path)
        figure.values.append((time.perf_counter() - began) * 1000)
        figure.cpu_ms.append((server.cpu() - spent) * 1000)
    return figure
