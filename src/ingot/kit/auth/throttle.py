"""A brake on log-in that a good user does not feel.

A password costs tens of milliseconds of processor by design, so those who guess could keep everybody waiting. Three
things prevent it:

- Turns are given round robin to peers (network addresses) and, within one, to accounts: whoever sends many waits
  behind themselves only. So many may wait; more are told 429 at once.
- Wrong answers count for the pair of peer and account. After some the pair waits, longer each time, and is told so
  (429, Retry-After) without anything being hashed. Accounts are never locked: from elsewhere their owner comes in.
  Nor are peers: behind one address there may be many people.
- A password that was right a while ago is known again by a keyed digest, without hashing, also while its pair waits
  (but then no more than twice a second, so that nobody guesses by that way either).

All of it is kept by each process for itself, and bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from ingot.kit.faults import Fault, Kind
from ingot.kit.http.peers import peer_of
from ingot.kit.tasks.clock import Clock

#: Wrong answers of one pair of peer and account before it waits, and its longest wait in seconds.
FREE_TRIES = 8
LONGEST_WAIT = 30.0
#: A pair that was quiet for so long starts anew.
FORGET_SECONDS = 600.0
#: A known password counts also while its pair waits, but only so often.
KNOWN_EVERY = 0.5
_KEPT = 10_000
#: The longest name of an account that is kept as it is.
_LONGEST_ACCOUNT = 64
_KNOWN = 1_000


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """Who tries to log in as whom. account: a user's id, or whatever names one that is not there."""

    peer: str
    account: str

    @classmethod
    def of(cls, remote: str, account: str) -> LoginAttempt:
        # Whoever asks chooses this text, and thousands of them are kept.
        if len(account) > _LONGEST_ACCOUNT:
            account = hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()
        return cls(peer_of(remote) or remote, account)


def too_many(seconds: float) -> Fault:
    return Fault(
        "Too many log-ins failed or wait.",
        kind=Kind.TOO_MANY,
        next_action="Try again in a moment.",
        retry_after=max(1.0, seconds),
    )


class HashingQueue:
    """A fair queue of passwords to be hashed: `workers` at a time, peers and their accounts in turn."""

    def __init__(self, workers: int, most: int = 256, most_a_peer: int = 128) -> None:
        self._free = workers
        self._most, self._most_a_peer = most, most_a_peer
        self._waiting: OrderedDict[str, OrderedDict[str, deque[asyncio.Future[None]]]] = (
            OrderedDict()
        )
        self._counts: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def turn(self, who: LoginAttempt) -> AsyncGenerator[None]:
        """Wait for a turn; Fault (too many) where too many wait already."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(who)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, who: LoginAttempt) -> None:
        self._make_room(who.peer)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._waiting.setdefault(who.peer, OrderedDict()).setdefault(who.account, deque())
        line.append(mine)
        self._counts[who.peer] = self._counts.get(who.peer, 0) + 1
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled() and mine.exception() is None:
                self._pass_on()  # the turn had come just then
            elif mine in line:
                self._leave(who.peer, who.account, mine)
            raise

    def _make_room(self, peer: str) -> None:
        own = self._counts.get(peer, 0)
        if own >= self._most_a_peer:
            raise too_many(1)
        if sum(self._counts.values()) < self._most:
            return
        longest = max(self._counts, key=lambda name: self._counts[name])
        if self._counts[longest] <= own + 1:
            raise too_many(1)
        account, line = max(self._waiting[longest].items(), key=lambda item: len(item[1]))
        last = line[-1]
        self._leave(longest, account, last)
        if not last.done():
            last.set_exception(too_many(1))

    def _leave(self, peer: str, account: str, one: asyncio.Future[None]) -> None:
        lines = self._waiting[peer]
        lines[account].remove(one)
        if not lines[account]:
            del lines[account]
        if not lines:
            del self._waiting[peer]
        self._counts[peer] -= 1
        if not self._counts[peer]:
            del self._counts[peer]

    def _pass_on(self) -> None:
        while self._waiting:
            peer, lines = next(iter(self._waiting.items()))
            account, line = next(iter(lines.items()))
            one = line[0]
            self._waiting.move_to_end(peer)
            lines.move_to_end(account)
            self._leave(peer, account, one)
            if not one.done():
                one.set_result(None)
                return
        self._free += 1


@dataclass(slots=True)
class _FailedLogins:
    failed: int = 0
    until: float = 0.0
    last: float = 0.0
    known: float = float("-inf")


class LoginThrottle:
    """Counts wrong answers and remembers right ones."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: OrderedDict[LoginAttempt, _FailedLogins] = OrderedDict()
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def wait(self, who: LoginAttempt) -> float:
        """Seconds for which this pair must wait; 0 when it need not."""
        tries = self._tries.get(who)
        return 0.0 if tries is None else max(0.0, tries.until - self._clock.monotonic())

    def check(self, who: LoginAttempt) -> None:
        """Fault (too many) while this pair must wait."""
        if (seconds := self.wait(who)) > 0:
            raise too_many(seconds)

    def knows(self, who: LoginAttempt, password: str, hashed: str | None) -> bool:
        """Whether this password is known to belong to the hash; False says nothing."""
        if hashed is None:
            return False
        if self.wait(who) > 0:
            tries, now = self._tries.setdefault(who, _FailedLogins()), self._clock.monotonic()
            if now - tries.known < KNOWN_EVERY:
                return False
            tries.known = now
        digest = self._digest(password, hashed)
        if digest not in self._known:
            return False
        self._known.move_to_end(digest)
        return True

    def right(self, who: LoginAttempt, password: str, hashed: str) -> None:
        """A right answer: the pair starts anew."""
        self._tries.pop(who, None)
        self._known[self._digest(password, hashed)] = None
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def wrong(self, who: LoginAttempt) -> None:
        """One more wrong answer."""
        now = self._clock.monotonic()
        tries = self._tries.setdefault(who, _FailedLogins())
        self._tries.move_to_end(who)
        if now - tries.last > FORGET_SECONDS:
            tries.failed = 0
        tries.failed, tries.last = tries.failed + 1, now
        if tries.failed >= FREE_TRIES:
            tries.until = now + min(2.0 ** (tries.failed - FREE_TRIES), LONGEST_WAIT)
        if len(self._tries) > _KEPT:
            self._tries.popitem(last=False)

    def _digest(self, password: str, hashed: str) -> bytes:
        text = hashed.encode() + b"\0" + password.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).digest()


__all__ = ["HashingQueue", "LoginAttempt", "LoginThrottle", "too_many"]
