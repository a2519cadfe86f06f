"""A controller that does not fit to those of its database says so at its start, and ends."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingot.app import keys
from ingot.kit.faults import Conflict
from ingot.workflow import ConductorRow
from tests import postgres
from tests.flows.controllers import Controller
from tests.site.server import run

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(postgres_server: postgres.Server) -> Iterator[str]:
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


def folder(path: Path, deploy: bytes, *fernet: str) -> Path:
    path.mkdir()
    (path / "deploy-url-key").write_bytes(deploy)
    (path / "fernet-keys").write_text("\n".join(fernet) + "\n")
    return path


def member(host: str, told: Path, gone: bool = False) -> ConductorRow:
    name = f"{host}:1{' gone' if gone else ''}"
    return ConductorRow(name, host, "", 1, "", "", [], {"drivers": [], keys.INFO: keys.marks(told)})


def test_keys_are_compared_and_not_told(tmp_path: Path) -> None:
    ours = folder(tmp_path / "ours", b"d" * 32, "first", "second")
    theirs = folder(tmp_path / "theirs", b"e" * 32, "first")
    rotated = folder(tmp_path / "rotated", b"d" * 32, "third", "second")
    told = str(keys.marks(ours))
    assert "first" not in told and b"d".hex() * 4 not in told and "dddd" not in told
    mine = keys.marks(ours)
    keys.compare(mine, "c1", [member("c2", rotated), member("c3", theirs, gone=True)])
    keys.compare(mine, "c1", [member("c1", theirs)])  # its own last life
    keys.compare(
        mine, "c1", [ConductorRow("c2:1", "c2", "", 1, "", "", [], {})]
    )  # of an older release
    with pytest.raises(Conflict, match="deploy-url-key of this controller is not that of c2"):
        keys.compare(mine, "c1", [member("c2", theirs)])


@pytest.mark.postgres
@pytest.mark.timeout(300)
async def test_other_keys_or_a_name_that_is_taken(tmp_path: Path, database: str) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    settings: dict[str, Any] = {
        "": {"database": database, "roles": ["api", "conductor"]},
        "cluster": {"keys": str(tmp_path / "keys"), "beat_seconds": 0.5, "dead_seconds": 60},
        "provisioning": {"dhcp": False},
        "identity": {"password_cost": 10, "admin_password": "site-secret"},
    }
    first = Controller("c1", tmp_path, settings)
    try:
        await first.start()
        shutil.copytree(tmp_path / "keys", tmp_path / "other")
        (tmp_path / "other" / "deploy-url-key").write_bytes(secrets.token_bytes(32))
        for host, folder_name, words in (
            ("c2", "other", "The deploy-url-key of this controller is not that of c1"),
            ("c1", "keys", "Another process that is alive is the controller 'c1'"),
        ):
            again = Controller(
                host,
                tmp_path,
                {
                    **settings,
                    "cluster": {**settings["cluster"], "keys": str(tmp_path / folder_name)},
                },
            )
            file = again.write(tmp_path / f"again-{host}")
            code, _, err = await run("serve", "--config", str(file), cwd=tmp_path, wait=120)
            assert code == 1 and words in err, err
    finally:
        await first.close()
