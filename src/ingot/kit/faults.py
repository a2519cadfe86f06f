"""Faults: what can go wrong, told without knowing HTTP.

A fault has a kind, a text for the person who asked, and what to do next. One place per service (its
`Envelope` in `kit.web`) turns the kind into a status code and a body; drivers, workflows and services raise
the same type. The internal text goes to the log only, never to a reply.
"""

from __future__ import annotations

import errno
from enum import StrEnum

from ingot.kit.http.untrusted import harmless

#: Characters of a fault's text: room for whole lists of mistakes.
LONGEST_TEXT = 8000


class Kind(StrEnum):
    """What sort of fault; the HTTP status it commonly becomes stands behind it."""

    INVALID = "invalid"  # 400
    UNAUTHENTICATED = "unauthenticated"  # 401
    FORBIDDEN = "forbidden"  # 403
    MISSING = "missing"  # 404
    METHOD = "method not allowed"  # 405
    VERSION = "version not supported"  # 406
    SLOW = "request too slow"  # 408
    CONFLICT = "conflict"  # 409
    LOCKED = "locked"  # 409
    GONE = "gone"  # 410
    PRECONDITION = "precondition failed"  # 412
    TOO_LARGE = "too large"  # 413
    MEDIA_TYPE = "unsupported media type"  # 415
    RANGE = "range not satisfiable"  # 416
    LIMIT = "limit exceeded"  # 403 or 429, by service
    TOO_MANY = "too many requests"  # 429
    INTERNAL = "internal"  # 500
    UNIMPLEMENTED = "not implemented"  # 501
    UNAVAILABLE = "unavailable"  # 503
    FULL = "storage full"  # 507, 413 or 503 by service
    DISK_FULL = "disk full"  # 507: a disk of the cloud itself
    # Faults of machines and long work. They reach a person in last_error, history and events.
    UNREACHABLE = "unreachable"
    BAD_CREDENTIALS = "bad credentials"
    BUSY = "busy"
    UNSUPPORTED = "unsupported"
    REFUSED = "refused"
    TIMEOUT = "timed out"
    WRONG_MACHINE = "wrong machine"
    ABORTED = "aborted"
    FAILED = "failed"


#: Kinds that may pass by themselves: a step that meets one is tried again until its deadline.
TRANSIENT = frozenset({Kind.UNREACHABLE, Kind.BUSY, Kind.UNAVAILABLE, Kind.DISK_FULL})


class Fault(Exception):
    """A fault with its kind.

    text: for the person who asked; one or two sentences, no secrets. Control characters are written out in it.
    next_action: what that person can do now, in the imperative; may be empty.
    internal: for the log only.
    retry_after: seconds after which trying again makes sense, None when it does not.
    """

    kind: Kind = Kind.INTERNAL

    def __init__(
        self,
        text: str,
        *,
        kind: Kind | None = None,
        next_action: str = "",
        internal: str = "",
        retry_after: float | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        # Whatever a machine or a mirror said stands in here on its way to logs, terminals and the database.
        text = harmless(text, LONGEST_TEXT)
        super().__init__(text)
        self.text = text
        if kind is not None:
            self.kind = kind
        self.next_action = next_action
        self.internal = internal
        self.retry_after = retry_after
        self.details = details or {}

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed later without anybody doing something."""
        return self.kind in TRANSIENT

    def sentence(self) -> str:
        """Cause and next action as one text, for last_error and the timeline."""
        text = self.text if self.text.endswith((".", "!", "?")) else self.text + "."
        return f"{text} {self.next_action}".strip()


class Invalid(Fault):
    kind = Kind.INVALID


class Unauthenticated(Fault):
    kind = Kind.UNAUTHENTICATED


class Forbidden(Fault):
    kind = Kind.FORBIDDEN


class Missing(Fault):
    kind = Kind.MISSING


class Conflict(Fault):
    kind = Kind.CONFLICT


class Locked(Fault):
    """The subject has a live operation."""

    kind = Kind.LOCKED


class Unavailable(Fault):
    kind = Kind.UNAVAILABLE


class TimedOut(Fault):
    kind = Kind.TIMEOUT


class Aborted(Fault):
    kind = Kind.ABORTED


class Failed(Fault):
    kind = Kind.FAILED


def beyond(error: BaseException) -> Fault | None:
    """Invalid where a value of the request does not fit in what holds it, and nobody had looked; None otherwise.

    Numbers and times that Python or SQLite cannot hold, and texts that a column of PostgreSQL cannot (SQLSTATE
    class 22).
    """
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
    if not (isinstance(error, OverflowError) or state.startswith("22")):
        return None
    return Invalid("A value of the request is larger or longer than what can be held.")


def disk_full(error: BaseException) -> Fault | None:
    """The fault of an OSError that means a full disk; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    where = f" ({error.filename})" if error.filename else ""
    return Fault(
        f"A disk of the cloud is full{where}.",
        kind=Kind.DISK_FULL,
        next_action="Operators: make room on it, then try again.",
        retry_after=30,
    )


#: What a file of the cloud can meet that only an operator mends: rights, a read-only or broken disk, a folder that is
#: gone, too many open files.
_UNUSABLE = frozenset(
    getattr(errno, name)
    for name in (
        "EACCES",
        "EPERM",
        "EROFS",
        "EIO",
        "ENOENT",
        "ENOTDIR",
        "ESTALE",
        "EMFILE",
        "ENFILE",
    )
)


def unusable_file(error: BaseException) -> Fault | None:
    """The fault of an OSError at a file of the cloud itself; None for any other error. Which one says the log."""
    if not isinstance(error, OSError) or error.errno not in _UNUSABLE or error.filename is None:
        return None
    return Fault(
        f"A file of the cloud cannot be used: {error.strerror}.",
        kind=Kind.UNAVAILABLE,
        next_action="Operators: the log names it.",
        internal=f"{error.filename}: {error.strerror}",
        retry_after=30,
    )
