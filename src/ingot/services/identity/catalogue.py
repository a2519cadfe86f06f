"""The catalogue: which services there are and where.

Our own services come from the app and are told with the scheme and host of each request, so that the
cloud works through any address; services of others are rows. URL forms follow the rules that satisfy all
clients at once (compute ends in /v2.1; image, network and baremetal are unversioned roots).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ingot.services.identity.types import CatalogueEntry

INTERFACES = ("public", "internal", "admin")
_SPACE = uuid.UUID("0b5c2a7e-6f0d-4f55-9b64-1f2d5f0a7a51")


def stable_id(*parts: str) -> str:
    """The same id for the same service or endpoint on every host and after every restart."""
    return uuid.uuid5(_SPACE, "/".join(parts)).hex


def own_services(entries: Iterable[CatalogueEntry]) -> list[dict[str, Any]]:
    """Our services as the services API shows them."""
    return [
        {
            "id": stable_id(entry.type),
            "type": entry.type,
            "name": entry.name,
            "description": entry.description,
            "enabled": True,
            "extra": {},
        }
        for entry in entries
    ]


def own_endpoints(
    entries: Iterable[CatalogueEntry], origin: str, region: str
) -> list[dict[str, Any]]:
    """Our endpoints as the endpoints API shows them."""
    return [
        {
            "id": stable_id(entry.type, interface),
            "service_id": stable_id(entry.type),
            "interface": interface,
            "region_id": region,
            "url": entry.url if "://" in entry.url else origin + entry.url,
            "enabled": True,
            "extra": {},
        }
        for entry in entries
        for interface in INTERFACES
    ]


def meets(endpoint: Mapping[str, Any], filters: Mapping[str, str]) -> bool:
    """Whether an endpoint is what the filters of an endpoint group say."""
    return all(endpoint.get(name) == value for name, value in filters.items())


def render(
    services: Sequence[dict[str, Any]],
    endpoints: Sequence[dict[str, Any]],
    project_id: str | None,
) -> list[dict[str, Any]]:
    """The catalogue as tokens carry it."""
    by_service: dict[str, list[dict[str, Any]]] = {}
    for endpoint in endpoints:
        url = _fill(endpoint["url"], project_id)
        if not endpoint["enabled"] or url is None:
            continue
        by_service.setdefault(endpoint["service_id"], []).append(
            {
                "id": endpoint["id"],
                "interface": endpoint["interface"],
                "region": endpoint["region_id"],
                "region_id": endpoint["region_id"],
                "url": url,
            }
        )
    return [
        {
            "id": service["id"],
            "type": service["type"],
            "name": service["name"],
            "endpoints": by_service[service["id"]],
        }
        for service in services
        if service["enabled"] and service["id"] in by_service
    ]


def _fill(url: str, project_id: str | None) -> str | None:
    """The URL for a project; None when it needs one and there is none."""
    for mark in (
        "{project_id}",
        "$(project_id)s",
        "%(project_id)s",
        "$(tenant_id)s",
        "%(tenant_id)s",
    ):
        if mark in url:
            if project_id is None:
                return None
            url = url.replace(mark, project_id)
    return url
