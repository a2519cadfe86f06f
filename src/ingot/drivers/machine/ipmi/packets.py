"""Packets of IPMI 2.0 over LAN (RMCP+) as a console sends and reads them; specification chapters 13 and 22.

Cipher suites 3 (SHA1, AES-CBC-128) and 17 (SHA256, AES-CBC-128). Pure: octets in, octets out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

RMCP = b"\x06\x00\xff\x07"
RMCP_PLUS = 0x06
OPEN, OPENED, RAKP1, RAKP2, RAKP3, RAKP4 = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
MESSAGE = 0x00
_BMC, _CONSOLE = 0x20, 0x81


class BadPacket(ValueError):
    """Not a packet that we understand, or not for us: it is as if it had not come."""


@dataclass(frozen=True)
class Suite:
    """A cipher suite. kept: octets of the integrity code that are sent."""

    number: int
    authentication: int
    integrity: int
    confidentiality: int
    digest: str
    kept: int

    @property
    def proof(self) -> int:
        """Octets of a whole proof."""
        return hashlib.new(self.digest).digest_size

    def mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self.digest).digest()


SUITES = {
    "3": Suite(3, 1, 1, 1, "sha1", 12),
    "17": Suite(17, 3, 4, 1, "sha256", 16),
}


@dataclass(frozen=True)
class Keys:
    """What both sides know after the key exchange: session, integrity and encryption key."""

    suite: Suite
    session: bytes
    integrity: bytes
    encryption: bytes


def make_keys(suite: Suite, secret: bytes, exchanged: bytes) -> Keys:
    """exchanged: both random numbers, role and user name, in the order of RAKP."""
    session = suite.mac(secret, exchanged)
    # 20 octets for every suite: that is what controllers in the field agree on.
    return Keys(suite, session, suite.mac(session, b"\x01" * 20), suite.mac(session, b"\x02" * 20))


def padded(secret: bytes) -> bytes:
    """A password or key as it is used: 20 octets."""
    return secret[:20].ljust(20, b"\0")


# -- the session's layer -------------------------------------------------------------------------


@dataclass(frozen=True)
class Packet:
    kind: int
    session: int
    payload: bytes


def plain(kind: int, payload: bytes) -> bytes:
    """A packet of the key exchange."""
    return RMCP + struct.pack("<BBIIH", RMCP_PLUS, kind, 0, 0, len(payload)) + payload


def sealed(keys: Keys, session: int, sequence: int, payload: bytes) -> bytes:
    """A message in a session: encrypted and signed."""
    data = _encrypt(keys, payload)
    body = struct.pack("<BBIIH", RMCP_PLUS, MESSAGE | 0xC0, session, sequence, len(data)) + data
    fill = -(len(body) + 2) % 4
    body += b"\xff" * fill + bytes([fill, 0x07])
    return RMCP + body + keys.suite.mac(keys.integrity, body)[: keys.suite.kept]


def opened(data: bytes, keys: Keys | None) -> Packet:
    """A packet that has come; in a session it must be signed with our keys."""
    if data[:1] != RMCP[:1] or len(data) < 16 or data[3] & 0x1F != 7 or data[4] != RMCP_PLUS:
        raise BadPacket("no RMCP+ packet")
    body = data[4:]
    kind = body[1]
    session, _sequence, length = struct.unpack_from("<IIH", body, 2)
    payload = body[12 : 12 + length]
    if len(payload) != length:
        raise BadPacket("cut off")
    if kind & 0xC0 != 0xC0:
        if keys is not None:
            raise BadPacket("unprotected in a session")
        return Packet(kind & 0x3F, session, payload)
    if keys is None:
        raise BadPacket("protected outside of a session")
    signed, code = body[: -keys.suite.kept], body[-keys.suite.kept :]
    if not hmac.compare_digest(keys.suite.mac(keys.integrity, signed)[: keys.suite.kept], code):
        raise BadPacket("wrong signature")
    return Packet(kind & 0x3F, session, _decrypt(keys, payload))


def _encrypt(keys: Keys, text: bytes) -> bytes:
    fill = -(len(text) + 1) % 16
    vector = os.urandom(16)
    engine = Cipher(algorithms.AES(keys.encryption[:16]), modes.CBC(vector)).encryptor()
    text += bytes(range(1, fill + 1)) + bytes([fill])
    return vector + engine.update(text) + engine.finalize()


def _decrypt(keys: Keys, data: bytes) -> bytes:
    if len(data) < 32 or len(data) % 16:
        raise BadPacket("no whole block")
    engine = Cipher(algorithms.AES(keys.encryption[:16]), modes.CBC(data[:16])).decryptor()
    text = engine.update(data[16:]) + engine.finalize()
    if text[-1] > 15:
        raise BadPacket("wrong padding")
    return text[: len(text) - 1 - text[-1]]


# -- messages --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """A controller's answer. code: completion code, 0 for done."""

    netfn: int
    command: int
    sequence: int
    code: int
    data: bytes


def request(netfn: int, command: int, sequence: int, data: bytes) -> bytes:
    head = bytes([_BMC, netfn << 2])
    body = bytes([_CONSOLE, sequence << 2, command]) + data
    return head + bytes([_sum(head)]) + body + bytes([_sum(body)])


def answer(payload: bytes) -> Answer:
    if len(payload) < 8 or _sum(payload[:2]) != payload[2] or _sum(payload[3:-1]) != payload[-1]:
        raise BadPacket("no message")
    return Answer(payload[1] >> 2 & 0x3E, payload[5], payload[4] >> 2, payload[6], payload[7:-1])


def _sum(data: bytes) -> int:
    return -sum(data) & 0xFF
