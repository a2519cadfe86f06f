"""Commands to all IPMI controllers of the process, over sessions that are kept for some seconds.

`IpmiLan` is what drivers use for single commands; where it cannot serve (IPMI 1.5, other cipher suites than
3 and 17) it asks through ipmitool's `raw`, so that its callers need not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ingot.drivers.faults import BadCredentials, Unreachable, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.ipmi.packets import SUITES
from ingot.drivers.machine.ipmi.session import (
    PRIVILEGES,
    CipherSuiteUnknown,
    Login,
    NoAnswer,
    Session,
    StoppedAnswering,
)
from ingot.drivers.machine.ipmi.tool import (
    CIPHER_SUITES,
    LOG_IN_TRIES,
    IpmiTool,
    Target,
    target_of,
)
from ingot.drivers.machine.types import Access

T = TypeVar("T")

#: A session that nobody used for so long is closed: controllers have only a few.
IDLE_SECONDS = 5.0
_LONGEST_PASSWORD, _LONGEST_USER = 20, 16

#: One command: netfn, command, data -> the answer's data.
Ask = Callable[[int, int, bytes], Awaitable[bytes]]


class IpmiLan:
    """Sessions by controller and credentials."""

    def __init__(self, context: DriverContext) -> None:
        self._clock = context.clock
        self._gates = context.gates
        self._tool = context.shared(IpmiTool, lambda: IpmiTool(context))
        self._sessions: dict[str, Session] = {}
        self._closers: dict[str, asyncio.TimerHandle] = {}
        context.on_close(self.close)

    async def ask(self, access: Access, netfn: int, command: int, data: bytes = b"") -> bytes:
        """One command; a fault with the controller's words otherwise."""
        return await self.talk(access, lambda ask: ask(netfn, command, data))

    async def find_suite(self, access: Access) -> None:
        """Before ipmitool is asked first: which suite opens sessions, which it does not find out by itself."""
        target = target_of(access)
        if _speaks(target) and not target.cipher_suite and not self._tool.knows(target):
            await self.ask(access, 0x00, 0x01)

    async def talk(self, access: Access, conversation: Callable[[Ask], Awaitable[T]]) -> T:
        """Several commands in one turn at the controller."""
        target = target_of(access)
        if not _speaks(target):
            return await conversation(self._through_ipmitool(access))
        gate = self._gates.gate(f"ipmi:{target.address}")
        return await gate.run(lambda: self._patiently(target, conversation))

    async def close(self) -> None:
        for key in list(self._sessions):
            self._drop(key)

    # -- inside ------------------------------------------------------------------------------------

    def _through_ipmitool(self, access: Access) -> Ask:
        async def ask(netfn: int, command: int, data: bytes) -> bytes:
            return await self._tool.raw(access, netfn, command, *data)

        return ask

    async def _patiently(self, target: Target, conversation: Callable[[Ask], Awaitable[T]]) -> T:
        """Refused credentials are tried again, as some controllers refuse right ones at times.

        Then the refusal is remembered for a while: more tries might lock the account.
        """
        refusals = self._tool.refusals
        refusals.check(target.key)
        for left in reversed(range(LOG_IN_TRIES)):
            try:
                session = await self._session(target)
                break
            except BadCredentials as fault:
                if not left:
                    refusals.note(target.key, fault)
                    raise
                await self._clock.sleep(1.0)
        else:
            raise AssertionError("LOG_IN_TRIES is at least one")
        try:
            return await conversation(session.ask)
        except Unreachable:
            self._drop(target.key)
            raise
        finally:
            self._close_later(target.key)

    async def _session(self, target: Target) -> Session:
        """The open session, if it was used a moment ago, or a new one."""
        known = self._sessions.get(target.key)
        if known is not None and known.usable:
            self._stay_open(target.key)
            return known
        self._drop(target.key)
        first = self._tool.suite(target)
        others = () if target.cipher_suite else CIPHER_SUITES
        suites = [first, *(suite for suite in others if suite != first)]
        at = await self._tool.find(target)
        words, silence = "", None
        for suite in suites:
            try:
                made = await Session.log_in(_login(target, suite), at)
            except CipherSuiteUnknown as fault:
                words = fault.cause
                continue
            except (NoAnswer, StoppedAnswering) as fault:
                # Some say nothing to a suite that they do not know. One that opened a session before is just silent.
                if self._tool.knows(target):
                    raise
                silence = silence or fault
                continue
            self._tool.learn(target, suite)
            self._sessions[target.key] = made
            return made
        if silence is not None:
            raise silence
        raise Unsupported(words, next_action="Set ipmi_cipher_suite to one that it knows.")

    def _stay_open(self, key: str) -> None:
        """A conversation begins: what was to close the idle session must not close it in its middle."""
        timer = self._closers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _close_later(self, key: str) -> None:
        self._stay_open(key)
        if key in self._sessions:
            loop = asyncio.get_running_loop()
            self._closers[key] = loop.call_later(IDLE_SECONDS, self._drop, key)

    def _drop(self, key: str) -> None:
        self._stay_open(key)
        session = self._sessions.pop(key, None)
        if session is not None:
            session.close()


def _speaks(target: Target) -> bool:
    return target.interface == "lanplus" and (target.cipher_suite or "3") in SUITES


def _login(target: Target, suite: str) -> Login:
    if len(target.password.encode()) > _LONGEST_PASSWORD or len(target.user) > _LONGEST_USER:
        raise BadCredentials(
            f"{target.address}: IPMI knows passwords of 20 and user names of 16 octets at most",
            next_action="Set shorter ones on the controller and in driver_info.",
        )
    return Login(
        host=target.host,
        port=target.port,
        user=target.user,
        password=target.password,
        privilege=PRIVILEGES.get(target.privilege, 4),
        kg=bytes.fromhex(target.kg_key.removeprefix("0x")),
        suite=SUITES[suite],
    )
