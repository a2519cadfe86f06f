"""The five ways in which hardware can say no.

A driver gives a value or raises one of these. They are `kit.faults.Fault`s, so the workflow engine
treats them like every other; they know nothing of HTTP, nodes or states. Every fault carries the
device's own words (`cause`, the same as `text`), what a person or program may do next
(`next_action`) and, where it makes sense, after how many seconds another try is worth it
(`retry_after`). Secrets never appear in them: give the secret values to the constructor (or to
`hide`) and they are replaced before anything is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ingot.kit.faults import Fault, Kind
from ingot.kit.http import untrusted

MASK = "******"
LONGEST_CAUSE = 600


def hide(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` on one line, harmless to terminals, every secret replaced by `******`, cut to 600 characters."""
    for secret in sorted({s for s in secrets if s}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return untrusted.words(text, LONGEST_CAUSE)


class DriverFault(Fault):
    """Base of the five; never raised itself.

    cause: the device's own words, free of secrets, at most 600 characters.
    retry_after: seconds after which a retry makes sense, None when a retry alone can't help.
    next_action: one sentence for a person.
    """

    default_next: ClassVar[str] = "Look at the device."
    default_retry: ClassVar[float | None] = None

    def __init__(
        self,
        cause: str,
        *,
        retry_after: float | None = None,
        next_action: str | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        super().__init__(
            hide(cause, secrets),
            next_action=next_action or self.default_next,
            retry_after=self.default_retry if retry_after is None else retry_after,
        )

    @property
    def cause(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.sentence()


class Unreachable(DriverFault):
    """No answer in time, connection refused, name not found, TLS not trusted, breaker open."""

    kind = Kind.UNREACHABLE
    default_next = "Check the address, the cable and that the controller is powered, then retry."
    default_retry = 10.0


class BadCredentials(DriverFault):
    """The device answered and did not accept who we said we are."""

    kind = Kind.BAD_CREDENTIALS
    default_next = "Correct the user name and password in driver_info."


class Busy(DriverFault):
    """The device is alive and asks us to come back later (503, agent at work)."""

    kind = Kind.BUSY
    default_next = "Retry a little later."
    default_retry = 5.0


class Unsupported(DriverFault):
    """The device or the driver cannot do this at all; a retry will not help."""

    kind = Kind.UNSUPPORTED
    default_next = "Choose another interface or value that this hardware supports."


class Refused(DriverFault):
    """The device understood and said no, or did something other than what was asked."""

    kind = Kind.REFUSED
    default_next = "Read the device's words, correct the cause and retry."
