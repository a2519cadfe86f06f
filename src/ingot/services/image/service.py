"""The Image service: images, their content, and how machines fetch it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa

from ingot.kit import ids, log
from ingot.kit.auth.policy import Caller, Policy
from ingot.kit.db.database import Database, timestamp
from ingot.kit.faults import Conflict, Fault, Kind, Missing
from ingot.kit.tasks.clock import Clock
from ingot.services.image import convert, store
from ingot.services.image.blobs import Blobs
from ingot.services.image.deployurls import DeployKey, Ticket, new_hold
from ingot.services.image.inspection import inspect
from ingot.services.image.policies import RULES
from ingot.services.image.receiving import Uploads
from ingot.services.image.store import Filters, Row
from ingot.services.image.types import Image, ImageSettings, Progress, RawView

_log = log.get("image")


def _silent(_share: float) -> None:
    pass


class _RawViewRecord(msgspec.Struct):
    """Beside a raw view: what it was made of and what it is."""

    source: str
    size: int
    sha512: str


@dataclass(frozen=True, slots=True)
class Download:
    """Content ready to be sent."""

    path: Path
    size: int
    digest: str


class Images(Uploads):
    """Images and their content."""

    def __init__(self, db: Database, clock: Clock, settings: ImageSettings) -> None:
        blobs = Blobs(
            settings.folder or settings.state_dir / "images",
            settings.most_bytes,
            settings.reserve_bytes,
        )
        super().__init__(db, clock, settings, blobs)
        self.policy = Policy(RULES, settings.policy)
        self._key = DeployKey((settings.keys_dir or settings.state_dir) / "deploy-url-key")
        self._sent: dict[str, int] = {}
        self._converting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def start(self) -> None:
        """Make the folders; take back what this host had received by half when it ended."""
        await self.blobs.run(self.blobs.prepare)
        await self.take_back()

    async def close(self) -> None:
        self.blobs.close()

    # -- for other services -----------------------------------------------------------------------

    async def get(self, ref: str, caller: Caller | None = None) -> Image:
        """An image by id, or by a name that is the only one of its kind.

        caller: whose view; None sees everything. A name is looked for among what the caller's lists show, so
        others' community images are found by id only. Missing when there is none, Conflict when a name fits several.
        """
        return await self.db.read(lambda conn: self.find(conn, ref, caller))

    def find(self, conn: sa.Connection, ref: str, caller: Caller | None) -> Image:
        """The same in the caller's transaction."""
        return as_image(self._look_up(conn, ref, caller))

    def _look_up(self, conn: sa.Connection, ref: str, caller: Caller | None) -> Row:
        row = store.get(conn, ref)
        if row is not None:
            if caller is None or self.allows("get_image", caller, row, conn):
                return row
            raise Missing(f"No image found with ID {ref}")
        view = Filters(
            project_id=caller.project_id if caller else None,
            everything=caller is None or "admin" in caller.roles,
        )
        found = store.named(conn, ref, view)
        if len(found) > 1:
            raise Conflict(f"More than one image is named {ref!r}: use its id.")
        if not found:
            raise Missing(f"No image found with ID or name {ref}")
        return found[0]

    def path(self, image_id: str) -> Path:
        """Where an active image's content is, as stored."""
        return self.blobs.path(image_id)

    async def raw_view(self, image_id: str, progress: Progress = _silent) -> RawView:
        """The content as a raw disk: raw images as they are, qcow2 converted once and kept.

        progress: told a share from 0 to 1 while converting. Takes minutes for large images; callers that
        come meanwhile wait for the same conversion.
        """
        image = await self.get(image_id)
        if image.status != "active" or image.size is None or image.os_hash_value is None:
            raise Conflict(
                f"Image {image_id} has no content that can be used: it is {image.status}."
            )
        if image.disk_format != "qcow2":
            return RawView(self.path(image_id), image.size, image.os_hash_value)
        async with self._converting[image_id]:
            known = await self.blobs.run(lambda: self._known_raw(image))
            return known or await self._convert(image, progress)

    async def hold(self, holder: str) -> str:
        """For `deploy_url`: the URLs of a holder, such as "node:<uuid>", work until `let_go`."""
        known = await self.db.read(lambda conn: store.hold(conn, holder))
        secret = new_hold()
        return known or await self.db.write(lambda conn: store.add_hold(conn, holder, secret))

    def let_go(self, conn: sa.Connection, holder: str) -> None:
        """In the caller's transaction: no URL works any more that was made for this holder."""
        store.end_hold(conn, holder)

    def deploy_url(
        self, image_id: str, ttl_seconds: float, *, raw: bool = False, hold: str = ""
    ) -> str:
        """A URL on the provisioning listener that gives the content to whoever has it, for a while.

        raw: the raw view instead of the content as stored; make it before with `raw_view`. hold: ends it earlier.
        """
        ends = self.clock.now() + timedelta(seconds=ttl_seconds)
        token = self._key.sign(Ticket(image_id, raw, hold), ends)
        return f"{self.settings.deploy_base_url.rstrip('/')}/images/{token}"

    def sent(self, url: str) -> Callable[[], int]:
        """How many bytes this process has sent for a deploy URL, now and later."""
        token = url.rpartition("/")[2]
        return lambda: self._sent.get(token, 0)

    def count_sent(self, token: str, octets: int) -> None:
        """Told by the provisioning listener, chunk by chunk; the oldest URLs are forgotten."""
        while len(self._sent) > 10_000:
            self._sent.pop(next(iter(self._sent)))
        self._sent[token] = self._sent.get(token, 0) + octets

    # -- for the API ---------------------------------------------------------------------------

    def allows(
        self, rule: str, caller: Caller, row: Row, conn: sa.Connection | None = None
    ) -> bool:
        """Whether a caller may do something with an image; looks shares up when given a connection."""
        member_id = None
        project = caller.project_id
        # An owner needs no share of its own image.
        shared = row["visibility"] == "shared" and project != row["owner"]
        if conn is not None and shared and project:
            member_id = project if store.member(conn, row["id"], project) is not None else None
        return self.policy.allows(rule, caller, target(row, member_id))

    async def remove(self, check: Callable[[sa.Connection], Row]) -> None:
        """Delete the image that `check` gives (or refuses) in the same transaction, then its content.

        Its id is never given to another image.
        """

        def change(conn: sa.Connection) -> str:
            row = check(conn)
            if row["protected"]:
                raise Fault(
                    f"Image {row['id']} is protected and cannot be deleted.",
                    kind=Kind.FORBIDDEN,
                    next_action="Unset its protection first.",
                )
            store.delete(conn, row["id"], timestamp(self.clock.now()))
            return str(row["id"])

        image_id = await self.db.write(change)
        await self.blobs.run(lambda: self.blobs.remove(image_id))
        self._converting.pop(image_id, None)

    async def download(self, row: Row) -> Download | None:
        """The content as stored; None while there is none."""
        if row["status"] not in ("active", "deactivated"):
            return None
        return Download(self.path(row["id"]), row["size"], row["os_hash_value"])

    async def by_ticket(self, token: str) -> Download:
        """What a deploy URL's token opens; Missing for every reason why it opens nothing."""
        ticket = self._key.read(token, self.clock.now())
        if ticket is None:
            raise Missing("The URL is not known or has expired.")

        def find(conn: sa.Connection) -> Row | None:
            if ticket.hold and not store.is_held(conn, ticket.hold):
                return None
            return store.get(conn, ticket.image_id)

        row = await self.db.read(find)
        if row is None or row["status"] != "active":
            raise Missing("The image is not there any more.")
        if ticket.raw and row["disk_format"] == "qcow2":
            view = await self.raw_view(ticket.image_id)
            return Download(view.path, view.size, view.sha512)
        return Download(self.path(row["id"]), row["size"], row["os_hash_value"])

    # -- inside ------------------------------------------------------------------------------

    def _known_raw(self, image: Image) -> RawView | None:
        path = self.blobs.raw / image.id
        try:
            note = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=_RawViewRecord)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        if note.source != image.os_hash_value or not path.exists():
            return None
        return RawView(path, note.size, note.sha512)

    async def _convert(self, image: Image, progress: Progress) -> RawView:
        path = self.blobs.raw / image.id
        # Other controllers may be at it too, in the same folder: each has its own draft, and puts the same in place.
        draft = path.with_suffix(f".{quote(self.settings.host, safe='')}.part")
        await self.blobs.run(
            lambda: draft.unlink(missing_ok=True)
        )  # what was left may still be written
        # A second look: the file could have been changed on disk since its upload.
        await self.blobs.run(lambda: inspect(self.path(image.id), "qcow2", self.blobs.most))
        try:
            await convert.to_raw(
                self.path(image.id),
                draft,
                deadline=self.settings.convert_seconds,
                progress=progress,
                has_room=self.blobs.has_room,
            )

            def keep() -> _RawViewRecord:
                digest = convert.sha512_of(draft)
                note = _RawViewRecord(image.os_hash_value or "", draft.stat().st_size, digest)
                draft.replace(path)
                path.with_suffix(".json").write_bytes(msgspec.json.encode(note))
                return note

            note = await self.blobs.run(keep)
        finally:
            await self.blobs.run(lambda: draft.unlink(missing_ok=True))
        progress(1.0)
        return RawView(path, note.size, note.sha512)


def target(row: Row, member_id: str | None = None) -> dict[str, Any]:
    """An image as policy sees it."""
    return {
        "project_id": row["owner"],
        "visibility": row["visibility"],
        "member_id": member_id,
        "image_id": row["id"],
    }


def new_row(values: Row, properties: dict[str, str], owner: str | None, now: str) -> Row:
    """The row of a new image."""
    return {
        "id": values.get("id") or ids.new_uuid(),
        "name": values.get("name"),
        "status": "queued",
        "owner": values.get("owner", owner),
        "visibility": values.get("visibility", "shared"),
        "disk_format": values.get("disk_format"),
        "container_format": values.get("container_format"),
        "size": None,
        "virtual_size": None,
        "checksum": None,
        "sha256": None,
        "os_hash_algo": None,
        "os_hash_value": None,
        "min_disk": values.get("min_disk", 0),
        "min_ram": values.get("min_ram", 0),
        "protected": values.get("protected", False),
        "os_hidden": values.get("os_hidden", False),
        "receiver": None,
        "reception": None,
        "received_at": None,
        "created_at": now,
        "updated_at": now,
        "properties": properties,
        "tags": values.get("tags", []),
    }


def as_image(row: Row) -> Image:
    """A row as other services see it."""
    return Image(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        owner=row["owner"],
        visibility=row["visibility"],
        disk_format=row["disk_format"],
        container_format=row["container_format"],
        size=row["size"],
        virtual_size=row["virtual_size"],
        checksum=row["checksum"],
        sha256=row["sha256"],
        os_hash_algo=row["os_hash_algo"],
        os_hash_value=row["os_hash_value"],
        min_disk=row["min_disk"],
        min_ram=row["min_ram"],
        protected=bool(row["protected"]),
        properties=row["properties"],
        tags=tuple(row["tags"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
