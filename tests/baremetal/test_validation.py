"""`validate` tells the truth about boot, deploy and storage, without asking a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_support import world

from ingot.services.baremetal import BaremetalSettings, store

pytestmark = pytest.mark.anyio

ADDRESS = {"redfish_address": "https://10.0.0.1", "redfish_username": "u", "redfish_password": "p"}
IMAGE = {"image_source": "http://x/i", "image_checksum": "0" * 64}


async def validated(
    tmp_path: Path, *, port: bool = True, agent: bool = True, **fields: Any
) -> dict[str, Any]:
    """A redfish node with these fields; what is said of each interface."""
    async with world(tmp_path, settings=BaremetalSettings(agent_ramdisk=agent)) as here:
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


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("file:///etc/passwd", "not in a folder"),
        ("file:///srv/../etc/passwd", "not in a folder"),
        ("gopher://x/y", "by gopher:// cannot be deployed"),
        ("oci://x/y", "by oci:// cannot be deployed"),
        ("http://127.0.0.1/x", "not asked for others"),
        ("http://0xa9fea9fe/x", "not asked for others"),
        ("http://[fe80::1]/x", "not asked for others"),
        ("http://[::1", "is no URL"),
        ("http://10.0.0.7/x", ""),
        ("file:///srv/images/x.raw", ""),
        ("8a3bd0a1-5cf3-4d33-9e56-3f3a4d1f6f10", "no image service"),
        ("glance://8a3bd0a1-5cf3-4d33-9e56-3f3a4d1f6f10", "no image service"),
    ],
)
async def test_validate_says_what_the_deploy_would_say(
    tmp_path: Path, source: str, words: str
) -> None:
    settings = BaremetalSettings(image_service=False, file_images=(Path("/srv/images"),))
    async with world(tmp_path, settings=settings) as here:
        body = {
            "driver": "fake-hardware",
            "deploy_interface": "direct",
            "name": "n",
            "instance_info": {**IMAGE, "image_source": source},
        }
        made = await here.ask("POST", "/v1/nodes", body)
        assert made.status == 201, made.json
        said = (await here.ask("GET", "/v1/nodes/n/validate")).json["deploy"]
        assert said["result"] is not bool(words), said
        assert words in (said.get("reason") or "")


async def test_a_password_in_an_images_url_is_not_shown(tmp_path: Path) -> None:
    url = "https://user:hidden-word@images.example/disk.raw"
    async with world(tmp_path) as here:
        body = {
            "driver": "fake-hardware",
            "name": "n",
            "instance_info": {**IMAGE, "image_source": url},
        }
        assert (await here.ask("POST", "/v1/nodes", body)).status == 201

        async def whole() -> str:
            shown = (await here.ask("GET", "/v1/nodes/n")).json["instance_info"]["image_source"]
            assert shown == "https://user:******@images.example/disk.raw"
            node = await here.db.read(lambda conn: store.find_node(conn, "n"))
            assert node is not None and "hidden-word" not in str(node.instance_info)
            vault = here.baremetal.ctx.vault
            info = await here.db.read(lambda conn: store.instance_info(conn, vault, node))
            return str(info["image_source"])

        assert await whole() == url
        # What a client has read it may send back.
        shown = (await here.ask("GET", "/v1/nodes/n")).json["instance_info"]
        patch = [{"op": "replace", "path": "/instance_info", "value": {**shown, "a": "b"}}]
        assert (await here.ask("PATCH", "/v1/nodes/n", patch)).status == 200
        assert await whole() == url
