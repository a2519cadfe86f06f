"""The real thing, once and short: a QEMU machine boots over the network, is written, and answers ssh.

`make real` has the long workflows.
"""

from __future__ import annotations

import pytest

from tests.flows.realsite import REAL, real_site

pytestmark = [*REAL, pytest.mark.timeout(2400)]  # a new machine builds ramdisk and image first

RACK = """
[[machine]]
name = "uefi-1"
firmware = "uefi"
bmc = { kind = "redfish" }
"""


async def test_an_order_ends_in_a_machine_that_answers_ssh() -> None:
    async with real_site("ingot-short", RACK) as stage:
        await stage.enrol()
        await stage.openstack("baremetal", "node", "set", "uefi-1", "--no-automated-clean")
        for verb in ("manage", "provide"):
            await stage.openstack("baremetal", "node", verb, "uefi-1", "--wait", "120")
        await stage.prepare_tenant()
        await stage.order("one")
        address = await stage.active("one", 600)
        await stage.ssh_answers(address, 400)
        host = await stage.run_there(address, "hostname; lsblk -n -o NAME /dev/vda")
        assert host.split()[0] == "one"
        assert "vda1" in host, "it runs from the machine's own disk"
