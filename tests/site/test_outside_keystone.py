"""Tokens of an outside Keystone. A second `ingot serve` plays it: what is between is only the wire."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.site.server import Site, site

pytestmark = pytest.mark.anyio


@pytest.fixture
async def keystone(tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "keystone").mkdir()
    async with site(tmp_path / "keystone") as made:
        yield made


def joined(keystone: Site, **more: Any) -> dict[str, Any]:
    """Settings of a cloud whose callers that Keystone knows."""
    return {
        "": {"rooms": ["baremetal", "image", "network", "compute"]},
        "identity": {
            "mode": "keystone",
            "auth_url": f"{keystone.url}/identity/v3",
            "username": "admin",
            "password": "site-secret",
            "project_name": "admin",
            "cache_seconds": 2,
            **more,
        },
    }


async def test_tokens_are_validated_there(tmp_path: Path, keystone: Site) -> None:
    (tmp_path / "cloud").mkdir()
    async with site(tmp_path / "cloud", **joined(keystone)) as here:
        here.tokens = {name: await keystone.token(name) for name in ("admin", "demo")}
        for service, path in (
            ("baremetal", "/v1/nodes"),
            ("image", "/v2/images"),
            ("network", "/v2.0/networks"),
            ("compute", "/servers"),
            ("/timeline", "/v1/events"),
        ):
            await here.ask(service, "GET", path, status=200)
            for headers in ({}, {"X_Auth_Token": "gAAAAABnot-a-token"}):
                answer = await here.ask(service, "GET", path, who="", status=401, **headers)
                where = answer.headers["WWW-Authenticate"]
                assert where == f'Keystone uri="{keystone.url}/identity"'
        await here.ask("", "GET", "/identity/v3", who="", status=404)
        assert not (here.state / "clouds.yaml").exists()

        # Projects and roles are that Keystone's.
        body = {"driver": "fake-hardware", "name": "n1"}
        made = (await here.ask("baremetal", "POST", "/v1/nodes", body, status=201)).body
        project = (await keystone.login()).body["token"]["project"]["id"]
        assert made["owner"] == project
        await here.ask("baremetal", "GET", "/v1/nodes/n1", who="demo", status=404)

        # The stock client logs in there and is told where we are.
        env = {
            "OS_AUTH_URL": f"{keystone.url}/identity",
            "OS_USERNAME": "admin",
            "OS_PASSWORD": "site-secret",
            "OS_SYSTEM_SCOPE": "all",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_BAREMETAL_ENDPOINT_OVERRIDE": f"{here.url}/baremetal",
        }
        code, said = await here.client("baremetal", "node", "list", **env)
        assert code == 0 and "n1" in said, said

        # Revoked there, refused here as soon as the answer about it is old.
        token = await keystone.token("demo")
        gone = {"X_Auth_Token": token, "X_Subject_Token": token}
        await keystone.ask("identity", "DELETE", "/v3/auth/tokens", who="", status=204, **gone)
        async with asyncio.timeout(15):
            while (await here.ask("baremetal", "GET", "/v1/nodes", who="demo")).status != 401:
                await asyncio.sleep(0.1)

        # Without Keystone: what is known works on for a while, then the cause is told.
        await keystone.stop(signal.SIGKILL)
        async with asyncio.timeout(15):
            while (answer := await here.ask("baremetal", "GET", "/v1/nodes")).status == 200:
                await asyncio.sleep(0.1)
        assert answer.status == 503 and answer.headers["Retry-After"] == "5"
        assert "does not answer" in answer.text and "auth_url" in answer.text
        await here.ask("baremetal", "GET", "/v1", who="", status=200)


async def test_our_own_user_is_refused_there(tmp_path: Path, keystone: Site) -> None:
    (tmp_path / "cloud").mkdir()
    async with site(tmp_path / "cloud", **joined(keystone, password="wrong")) as here:
        here.tokens = {"admin": await keystone.token("admin")}
        answer = await here.ask("baremetal", "GET", "/v1/nodes", status=503)
        assert "refuses our own user admin" in answer.text and "[identity]" in answer.text
    (tmp_path / "weak").mkdir()
    weak = joined(keystone, username="demo", password=keystone.demo_password(), project_name="demo")
    async with site(tmp_path / "weak", **weak) as here:
        here.tokens = {"admin": await keystone.token("admin")}
        answer = await here.ask("baremetal", "GET", "/v1/nodes", status=503)
        assert "does not validate tokens for us (HTTP 403)" in answer.text
