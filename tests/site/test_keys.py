"""Key files that are wrong, missing or cannot be made: one line that says what to do, and nothing made by the way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.site.server import INGOT, clean_environment, free_port, run, site

pytestmark = pytest.mark.anyio


async def test_another_key(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        info = {"ipmi_address": "192.0.2.9", "ipmi_username": "u", "ipmi_password": "secret-word"}
        body = {"driver": "ipmi", "driver_info": info}
        await here.ask("baremetal", "POST", "/v1/nodes", body, status=201)
    key = here.state / "vault.key"
    kept = key.read_bytes()
    key.unlink()
    code, _, err = await run("serve", "--config", "ingot.toml", cwd=tmp_path)
    assert code == 1 and len(err.strip().splitlines()) == 1, err
    assert "the key file is not that of this database" in err and "vault.key" in err, err
    assert not key.exists(), "a key that the database refuses was left there"
    key.write_bytes(kept)
    await here.start(here.folder / "ingot.toml")
    await here.stop()


@pytest.mark.parametrize("name", ["vault.key", "fernet-keys", "deploy-url-key"])
@pytest.mark.parametrize("left", [0, 20])
async def test_a_key_file_that_was_cut_off(tmp_path: Path, name: str, left: int) -> None:
    state = tmp_path / "s"
    state.mkdir()
    (state / name).write_bytes(os.urandom(32).hex().encode()[:left])
    listen = f"127.0.0.1:{free_port()}"
    code, out, err = await run("serve", "--state", "s", "--listen", listen, cwd=tmp_path)
    assert code == 2 and out == "", (code, out)
    assert len(err.strip().splitlines()) == 1, err
    assert str(state / name) in err and "Put it back from a backup" in err, err
    assert ("is empty" if left == 0 else "is cut off") in err, err


FULL = """
mount -t tmpfs -o size=256k full s && dd if=/dev/zero of=s/fill bs=1k 2>/dev/null
"$@"; echo "code $?"; ls s
rm s/fill; mount -o remount,size=64m s; echo again
exec "$@"
"""


async def test_a_first_start_on_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    rights = ["-m"] if os.geteuid() == 0 else ["-Urm"]
    words = [str(INGOT), "serve", "--state", "s", "--listen", f"127.0.0.1:{free_port()}"]
    child = await asyncio.create_subprocess_exec(
        *("unshare", *rights, "sh", "-c", FULL, "sh", *words),
        cwd=tmp_path,
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None and child.stderr is not None
    said: list[str] = []
    while not said or not said[-1].startswith("ingot is ready"):
        line = await asyncio.wait_for(child.stdout.readline(), 60)
        if not line:
            break
        said.append(line.decode().strip())
    if child.returncode is None:
        child.terminate()
    err = (await child.stderr.read()).decode()
    await child.wait()
    assert said[0] == "code 2", (said, err)
    assert not {"vault.key", "fernet-keys", "deploy-url-key"} & set(said), said
    # After it only the log of the second start, which found room.
    told = [line for line in err.strip().splitlines() if "[info " not in line]
    assert len(told) == 1 and "No space left" in told[0], err
    assert said[-1].startswith("ingot is ready"), (said, err)
