"""Names that are made of other names. Pure."""

from __future__ import annotations

import re


def hostname(name: str, uuid: str) -> str:
    """A host name of a server's name: what RFC 952 allows, at most 63 characters; else Server-<uuid>."""
    text = re.sub(r"[\s_]", "-", name)
    text = re.sub(r"[^\w.-]+", "", text, flags=re.ASCII).lower().strip(".-")
    # A dot would make the first part the name and the rest a domain that nobody meant.
    text = text.replace(".", "-")[:63].rstrip("-")
    return text or f"server-{uuid}"
