"""The stock `openstack` command and openstacksdk as judges of the Compute API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.compute.cloud import Cloud, cloud

pytestmark = [pytest.mark.anyio, pytest.mark.clients, pytest.mark.timeout(300)]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGqgU1YlbyQ8ZkXHcd2yzDTnvzZH1j5qz4xX3Qm9m7uB me@here"


async def _show(here: Cloud, column: str) -> str:
    return await here.client("server", "show", "web", "-f", "value", "-c", column)


async def test_the_life_of_a_server(tmp_path: Path) -> None:
    async with cloud(tmp_path, 2) as here:
        await here.enrol()
        (tmp_path / "key.pub").write_text(KEY)
        (tmp_path / "user.data").write_text("#cloud-config\n{}\n")
        await here.client(
            "flavor", "create", "--ram", "2048", "--disk", "10", "--vcpus", "2",
            "--property", "resources:CUSTOM_BAREMETAL=1", "bm",
        )  # fmt: skip
        assert "resources:CUSTOM_BAREMETAL='1'" in await here.client("flavor", "show", "bm")
        await here.client("keypair", "create", "--public-key", "key.pub", "k")
        made = await here.client(
            "server", "create", "--flavor", "bm", "--image", "debian", "--network", "provider",
            "--key-name", "k", "--user-data", "user.data", "--config-drive", "true",
            "--property", "role=web", "--tag", "blue", "--wait", "-f", "json", "web",
        )  # fmt: skip
        server = json.loads(made)
        assert server["status"] == "ACTIVE" and server["properties"] == {"role": "web"}
        listed = json.loads(await here.client("server", "list", "-f", "json"))
        assert listed[0]["Name"] == "web" and listed[0]["Image"] == "debian"
        assert listed[0]["Flavor"] == "bm" and listed[0]["Networks"]["provider"]
        for words, after in (
            (("stop", "web"), "SHUTOFF"),
            (("start", "web"), "ACTIVE"),
            (("reboot", "--wait", "web"), "ACTIVE"),
            (("reboot", "--hard", "--wait", "web"), "ACTIVE"),
            (("rebuild", "--wait", "web"), "ACTIVE"),
            (("rescue", "web"), "RESCUE"),
            (("unrescue", "web"), "ACTIVE"),
            (("lock", "web"), "ACTIVE"),
            (("unlock", "web"), "ACTIVE"),
            (("set", "--property", "a=b", "--name", "web", "web"), "ACTIVE"),
        ):
            await here.client("server", *words)
            await here.server_is(server["id"], after)
        events = json.loads(await here.client("server", "event", "list", "-f", "json", "web"))
        assert {"create", "stop", "start", "reboot", "rebuild"} <= {e["Action"] for e in events}
        create = next(e for e in events if e["Action"] == "create")
        told = await here.client("server", "event", "show", "web", create["Request ID"])
        assert "write the image" in told and "Success" in told
        assert "not supported" in await here.client(
            "server", "image", "create", "--name", "s", "web", ok=False
        )
        await here.client("server", "delete", "--wait", "web")
        assert await here.client("server", "list", "-f", "value") == ""


async def test_all_the_rest_of_the_words(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        group = json.loads(
            await here.client(
                "server", "group", "create", "--policy", "anti-affinity", "g", "-f", "json"
            )
        )
        assert group["policy"] == "anti-affinity"
        for words in (
            "server group list", "availability zone list", "limits show --absolute",
            "quota show --compute", "versions show --service compute", "keypair list",
            "flavor list --all", "compute service list", "server list --all-projects",
        ):  # fmt: skip
            await here.client(*words.split())
        assert "k" in await here.client("keypair", "create", "--private-key", "id", "k")
        await here.client("keypair", "delete", "k")
        await here.client("server", "group", "delete", "g")


async def test_the_sdk_waits_for_a_server(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        await here.enrol()
        await here.flavor()
        config = str(tmp_path / "clouds.yaml")

        def work() -> tuple[str, str]:
            import openstack  # the SDK is slow to import
            from openstack.config import OpenStackConfig

            region = OpenStackConfig(config_files=[config]).get_one(cloud="ingot")
            conn = openstack.connection.Connection(config=region)
            server = conn.create_server(
                "sdk", image="debian", flavor="bm", network="provider", wait=True, auto_ip=False
            )
            found = server.status, server.addresses["provider"][0]["addr"]
            assert conn.delete_server(server.id, wait=True)
            return found

        status, address = await asyncio.to_thread(work)
        assert status == "ACTIVE" and address.startswith("192.0.2.")
