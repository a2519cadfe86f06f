"""The stock agent at its other work, on real QEMU machines: what simulated ones can only pretend.

Two machines side by side, five boots of the agent in all. `store-1` with two disks: inspection with rules, then
one manual clean of many steps (erase, a step with arguments, burn-in, software RAID). `uefi-1`: the image of
a file system deployed into partitions with a boot loader made by the agent, rescue with a login by password,
and back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingot.lab.stage import Stage
from tests.flows.realsite import LONG, real_site

pytestmark = [
    *LONG,
    pytest.mark.nightly,  # minutes of emulated machines: `make test` has to end within thirty
    pytest.mark.timeout(1800),
]

RACK = """
[[machine]]
name = "store-1"
firmware = "uefi"
bmc = { kind = "ipmi" }
disks_gb = [5, 5]

[[machine]]
name = "uefi-1"
firmware = "uefi"
bmc = { kind = "redfish" }
"""
#: Beside what the stage itself says of machines.
SETTINGS = {"baremetal": "install_boot_loaders = true\n"}
MIB = 1 << 20
#: Where the root partition of our image begins, and what is behind it (ingot.builders.disk.Layout).
ROOT_OFFSET, SPARE = 66 * MIB, MIB
PASSWORD = "let-me-in-7"
#: The mark of a member of an md array (superblock 1.2, 4 KiB into the partition).
MD_MAGIC = bytes.fromhex("fc4e2ba9")
#: What the agent leaves free before the members of an array where machines boot by UEFI.
ESP = 551 * MIB

RULES: list[dict[str, Any]] = [
    {
        "description": "two disks make a storage machine",
        "priority": 50,
        "conditions": [{"op": "!is-empty", "args": {"value": "{inventory[disks][1][name]}"}}],
        "actions": [
            {"op": "set-attribute", "args": {"path": "resource_class", "value": "storage"}},
            {"op": "add-trait", "args": {"name": "CUSTOM_{item}"}, "loop": ["DISKS", "QEMU"]},
        ],
    },
    {
        "description": "none of ours",
        "conditions": [{"op": "gt", "args": {"values": ["{inventory[cpu][count]}", 64]}}],
        "actions": [{"op": "fail", "args": {"msg": "there is no such machine here"}}],
    },
]
STEPS: list[dict[str, Any]] = [
    {"interface": "deploy", "step": "erase_devices_metadata"},
    {
        "interface": "deploy",
        "step": "clean_uefi_nvram",
        "args": {"match_patterns": ["^Nothing like it$"]},
    },
    {"interface": "deploy", "step": "burnin_cpu"},
    {"interface": "deploy", "step": "burnin_memory"},
    {"interface": "deploy", "step": "burnin_disk"},
    {"interface": "raid", "step": "delete_configuration"},
    {"interface": "raid", "step": "create_configuration"},
]
BURN_IN = {
    "agent_burnin_cpu_timeout": 2,
    "agent_burnin_vm_timeout": 2,
    "agent_burnin_vm_vm-bytes": "64M",
    "agent_burnin_fio_disk_runtime": 2,
}
RAID = {
    "logical_disks": [
        {"size_gb": "MAX", "raid_level": "1", "controller": "software", "is_root_volume": True}
    ]
}


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Stage]:
    """A rack of two machines with a cloud, all enrolled; everything ends with it."""
    async with real_site("ingot-agent", RACK, SETTINGS) as stage:
        await stage.enrol()
        yield stage


class Machine:
    """One node, driven by the stock client."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name

    async def verb(self, verb: str, *words: str) -> str:
        """`openstack baremetal node VERB NAME …`."""
        return await self.stage.openstack("baremetal", "node", *verb.split(), self.name, *words)

    async def show(self) -> dict[str, Any]:
        return json.loads(await self.verb("show", "-f", "json"))

    async def go(self, verb: str, state: str, *words: str, deadline: int = 1200) -> dict[str, Any]:
        """A verb with its wait; the node, which must be in `state` then."""
        try:
            await self.verb(verb, *words, "--wait", str(deadline))
        except Exception as failure:
            node = await self.show()
            raise AssertionError(f"{verb}: {node['last_error']}\n{failure}") from failure
        node = await self.show()
        assert node["provision_state"] == state, node["last_error"]
        return node

    async def set(self, file: str, content: Any, *words: str) -> None:
        """`node set` with an argument that is read from a file."""
        path = self.stage.state / file
        path.write_text(json.dumps(content))
        await self.verb("set", *words, str(path))


async def inspect_and_clean(stage: Stage) -> None:
    machine = Machine(stage, "store-1")
    for number, rule in enumerate(RULES):
        actions, conditions = (stage.state / f"{part}-{number}.json" for part in ("a", "c"))
        actions.write_text(json.dumps(rule["actions"]))
        conditions.write_text(json.dumps(rule["conditions"]))
        words = ("--actions", str(actions), "--conditions", str(conditions))
        await stage.openstack(
            *("baremetal", "inspection", "rule", "create"),
            *("--description", rule["description"], "--priority", str(rule.get("priority", 0))),
            *words,
        )
    node = await machine.go("inspect", "manageable")
    assert node["resource_class"] == "storage"
    assert node["traits"] == ["CUSTOM_DISKS", "CUSTOM_QEMU"]
    assert (node["properties"]["cpus"], node["properties"]["cpu_arch"]) == (2, "x86_64")
    assert "boot_mode:uefi" in node["properties"]["capabilities"]

    for name, value in BURN_IN.items():
        await machine.verb("set", "--driver-info", f"{name}={value}")
    await machine.verb("set", "--raid-interface", "agent")
    await machine.set("raid.json", RAID, "--target-raid-config")
    steps = stage.state / "steps.json"
    steps.write_text(json.dumps(STEPS))
    node = await machine.go("clean", "manageable", "--clean-steps", str(steps))
    (made,) = node["raid_config"]["logical_disks"]
    assert (made["raid_level"], made["controller"]) == ("1", "software")
    assert "raid_level:1" in node["properties"]["capabilities"]
    console = stage.rack.console_log("store-1")
    for stressor in ("cpu", "vm"):
        assert f"dispatching hogs: 2 {stressor}" in console
    for disk in ("vda", "vdb"):
        assert f"/dev/{disk}: (g=0): rw=rw" in console, "fio worked on each disk"
    for number in range(2):
        assert md_magic(stage, "store-1", number) == MD_MAGIC, f"disk {number} is in no array"


def md_magic(stage: Stage, name: str, number: int) -> bytes:
    """What is where an array's member has its mark: the partition lies behind room for an ESP."""
    path = next((stage.state / "rack").rglob(f"{name}/disk{number}.raw"))
    with path.open("rb") as file:
        file.seek(ESP + 4096)
        return file.read(len(MD_MAGIC))


async def partition_image(stage: Stage) -> str:
    """Our image's root file system alone, as an image; its id."""
    whole = Path(stage.image["files"]["raw"])
    size = (await asyncio.to_thread(whole.stat)).st_size - ROOT_OFFSET - SPARE
    path = stage.state / "root.qcow2"
    source = f"driver=raw,offset={ROOT_OFFSET},size={size},file.driver=file,file.filename={whole}"
    words = ("qemu-img", "convert", "--image-opts", source, "-O", "qcow2", str(path))
    await stage.run(*words)
    return (
        await stage.openstack(
            *("image", "create", "root", "--disk-format", "qcow2", "--public", "--file", str(path)),
            *("-f", "value", "-c", "id"),
            project=True,
        )
    ).strip()


async def deploy_and_rescue(stage: Stage) -> None:
    machine = Machine(stage, "uefi-1")
    image = await partition_image(stage)
    await machine.verb("set", "--no-automated-clean")
    await machine.go("provide", "available")
    words = ("port", "create", "--network", "provider", "tenant", "-f", "json")
    port = json.loads(await stage.openstack(*words, project=True))
    address = port["fixed_ips"][0]["ip_address"]
    await machine.verb("vif attach", port["id"])
    await stage.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stage.key))
    info = {"image_source": image, "image_type": "partition", "root_gb": 4, "swap_mb": 128}
    for name, value in info.items():
        await machine.verb("set", "--instance-info", f"{name}={value}")
    drive = stage.state / "drive.json"
    key = stage.key.with_suffix(".pub").read_text().strip()
    meta = {"uuid": port["id"], "hostname": "parted", "public_keys": {"mine": key}}
    drive.write_text(json.dumps({"meta_data": meta}))
    await machine.go("deploy", "active", "--config-drive", drive.read_text())
    await stage.ssh_answers(address, 900)
    found = await stage.run_there(
        address,
        # Rescue switches the machine off: what its first boot wrote must be on the disk by then.
        "sync; hostname; lsblk -n -o PARTTYPENAME,FSTYPE /dev/vda; findmnt -n -o SOURCE /",
    )
    assert found.startswith("parted") and "EFI System" in found, found
    assert "swap" in found and "/dev/vda" in found, found

    await rescue(stage, machine, address)


async def rescue(stage: Stage, machine: Machine, address: str) -> None:
    await machine.go("rescue", "rescue", "--rescue-password", PASSWORD)
    assert "ingot-ramdisk" in await by_password(stage, address, "hostname")
    assert "parted" in await by_password(
        stage, address, "mount $(blkid -t TYPE=ext4 -o device) /mnt && cat /mnt/etc/hostname"
    )
    await machine.go("unrescue", "active")
    await stage.ssh_answers(address, 900)
    assert "parted" in await stage.run_there(address, "hostname")


async def by_password(stage: Stage, address: str, script: str, deadline: float = 600) -> str:
    """Log in as the rescue user; the agent's own ssh server may need a moment."""
    ask = stage.state / "askpass"
    ask.write_text(f"#!/bin/sh\necho {PASSWORD}\n")
    ask.chmod(0o700)
    options = (
        *("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"),
        *("PubkeyAuthentication=no", "ConnectTimeout=10"),
    )
    words = [*stage.rack.inside("ssh"), *(w for option in options for w in ("-o", option))]
    environment = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
    ends = time.monotonic() + deadline
    while True:
        try:
            return await stage.run(*words, f"rescue@{address}", script, environment=environment)
        except Exception:
            if time.monotonic() > ends:
                raise
            await asyncio.sleep(2)


async def test_the_stock_agent_at_all_its_work() -> None:
    async with site() as stage:
        names = ("store-1", "uefi-1")
        await stage.openstack("baremetal", "node", "manage", *names, "--wait", "300")
        async with asyncio.TaskGroup() as both:
            both.create_task(inspect_and_clean(stage))
            both.create_task(deploy_and_rescue(stage))
