"""A session with one controller over IPMI 2.0, on the event loop: no process, no thread.

ipmitool costs 10 ms of CPU a call, most of it to start; 10,000 controllers a minute do not fit into that. So
the commands that are asked all the time go this way, and ipmitool serves the rest (SDR, SOL, IPMI 1.5,
other cipher suites). See docs/decisions/0005-ipmi-sessions.md.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from ingot.drivers.faults import (
    BadCredentials,
    Busy,
    DriverFault,
    Refused,
    Unreachable,
    Unsupported,
)
from ingot.drivers.machine.ipmi import packets as wire
from ingot.kit.tasks import fencing

T = TypeVar("T")

RESEND_SECONDS = 1.0
SENDS = 5
PRIVILEGES = {"CALLBACK": 1, "USER": 2, "OPERATOR": 3, "ADMINISTRATOR": 4}
_APP, _SET_PRIVILEGE, _CLOSE = 0x06, 0x3B, 0x3C
#: "By name only": the user is found without regard to the privilege asked for.
_NAME_ONLY = 0x10

#: Status codes of the key exchange (table 13-15) that have another meaning than "not these credentials".
_BUSY_STATUS = frozenset({0x01, 0x08})
NO_SUITE_STATUS = frozenset({0x04, 0x05, 0x10, 0x11})
_STATUS = {
    0x01: "insufficient resources",
    0x09: "invalid role",
    0x0A: "unauthorized role",
    0x0C: "invalid name length",
    0x0D: "unauthorized name",
    0x0F: "invalid integrity check value",
    0x11: "no matching cipher suite",
}
#: Completion codes (table 5-2) that are not plain refusals.
_CODES: dict[int, tuple[type[DriverFault], str]] = {
    0xC0: (Busy, "node busy"),
    0xC1: (Unsupported, "invalid command"),
    0xC2: (Unsupported, "invalid command for this LUN"),
    0xC3: (Busy, "timeout while processing command"),
    0xC4: (Busy, "out of space"),
    0xC9: (Unsupported, "parameter out of range"),
    0xD2: (Busy, "BMC initialization in progress"),
    0xD4: (BadCredentials, "insufficient privilege level"),
    0xD5: (Refused, "command not supported in present state"),
}


class CipherSuiteUnknown(Unsupported):
    """The controller does not know the cipher suite."""


class NoAnswer(Unreachable):
    """Nothing answered the offer of a cipher suite: nobody is there, or it is one that cannot say no."""


class StoppedAnswering(Busy):
    """The controller answered, and stopped in the middle of the log-in."""


@dataclass(frozen=True)
class Login:
    """Who asks whom. privilege: 1 callback to 4 administrator. kg: the controller's own key, b"" for none."""

    host: str
    port: int
    user: str
    password: str
    privilege: int
    kg: bytes
    suite: wire.Suite

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


class Session(asyncio.DatagramProtocol):
    """One session; make it with `log_in`, end it with `close`. One request at a time."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self._transport: asyncio.DatagramTransport | None = None
        self._keys: wire.Keys | None = None
        self._ident = 0
        self._packet_number = 0
        self._request_number = 0
        self._waiting: tuple[Callable[[wire.Packet], Any], asyncio.Future[Any]] | None = None
        self._broken: Exception | None = None

    # -- life ------------------------------------------------------------------------------------

    @classmethod
    async def log_in(cls, login: Login, at: str) -> Session:
        """Open a session and ask for the privilege. at: the address that was found for the login's host.

        Raises a driver fault that says what went wrong.
        """
        session = cls(login)
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: session, remote_addr=(at, login.port))
        except OSError as error:
            raise Unreachable(
                f"no IPMI controller answers at {login.address}: {error.strerror or error}"
            ) from None
        try:
            await session._exchange_keys()
            await session.ask(_APP, _SET_PRIVILEGE, bytes([login.privilege]))
        except BaseException:
            session.close()
            raise
        return session

    @property
    def usable(self) -> bool:
        return self._transport is not None and self._broken is None

    def close(self) -> None:
        """End it; the controller is told once, and forgets it by itself if it does not hear."""
        if self._transport is None:
            return
        if self._keys is not None and self._broken is None:
            self._transport.sendto(
                self._message(_APP, _CLOSE, struct.pack("<I", self._ident), self._next_request())
            )
        self._transport.close()
        self._transport = None

    # -- commands --------------------------------------------------------------------------------

    async def ask(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        """The answer's data. Sent again under the same number when no answer comes: it is obeyed once."""
        number = self._next_request()

        def mine(packet: wire.Packet) -> wire.Answer:
            found = wire.answer(packet.payload)
            if (found.netfn, found.command, found.sequence) != (netfn, command, number):
                raise wire.BadPacket("another answer")
            return found

        try:
            answer = await self._converse(lambda: self._message(netfn, command, data, number), mine)
        except TimeoutError:
            self._broken = TimeoutError()
            raise Unreachable(
                f"{self.login.address} does not answer command 0x{netfn:02x} 0x{command:02x}"
            ) from None
        if answer.code:
            raise _refusal(answer)
        return answer.data

    def _message(self, netfn: int, command: int, data: bytes, number: int) -> bytes:
        assert self._keys is not None
        self._packet_number = self._packet_number % 0xFFFFFFFF + 1
        payload = wire.request(netfn, command, number, data)
        return wire.sealed(self._keys, self._ident, self._packet_number, payload)

    def _next_request(self) -> int:
        self._request_number = (self._request_number + 1) % 64
        return self._request_number

    # -- the key exchange (RAKP, sections 13.17 to 13.24) -----------------------------------------

    async def _exchange_keys(self) -> None:
        login, suite = self.login, self.login.suite
        console = int.from_bytes(os.urandom(4), "little") or 1
        algorithms = b"".join(
            bytes([number, 0, 0, 8, value, 0, 0, 0])
            for number, value in enumerate(
                (suite.authentication, suite.integrity, suite.confidentiality)
            )
        )
        asked = struct.pack("<BBHI", 0, 0, 0, console) + algorithms
        opened = await self._step(wire.OPEN, asked, wire.OPENED, 12)
        self._ident = struct.unpack_from("<I", opened, 8)[0]
        ours = os.urandom(16)
        name = login.user.encode()
        who = bytes([login.privilege | _NAME_ONLY, len(name)]) + name
        first = struct.pack("<BBHI", 0, 0, 0, self._ident) + ours + who[:1] + b"\0\0" + who[1:]
        theirs = await self._step(wire.RAKP1, first, wire.RAKP2, 40)
        random, guid = theirs[8:24], theirs[24:40]
        # Some controllers send more octets than the proof has; ipmitool looks at the proof only.
        proof = theirs[40 : 40 + suite.proof]
        secret = wire.padded(login.password.encode())
        both = struct.pack("<II", console, self._ident) + ours + random + guid + who
        if not hmac.compare_digest(suite.mac(secret, both), proof):
            raise self._wrong("the controller's proof does not fit the password")
        ours_proof = suite.mac(secret, random + struct.pack("<I", console) + who)
        keys = wire.make_keys(
            suite, wire.padded(login.kg) if login.kg else secret, ours + random + who
        )
        third = struct.pack("<BBHI", 0, 0, 0, self._ident) + ours_proof
        last = await self._step(wire.RAKP3, third, wire.RAKP4, 8)
        code = suite.mac(keys.session, ours + struct.pack("<I", self._ident) + guid)
        if not hmac.compare_digest(code[: suite.kept], last[8 : 8 + suite.kept]):
            raise self._wrong("the controller's last proof does not fit (Kg key?)")
        self._keys = keys

    async def _step(self, kind: int, payload: bytes, awaited: int, least: int) -> bytes:
        """One question and answer of the exchange; a refusal is told by its status."""

        def mine(packet: wire.Packet) -> bytes:
            if packet.kind != awaited or len(packet.payload) < 2:
                raise wire.BadPacket("another step")
            if packet.payload[1] == 0 and len(packet.payload) < least:
                raise wire.BadPacket("cut off")
            return packet.payload

        try:
            found = await self._converse(lambda: wire.plain(kind, payload), mine)
        except TimeoutError:
            if kind == wire.OPEN:
                raise NoAnswer(f"no IPMI controller answers at {self.login.address}") from None
            # It answered before: alive, but too busy to go on.
            raise StoppedAnswering(
                f"{self.login.address} stopped answering in the log-in"
            ) from None
        status = found[1]
        if status == 0:
            return found
        told = _STATUS.get(status, f"status 0x{status:02x}")
        if status in NO_SUITE_STATUS:
            raise CipherSuiteUnknown(f"{self.login.address}: {told}")
        if status in _BUSY_STATUS:
            raise Busy(f"{self.login.address}: {told}")
        raise self._wrong(told)

    def _wrong(self, told: str) -> BadCredentials:
        return BadCredentials(
            f"{self.login.address}: {told}",
            next_action="Check user name, password, privilege level and Kg key.",
            secrets=(self.login.password,),
        )

    # -- datagrams ---------------------------------------------------------------------------------

    async def _converse(self, make: Callable[[], bytes], mine: Callable[[wire.Packet], T]) -> T:
        """Send, and again each second, until an answer comes that `mine` accepts; TimeoutError at the end."""
        found: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting = (mine, found)
        try:
            for _ in range(SENDS):
                if self._transport is None:
                    raise Unreachable(f"the session with {self.login.address} is closed")
                fencing.check()
                self._transport.sendto(make())
                await asyncio.wait({found}, timeout=RESEND_SECONDS)
                if found.done():
                    return found.result()
            raise TimeoutError
        finally:
            self._waiting = None
            found.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self._waiting is None:
            return
        mine, found = self._waiting
        try:
            accepted = mine(wire.opened(data, self._keys))
        except wire.BadPacket:
            return
        if not found.done():
            found.set_result(accepted)

    def error_received(self, exc: Exception) -> None:
        if self._waiting is not None and not self._waiting[1].done():
            self._waiting[1].set_exception(
                Unreachable(
                    f"no IPMI controller answers at {self.login.address}: "
                    f"{getattr(exc, 'strerror', None) or exc}"
                )
            )


def _refusal(answer: wire.Answer) -> DriverFault:
    kind, told = _CODES.get(answer.code, (Refused, ""))
    words = told or f"completion code 0x{answer.code:02x}"
    return kind(f"command 0x{answer.netfn:02x} 0x{answer.command:02x}: {words}")
