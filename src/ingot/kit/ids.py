"""Identifiers: what we give out and what we accept."""

from __future__ import annotations

import re
import secrets
import uuid

_UUID = re.compile(r"^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\Z", re.I)
_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


def new_uuid() -> str:
    """A random UUID with dashes, as nodes, servers, images and ports carry."""
    return str(uuid.uuid4())


def new_hex() -> str:
    """A random UUID without dashes, as projects, users and roles carry."""
    return uuid.uuid4().hex


def new_request_id() -> str:
    return f"req-{uuid.uuid4()}"


def new_secret(octets: int = 32) -> str:
    """An unguessable URL-safe text of about 4/3 times `octets` characters."""
    return secrets.token_urlsafe(octets)


def is_uuid(text: object) -> bool:
    return isinstance(text, str) and bool(_UUID.match(text))


def canonical_uuid(text: str) -> str:
    """A UUID as it is stored: lower case with dashes. ValueError when `text` is none."""
    return str(uuid.UUID(text))


def spellings(text: str) -> tuple[str, ...]:
    """How something may be stored that a client names so: a UUID as `canonical_uuid`, then as it was written.

    Ids that clients chose were once stored as they wrote them. What is no UUID is a name.
    """
    if not is_uuid(text):
        return (text,)
    return tuple(dict.fromkeys((canonical_uuid(text), text)))


def normal_mac(text: str) -> str | None:
    """The MAC in lower case with colons, or None when `text` is no MAC."""
    mac = text.strip().lower().replace("-", ":")
    return mac if _MAC.match(mac) else None
