"""Content on disk: received by stream, hashed on the way, put in place only when it is whole.

`images/<id>` is the content, `images/incoming/` what is being received, `images/raw/<id>` the raw view.
All file work happens in threads; the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from ingot.kit import ids
from ingot.kit.faults import Fault, Kind
from ingot.services.image.types import Content

T = TypeVar("T")

#: Octets gathered before a thread hashes and writes them.
_BATCH = 4 << 20
_PIECE = 64 << 10
_ZEROS = bytes(_PIECE)
_READ = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Blobs:
    """The folder of contents."""

    def __init__(self, root: Path, most_bytes: int, reserve_bytes: int) -> None:
        self.root = root
        self.incoming = root / "incoming"
        self.raw = root / "raw"
        self._most = most_bytes
        self._reserve = reserve_bytes
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="image-io")

    async def run(self, work: Callable[[], T]) -> T:
        """Run file work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def prepare(self) -> None:
        for folder in (self.root, self.incoming, self.raw):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def path(self, image_id: str) -> Path:
        return self.root / image_id

    def staged(self, image_id: str) -> Path:
        return self.incoming / f"{image_id}.staged"

    # -- receiving ---------------------------------------------------------------------------

    async def receive(
        self, image_id: str, chunks: AsyncIterator[bytes], announced: int | None
    ) -> tuple[Path, Content]:
        """Write a stream to a new file; its path and digests. On any failure nothing is left.

        announced: Content-Length, None when the client sends chunked.
        """
        if announced is not None:
            self._check_room(announced, announced)
        path = self.incoming / f"{image_id}.{secrets.token_hex(4)}"
        writer = await self.run(lambda: _Writer(path))
        try:
            await self._copy(writer, chunks)
            return path, await self.run(writer.finish)
        except BaseException as error:
            await asyncio.shield(self.run(writer.discard))
            if isinstance(error, OSError) and error.errno in _FULL:
                raise full(str(error)) from None
            raise

    async def _copy(self, writer: _Writer, chunks: AsyncIterator[bytes]) -> None:
        """Gather batches; while one is hashed and written in two threads, the next one comes in."""
        waiting: list[bytes] = []
        size = total = 0
        working: list[asyncio.Future[None]] = []
        try:
            async for chunk in chunks:
                waiting.append(chunk)
                size += len(chunk)
                if size >= _BATCH:
                    total += size
                    self._check_room(total, size)
                    batch, waiting, size = b"".join(waiting), [], 0
                    await _all_done(working)
                    working = self._work(writer, batch)
            self._check_room(total + size, size)
            await _all_done(working)
            working = self._work(writer, b"".join(waiting))
            await _all_done(working)
        finally:
            # No thread may write into a file that is being discarded.
            if working:
                await asyncio.wait(working)

    def _work(self, writer: _Writer, batch: bytes) -> list[asyncio.Future[None]]:
        """Start on a batch: the slowest digest beside all the rest."""
        loop = asyncio.get_running_loop()
        return [
            loop.run_in_executor(self._threads, writer.digest, batch),
            loop.run_in_executor(self._threads, writer.write, batch),
        ]

    @property
    def most(self) -> int:
        """Bytes of the largest disk that is taken."""
        return self._most

    def has_room(self) -> bool:
        """Whether anything more may be written."""
        facts = os.statvfs(self.raw)
        return facts.f_bavail * facts.f_frsize > self._reserve

    def _check_room(self, total: int, more: int) -> None:
        if total > self._most:
            raise Fault(
                f"The image is larger than {self._most} bytes, the most that is taken here.",
                kind=Kind.TOO_LARGE,
            )
        facts = os.statvfs(self.incoming)
        if facts.f_bavail * facts.f_frsize - more < self._reserve:
            raise full(f"{facts.f_bavail * facts.f_frsize} octets free, reserve {self._reserve}")

    # -- staged content (interoperable import) -------------------------------------------------

    def stage(self, received: Path, image_id: str, content: Content) -> None:
        """Keep received content with its digests until the import."""
        note = self.staged(image_id).with_suffix(".json")
        note.write_bytes(msgspec.json.encode(content))
        received.replace(self.staged(image_id))

    def take_staged(self, image_id: str) -> tuple[Path, Content] | None:
        path = self.staged(image_id)
        try:
            content = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Content)
        except FileNotFoundError:
            return None
        return (path, content) if path.exists() else None

    # -- keeping -----------------------------------------------------------------------------

    def keep(self, received: Path, image_id: str) -> None:
        """Put received content in its place."""
        received.replace(self.path(image_id))
        _sync_folder(self.root)

    def remove(self, image_id: str) -> None:
        """Delete all of an image; what is not there is no matter. Open downloads run on."""
        self.path(image_id).unlink(missing_ok=True)
        self.remove_raw(image_id)
        self.clear_incoming(image_id)

    def contents(self) -> list[str]:
        """Images of which there is content or a raw view here."""
        names = {path.name for path in self.root.iterdir() if path.is_file()}
        names |= {path.name.partition(".")[0] for path in self.raw.iterdir()}
        return sorted(name for name in names if ids.is_uuid(name))

    def remove_raw(self, image_id: str) -> None:
        for path in self.raw.glob(f"{image_id}*"):
            path.unlink(missing_ok=True)

    def clear_incoming(self, image_id: str) -> None:
        for path in self.incoming.glob(f"{image_id}.*"):
            path.unlink(missing_ok=True)

    # -- giving ------------------------------------------------------------------------------

    async def read(self, path: Path, first: int, count: int) -> AsyncIterator[bytes]:
        """`count` octets of a file from `first` on, the next piece read while one is sent."""
        file = await self.run(lambda: _open_at(path, first))
        return self._pieces(file, count)

    async def _pieces(self, file: BinaryIO, count: int) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ahead = loop.run_in_executor(self._threads, file.read, min(_READ, count))
        try:
            while count > 0:
                piece = await ahead
                if not piece:
                    return
                count -= len(piece)
                ahead = loop.run_in_executor(self._threads, file.read, min(_READ, count))
                yield piece
        finally:
            await asyncio.wait([ahead])
            file.close()


class _Writer:
    """One file being received. All methods run in threads; `digest` beside `write`, else one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._sha512 = hashlib.sha512()
        self._size = 0

    def digest(self, data: bytes) -> None:
        self._md5.update(data)

    def write(self, data: bytes) -> None:
        self._sha256.update(data)
        self._sha512.update(data)
        self._write_sparse(data)
        self._size += len(data)

    def _write_sparse(self, data: bytes) -> None:
        """Write runs that are not zero; holes cost no space."""
        whole, start = memoryview(data), 0
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            if piece == (_ZEROS if len(piece) == _PIECE else _ZEROS[: len(piece)]):
                self._put(whole[start:at], self._size + start)
                start = at + len(piece)
        self._put(whole[start:], self._size + start)

    def _put(self, data: memoryview, offset: int) -> None:
        while data:
            done = os.pwrite(self._handle, data, offset)
            data, offset = data[done:], offset + done

    def finish(self) -> Content:
        os.ftruncate(self._handle, self._size)
        os.fsync(self._handle)
        os.close(self._handle)
        self._handle = -1
        return Content(
            self._size, self._md5.hexdigest(), self._sha256.hexdigest(), self._sha512.hexdigest()
        )

    def discard(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._path.unlink(missing_ok=True)


async def _all_done(working: list[asyncio.Future[None]]) -> None:
    """Wait for all; the first failure is raised after all have ended."""
    if working:
        await asyncio.wait(working)
        for done in working:
            done.result()


def full(detail: str) -> Fault:
    return Fault(
        "There is not enough room on the image store for this image.",
        kind=Kind.FULL,
        next_action="Delete images that are not needed, or give the store more disk.",
        internal=detail,
    )


def _open_at(path: Path, first: int) -> BinaryIO:
    file = path.open("rb", buffering=0)
    file.seek(first)
    return file  # pyright: ignore[reportReturnType]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
