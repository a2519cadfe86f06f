"""Burn-in of the network by the stock agent on two real QEMU machines, which write to each other in turn."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator

import pytest

from ingot.lab.stage import Stage
from tests.flows.realsite import LONG, real_site
from tests.flows.test_real_agent import Machine

pytestmark = [
    *LONG,
    pytest.mark.nightly,  # minutes of emulated machines: `make test` has to end within thirty
    pytest.mark.timeout(1800),
]

RACK = """
[[machine]]
name = "one"
firmware = "uefi"
bmc = { kind = "redfish" }

[[machine]]
name = "two"
firmware = "uefi"
bmc = { kind = "ipmi" }
"""
ADDRESSES = {"one": "172.30.0.150", "two": "172.30.0.151"}
ROLES = {"one": "writer", "two": "reader"}
STEPS = [{"interface": "deploy", "step": "burnin_network"}]
SECONDS = 10


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Stage]:
    async with real_site("ingot-burnin", RACK) as stage:
        await stage.enrol()
        yield stage


async def burn_in(stage: Stage, name: str) -> None:
    """Fix the machine's address by a port of the network, tell it its partner, and run the step."""
    machine, (partner,) = Machine(stage, name), set(ADDRESSES) - {name}
    words = (
        "port",
        "create",
        "--network",
        "provider",
        "--fixed-ip",
        f"ip-address={ADDRESSES[name]}",
    )
    port = (await stage.openstack(*words, name, "-f", "value", "-c", "id", project=True)).strip()
    await machine.verb("vif attach", port)
    config = json.dumps({"role": ROLES[name], "partner": ADDRESSES[partner]})
    for info in (
        f"agent_burnin_fio_network_config={config}",
        f"agent_burnin_fio_network_runtime={SECONDS}",
    ):
        await machine.verb("set", "--driver-info", info)
    await machine.go("clean", "manageable", "--clean-steps", json.dumps(STEPS))


def amounts(console: str) -> list[tuple[str, float]]:
    """READ or WRITE and MiB of each of fio's summaries on a console."""
    found = re.findall(r"(READ|WRITE): bw=[^\n]*?io=([\d.]+)(KiB|MiB|GiB)", console)
    units = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
    return [(way, float(size) * units[unit]) for way, size, unit in found]


async def test_burnin_network() -> None:
    async with site() as stage:
        await stage.openstack("baremetal", "node", "manage", *ADDRESSES, "--wait", "300")
        try:
            async with asyncio.TaskGroup() as both:
                for name in ADDRESSES:
                    both.create_task(burn_in(stage, name))
        except* Exception:
            for name in ADDRESSES:
                print(name, stage.rack.console_log(name)[-5000:])
            raise
        moved = {name: amounts(stage.rack.console_log(name)) for name in ADDRESSES}
        print(moved)
        for name, role in ROLES.items():
            order = ["WRITE", "READ"] if role == "writer" else ["READ", "WRITE"]
            assert [way for way, _ in moved[name]] == order, moved
            assert all(size > 1 for _, size in moved[name]), moved
            assert f"partner {ADDRESSES[({*ADDRESSES} - {name}).pop()]}" in stage.rack.console_log(
                name
            )
