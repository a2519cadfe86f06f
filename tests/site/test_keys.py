"""A cloud that is started with another key than its database's says so at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.site.server import run, site

pytestmark = pytest.mark.anyio


async def test_another_key(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        info = {"ipmi_address": "192.0.2.9", "ipmi_username": "u", "ipmi_password": "secret-word"}
        body = {"driver": "ipmi", "driver_info": info}
        await here.ask("baremetal", "POST", "/v1/nodes", body, status=201)
    key = here.state / "vault.key"
    key.unlink()
    code, _, err = await run("serve", "--config", "ingot.toml", cwd=tmp_path)
    assert code == 1 and len(err.strip().splitlines()) == 1, err
    assert "the key file is not that of this database" in err and "vault.key" in err, err
