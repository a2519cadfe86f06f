"""How content comes in: begun, inspected and ended by conditions, and taken back when its receiver is gone.

A reception is one attempt. It holds its image by a secret of its own, so that a receiver that comes to itself
after others have taken the image back changes nothing any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from ingot.kit import log
from ingot.kit.db.database import Database, timestamp
from ingot.kit.faults import Conflict, Fault, Invalid, Kind, Missing
from ingot.kit.tasks.clock import Clock
from ingot.services.image import store
from ingot.services.image.blobs import Blobs
from ingot.services.image.inspection import inspect
from ingot.services.image.store import Row
from ingot.services.image.types import Content, ImageSettings

_log = log.get("image")

#: Receivers say so often that they are alive (seconds); after so much silence anybody takes the image back.
BEAT, SILENCE = 20.0, 120.0
#: Receivers of releases before 0012 say nothing; while a cluster is upgraded they are given so many seconds.
OLD_SILENCE = 3600.0
_ENDED: Row = {"receiver": None, "reception": None, "received_at": None}


class Uploads:
    """The part of the Image service that receives content."""

    def __init__(self, db: Database, clock: Clock, settings: ImageSettings, blobs: Blobs) -> None:
        self.db = db
        self.clock = clock
        self.settings = settings
        self.blobs = blobs
        #: Receptions of this process by their images, and those whose end the database has not taken.
        self._mine: dict[str, str] = {}
        self._unsettled: dict[str, str] = {}

    async def receive(self, row: Row, chunks: AsyncIterator[bytes], announced: int | None) -> None:
        """Take an image's content and make the image active; on any failure it waits again, empty.

        announced: Content-Length, None when unknown.
        """
        _ready_for_content(row)
        image_id = row["id"]
        mine, row = await self._begin(image_id, "queued", "saving", _ready_for_content)
        async with self._reception(image_id, mine):
            received, content = await self.blobs.receive(image_id, chunks, announced)
            await self._finish(row, received, content, "saving", mine)

    async def stage(self, row: Row, chunks: AsyncIterator[bytes], announced: int | None) -> None:
        """Take an image's content and keep it until the import."""
        image_id = row["id"]
        mine, _ = await self._begin(image_id, "queued", "saving")
        async with self._reception(image_id, mine):
            received, content = await self.blobs.receive(image_id, chunks, announced)
            await self.blobs.run(lambda: self.blobs.stage(received, image_id, content))
            await self._move(image_id, "saving", "uploading", _ENDED, mine)

    async def import_staged(self, row: Row) -> None:
        """Make staged content the image's own."""
        _ready_for_content(row)
        image_id = row["id"]
        staged = await self.blobs.run(lambda: self.blobs.take_staged(image_id))
        if staged is None or row["status"] != "uploading":
            raise Conflict(f"Image {image_id} has no staged data: its status is {row['status']}.")
        mine, row = await self._begin(image_id, "uploading", "importing", _ready_for_content)
        async with self._reception(image_id, mine):
            await self._finish(row, *staged, "importing", mine)

    # -- taking back -------------------------------------------------------------------------

    async def take_back(self) -> None:
        """At this host's start: what it had received by half when it ended waits for its content again.

        Content of images that were deleted just before an end goes too.
        """
        here = await self.blobs.run(self.blobs.contents)
        for image_id in await self.db.read(lambda conn: store.were_deleted(conn, here)):
            await self.blobs.run(lambda image_id=image_id: self.blobs.remove(image_id))
        host = self.settings.host
        left = await self.db.read(lambda conn: store.half_received(conn, host))
        for image_id, reception in left:
            await self._settle(image_id, reception)
            _log.warning("upload was cut off; the image waits for its content", image=image_id)

    async def look_after(self) -> None:
        """For a loop: say that own receptions live; take back those of receivers that say nothing any more."""
        for image_id, reception in list(self._unsettled.items()):
            await self._settle(image_id, reception)
            self._unsettled.pop(image_id, None)
        now = self.clock.now()
        mine, stamp = list(self._mine.values()), timestamp(now)
        if mine:
            await self.db.write(lambda conn: store.live(conn, mine, stamp), serializable=False)
        silent = timestamp(now - timedelta(seconds=SILENCE))
        old = timestamp(now - timedelta(seconds=OLD_SILENCE))
        for image_id, reception in await self.db.read(lambda conn: store.silent(conn, silent, old)):
            await self._settle(image_id, reception)
            _log.warning("upload has no receiver; the image waits again", image=image_id)

    async def _settle(self, image_id: str, reception: str | None) -> None:
        """End a reception that came to nothing; nothing of it stays. An image that is active stays so."""
        row = await self.db.read(lambda conn: store.get(conn, image_id))
        busy = row is not None and row["status"] in store.RECEIVING
        if row is None or (busy and row["reception"] == reception):
            # Before others may begin: their files have the same names.
            await self.blobs.run(lambda: self.blobs.remove(image_id))
        if not busy:
            return
        stamp = {**_ENDED, "updated_at": timestamp(self.clock.now())}
        await self.db.write(
            lambda conn: store.move(conn, image_id, store.RECEIVING, "queued", stamp, reception)
        )

    @contextlib.asynccontextmanager
    async def _reception(self, image_id: str, mine: str) -> AsyncGenerator[None]:
        """While content comes in. Whatever goes wrong, the image waits again, or `look_after` sees to it."""
        self._mine[image_id] = mine
        try:
            yield
        except BaseException:
            await asyncio.shield(self._give_up(image_id, mine))
            raise
        finally:
            self._mine.pop(image_id, None)

    async def _give_up(self, image_id: str, mine: str) -> None:
        try:
            await self._settle(image_id, mine)
        except Fault as fault:
            self._unsettled[image_id] = mine
            _log.warning("the end of an upload waits", image=image_id, cause=fault.text)

    # -- steps -------------------------------------------------------------------------------

    async def _begin(
        self, image_id: str, before: str, status: str, check: Callable[[Row], None] | None = None
    ) -> tuple[str, Row]:
        """Hold the image for a reception; its secret, and the image as it is while it is held.

        check: what the image must be; a fault of it leaves the image as it was.
        """
        if image_id in self._unsettled:
            await self._settle(image_id, self._unsettled[image_id])
            self._unsettled.pop(image_id, None)
        mine = secrets.token_hex(8)
        here = {
            "receiver": self.settings.host,
            "reception": mine,
            "received_at": timestamp(self.clock.now()),
        }
        row = await self._move(image_id, before, status, here, None, check)
        return mine, row

    async def _move(
        self,
        image_id: str,
        before: str,
        after: str,
        values: Row,
        reception: str | None,
        check: Callable[[Row], None] | None = None,
    ) -> Row:
        """Change the status of an image; the image as it is then."""
        stamped = {**values, "updated_at": timestamp(self.clock.now())}

        def move(conn: sa.Connection) -> Row:
            moved = store.move(conn, image_id, (before,), after, stamped, reception)
            row = store.get(conn, image_id)
            if row is None:
                raise _deleted(image_id)
            if moved:
                if check is not None:
                    check(row)
                return row
            if row["status"] == after == "active" and row["os_hash_value"] == values.get(
                "os_hash_value"
            ):
                return row  # the transaction before this one was taken after all
            raise Conflict(
                f"Image status transition from {row['status']} to {after} is not allowed",
                next_action="Content comes once, into a queued image: create another image.",
            )

        return await self.db.write(move)

    async def _finish(
        self, row: Row, received: Path, content: Content, before: str, mine: str
    ) -> None:
        """Inspect received content and put it in place."""
        image_id = row["id"]
        try:
            virtual_size = await self.blobs.run(
                lambda: inspect(received, row["disk_format"], self.blobs.most)
            )
            still = {"received_at": timestamp(self.clock.now())}
            await self._move(image_id, before, before, still, mine)
            await self.blobs.run(lambda: self.blobs.keep(received, image_id))
        except FileNotFoundError:
            raise _deleted(image_id) from None
        facts: Row = {
            **_ENDED,
            "size": content.size,
            "virtual_size": virtual_size,
            "checksum": content.md5,
            "sha256": content.sha256,
            "os_hash_algo": "sha512",
            "os_hash_value": content.sha512,
        }
        await self._move(image_id, before, "active", facts, mine)
        await self.blobs.run(lambda: self.blobs.clear_incoming(image_id))


def _deleted(image_id: str) -> Missing:
    """For content that comes in for an image which has gone meanwhile."""
    return Missing(f"Image {image_id} was deleted meanwhile.", kind=Kind.GONE)


def _ready_for_content(row: Row) -> None:
    missing = [key for key in ("disk_format", "container_format") if not row[key]]
    if missing:
        raise Invalid(f"Properties {', '.join(missing)} must be set prior to saving data.")
