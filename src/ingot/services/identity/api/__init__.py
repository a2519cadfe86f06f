"""The Identity API v3 on the wire: version documents, envelope and the table of operations."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.auth.policy import ANONYMOUS, Caller
from ingot.kit.faults import Fault, Kind, Unauthenticated
from ingot.services.identity.api import (
    application_credentials,
    auth,
    catalogue,
    credentials,
    domain_config,
    domains,
    ec2,
    endpoint_filters,
    groups,
    limits,
    projects,
    role_assignments,
    roles,
    trusts,
    users,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingot.services.identity.service import Identity

#: The newest Identity API minor version whose behaviour we follow.
VERSION = "v3.14"
_UPDATED = "2020-04-07T00:00:00Z"

#: Keystone's own limit, so that nobody stores novels in a user's attributes.
MAX_BODY = 114_688


def envelope(fault: Fault, status: int) -> tuple[bytes, str]:
    """`{"error": {code, message, title}}`."""
    error = {
        "code": status,
        "message": fault.sentence() if fault.next_action else fault.text,
        "title": HTTPStatus(status).phrase,
    }
    return msgspec.json.encode({"error": error}), "application/json"


def _document(origin: str) -> dict[str, Any]:
    return {
        "id": VERSION,
        "status": "stable",
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{origin}/v3/"}],
        "media-types": [
            {
                "base": "application/json",
                "type": "application/vnd.openstack.identity-v3+json",
            }
        ],
    }


async def _versions(call: Call) -> Reply:
    return Reply({"versions": {"values": [_document(call.base_url)]}})


async def _version(call: Call) -> Reply:
    return Reply({"version": _document(call.base_url)})


def make_service(identity: Identity, prefix: str = "/identity") -> Service:
    """All rows of the Identity API."""

    async def authenticate(header: Callable[[str], str | None]) -> Caller:
        # A stale token must not keep anybody from the version documents or from getting a new one; rows
        # with a rule answer 401 to nobody anyway.
        try:
            return await identity.authenticate_here(header)
        except Unauthenticated:
            return ANONYMOUS

    open_to_all = [
        Operation("GET", "", _versions, rule=None, status=300),
        Operation("GET", "/v3", _version, rule=None),
    ]
    tables = (
        auth,
        users,
        groups,
        projects,
        domains,
        roles,
        role_assignments,
        application_credentials,
        catalogue,
        credentials,
        ec2,
        limits,
        endpoint_filters,
        domain_config,
        trusts,
    )
    rows = [row for table in tables for row in table.operations(identity, prefix)]
    return Service(
        name="identity",
        prefix=prefix,
        operations=[*open_to_all, *rows],
        envelope=envelope,
        policy=identity.policy,
        authenticator=authenticate,
        status={Kind.LIMIT: 403},
    )
