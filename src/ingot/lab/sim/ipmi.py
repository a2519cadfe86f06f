"""An IPMI 2.0 (RMCP+) service over UDP for one BMC, with serial over LAN.

Sessions by RAKP with cipher suites 3 and 17; IPMI 1.5 sessions and suite 0 are refused. Serial
over LAN carries one console at a time; a second one may take it over after a deactivate.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
import struct
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, cast

from ingot.lab.sim import ipmi_wire as wire
from ingot.lab.sim.bmc import Bmc, BmcBusy, BmcSilent, Caller
from ingot.lab.sim.ipmi_commands import APP, BAD_FIELD, INVALID, NODE_BUSY, OK, CommandSet
from ingot.lab.sim.listeners import udp_listener
from ingot.lab.sim.sol import SolChannel

MAX_SESSIONS = 16
SESSION_SECONDS = 60.0
_WITHOUT_SESSION = {(APP, 0x38), (APP, 0x37), (APP, 0x54)}
ADMINISTRATOR = 4
REPEAT_SECONDS = 0.002

Address = tuple[str, int]


@dataclass
class Session:
    """One session from Open Session on; `keys` are there once RAKP 1 was good."""

    ident: int
    console: int
    suite: wire.Suite
    priv: int
    peer: Address
    random: bytes
    user: str = ""
    who: bytes = b""
    console_random: bytes = b""
    password: bytes = b""
    keys: wire.Keys | None = None
    active: bool = False
    sequence: int = 0
    seen: float = 0.0
    last_request: tuple[int, int, int, bytes] | None = None
    last_answer: bytes = b""


class IpmiService(asyncio.DatagramProtocol):
    """One BMC's UDP port; `open` binds it, `close` ends it."""

    def __init__(self, bmc: Bmc) -> None:
        self.bmc = bmc
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._sessions: dict[int, Session] = {}
        self._commands = CommandSet(bmc, "127.0.0.1")
        self._jobs: set[asyncio.Task[None]] = set()
        self._sol: SolChannel | None = None

    async def open(self, address: str, port: int) -> None:
        self._commands.address = address
        sock = udp_listener(address, port)
        self.port = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, sock=sock)

    async def close(self) -> None:
        self._end_sol()
        for job in list(self._jobs):
            job.cancel()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._spawn(self._receive(data, (str(addr[0]), int(addr[1]))))

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def _send(self, data: bytes, peer: Address) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.sendto(data, peer)
        repeats = self.bmc.faults.ipmi_repeats
        if repeats and self.bmc.chance.stream("ipmi-repeats").random() < repeats:
            self._spawn(self._again(data, peer))

    async def _again(self, data: bytes, peer: Address) -> None:
        await asyncio.sleep(REPEAT_SECONDS)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, peer)

    def _send_in_session(self, session: Session, kind: int, payload: bytes) -> bytes:
        session.sequence = session.sequence % 0xFFFFFFFF + 1
        data = wire.build(kind, session.console, session.sequence, payload, session.keys)
        self._send(data, session.peer)
        return data

    # Receiving ----------------------------------------------------------------------------

    async def _receive(self, data: bytes, peer: Address) -> None:
        if data[:4] == wire.RMCP_ASF:
            if not self.bmc.silent and len(data) > 8 and data[8] == wire.ASF_PING:
                self._send(wire.asf_pong(data), peer)
            return
        with contextlib.suppress(ValueError, IndexError, struct.error):
            packet, body = wire.parse(data)
            if packet.session == 0:
                await self._outside(packet, peer)
            else:
                await self._inside(packet, body, peer)

    async def _outside(self, packet: wire.Packet, peer: Address) -> None:
        try:
            await self.bmc.admit()
        except BmcSilent:
            return
        except BmcBusy:
            if packet.kind != wire.PAYLOAD_IPMI:
                return
        handlers = {
            wire.OPEN_REQUEST: self._open_session,
            wire.RAKP1: self._rakp1,
            wire.RAKP3: self._rakp3,
        }
        if packet.kind == wire.PAYLOAD_IPMI:
            await self._without_session(packet, peer)
        elif packet.kind in handlers:
            handlers[packet.kind](packet.payload, peer)

    async def _without_session(self, packet: wire.Packet, peer: Address) -> None:
        request = wire.parse_message(packet.payload)
        key = (request.netfn, request.command)
        if key in _WITHOUT_SESSION:
            caller = Caller("ipmi", f"{peer[0]}:{peer[1]}", "", "none")
            code, data = await self._commands.table[key](request.data, caller)
        else:
            code, data = 0xD4, b""
        payload = wire.answer_message(request, code, data)
        reply = wire.build15(payload) if packet.version15 else wire.build(0, 0, 0, payload, None)
        self._send(reply, peer)

    # Key exchange -------------------------------------------------------------------------

    def _reply(self, kind: int, payload: bytes, peer: Address) -> None:
        self._send(wire.build(kind, 0, 0, payload, None), peer)

    def _open_session(self, data: bytes, peer: Address) -> None:
        tag, priv = data[0], data[1]
        console: int = struct.unpack_from("<I", data, 4)[0]
        suite = wire.suite_for(data[12], data[20], data[28])
        if suite is wire.SUITES[17] and self.bmc.faults.take("ipmi_silent_17"):
            return
        self._forget_old()
        if suite is None or len(self._sessions) >= MAX_SESSIONS:
            status = 0x11 if suite is None else 0x01
            refusal = struct.pack("<BBBBI", tag, status, 0, 0, console)
            self._reply(wire.OPEN_RESPONSE, refusal, peer)
            return
        ident = secrets.randbelow(0xFFFFFFFE) + 1
        granted = priv or ADMINISTRATOR
        self._sessions[ident] = Session(
            ident, console, suite, granted, peer, os.urandom(16), seen=time.monotonic()
        )
        algorithms = b"".join(
            bytes([number, 0, 0, 8, value, 0, 0, 0])
            for number, value in enumerate((suite.auth, suite.integrity, suite.confidentiality))
        )
        head = struct.pack("<BBBBII", tag, 0, granted, 0, console, ident)
        self._reply(wire.OPEN_RESPONSE, head + algorithms, peer)

    def _forget_old(self) -> None:
        limit = time.monotonic() - SESSION_SECONDS
        for ident, session in list(self._sessions.items()):
            if session.seen < limit and (self._sol is None or self._sol.session is not session):
                del self._sessions[ident]

    def _rakp1(self, data: bytes, peer: Address) -> None:
        tag = data[0]
        session = self._sessions.get(struct.unpack_from("<I", data, 4)[0])
        if session is None:
            return
        length = data[27]
        user = data[28 : 28 + length].decode(errors="replace")
        session.peer = peer
        password = self.bmc.key_of(user)
        if password is None:
            self.bmc.log_in_result(False)
            del self._sessions[session.ident]
            refusal = struct.pack("<BBHI", tag, 0x0D, 0, session.console)
            self._reply(wire.RAKP2, refusal, peer)
            return
        session.user = user
        session.password = wire.padded_password(password)
        session.console_random = data[8:24]
        session.who = bytes([data[24], length]) + data[28 : 28 + length]
        guid = self._commands.guid_bytes()
        proof = session.suite.mac(
            session.password,
            struct.pack("<II", session.console, session.ident)
            + session.console_random
            + session.random
            + guid
            + session.who,
        )
        head = struct.pack("<BBHI", tag, 0, 0, session.console)
        self._reply(wire.RAKP2, head + session.random + guid + proof + self._trailing(), peer)

    def _rakp3(self, data: bytes, peer: Address) -> None:
        tag, status = data[0], data[1]
        session = self._sessions.get(struct.unpack_from("<I", data, 4)[0])
        if session is None or not session.who:
            return
        wanted = session.suite.mac(
            session.password, session.random + struct.pack("<I", session.console) + session.who
        )
        if status != 0 or not hmac.compare_digest(wanted, data[8:]):
            self.bmc.log_in_result(False)
            del self._sessions[session.ident]
            refusal = struct.pack("<BBHI", tag, 0x0F, 0, session.console)
            self._reply(wire.RAKP4, refusal, peer)
            return
        self.bmc.log_in_result(True)
        session.keys = wire.make_keys(
            session.suite,
            session.password,
            session.console_random,
            session.random,
            session.who,
        )
        session.active = True
        guid = self._commands.guid_bytes()
        code = session.suite.mac(
            session.keys.sik,
            session.console_random + struct.pack("<I", session.ident) + guid,
        )[: session.suite.sent]
        head = struct.pack("<BBHI", tag, 0, 0, session.console)
        self._reply(wire.RAKP4, head + code + self._trailing(), peer)

    def _trailing(self) -> bytes:
        return bytes(self.bmc.faults.ipmi_trailing)

    # In a session -------------------------------------------------------------------------

    async def _inside(self, packet: wire.Packet, body: bytes, peer: Address) -> None:
        session = self._sessions.get(packet.session)
        if session is None or session.keys is None or not session.active:
            return
        if not packet.signed or not packet.encrypted:
            return
        if not wire.check_signature(session.keys, body):
            return
        payload = wire.decrypt(session.keys, packet.payload)
        session.peer = peer
        session.seen = time.monotonic()
        if packet.kind == wire.PAYLOAD_SOL:
            if self._sol is not None and self._sol.session is session and not self.bmc.silent:
                self._sol.receive(payload)
            return
        await self._command(session, wire.parse_message(payload))

    async def _command(self, session: Session, request: wire.Message) -> None:
        same = (request.netfn, request.command, request.sequence, request.data)
        if session.last_request == same:
            # The client did not hear our answer and asks again: never obey twice.
            if session.last_answer:
                self._send_in_session(session, wire.PAYLOAD_IPMI, session.last_answer)
            return
        try:
            await self.bmc.admit()
        except BmcSilent:
            return
        except BmcBusy:
            busy = wire.answer_message(request, NODE_BUSY)
            self._send_in_session(session, wire.PAYLOAD_IPMI, busy)
            return
        session.last_request, session.last_answer = same, b""
        code, data = await self._obey(session, request)
        session.last_answer = wire.answer_message(request, code, data)
        self._send_in_session(session, wire.PAYLOAD_IPMI, session.last_answer)
        if (request.netfn, request.command) == (APP, 0x3C) and code == OK:
            self._drop(session)

    async def _obey(self, session: Session, request: wire.Message) -> tuple[int, bytes]:
        caller = Caller(
            "ipmi", f"{session.peer[0]}:{session.peer[1]}", session.user, f"{session.ident:08x}"
        )
        if request.netfn == APP:
            match request.command:
                case 0x3B:
                    wanted = request.data[0] & 0x0F if request.data else 0
                    if wanted > ADMINISTRATOR:
                        return BAD_FIELD, b""
                    session.priv = wanted or session.priv
                    return OK, bytes([session.priv])
                case 0x3C:
                    return OK, b""
                case 0x48:
                    return self._activate(session, request.data)
                case 0x49:
                    self._end_sol()
                    return OK, b""
                case 0x4A:
                    return OK, bytes([1, int(self._sol is not None), 0])
                case _:
                    pass
        handler = self._commands.table.get((request.netfn, request.command))
        if handler is None:
            return INVALID, b""
        return await handler(request.data, caller)

    def _drop(self, session: Session) -> None:
        self._sessions.pop(session.ident, None)
        if self._sol is not None and self._sol.session is session:
            self._end_sol()

    # Serial over LAN ----------------------------------------------------------------------

    def _activate(self, session: Session, data: bytes) -> tuple[int, bytes]:
        if not data or data[0] & 0x3F != wire.PAYLOAD_SOL:
            return BAD_FIELD, b""
        if self._sol is not None and self._sol.session is not session:
            return 0x80, b""
        self._end_sol()

        def send(payload: bytes) -> None:
            self._send_in_session(session, wire.PAYLOAD_SOL, payload)

        self._sol = SolChannel(session, send)
        self._sol.attach(self.bmc.backend)
        return OK, struct.pack("<IHHHH", 0, 255, 255, self.port, 0xFFFF)

    def _end_sol(self) -> None:
        if self._sol is not None:
            self._sol.close()
            self._sol = None
