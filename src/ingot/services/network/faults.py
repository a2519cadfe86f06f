"""Faults of the Networking API by the names that its clients know (the `type` of NeutronError)."""

from __future__ import annotations

import msgspec

from ingot.kit.faults import Fault, Kind

_TYPES = {
    Kind.INVALID: "HTTPBadRequest",
    Kind.UNAUTHENTICATED: "HTTPUnauthorized",
    Kind.FORBIDDEN: "PolicyNotAuthorized",
    Kind.MISSING: "HTTPNotFound",
    Kind.METHOD: "HTTPMethodNotAllowed",
    Kind.CONFLICT: "Conflict",
    Kind.TOO_LARGE: "HTTPRequestEntityTooLarge",
    Kind.INTERNAL: "HTTPInternalServerError",
    Kind.UNAVAILABLE: "HTTPServiceUnavailable",
}


def invalid(type_: str, text: str, next_action: str = "") -> Fault:
    return Fault(text, kind=Kind.INVALID, details={"type": type_}, next_action=next_action)


def conflict(type_: str, text: str, next_action: str = "") -> Fault:
    return Fault(text, kind=Kind.CONFLICT, details={"type": type_}, next_action=next_action)


def missing(what: str, name: str) -> Fault:
    """A 404 such as NetworkNotFound. what: "Network", "Subnet", "Port", "SecurityGroup"..."""
    return Fault(
        f"{what} {name} could not be found.", kind=Kind.MISSING, details={"type": f"{what}NotFound"}
    )


def envelope(fault: Fault, status: int) -> tuple[bytes, str]:
    """NeutronError: type, message and detail (here: what to do next)."""
    kind = fault.details.get("type") or _TYPES.get(fault.kind, "NeutronException")
    body = {
        "NeutronError": {"type": kind, "message": fault.text, "detail": fault.next_action},
    }
    return msgspec.json.encode(body), "application/json"
