"""Boot media are fetched by a secret of this boot alone, in pieces as controllers do, and say who boots."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pycdlib
import pytest
import sqlalchemy as sa
from pycdlib.pycdlibexception import PyCdlibException

from ingot.drivers.machine.types import Access
from ingot.kit.faults import Invalid
from ingot.services.baremetal import store
from ingot.services.baremetal.boot.plan import Intent, media_url
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.workflows import booting
from tests.flows.site import Site, cloud

pytestmark = pytest.mark.anyio

MAC = "52:54:00:00:00:01"
REDFISH = {"redfish_address": "http://127.0.0.1:9"}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with cloud(tmp_path) as here:
        yield here


async def ordered(here: Site, intent: Intent, boot: str = "redfish-virtual-media") -> str:
    """A node with that order, made ready as before a start; its uuid."""
    fields = {"driver": "redfish", "driver_info": REDFISH, "boot_interface": boot}
    node = await here.db.write(lambda conn: here.baremetal.create_node(conn, fields))
    port = {"node_uuid": node.uuid, "address": MAC}
    await here.db.write(lambda conn: here.baremetal.create_port(conn, port))
    await again(here, node.uuid, intent)
    return node.uuid


async def again(here: Site, uuid: str, intent: Intent) -> None:
    def order(conn: sa.Connection) -> None:
        store.update_node(conn, uuid, boot_intent=msgspec.to_builtins(intent))
        booting.ready_medium(conn, here.deps, store.get_node(conn, uuid))

    await here.db.write(order)


async def url_of(here: Site, uuid: str, name: str = "boot.iso") -> str:
    intent = msgspec.convert((await here.node(uuid)).boot_intent, Intent)
    return media_url(uuid, intent, here.deps.urls, name)


async def fetch(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, str]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, headers=headers) as reply,
    ):
        return reply.status, await reply.read(), reply.headers.get("Content-Length", "")


async def test_the_medium_has_this_boots_words_and_the_agents_token(site: Site) -> None:
    uuid = await ordered(site, Intent(boot="agent", extra="console=ttyS0"))
    status, body, _ = await fetch(await url_of(site, uuid))
    assert status == 200 and body[32769:32774] == b"CD001"
    agent = await site.db.read(lambda conn: agent_store.get_agent(conn, site.deps.vault, uuid))
    assert agent is not None and agent.token
    for words in (
        f"'ipa-agent-token={agent.token}'",
        f"'ipa-api-url={site.url}'",
        "'boot_method=vmedia'",
        f"'BOOTIF=01-{MAC.replace(':', '-')}'",
        "'console=ttyS0'",
    ):
        assert words.encode() in body, words
    assert (await site.node(uuid)).boot_seen_at


NETWORK_DATA = {
    "links": [{"id": "one", "type": "phy", "ethernet_mac_address": MAC}],
    "networks": [
        {
            "id": "n",
            "link": "one",
            "network_id": "n",
            "type": "ipv4",
            "ip_address": "10.0.0.5",
            "netmask": "255.255.255.0",
            "routes": [],
        }
    ],
    "services": [],
}


def drive_of(body: bytes) -> tuple[str, Any]:
    """The medium's label, and its network_data."""
    disc: Any = pycdlib.PyCdlib()
    disc.open_fp(io.BytesIO(body))
    out = io.BytesIO()
    try:
        disc.get_file_from_iso_fp(out, rr_path="/openstack/latest/network_data.json")
    except PyCdlibException:
        return disc.pvd.volume_identifier.decode().strip(), None
    return disc.pvd.volume_identifier.decode().strip(), json.loads(out.getvalue())


async def test_a_medium_brings_the_nodes_addresses(site: Site) -> None:
    uuid = await ordered(site, Intent(boot="agent"))
    _, body, _ = await fetch(await url_of(site, uuid))
    assert drive_of(body) == ("VMEDIA_BOOT_ISO", None) and b"ingot.services.network" not in body

    fields = [PatchOperation(op="add", path="/network_data", value=NETWORK_DATA)]
    await site.db.write(lambda conn: site.baremetal.patch(conn, uuid, fields))
    await again(site, uuid, Intent(boot="agent"))
    url = await url_of(site, uuid)
    # What a boot began with counts until its end: a controller fetches the medium in pieces.
    fields = [PatchOperation(op="remove", path="/network_data")]
    await site.db.write(lambda conn: site.baremetal.patch(conn, uuid, fields))
    _, body, _ = await fetch(url)
    assert drive_of(body) == ("config-2", NETWORK_DATA)
    assert b"'ingot.services.network=config-2'" in body

    await again(site, uuid, Intent(boot="agent"))
    assert drive_of((await fetch(await url_of(site, uuid)))[1])[1] is None


async def test_instances_and_ready_made_media_bring_their_own(site: Site) -> None:
    uuid = await ordered(site, Intent(boot="agent"))
    fields = [PatchOperation(op="add", path="/network_data", value=NETWORK_DATA)]
    await site.db.write(lambda conn: site.baremetal.patch(conn, uuid, fields))
    for intent in (Intent(boot="kernel"), Intent(boot="agent", iso="http://x/own.iso")):
        await again(site, uuid, intent)
        assert "network_data" not in ((await site.node(uuid)).boot_intent or {})


async def test_heads_and_ranges(site: Site) -> None:
    url = await url_of(site, await ordered(site, Intent(boot="agent")))
    _, body, _ = await fetch(url)
    status, empty, length = await fetch(url, "HEAD")
    assert (status, empty, length) == (200, b"", str(len(body)))
    middle = body.index(b"ipa-agent-token")
    status, part, _ = await fetch(url, Range=f"bytes={middle - 7}-{middle + 40}")
    assert (status, part) == (206, body[middle - 7 : middle + 41])


async def test_only_the_present_secret_opens_anything(site: Site) -> None:
    uuid = await ordered(site, Intent(boot="agent"))
    old = await url_of(site, uuid)
    await again(site, uuid, Intent(boot="agent"))
    new = await url_of(site, uuid)
    assert old != new
    assert (await fetch(old))[0] == 404
    assert (await fetch(new))[0] == 200
    for wrong in (
        f"{site.url}/media/{uuid}//boot.iso",
        f"{site.url}/media/{uuid}/x/boot.iso",
        f"{site.url}/media/nonsense/x/boot.iso",
        new.replace(uuid, "00000000-0000-0000-0000-000000000000"),
        await url_of(site, uuid, "config.iso"),
    ):
        assert (await fetch(wrong))[0] == 404, wrong
    await site.db.write(lambda conn: store.update_node(conn, uuid, boot_intent=None))
    assert (await fetch(new))[0] == 404


async def test_an_order_for_the_network_has_no_medium(site: Site) -> None:
    uuid = await ordered(site, Intent(boot="agent"), boot="ipxe")
    assert "media" not in ((await site.node(uuid)).boot_intent or {})
    assert (await fetch(f"{site.url}/media/{uuid}/x/boot.iso"))[0] == 404


async def test_an_instance_gets_its_own_words_and_its_config_drive(site: Site) -> None:
    files = {"kernel": f"{site.url}/files/kernel", "ramdisk": f"{site.url}/files/ramdisk"}
    uuid = await ordered(site, Intent(boot="kernel", extra="live=yes", **files))
    drive = {"meta_data": {"hostname": "one"}}
    await site.db.write(
        lambda conn: store.write_secret(conn, site.deps.vault, uuid, "configdrive", drive)
    )
    _, body, _ = await fetch(await url_of(site, uuid))
    assert b"'live=yes'" in body and b"ipa-" not in body
    status, image, _ = await fetch(await url_of(site, uuid, "config.iso"))
    assert status == 200 and b'"hostname":"one"' in image
    await site.db.write(
        lambda conn: store.write_secret(conn, site.deps.vault, uuid, "configdrive", "http://x/d")
    )
    node = await site.node(uuid)
    with pytest.raises(Invalid, match="given by URL"):
        await booting.prepare(site.deps, node, Access("redfish", REDFISH), None)


async def test_a_machine_that_could_not_boot_its_medium_goes_on_to_its_disk(site: Site) -> None:
    await ordered(site, Intent(boot="agent"))
    status, script, _ = await fetch(f"{site.url}/boot/{MAC}")
    assert status == 200 and b"exit 1" in script and b"kernel" not in script


async def test_a_node_may_name_an_agent_of_its_own(site: Site) -> None:
    own = Intent(boot="agent", kernel="http://10.9.9.9/k", ramdisk="http://10.9.9.9/r")
    uuid = await ordered(site, own, boot="ipxe")
    _, script, _ = await fetch(f"{site.url}/boot/{MAC}")
    assert b"http://10.9.9.9/k" in script and b"ipa-api-url" in script
    lost = Intent(boot="agent", kernel="an-image-that-is-gone", ramdisk="another")
    await again(site, uuid, lost)
    _, script, _ = await fetch(f"{site.url}/boot/{MAC}")
    assert b"No image an-image-that-is-gone" in script, "the machine's console says why it waits"
