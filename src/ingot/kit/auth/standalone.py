"""Callers of a service that stands alone, without an identity service: everybody, or the names of a file.

Both have every right of the system, as upstream's Bare Metal service gives them in its modes `noauth` and
`http_basic`; what its policy shows to nobody (passwords) stays hidden.

The file is Apache's: a line `name:hash` for each user, hashes by bcrypt only (`htpasswd -B`). It is read
again when it changes. bcrypt takes 50 ms by design, so a right password is known again without it, and who guesses
waits (`brake`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
from collections.abc import Callable
from pathlib import Path

from ingot.kit import log
from ingot.kit.api.operations import Shown
from ingot.kit.auth.policy import ANONYMOUS, Caller
from ingot.kit.auth.throttle import HashingQueue, LoginAttempt, LoginThrottle
from ingot.kit.faults import Invalid, Unauthenticated, Unavailable
from ingot.kit.tasks.clock import Clock

_log = log.get("standalone")

ROLES = frozenset({"admin", "manager", "member", "reader"})
CHALLENGE = 'Basic realm="Baremetal API"'
_BCRYPT = ("$2y$", "$2a$", "$2b$")
#: Passwords that are hashed at a time.
_THREADS = 2


async def everybody(header: Callable[[str], str | None]) -> Caller:
    """The authenticator of the mode noauth. X-Auth-Token and the like mean nothing."""
    return Caller(user_id="noauth", user_name="noauth", system=True, roles=ROLES)


async def still_everybody(caller: Caller) -> Caller:
    """Everybody may stay."""
    return await everybody(lambda _name: None)


async def as_before(caller: Caller) -> Caller:
    """Who a caller is by now, where nobody can be asked."""
    return caller


class BasicAuth:
    """The authenticator of the mode http_basic. Invalid when the file cannot be used."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._brake = LoginThrottle(clock)
        self._turns = HashingQueue(_THREADS)
        self._seen: tuple[int, int] = (0, 0)
        self._users: dict[str, str] = {}
        self._reread()

    async def __call__(self, header: Shown) -> Caller:
        given = header("Authorization")
        if not given:
            return ANONYMOUS
        name, password = _credentials(given)
        self._refresh()
        if not await self._fits(
            LoginAttempt.of(header.remote, name), self._users.get(name), password
        ):
            raise Unauthenticated("Incorrect username or password", details={"login": name})
        return _caller(name)

    async def still(self, caller: Caller) -> Caller:
        """Whoever is in the file may stay; Unauthenticated for others."""
        self._refresh()
        name = caller.user_id or ""
        if name not in self._users:
            raise Unauthenticated("This user is not in the file any more.")
        return _caller(name)

    def _refresh(self) -> None:
        try:
            self._reread()
        except Invalid as fault:
            _log.error("user file", fault=fault.text)
            raise Unavailable(
                "The file of users cannot be read.", next_action="Operators: see the log."
            ) from None

    async def _fits(self, who: LoginAttempt, hashed: str | None, password: bytes) -> bool:
        """Whether it is the password of the hash; None (no such user) has none. Fault (too many) while `who` waits."""
        brake, text = self._brake, password.decode("latin-1")
        if brake.knows(who, text, hashed):
            return True
        brake.check(who)
        async with self._turns.turn(who):
            brake.check(who)  # others of theirs may have failed meanwhile
            right = await asyncio.to_thread(_matches, password[:72], hashed)
            if right and hashed is not None:
                brake.right(who, text, hashed)
                return True
            brake.wrong(who)
            return False

    def _reread(self) -> None:
        try:
            state = self._file.stat()
            if (state.st_mtime_ns, state.st_size) == self._seen:
                return
            text = self._file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"The file of users {self._file} cannot be read: {error}.") from None
        self._users = dict(_entries(self._file, text))
        self._seen = (state.st_mtime_ns, state.st_size)


def _caller(name: str) -> Caller:
    return Caller(user_id=name, user_name=name, system=True, roles=ROLES)


def _matches(password: bytes, hashed: str | None) -> bool:
    """In a thread. hashed: None where there is no such user."""
    import bcrypt  # only this mode needs it

    return bcrypt.checkpw(password, hashed.encode() if hashed else _nobody())


@functools.cache
def _nobody() -> bytes:
    """Checked when there is no such user, so that the time tells nothing about who there is."""
    import bcrypt

    return bcrypt.hashpw(b"nobody", bcrypt.gensalt(10))


def _entries(file: Path, text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, hashed = line.strip().partition(":")
        if not colon:
            continue
        if not hashed.startswith(_BCRYPT):
            raise Invalid(
                f"{file}, line {number}: only bcrypt digested passwords are supported for {name}.",
                next_action="Make the line with `htpasswd -nB NAME`.",
            )
        found.append((name, hashed))
    # The first line of a name counts, as upstream reads the file.
    return found[::-1]


def _credentials(given: str) -> tuple[str, bytes]:
    kind, _, token = given.strip().partition(" ")
    if kind.lower() != "basic":
        raise Invalid(f'Unsupported authorization type "{kind}"')
    try:
        pair = base64.b64decode(token.strip(), validate=True)
        name, colon, password = pair.partition(b":")
        if not colon:
            raise ValueError
        return name.decode(), password
    except (binascii.Error, ValueError):
        raise Invalid("Could not decode authorization token") from None
