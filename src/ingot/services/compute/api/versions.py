"""Version documents of the Compute API."""

from __future__ import annotations

from ingot.kit.api.operations import Call, Reply
from ingot.services.compute.api.common import (
    VERSIONS,
    Wire,
)


async def versions(call: Call) -> Reply:
    """GET /compute."""
    return Reply({"versions": [_version(call)]})


async def version(call: Call) -> Reply:
    """GET /compute/v2.1."""
    kinds = [
        {
            "base": "application/json",
            "type": "application/vnd.openstack.compute+json;version=2.1",
        }
    ]
    return Reply({"version": {**_version(call), "media-types": kinds}})


def _version(call: Call) -> Wire:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": str(VERSIONS.maximum),
        "min_version": str(VERSIONS.minimum),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{call.base_url}/v2.1/"}],
    }
