"""Discovery documents: GET / and GET /v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.versions import Version
from ingot.services.baremetal import links
from ingot.services.baremetal.api.common import Handlers

if TYPE_CHECKING:
    from ingot.services.baremetal.service import Baremetal


MINIMUM, MAXIMUM = Version(1, 1), Version(1, 115)


class Roots(Handlers):
    """GET / and GET /v1: what there is, at which versions. Open to everybody.

    collections: what GET /v1 links to, with the minor version that brought it.
    """

    def __init__(self, baremetal: Baremetal, collections: Mapping[str, int] | None = None) -> None:
        super().__init__(baremetal)
        self._collections = collections or {}

    async def root(self, call: Call) -> Reply:
        version = _version_document(call)
        return Reply(
            {
                "name": "OpenStack Ironic API",
                "description": "Ingot's Bare Metal service, version 1 of the Bare Metal API.",
                "default_version": version,
                "versions": [version],
            }
        )

    async def v1(self, call: Call) -> Reply:
        body: dict[str, Any] = {
            "id": "v1",
            "links": [
                {"href": f"{call.base_url}/v1/", "rel": "self"},
                {
                    "href": "https://docs.openstack.org//ironic/latest/contributor//webapi.html",
                    "rel": "describedby",
                    "type": "text/html",
                },
            ],
            "media_types": {
                "base": "application/json",
                "type": "application/vnd.openstack.ironic.v1+json",
            },
            "version": _version_document(call),
        }
        for name, since in self._collections.items():
            if call.version.minor >= since:
                body[name] = links.links(call.base_url, f"{name}/")
        return Reply(body)


def _version_document(call: Call) -> dict[str, Any]:
    return {
        "id": "v1",
        "links": [{"href": f"{call.base_url}/v1/", "rel": "self"}],
        "status": "CURRENT",
        "min_version": str(MINIMUM),
        "version": str(MAXIMUM),
    }
