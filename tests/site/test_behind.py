"""What an operator may do behind the cloud's back: told for what it is, nothing accepted is lost, nothing breaks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.site.server import Site, run, site

pytestmark = pytest.mark.anyio


async def make(here: Site, name: str) -> int:
    body = {"driver": "fake-hardware", "name": name}
    return (await here.ask("baremetal", "POST", "/v1/nodes", body)).status


async def health(here: Site) -> int:
    async with here.http.get(f"{here.url}/healthz") as told:
        return told.status


def taken_away(file: Path) -> None:
    file.rename(file.with_suffix(".away"))


def replaced(file: Path) -> None:
    taken_away(file)
    file.write_bytes(file.with_suffix(".away").read_bytes())


@pytest.mark.parametrize("act", [taken_away, replaced])
async def test_a_database_that_is_moved_away(tmp_path: Path, act: Callable[[Path], None]) -> None:
    """SQLite itself would write on into a file that nobody finds."""
    async with site(tmp_path) as here:
        assert await make(here, "before") == 201
        file = here.state / "ingot.db"
        act(file)
        answer = await here.ask(
            "baremetal", "POST", "/v1/nodes", {"driver": "fake-hardware", "name": "lost"}
        )
        assert answer.status == 503 and "taken away or replaced" in answer.text, answer
        async with here.http.get(f"{here.url}/healthz") as told:
            assert told.status == 503 and "taken away" in await told.text()
        file.with_suffix(".away").rename(file)
        assert await make(here, "after") == 201
        async with asyncio.timeout(30):
            while await health(here) != 200:
                await asyncio.sleep(0.2)
        assert here.log().count("the database cannot write") == 1
        await here.stop()
        await here.start(here.folder / "ingot.toml")
        found = (await here.ask("baremetal", "GET", "/v1/nodes", status=200)).body["nodes"]
        assert {one["name"] for one in found} == {"before", "after"}


async def test_an_image_store_that_cannot_be_used(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        image = await here.make_image("one")
        folder = here.state / "images"
        folder.rename(here.state / "elsewhere")
        folder.write_text("no folder")
        answer = await here.ask(
            "image",
            "PUT",
            f"/v2/images/{image}/file",
            raw=b"x" * 1000,
            Content_Type="application/octet-stream",
        )
        assert answer.status == 503 and "A file of the cloud cannot be used" in answer.text
        assert str(here.state) not in answer.text, "paths are for the log"
        assert str(folder) in here.log() and "Traceback" not in here.log()
        os.unlink(folder)
        (here.state / "elsewhere").rename(folder)
        await here.upload(image, b"x" * 1000)


async def test_a_database_that_is_gone_at_the_start(tmp_path: Path) -> None:
    """It may be what somebody wants; whoever lost it must not find out by and by."""
    async with site(tmp_path) as here:
        assert "the database is empty" not in here.log()
        await here.stop()
        os.truncate(here.state / "ingot.db", 0)
        await here.start(here.folder / "ingot.toml")
        (told,) = [text for text in here.log().splitlines() if "the database is empty" in text]
        assert "[warning" in told and "restore a backup" in told
        await here.stop()
        await here.start(here.folder / "ingot.toml")
        assert here.log().count("the database is empty") == 1


async def test_a_state_folder_that_is_not_ours_to_write(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "ingot.db").mkdir(parents=True)
    code, _, told = await run("serve", "--state", "state", "--listen", "127.0.0.1:1", cwd=tmp_path)
    assert code == 1 and len(told.strip().splitlines()) == 1
    assert "unable to open database file" in told, told
