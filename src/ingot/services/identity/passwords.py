"""Passwords: scrypt from the standard library, parameters kept in the hash.

Format: `$scrypt$ln=<log2 N>,r=8,p=1$<salt>$<hash>` (base64 without padding). Hashing takes tens of
milliseconds and megabytes on purpose, so it runs in two threads of its own and never on the event loop; a
name that does not exist costs the same as a wrong password. Who tries often waits behind themselves (`brake`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor

from ingot.kit.auth.throttle import HashingQueue, LoginAttempt, LoginThrottle
from ingot.kit.tasks.clock import Clock

_R, _P, _SIZE = 8, 1, 32
#: The process itself, at its first start.
OURSELVES = LoginAttempt("", "")


#: How many are hashed at a time.
_THREADS = 2


class Passwords:
    """Hashes and verifies.

    cost: log2 of scrypt's N.
    """

    def __init__(self, cost: int, clock: Clock) -> None:
        if not 10 <= cost <= 20:
            raise ValueError(f"password_cost must be between 10 and 20, not {cost}")
        self._cost = cost
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="scrypt")
        self._turns = HashingQueue(_THREADS)
        self._brake = LoginThrottle(clock)
        # What an unknown user's password is compared with, so that both answers take as long; no password has it.
        self._decoy = self._text(secrets.token_bytes(16), secrets.token_bytes(_SIZE))

    async def hash(self, password: str, who: LoginAttempt = OURSELVES) -> str:
        """Fault (too many) while too many of theirs wait."""
        async with self._turns.turn(who):
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._make, password
            )

    async def verify(self, password: str, known: str | None, who: LoginAttempt = OURSELVES) -> bool:
        """Whether `password` belongs to the hash; None (no such user, no password) is always False.

        Fault (too many) while `who` has to wait.
        """
        brake = self._brake
        if brake.knows(who, password, known):
            return True
        brake.check(who)
        async with self._turns.turn(who):
            brake.check(who)  # others of theirs may have failed meanwhile
            loop = asyncio.get_running_loop()
            fits = await loop.run_in_executor(
                self._threads, _matches, password, known if known is not None else self._decoy
            )
            if fits and known is not None:
                brake.right(who, password, known)
                return True
            brake.wrong(who)
            return False

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def _make(self, password: str) -> str:
        salt = secrets.token_bytes(16)
        return self._text(salt, _scrypt(password, salt, self._cost, _R, _P))

    def _text(self, salt: bytes, digest: bytes) -> str:
        return f"$scrypt$ln={self._cost},r={_R},p={_P}${_b64(salt)}${_b64(digest)}"


def _matches(password: str, known: str) -> bool:
    try:
        _, kind, parameters, salt, wanted = known.split("$")
        if kind != "scrypt":
            return False
        values = dict(part.split("=") for part in parameters.split(","))
        found = _scrypt(
            password, _unb64(salt), int(values["ln"]), int(values["r"]), int(values["p"])
        )
        return hmac.compare_digest(found, _unb64(wanted))
    except (ValueError, KeyError):
        return False


def _scrypt(password: str, salt: bytes, cost: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=1 << cost,
        r=r,
        p=p,
        dklen=_SIZE,
        maxmem=(128 * r * (1 << cost)) * 2 + (1 << 20),
    )


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
