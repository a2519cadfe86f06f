"""Links that resources of the Bare Metal API carry."""

from __future__ import annotations


def links(base: str, path: str) -> list[dict[str, str]]:
    """self and bookmark of a thing."""
    return [
        {"href": f"{base}/v1/{path}", "rel": "self"},
        {"href": f"{base}/{path}", "rel": "bookmark"},
    ]
