"""What the operations on images and on their members share: finding the image, and its times on the wire."""

from __future__ import annotations

from datetime import UTC

import sqlalchemy as sa

from ingot.kit.api.operations import Call
from ingot.kit.db.database import when
from ingot.kit.faults import Forbidden, Missing
from ingot.services.image import store
from ingot.services.image.service import Images
from ingot.services.image.store import Row


def moment(text: str) -> str:
    """A stored time as Glance writes it: `2026-01-01T00:00:00Z`."""
    at = when(text)
    assert at is not None
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def needed(images: Images, call: Call, rule: str) -> Row:
    """The image of the path, if the caller may see it (404) and may do this (403)."""
    return await images.db.read(lambda conn: need(conn, images, call, rule))


def need(conn: sa.Connection, images: Images, call: Call, rule: str, *, hold: bool = False) -> Row:
    """The same inside of a transaction, for what changes the image in it; hold: as in `store.get`."""
    image_id = call.params["image_id"]
    row = store.get(conn, image_id, hold=hold)
    if row is None or not images.allows("get_image", call.caller, row, conn):
        raise Missing(f"No image found with ID {image_id}")
    if rule != "get_image" and not images.allows(rule, call.caller, row, conn):
        raise Forbidden(f"You are not permitted to do this with image {image_id} ({rule}).")
    return row
