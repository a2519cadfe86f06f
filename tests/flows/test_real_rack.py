"""The real thing: QEMU machines behind IPMI and Redfish, the stock agent, a real image, ssh.

One rack, one story: the cloud is killed (-9) at four points of the deploys and started again; both
machines must come up without help, and their images must have been written once.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from ingot.cli.client import cloud
from ingot.lab.stage import Stage
from tests.flows.realsite import LONG, real_site

pytestmark = [
    *LONG,
    pytest.mark.timeout(1500),
]

RACK = """
[[machine]]
name = "bios-1"
firmware = "bios"
bmc = { kind = "ipmi" }

[[machine]]
name = "uefi-1"
firmware = "uefi"
bmc = { kind = "redfish" }

[[machine]]
name = "uefi-2"
firmware = "uefi"
bmc = { kind = "redfish" }
"""

#: The cloud is killed when one of the machines' timelines shows these.
KILL_AT = ("power on [1]", "wait for agent [1]", "write the image", "start the instance")


async def events(stage: Stage) -> list[dict[str, Any]]:
    here = cloud("ingot-system", str(stage.clouds))
    path = "/timeline/v1/events?limit=1000"
    return (await asyncio.to_thread(here.get, path))["events"]


async def kill_at(stage: Stage, step: str, deadline: float = 420) -> None:
    """Wait until some machine's deploy is in a step, kill the whole cloud, and start it again."""
    ends = asyncio.get_running_loop().time() + deadline
    while asyncio.get_running_loop().time() < ends:
        here = cloud("ingot-system", str(stage.clouds))
        live = await asyncio.to_thread(here.get, "/timeline/v1/operations?live=true")
        if any(op["kind"] == "deploy" and op["step"] == step for op in live["operations"]):
            await stage.kill()
            await stage.serve()
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"no deploy came to step {step!r}")


async def baremetal(stage: Stage, verb: str, *words: str) -> str:
    return await stage.openstack("baremetal", "node", verb, *words)


async def refuse_the_wrong_machine(stage: Stage) -> None:
    """Two controllers exchanged: nothing may be switched off or erased, and the fault says so."""
    await stage.rack.swap_bmcs("uefi-1", "uefi-2")
    await baremetal(stage, "provide", "uefi-1")
    ends = asyncio.get_running_loop().time() + 60
    state, error = "", ""
    while state != "clean failed":
        assert asyncio.get_running_loop().time() < ends, f"uefi-1 is {state}: {error}"
        node = json.loads(await baremetal(stage, "show", "uefi-1", "-f", "json"))
        state, error = node["provision_state"], node["last_error"]
    assert "Wrong machine" in error
    await stage.rack.swap_bmcs("uefi-1", "uefi-2")
    await baremetal(stage, "manage", "uefi-1", "--wait", "60")
    await baremetal(stage, "delete", "uefi-2")


async def test_deploys_survive_kills_and_the_machine_is_the_right_one() -> None:
    async with real_site("ingot-test", RACK) as stage:
        await stage.enrol()
        await baremetal(stage, "manage", "bios-1", "uefi-1", "uefi-2", "--wait", "120")
        await refuse_the_wrong_machine(stage)
        await baremetal(stage, "provide", "bios-1", "uefi-1", "--wait", "900")

        await stage.prepare_tenant()
        for name in ("one", "two"):
            await stage.order(name)
        for step in KILL_AT:
            await kill_at(stage, step)
        addresses = [await stage.active(name, 900) for name in ("one", "two")]
        for address in addresses:
            await stage.ssh_answers(address, 400)
        writes = [
            event
            for event in await events(stage)
            if event["kind"] == "step.done" and event["step"] == "write the image"
        ]
        assert len(writes) == 2, "each image is written once"
        hosts = [
            await stage.run_there(address, "hostname; lsblk -n -o NAME /dev/vda")
            for address in addresses
        ]
        assert [host.split()[0] for host in hosts] == ["one", "two"]
        assert all(re.search(r"vda\d", host) for host in hosts), (
            "it runs from the machine's own disk"
        )

        await stage.openstack("server", "reboot", "--hard", "--wait", "one", project=True)
        await stage.openstack(
            "server", "rebuild", "--wait", "--image", "debian", "two", project=True
        )
        for address in addresses:
            await stage.ssh_answers(address, 400)
        await stage.openstack("server", "delete", "--wait", "one", "two", project=True)
        await stage.until_available(900)
