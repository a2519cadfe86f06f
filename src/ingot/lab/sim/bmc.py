"""A BMC in front of any `PowerBackend`: accounts, faults, and the record of commands.

Redfish and IPMI servers are two mouths of this one. Every state-changing request that reaches
the wire is written to `commands`, whether it is obeyed, ignored or refused, so that a test can
prove that no command was given twice by two actors.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass

from ingot.lab.sim.board import Board
from ingot.lab.sim.clock import Chance, Clock
from ingot.lab.sim.faults import Faults
from ingot.lab.sim.types import (
    BmcCommand,
    BootDevice,
    BootSetting,
    PowerBackend,
    PowerState,
)

POWER_READS_KEPT = 32


class BmcSilent(Exception):
    """The request gets no answer."""


class BmcBusy(Exception):
    """The request is answered with 'come back later'."""


class BmcRefused(Exception):
    """The command is not possible in the present state."""


@dataclass(frozen=True)
class Caller:
    """Who speaks: see `BmcCommand`."""

    protocol: str
    source: str
    client: str
    session: str


class Bmc:
    """`username` and `password` are the true ones; `clock` must be scaled, never stepped. manner: see `Delivery`."""

    def __init__(
        self,
        backend: PowerBackend,
        *,
        username: str,
        password: str,
        faults: Faults,
        clock: Clock,
        chance: Chance,
        manner: str = "plain",
    ) -> None:
        self.backend = backend
        self.username = username
        self.password = password
        self.faults = faults
        self.clock = clock
        self.chance = chance
        self.manner = manner
        self.commands: list[BmcCommand] = []
        self.requests = 0
        #: When the power was asked for and told, newest last, in real monotonic seconds.
        self.told_power_at: deque[float] = deque(maxlen=POWER_READS_KEPT)
        self.media: str | None = None
        self.board = Board(backend, faults, clock)
        self._recent: deque[float] = deque(maxlen=64)
        self._silent_until = -1.0
        self._failures = 0
        self._locked_until = -1.0
        self._last_power: PowerState | None = None
        self._old_power: tuple[PowerState, float] | None = None

    # Faults of every request --------------------------------------------------------------

    async def admit(self) -> None:
        """Pass a request through the BMC's moods. Raises BmcSilent or BmcBusy."""
        self.requests += 1
        faults = self.faults
        now = self.clock.now()
        if faults.freeze_burst:
            self._recent.append(time.monotonic())
            since = time.monotonic() - 1.0
            if sum(1 for at in self._recent if at > since) >= faults.freeze_burst:
                self._silent_until = now + faults.freeze_seconds
                self._recent.clear()
        if now < self._silent_until or faults.take("bmc_silent"):
            raise BmcSilent
        if faults.reply_delay[1] > 0:
            await self.clock.sleep(self.chance.between("bmc-delay", faults.reply_delay), "bmc")
        if faults.busy_rate and self.chance.stream("bmc-busy").random() < faults.busy_rate:
            raise BmcBusy

    @property
    def silent(self) -> bool:
        return self.clock.now() < self._silent_until

    def go_silent(self, seconds: float) -> None:
        """As after its own restart or a pulled cable: nothing is answered for `seconds`."""
        self._silent_until = max(self._silent_until, self.clock.now() + seconds)

    # Accounts -----------------------------------------------------------------------------

    def key_of(self, user: str) -> bytes | None:
        """The password's bytes for IPMI's key exchange; None for an unknown or locked user."""
        if user != self.username or self._locked():
            return None
        if self.faults.take("password_wrong"):
            return b"\0" * 8
        return self.password.encode()

    def log_in(self, user: str, password: str) -> bool:
        if self._locked():
            return False
        right = user == self.username and password == self.password
        if right and self.faults.take("password_wrong"):
            return False
        self.log_in_result(right)
        return right

    def log_in_result(self, right: bool) -> None:
        """Count a log-in towards the lock-out."""
        if right:
            self._failures = 0
            return
        self._failures += 1
        if self.faults.lockout_after and self._failures >= self.faults.lockout_after:
            self._locked_until = self.clock.now() + self.faults.lockout_seconds

    def _locked(self) -> bool:
        return self.clock.now() < self._locked_until

    # Reading ------------------------------------------------------------------------------

    @property
    def uuid(self) -> str:
        return self.faults.reported_uuid or self.backend.identity.uuid

    @property
    def maker(self) -> str:
        return self.faults.maker or self.backend.identity.manufacturer

    async def power_state(self) -> PowerState:
        """What the BMC says, which a fault can make differ from the truth."""
        self.told_power_at.append(time.monotonic())
        truth = await self.backend.power_state()
        if self.faults.stale_power:
            if self._last_power is not None and truth is not self._last_power:
                until = self.clock.now() + self.faults.stale_power
                self._old_power = (self._last_power, until)
            self._last_power = truth
            if self._old_power and self.clock.now() < self._old_power[1]:
                return self._old_power[0]
        if truth is PowerState.OFF and self.faults.take("power_reads_on"):
            return PowerState.ON
        return truth

    # Commands -----------------------------------------------------------------------------

    def record(self, caller: Caller, command: str, outcome: str) -> None:
        self.commands.append(
            BmcCommand(
                self.clock.now(),
                time.time(),
                caller.protocol,
                command,
                caller.source,
                caller.client,
                caller.session,
                outcome,
            )
        )

    async def power(self, action: str, caller: Caller) -> None:
        """`on`, `off`, `soft`, `reset`, `cycle` or `nmi`. Raises BmcRefused (also recorded)."""
        truth = await self.backend.power_state()
        if action in ("reset", "cycle") and truth is PowerState.OFF:
            self.record(caller, f"power {action}", "refused: the system is off")
            raise BmcRefused("the system is off")
        if self._ignores(action, truth):
            self.record(caller, f"power {action}", "ignored")
            return
        self.record(caller, f"power {action}", "done")
        backend = self.backend
        match action:
            case "on":
                await backend.power_on()
            case "off":
                await backend.power_off()
            case "soft":
                await backend.soft_off()
            case "reset" | "cycle":
                await backend.reset()
            case _:
                pass

    def _ignores(self, action: str, truth: PowerState) -> bool:
        if action == "on" and truth is PowerState.OFF:
            return self.faults.take("power_on_ignored")
        if action in ("off", "soft") and truth is PowerState.ON:
            return self.faults.take("power_off_ignored")
        return False

    async def set_boot(self, setting: BootSetting, caller: Caller) -> None:
        length = "once" if setting.once else "always"
        overrides = setting.once and setting.device is not BootDevice.NONE
        if overrides and self.faults.take("override_sticks"):
            setting = BootSetting(setting.device, False, setting.mode, setting.http_uri)
        self.record(caller, f"boot {setting.device} {length} {setting.mode}", "done")
        await self.backend.set_boot(setting)

    async def set_media(self, url: str | None, caller: Caller) -> None:
        self.record(caller, f"media {'insert ' + url if url else 'eject'}", "done")
        self.media = url
        await self.backend.set_media(url)

    def restart(self, caller: Caller, seconds: float) -> None:
        """The BMC itself restarts: silent for a while, the machine goes on."""
        self.record(caller, "bmc reset", "done")
        self.go_silent(seconds)

    async def hold(self, limit: float = 600.0) -> None:
        """Sit on an HTTP request for as long as the BMC is silent (at most `limit` real s).

        A dropped single request (`bmc_silent`) is held for the whole limit: the client's own
        time-out is what is being tried.
        """
        left = self._silent_until - self.clock.now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await (self.clock.sleep(left, "silent") if left > 0 else asyncio.Event().wait())
