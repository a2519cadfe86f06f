"""Real deploys over simulated machines: real Redfish and IPMI, the real agent protocol, fast time.

The machines are one more process on the same cores; their CPU is told apart from the control plane's.
"""

from __future__ import annotations

import time
from typing import Any

from bench.cloud import Cloud
from bench.measure import Figure
from bench.processes import Ground, cpu_seconds, machines
from bench.scale import Scale

_IMAGE = b"\0" * 65536 + b"ingot" * 1000


async def run(ground: Ground, scale: Scale) -> list[Figure]:
    rate = Figure(f"deploys, {scale.machines} machines at once", "per min")
    cpu = Figure("CPU a deploy, control plane", "CPU s")
    tools = Figure("of it programs that it runs (ipmitool)", "CPU s")
    back = Figure("CPU a way back (deleted -> available)", "CPU s")
    theirs = Figure("CPU a deploy, simulated machine", "CPU s")
    server = ground.fresh()
    with (
        server.running(),
        machines(scale.machines, scale.speed, server.boot_url, server.state) as (pid, entries, _),
    ):
        cloud = await Cloud(server).login()
        image = await deployable_image(cloud)
        names = await _enrol(cloud, entries, image)
        for _ in range(scale.rounds):
            began, spent, other = time.perf_counter(), server.cpu(), cpu_seconds(pid)
            helped = server.programs()
            await _go(cloud, names, "active", "active")
            rate.values.append(len(names) * 60 / (time.perf_counter() - began))
            cpu.values.append((server.cpu() - spent) / len(names))
            tools.values.append((server.programs() - helped) / len(names))
            theirs.values.append((cpu_seconds(pid) - other) / len(names))
            spent = server.cpu()
            await _go(cloud, names, "deleted", "available")
            back.values.append((server.cpu() - spent) / len(names))
            await _order(cloud, names, image)
        cloud.close()
    return [rate, cpu, tools, back, theirs]


async def deployable_image(cloud: Cloud) -> str:
    """The id of a small image, uploaded."""
    meta = {"name": "bench", "disk_format": "raw", "container_format": "bare"}
    made = (await cloud.call("POST", "/image/v2/images", meta, 201)).json["id"]
    headers = {"Content-Type": "application/octet-stream"}
    await cloud.call("PUT", f"/image/v2/images/{made}/file", _IMAGE, 204, **headers)
    return made


async def _enrol(cloud: Cloud, entries: list[dict[str, Any]], image: str) -> list[str]:
    """All machines as available nodes, ready to be deployed; their names."""
    names: list[str] = []
    for entry in entries:
        ports = entry.pop("ports")
        entry |= {"network_interface": "noop", "automated_clean": False}
        made = (await cloud.call("POST", "/v1/nodes", entry, 201)).json
        for port in ports:
            body = {**port, "node_uuid": made["uuid"]}
            await cloud.call("POST", "/v1/ports", body, 201)
        names.append(entry["name"])
    await _go(cloud, names, "manage", "manageable")
    await _go(cloud, names, "provide", "available")
    await _order(cloud, names, image)
    return names


async def _order(cloud: Cloud, names: list[str], image: str) -> None:
    """Say what is to be on the disks: the way back forgets it."""
    change = [{"op": "add", "path": "/instance_info", "value": {"image_source": image}}]
    await cloud.each([cloud.ask("PATCH", f"/v1/nodes/{name}", change) for name in names])


async def _go(cloud: Cloud, names: list[str], verb: str, state: str) -> None:
    await cloud.each([cloud.verb(name, verb) for name in names])
    await cloud.until(len(names), state)
