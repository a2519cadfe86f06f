"""Files of boot media at URLs: whoever orders a boot names them, and neither fills the disk nor holds others up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from ingot.drivers.machine.vmedia import iso
from ingot.drivers.machine.vmedia.store import KEEP_FILES, MediaStore, Source
from ingot.kit.faults import Fault, Kind
from ingot.kit.http.egress import LOOPBACK, Egress

pytestmark = pytest.mark.anyio
LOADERS = iso.BootLoaders({"BOOTX64.EFI": b"MZ" + bytes(70_000)}, bytes(4096))


@asynccontextmanager
async def _mirror(release: asyncio.Event, asked: list[str]) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path.startswith("/slow"):
            await release.wait()
        if request.path.startswith("/broken"):
            reply = web.StreamResponse(headers={"Content-Length": "1000000"})
            await reply.prepare(request)
            await reply.write(b"half")
            assert request.transport is not None
            request.transport.close()
            return reply
        return web.Response(body=request.path.encode() * 10)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        release.set()
        await runner.cleanup()


def _store(folder: Path, reserve: int = 0) -> MediaStore:
    kernel, ramdisk = folder / "k", folder / "r"
    kernel.write_bytes(b"k" * 100)
    ramdisk.write_bytes(b"r" * 100)
    return MediaStore(
        folder / "media", kernel, ramdisk, lambda: LOADERS,
        egress=Egress.of(LOOPBACK), reserve=reserve,
    )  # fmt: skip


def _at(url: str) -> Source:
    return Source(url, url)


async def test_a_slow_server_holds_up_only_its_own(tmp_path: Path) -> None:
    release, asked, store = asyncio.Event(), list[str](), _store(tmp_path)
    async with _mirror(release, asked) as site:
        slow = [
            asyncio.ensure_future(store.template(_at(f"{site}/slow"), _at(f"{site}/r")))
            for _ in range(2)
        ]
        while not asked:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await store.template()
            await store.template(_at(f"{site}/k"), _at(f"{site}/r"))
        assert not any(one.done() for one in slow)
        release.set()
        first, second = await asyncio.gather(*slow)
        assert first == second and asked.count("/slow") == 1, "what two want is fetched once"


async def test_downloads_do_not_grow_without_end(tmp_path: Path) -> None:
    store, asked = _store(tmp_path), list[str]()
    async with _mirror(asyncio.Event(), asked) as site:
        last = KEEP_FILES + 3
        for number in range(last + 1):
            await store.template(_at(f"{site}/{number}"), _at(f"{site}/r"))
        kept = list((tmp_path / "media" / "files").iterdir())
        assert len([path for path in kept if not path.suffix]) == KEEP_FILES
        assert len(kept) <= 2 * KEEP_FILES
        await store.template(_at(f"{site}/{last}"), _at(f"{site}/r"))
        assert asked.count(f"/{last}") == 1
        await store.template(_at(f"{site}/0"), _at(f"{site}/r"))
        assert asked.count("/0") == 2, "thrown away, and had again"


async def test_a_broken_download_leaves_nothing(tmp_path: Path) -> None:
    store = _store(tmp_path)
    async with _mirror(asyncio.Event(), []) as site:
        with pytest.raises(Fault, match="cannot be had"):
            await store.template(_at(f"{site}/broken"), _at(f"{site}/r"))
    assert not list((tmp_path / "media" / "files").iterdir())


async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    store = _store(tmp_path, reserve=1 << 62)
    async with _mirror(asyncio.Event(), []) as site:
        with pytest.raises(Fault, match="no room") as caught:
            await store.template(_at(f"{site}/k"), _at(f"{site}/r"))
    assert caught.value.kind is Kind.DISK_FULL and caught.value.transient
    assert not list((tmp_path / "media" / "files").iterdir())
