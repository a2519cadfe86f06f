"""URLs by which a machine fetches its image: unguessable, for one image, good for a while.

The token is signed, not stored, so that it works on every host with the key and after a restart:
expiry, raw or as stored, image id, for whom, and an HMAC over them. What is stored is one secret for
each holder (a machine) that has URLs now: without it none of them works any more.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ingot.kit.auth.keyfiles import create_private, read_key
from ingot.kit.faults import Missing

_HEAD = struct.Struct(">IB16s8s")
_HELD = 2


def new_hold() -> str:
    """A secret for the URLs of one holder."""
    return secrets.token_hex(8)


_KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token opens. hold: of whom it is, and until when besides its time; "" for nobody's."""

    image_id: str
    raw: bool
    hold: str = ""


class DeployKey:
    """Signs and reads tokens; the key file is made (0600) when missing."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            create_private(path, secrets.token_bytes(_KEY_SIZE))
        self._key = read_key(path, _KEY_SIZE)

    def sign(self, ticket: Ticket, expires: datetime) -> str:
        """The token of a ticket. 404 for an id in another spelling than tokens give back: that is another image's."""
        if str(uuid.UUID(ticket.image_id)) != ticket.image_id:
            raise Missing(f"No image with id {ticket.image_id} can be fetched by a deploy URL.")
        head = _HEAD.pack(
            int(expires.timestamp()),
            int(ticket.raw) | (_HELD if ticket.hold else 0),
            uuid.UUID(ticket.image_id).bytes,
            bytes.fromhex(ticket.hold) if ticket.hold else secrets.token_bytes(8),
        )
        return base64.urlsafe_b64encode(head + self._mac(head)).decode().rstrip("=")

    def read(self, token: str, now: datetime) -> Ticket | None:
        """The ticket of a token that is ours and not over; None otherwise."""
        try:
            data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        if len(data) != _HEAD.size + 32:
            return None
        head = data[: _HEAD.size]
        if not hmac.compare_digest(self._mac(head), data[_HEAD.size :]):
            return None
        expires, flags, image_id, salt = _HEAD.unpack(head)
        if expires <= now.timestamp():
            return None
        hold = salt.hex() if flags & _HELD else ""
        return Ticket(str(uuid.UUID(bytes=image_id)), bool(flags & 1), hold)

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._key, b"deploy-url" + head, hashlib.sha256)
