"""Fake nodes through the whole life-cycle: what the engine and the states cost without hardware."""

from __future__ import annotations

import time

from bench.cloud import Cloud, node_uuid
from bench.measure import Figure
from bench.processes import Ground
from bench.scale import Scale

_STAGES = (
    ("enroll -> manageable", "manage", "manageable"),
    ("manageable -> available", "provide", "available"),
    ("available -> active", "active", "active"),
    ("active -> deleted -> available", "deleted", "available"),
)


async def run(ground: Ground, scale: Scale) -> list[Figure]:
    stages = [Figure(name, "s") for name, _, _ in _STAGES]
    whole = Figure("whole life-cycle", "nodes/min")
    cpu = Figure("CPU for 1,000 life-cycles", "CPU s")
    server = ground.fresh()
    with server.running():
        cloud = await Cloud(server).login()
        for number in range(scale.rounds):
            numbers = range(number * scale.fakes, (number + 1) * scale.fakes)
            asks = [cloud.node_and_port(n) for n in numbers]
            await cloud.each([node for node, _ in asks])
            await cloud.each([port for _, port in asks])
            spent, wall = server.cpu(), 0.0
            for figure, (_, verb, state) in zip(stages, _STAGES, strict=True):
                began = time.perf_counter()
                await cloud.each([cloud.verb(node_uuid(n), verb) for n in numbers])
                await cloud.until(scale.fakes, state)
                figure.values.append(time.perf_counter() - began)
                wall += figure.values[-1]
            whole.values.append(scale.fakes * 60 / wall)
            cpu.values.append((server.cpu() - spent) * 1000 / scale.fakes)
            path = "/v1/nodes/"
            await cloud.each(
                [cloud.ask("DELETE", path + node_uuid(n), expect=204) for n in numbers]
            )
        cloud.close()
    return [*stages, whole, cpu]
