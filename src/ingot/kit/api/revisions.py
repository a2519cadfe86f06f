"""Revision numbers: whoever says which one he has read changes nothing that somebody else has changed since."""

from __future__ import annotations

from ingot.kit.api.operations import Call
from ingot.kit.faults import Fault, Invalid, Kind


def check_revision(call: Call, revision: int) -> None:
    """If-Match: revision_number=N. A fault of kind PRECONDITION when it is another one.

    Source: Networking API v2.0, "Revision numbers".
    """
    header = call.header("If-Match")
    if not header:
        return
    name, _, number = header.strip().strip('"').partition("=")
    if name != "revision_number" or not number.isdecimal() or len(number) > 20:
        raise Invalid("If-Match must be revision_number=N.")
    if int(number) != revision:
        raise Fault(
            f"RevisionNumberConstraintFailed: expected {number}, the resource has {revision}.",
            kind=Kind.PRECONDITION,
            details={"type": "RevisionNumberConstraintFailed"},
            next_action="Read the resource again and repeat the change.",
        )
