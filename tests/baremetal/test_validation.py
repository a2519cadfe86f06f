"""`validate` tells the truth about boot, deploy and storage, without asking a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_support import world

from ingot.baremetal import Settings

pytestmark = pytest.mark.anyio

ADDRESS = {"redfish_address": "https://10.0.0.1", "redfish_username": "u", "redfish_password": "p"}
IMAGE = {"image_source": "http://x/i", "image_checksum": "0" * 64}


async def validated(
    tmp_path: Path, *, port: bool = True, agent: bool = True, **fields: Any
) -> dict[str, Any]:
    """A redfish node with these fields; what is said of each interface."""
    async with world(tmp_path, settings=Settings(agent_ramdisk=agent)) as here:
        body = {"driver": "redfish", "driver_info": ADDRESS, "name": "n", **fields}
        made = await here.ask("POST", "/v1/nodes", body)
        assert made.status == 201, made.json
        if port:
            where = {"node_uuid": made.json["uuid"], "address": "52:54:00:00:00:01"}
            assert (await here.ask("POST", "/v1/ports", where)).status == 201
        return (await here.ask("GET", "/v1/nodes/n/validate")).json


async def test_a_complete_node(tmp_path: Path) -> None:
    said = await validated(tmp_path, instance_info=IMAGE)
    wrong = {name: one["reason"] for name, one in said.items() if one["result"] is False}
    assert set(wrong) == {"console"}, "no-console is chosen, and says so"


@pytest.mark.parametrize(
    ("boot", "port", "agent", "driver_info", "words"),
    [
        ("ipxe", False, True, {}, "does not have any port"),
        ("redfish-virtual-media", False, True, {}, ""),
        ("redfish-https", False, True, {}, "does not have any port"),
        ("ipxe", True, False, {}, "No agent ramdisk is configured"),
        ("ipxe", True, False, {"deploy_kernel": "http://x/k"}, "deploy_kernel only"),
        (
            "http-ipxe",
            True,
            False,
            {"deploy_kernel": "http://x/k", "deploy_ramdisk": "http://x/r"},
            "",
        ),
        ("redfish-virtual-media", False, False, {"deploy_iso": "http://x/a.iso"}, ""),
        ("ipxe", True, False, {"deploy_iso": "http://x/a.iso"}, "No agent ramdisk"),
    ],
)
async def test_ways_to_boot(
    tmp_path: Path, boot: str, port: bool, agent: bool, driver_info: dict[str, str], words: str
) -> None:
    said = await validated(
        tmp_path,
        port=port,
        agent=agent,
        boot_interface=boot,
        driver_info={**ADDRESS, **driver_info},
    )
    told = said["boot"]
    assert told["result"] is (not words)
    assert words in (told.get("reason") or "")


@pytest.mark.parametrize(
    ("deploy", "info", "words"),
    [
        ("direct", {}, "image_source is missing"),
        ("direct", {**IMAGE, "image_type": "partition"}, "root_gb is missing"),
        ("ramdisk", {}, "kernel is missing"),
        ("ramdisk", {"boot_iso": "http://x/a.iso"}, ""),
        ("custom-agent", {}, ""),
    ],
)
async def test_deploy_styles(tmp_path: Path, deploy: str, info: dict[str, Any], words: str) -> None:
    said = (await validated(tmp_path, deploy_interface=deploy, instance_info=info))["deploy"]
    assert said["result"] is (not words)
    assert words in (said.get("reason") or "")
