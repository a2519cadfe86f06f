"""The boot media of one process: templates on disk, made when first wanted, and the files they are of."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from weakref import WeakValueDictionary

import msgspec

from ingot.drivers.machine.vmedia.iso import BootLoaders, Template, build, installed_loaders
from ingot.kit.faults import Failed, Fault, Invalid, Kind
from ingot.kit.http import client as http_client
from ingot.kit.http import untrusted
from ingot.kit.http.egress import Egress

if TYPE_CHECKING:
    import aiohttp

#: Raise it when templates of an older version must not be used any more.
LAYOUT = 1
#: Templates that are kept; the one used longest ago goes first.
KEEP = 4
#: Files at URLs that are kept, the newest ones: whoever orders a boot may name any number.
KEEP_FILES = 16
#: What downloads leave free on the disk.
RESERVE = 256 << 20
LARGEST_DOWNLOAD = 4 << 30
DOWNLOAD_SECONDS = 1800


@dataclass(frozen=True)
class Source:
    """A file to be had. key: names it for ever; url: where it is today."""

    key: str
    url: str


class MediaStore:
    """folder: of its own, private. kernel, ramdisk: the configured agent's, None where there is none.

    egress: whom files at URLs may come from; what is under own_url, the provisioning listener's, is ours. reserve:
    bytes that downloads leave free on the disk.
    """

    def __init__(
        self,
        folder: Path,
        kernel: Path | None = None,
        ramdisk: Path | None = None,
        loaders: Callable[[], BootLoaders] = installed_loaders,
        *,
        egress: Egress | None = None,
        own_url: str = "",
        reserve: int = RESERVE,
    ) -> None:
        self._reserve = reserve
        self._egress = egress or Egress()
        self._own_url = own_url
        self._folder = folder
        self._own = (kernel, ramdisk)
        self._loaders = loaders
        #: One for each file and medium: a slow server holds up those only that want what it has.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._in_use: Counter[Path] = Counter()
        self._known: dict[str, Template] = {}

    async def template(
        self,
        kernel: Source | None = None,
        ramdisk: Source | None = None,
        *,
        network_data: bool = False,
        refresh: bool = False,
    ) -> Template:
        """The medium with this kernel and ramdisk; None means the configured agent's.

        network_data: one with room for a machine's addresses. refresh: ask the server whether a file that we have has changed. Raises Invalid without an
        agent, Failed when a file cannot be had.
        """
        wanted = [self._place(source) for source in (kernel, ramdisk) if source is not None]
        with self._using(wanted):
            files = (
                await self._file(kernel, self._own[0], refresh),
                await self._file(ramdisk, self._own[1], refresh),
            )
            name = await asyncio.to_thread(_digest, files, network_data)
            async with self._lock(name):
                found = self._known.get(name)
                if found is None or not await asyncio.to_thread(os.path.exists, found.path):
                    found = await asyncio.to_thread(self._made, name, files, network_data)
                    self._known[name] = found
            return found

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    @contextlib.contextmanager
    def _using(self, places: list[Path]) -> Generator[None]:
        """What is used in here is not thrown away."""
        self._in_use.update(places)
        try:
            yield
        finally:
            self._in_use.subtract(places)
            self._in_use += Counter()  # forget those that nobody uses

    def _place(self, source: Source) -> Path:
        return self._folder / "files" / hashlib.sha256(source.key.encode()).hexdigest()[:32]

    def _made(self, name: str, files: tuple[Path, Path], network_data: bool) -> Template:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target, notes = self._folder / f"{name}.iso", self._folder / f"{name}.json"
        if target.exists() and notes.exists():
            os.utime(target)
            return msgspec.json.decode(notes.read_bytes(), type=Template)
        made = build(target, *files, self._loaders(), network_data=network_data)
        notes.write_bytes(msgspec.json.encode(made))
        media = sorted(self._folder.glob("*.iso"), key=lambda path: path.stat().st_mtime)
        for old in media[:-KEEP]:
            old.unlink(missing_ok=True)
            old.with_suffix(".json").unlink(missing_ok=True)
        return made

    async def _file(self, source: Source | None, own: Path | None, refresh: bool) -> Path:
        if source is None:
            if own is None:
                raise Invalid(
                    "No agent ramdisk is configured, so no boot medium can be made.",
                    next_action="Build one (ingot ramdisk build) and name it in the settings, or set "
                    "driver_info.deploy_kernel and deploy_ramdisk.",
                )
            return own
        path = self._place(source)
        async with self._lock(path.name):
            if refresh or not await asyncio.to_thread(path.exists):
                await self._fetch(source.url, path)
                await asyncio.to_thread(_throw_away, path.parent, frozenset(self._in_use))
        return path

    async def _fetch(self, url: str, path: Path) -> None:
        """Bring `path` up to date with `url`; what we have stays when the server says it is the same."""
        tag = path.with_suffix(".etag")
        known = await asyncio.to_thread(lambda: tag.read_text() if path.exists() else "")
        await http_client.ready()
        import aiohttp  # loaded by then (`outgoing`)

        headers = {"Accept-Encoding": "identity"} | ({"If-None-Match": known} if known else {})
        ours = bool(self._own_url) and url.startswith(f"{self._own_url}/")
        try:
            async with (
                http_client.session(
                    timeout=aiohttp.ClientTimeout(DOWNLOAD_SECONDS, sock_connect=15, sock_read=60),
                    connector=aiohttp.TCPConnector() if ours else self._egress.connector(),
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as http,
                http.get(url, headers=headers, allow_redirects=not ours, max_redirects=5) as reply,
            ):
                if reply.status == 304:
                    return
                if reply.status != 200:
                    raise _not_had(url, f"HTTP {reply.status}")
                if reply.headers.get("Content-Encoding", "identity") != "identity":
                    raise _not_had(url, "it comes packed, which was not asked for")
                await _write(reply, path, self._reserve)
                await asyncio.to_thread(tag.write_text, reply.headers.get("ETag", "")[:500])
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Fault(
                f"{untrusted.words(url)} cannot be had: {untrusted.words(http_client.why(error))}",
                kind=Kind.UNREACHABLE,
                next_action="Check the URL and that this host reaches it.",
            ) from None


async def _write(reply: aiohttp.ClientResponse, path: Path, reserve: int) -> None:
    draft = path.with_suffix(".new")
    await asyncio.to_thread(path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
    file = await asyncio.to_thread(draft.open, "wb")
    try:
        size = 0
        async for block in reply.content.iter_chunked(1 << 20):
            size += len(block)
            if size > LARGEST_DOWNLOAD:
                raise Invalid(
                    f"{untrusted.words(str(reply.url))} is larger than {LARGEST_DOWNLOAD >> 30} GiB."
                )
            await asyncio.to_thread(_append, file, block, reserve)
        await asyncio.to_thread(file.close)
        await asyncio.to_thread(os.replace, draft, path)
    finally:
        file.close()
        draft.unlink(missing_ok=True)


def _append(file: BinaryIO, block: bytes, reserve: int) -> None:
    if shutil.disk_usage(file.name).free < reserve + len(block):
        raise Fault(
            "There is no room for files that boot media are made of.",
            kind=Kind.DISK_FULL,
            next_action="Operators: free space where [settings] state is.",
        )
    file.write(block)


def _throw_away(folder: Path, in_use: frozenset[Path]) -> None:
    """The oldest downloads but for `KEEP_FILES`."""
    files: list[tuple[float, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another has thrown it away
            if not path.suffix and path not in in_use:
                files.append((path.stat().st_mtime, path))
    for _, old in sorted(files, reverse=True)[max(0, KEEP_FILES - len(in_use)) :]:
        old.unlink(missing_ok=True)
        old.with_suffix(".etag").unlink(missing_ok=True)


def _not_had(url: str, why: str) -> Failed:
    return Failed(f"{untrusted.words(url)} cannot be had: {untrusted.words(why, 200)}.")


def _digest(files: tuple[Path, Path], network_data: bool) -> str:
    """Names the medium that these files, as they are now, make."""
    told = [f"{LAYOUT} config-2" if network_data else str(LAYOUT)]
    for path in files:
        try:
            stat = path.stat()
        except OSError as error:
            raise Failed(f"{path} cannot be read: {error.strerror}.") from None
        told.append(f"{path} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:32]
