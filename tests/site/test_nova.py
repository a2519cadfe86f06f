"""Nova's own ironic driver over a running cloud (nightly: only where INGOT_NOVA names a Python with nova).

uv venv nova && uv pip install --python nova/bin/python "nova==34.*"
INGOT_NOVA=$PWD/nova/bin/python pytest tests/site/test_nova.py
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.site.server import IMAGE, Site, clean_environment, site

pytestmark = pytest.mark.anyio

#: Calls that imaginary machines may refuse: Nova is told, and goes on.
MAY_FAIL = {"get_serial_console"}


def nova_conf(here: Site) -> Path:
    folder = here.folder
    login = f"""auth_type = password
auth_url = {here.url}/identity
username = admin
password = site-secret
user_domain_name = Default
region_name = RegionOne
"""
    file = folder / "nova.conf"
    file.write_text(f"""[DEFAULT]
host = compute-1
state_path = {folder}
transport_url = fake://
[database]
connection = sqlite:///{folder}/nova.db
[api_database]
connection = sqlite:///{folder}/nova_api.db
[oslo_concurrency]
lock_path = {folder}
[serial_console]
enabled = true
[ironic]
{login}system_scope = all
api_retry_interval = 1
[neutron]
{login}project_name = admin
project_domain_name = Default
""")
    return file


async def python(here: Site, *words: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *words,
        env={k: v for k, v in clean_environment().items() if k != "PYTHONPATH"},
        stdout=asyncio.subprocess.PIPE,
        stderr=(here.folder / "nova.log").open("ab"),
    )
    out, _ = await asyncio.wait_for(child.communicate(), 300)
    assert child.returncode == 0, (here.folder / "nova.log").read_text()[-3000:]
    return out.decode()


async def test_the_life_of_an_instance(tmp_path: Path) -> None:
    nova = os.environ.get("INGOT_NOVA")
    if not nova:
        pytest.skip("INGOT_NOVA names no Python with nova")
    async with site(tmp_path) as here:
        network = await here.make_network("one", "192.0.2.0/24", "192.0.2.10", "192.0.2.99")
        body = {"port": {"network_id": network}}
        made = await here.ask("network", "POST", "/v2.0/ports", body, status=201)
        image = await here.make_image("debian")
        await here.upload(image, IMAGE)
        node = {"driver": "fake-hardware", "resource_class": "gold", "network_interface": "flat"}
        uuid = (await here.ask("baremetal", "POST", "/v1/nodes", node, status=201)).body["uuid"]
        port = {"node_uuid": uuid, "address": "02:00:00:00:00:05"}
        await here.ask("baremetal", "POST", "/v1/ports", port, status=201)
        await here.ask("baremetal", "PUT", f"/v1/nodes/{uuid}/traits/CUSTOM_FAST", status=204)
        for verb, state in (("manage", "manageable"), ("provide", "available")):
            await here.verb(uuid, verb)
            await here.node_in(uuid, state)

        conf = str(nova_conf(here))
        manage = str(Path(nova).with_name("nova-manage"))
        await python(here, manage, "--config-file", conf, "db", "sync", "--local_cell")
        script = str(Path(__file__).with_name("nova_driver.py"))
        tool = shutil.which("genisoimage") or shutil.which("mkisofs")
        words = (nova, script, conf, image, made.body["port"]["id"], *([tool] if tool else []))
        said = [json.loads(line) for line in (await python(here, *words)).splitlines()]
        failed = {one["call"]: one["failed"] for one in said if one["failed"]}
        assert set(failed) <= MAY_FAIL, failed
        assert len(said) > 25
        requests = {text.rsplit(" ", 1)[0] for one in said for text in one["requests"]}
        assert "PUT /baremetal/v1/nodes/{id}/states/provision 1.109" in requests
        await here.node_in(uuid, "available")
        await here.ask("baremetal", "DELETE", f"/v1/nodes/{uuid}", status=204)
