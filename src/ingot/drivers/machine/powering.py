"""How a power state is reached and proved; the same for every protocol.

Only the reading and the single command differ between protocols. Here: read first, send only what
is needed, poll until the state is there, tolerate a controller that is silent or busy for a moment,
send a hard command again when it seems to have been lost, and say exactly what was done.
A reboot is off, proved, then on, proved: a reset that did nothing would look the same as one that
did, so it is not used for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ingot.drivers.faults import Busy, DriverFault, Refused, Unreachable
from ingot.drivers.machine.types import PowerOutcome, PowerState, PowerTarget
from ingot.kit.tasks.clock import Clock

DEFAULT_TIMEOUT = 60.0
FIRST_POLL_SECONDS = 0.4
LONGEST_POLL_SECONDS = 3.0
# A hard command that shows no effect after this share of the time is sent again, at most twice.
RESEND_AFTER_FRACTION = 0.25
MOST_SENDS = 3
#: Between two sendings of a command that was refused for a while, unless the device names a time.
AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class PowerProtocol:
    """The two things a protocol supplies.

    send(target): target is ON, OFF (hard) or SOFT_OFF; returns the device's name of the command.
    """

    read: Callable[[], Awaitable[PowerState]]
    send: Callable[[PowerTarget], Awaitable[str]]


async def reach(
    lines: PowerProtocol, target: PowerTarget, clock: Clock, timeout: float | None = None
) -> PowerOutcome:
    """Bring the machine to `target`. Raises Refused when it was not reached `timeout` s after a command.

    A machine that was switched off on the way is switched on with all patience; where that fails, the fault says
    that it is off now.
    """
    attempt = _Attempt(lines, clock, DEFAULT_TIMEOUT if timeout is None else timeout)
    before = await attempt.read()
    legs = _legs(target, before)
    for leg in legs[:1]:
        await attempt.go(leg)
    for leg in legs[1:]:
        try:
            await attempt.go(leg)
        except DriverFault as fault:
            raise _left_off(fault) from fault
    after = before if not attempt.commands else attempt.seen
    return PowerOutcome(bool(attempt.commands), before, after, tuple(attempt.commands))


def _legs(target: PowerTarget, before: PowerState) -> tuple[PowerTarget, ...]:
    if target is PowerTarget.ON:
        return () if before is PowerState.ON else (PowerTarget.ON,)
    if target in (PowerTarget.OFF, PowerTarget.SOFT_OFF):
        return () if before is PowerState.OFF else (target,)
    if before is PowerState.OFF:
        return (PowerTarget.ON,)
    down = PowerTarget.SOFT_OFF if target is PowerTarget.SOFT_REBOOT else PowerTarget.OFF
    return (down, PowerTarget.ON)


def _left_off(fault: DriverFault) -> DriverFault:
    return type(fault)(
        f"the machine was switched off and could not be switched on again: {fault.cause}",
        next_action=f"It is off now: switch it on. {fault.next_action}",
        retry_after=fault.retry_after,
    )


class _Attempt:
    def __init__(self, lines: PowerProtocol, clock: Clock, timeout: float) -> None:
        self._lines = lines
        self._clock = clock
        self._timeout = timeout
        self._deadline = clock.monotonic() + timeout
        self._trouble: Unreachable | Busy | None = None
        self.commands: list[str] = []
        self.seen = PowerState.ERROR

    async def read(self) -> PowerState:
        """Read, retrying a busy controller; an unreachable one is reported at once."""
        while True:
            try:
                self.seen = await self._lines.read()
                return self.seen
            except Busy as fault:
                await self._pause_or_raise(fault)

    async def go(self, leg: PowerTarget) -> None:
        """Send `leg` until it shows."""
        self._deadline = self._clock.monotonic() + self._timeout
        sent_at = await self._send(leg)
        # From the command on: a controller that took long to be read and told does not take it from the machine.
        self._deadline = sent_at + self._timeout
        pause = self._timeout * RESEND_AFTER_FRACTION
        resend_at = sent_at + pause
        sends_left = 0 if leg is PowerTarget.SOFT_OFF else MOST_SENDS - 1
        poll = FIRST_POLL_SECONDS
        while not await self._reached(leg):
            now = self._clock.monotonic()
            if now >= self._deadline:
                raise self._gave_up(leg)
            if sends_left and now >= resend_at:
                sends_left -= 1
                resend_at = await self._send(leg) + pause
            await self._clock.sleep(min(poll, max(self._deadline - now, 0.01)))
            poll = min(poll * 1.5, LONGEST_POLL_SECONDS)

    async def _send(self, leg: PowerTarget) -> float:
        """Send it once, at last. After a first command the machine is on its way: whatever refuses is asked again."""
        while True:
            try:
                self.commands.append(await self._lines.send(leg))
                return self._clock.monotonic()
            except Busy as fault:
                await self._pause_or_raise(fault)
            except Refused as fault:
                # Some controllers refuse a command whose effect is already there.
                if await self._reached(leg):
                    return self._clock.monotonic()
                # Others refuse for a while what they will do once they have settled.
                if not self.commands and fault.retry_after is None:
                    raise
                await self._pause_or_raise(fault)
            except Unreachable as fault:
                if not self.commands:
                    raise
                await self._pause_or_raise(fault)

    async def _reached(self, leg: PowerTarget) -> bool:
        try:
            self.seen = await self._lines.read()
            self._trouble = None
        except (Unreachable, Busy) as fault:
            # Many controllers go silent for seconds while the power changes.
            self._trouble = fault
            return False
        return self.seen is leg.final

    async def _pause_or_raise(self, fault: DriverFault) -> None:
        pause = fault.retry_after or AGAIN_SECONDS
        if self.commands:
            pause = min(pause, self._timeout / 4)
        if self._clock.monotonic() + pause >= self._deadline:
            raise fault
        await self._clock.sleep(pause)

    def _gave_up(self, leg: PowerTarget) -> Exception:
        if self._trouble is not None:
            return self._trouble
        sent = ", ".join(self.commands)
        soft = leg is PowerTarget.SOFT_OFF
        return Refused(
            f"still {self.seen.value} {self._timeout:g} s after {sent}; {leg.value} was asked",
            next_action=(
                "The operating system did not shut down: use a hard power off."
                if soft
                else "Look at the machine's console and its controller's event log."
            ),
        )
