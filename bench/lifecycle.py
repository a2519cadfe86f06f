"""Fake nodes through the whole life-cycle: what the engine and the states cost without hardware."""

from __future__ import annotations

import dataclasses
import time

from bench.cloud import Cloud, node_name
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
    return await _cycles(ground, scale, "")


async def run_many(ground: Ground, scale: Scale) -> list[Figure]:
    """One round of many at once."""
    count = scale.fakes * 5
    return await _cycles(
        ground, dataclasses.replace(scale, rounds=1, fakes=count), f"{count:,} at once: "
    )


async def _cycles(ground: Ground, scale: Scale, title: str) -> list[Figure]:
    stages = [Figure(title + name, "s") for name, _, _ in _STAGES]
    whole = Figure(title + "whole life-cycle", "nodes/min")
    cpu = Figure(title + "CPU for 1,000 life-cycles", "CPU s")
    server = ground.fresh()
    with server.running():
        cloud = await Cloud(server).login()
        for number in range(scale.rounds):
            first = number * scale.fakes
            names = [node_name(n) for n in range(first, first + scale.fakes)]
            await cloud.enrol(range(first, first + scale.fakes))
            spent, wall = server.cpu(), 0.0
            for figure, (_, verb, state) in zip(stages, _STAGES, strict=True):
                began = time.perf_counter()
                outcome = await cloud.some([cloud.verb(name, verb) for name in names])
                again = await cloud.all_in(names, state, verb)
                figure.values.append(time.perf_counter() - began)
                figure.failed += outcome.failed
                figure.note = figure.note or outcome.first_failure
                if again:
                    figure.note += f" (given again {again} times to nodes that stood still)"
                wall += figure.values[-1]
            whole.values.append(scale.fakes * 60 / wall)
            cpu.values.append((server.cpu() - spent) * 1000 / scale.fakes)
            await cloud.some(
                [cloud.ask("DELETE", f"/v1/nodes/{name}", expect=204) for name in names]
            )
        cloud.close()
    return [*stages, whole, cpu]
