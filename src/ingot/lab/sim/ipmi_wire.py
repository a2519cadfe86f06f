"""RMCP+ packets of IPMI 2.0: framing, key exchange, integrity and AES (specification, chapter 13).

Cipher suites 3 (HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128) and 17 (HMAC-SHA256, HMAC-SHA256-128,
AES-CBC-128). Everything here works on bytes; sessions and commands live next door.
"""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

RMCP = b"\x06\x00\xff\x07"
RMCP_ASF = b"\x06\x00\xff\x06"
ASF_PING = 0x80
FORMAT_NONE = 0x00
FORMAT_RMCPP = 0x06

PAYLOAD_IPMI = 0x00
PAYLOAD_SOL = 0x01
OPEN_REQUEST, OPEN_RESPONSE = 0x10, 0x11
RAKP1, RAKP2, RAKP3, RAKP4 = 0x12, 0x13, 0x14, 0x15


@dataclass(frozen=True)
class Suite:
    """Numbers of the algorithms on the wire, the hash, and how many octets of it are sent."""

    number: int
    auth: int
    integrity: int
    confidentiality: int
    digest: str
    sent: int

    def mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self.digest).digest()


SUITES = {
    3: Suite(3, 1, 1, 1, "sha1", 12),
    17: Suite(17, 3, 4, 1, "sha256", 16),
}


def suite_for(auth: int, integrity: int, confidentiality: int) -> Suite | None:
    for suite in SUITES.values():
        if (suite.auth, suite.integrity, suite.confidentiality) == (
            auth,
            integrity,
            confidentiality,
        ):
            return suite
    return None


def cipher_records() -> bytes:
    """The records that Get Channel Cipher Suites gives."""
    return b"".join(
        bytes([0xC0, s.number, s.auth, 0x40 | s.integrity, 0x80 | s.confidentiality])
        for s in SUITES.values()
    )


@dataclass(frozen=True)
class Keys:
    """What both sides have after RAKP: `sik` for the last proof, `k1` signs, `k2` encrypts."""

    suite: Suite
    sik: bytes
    k1: bytes
    k2: bytes


def make_keys(suite: Suite, password: bytes, console: bytes, managed: bytes, who: bytes) -> Keys:
    """`console` and `managed` are the two random numbers, `who` role, name length and name."""
    sik = suite.mac(password, console + managed + who)
    # 20 octets for every suite: that is what ipmitool and the BMCs in the field agree on.
    return Keys(suite, sik, suite.mac(sik, b"\x01" * 20), suite.mac(sik, b"\x02" * 20))


def padded_password(password: bytes) -> bytes:
    """The user key: IPMI 2.0 keeps 20 octets, short ones filled with zeros."""
    return password[:20].ljust(20, b"\0")


def encrypt(keys: Keys, plain: bytes) -> bytes:
    count = -(len(plain) + 1) % 16
    block = plain + bytes(range(1, count + 1)) + bytes([count])
    vector = os.urandom(16)
    engine = Cipher(algorithms.AES(keys.k2[:16]), modes.CBC(vector)).encryptor()
    return vector + engine.update(block) + engine.finalize()


def decrypt(keys: Keys, data: bytes) -> bytes:
    """Raises ValueError for anything that isn't a whole encrypted payload."""
    if len(data) < 32 or len(data) % 16:
        raise ValueError("not a multiple of the block")
    engine = Cipher(algorithms.AES(keys.k2[:16]), modes.CBC(data[:16])).decryptor()
    plain = engine.update(data[16:]) + engine.finalize()
    count = plain[-1]
    if count > 15:
        raise ValueError("bad padding")
    return plain[: len(plain) - 1 - count]


@dataclass(frozen=True)
class Packet:
    """A session packet without its RMCP header. `flags` are bits 7 (encrypted), 6 (signed)."""

    kind: int
    session: int
    sequence: int
    payload: bytes
    encrypted: bool = False
    signed: bool = False
    version15: bool = False


def parse(data: bytes) -> tuple[Packet, bytes]:
    """The packet and its signed part with trailer (empty if unsigned). ValueError when broken."""
    if data[:1] != b"\x06" or len(data) < 14 or data[3] & 0x1F != 0x07:
        raise ValueError("no RMCP packet of class IPMI")
    body = data[4:]
    if body[0] == FORMAT_NONE:
        sequence, session = struct.unpack_from("<II", body, 1)
        length = body[9]
        return Packet(0, session, sequence, body[10 : 10 + length], version15=True), b""
    if body[0] != FORMAT_RMCPP or len(body) < 12:
        raise ValueError("unknown session format")
    kind = body[1]
    session, sequence, length = struct.unpack_from("<IIH", body, 2)
    payload = body[12 : 12 + length]
    if len(payload) != length:
        raise ValueError("short payload")
    packet = Packet(kind & 0x3F, session, sequence, payload, bool(kind & 0x80), bool(kind & 0x40))
    return packet, body if packet.signed else b""


def check_signature(keys: Keys, body: bytes) -> bool:
    if len(body) <= keys.suite.sent:
        return False
    signed, code = body[: -keys.suite.sent], body[-keys.suite.sent :]
    return hmac.compare_digest(keys.suite.mac(keys.k1, signed)[: keys.suite.sent], code)


def build15(payload: bytes) -> bytes:
    """A session-less answer in the old format."""
    return RMCP + struct.pack("<BIIB", FORMAT_NONE, 0, 0, len(payload)) + payload


def build(kind: int, session: int, sequence: int, payload: bytes, keys: Keys | None) -> bytes:
    if keys is None:
        head = struct.pack("<BBIIH", FORMAT_RMCPP, kind, session, sequence, len(payload))
        return RMCP + head + payload
    data = encrypt(keys, payload)
    body = struct.pack("<BBIIH", FORMAT_RMCPP, kind | 0xC0, session, sequence, len(data)) + data
    count = -(len(body) + 2) % 4
    body += b"\xff" * count + bytes([count, 0x07])
    return RMCP + body + keys.suite.mac(keys.k1, body)[: keys.suite.sent]


def checksum(data: bytes) -> int:
    return -sum(data) & 0xFF


@dataclass(frozen=True)
class Message:
    """An IPMI request as carried in LAN messages."""

    netfn: int
    lun: int
    sequence: int
    requester: int
    command: int
    data: bytes


def parse_message(payload: bytes) -> Message:
    if len(payload) < 7 or checksum(payload[:2]) != payload[2]:
        raise ValueError("bad LAN message")
    if checksum(payload[3:-1]) != payload[-1]:
        raise ValueError("bad checksum")
    return Message(
        payload[1] >> 2, payload[1] & 3, payload[4] >> 2, payload[3], payload[5], payload[6:-1]
    )


def answer_message(request: Message, code: int, data: bytes = b"") -> bytes:
    head = bytes([request.requester, (request.netfn | 1) << 2])
    body = bytes([0x20, request.sequence << 2, request.command, code]) + data
    return head + bytes([checksum(head)]) + body + bytes([checksum(body)])


def asf_pong(ping: bytes) -> bytes:
    """The answer to an RMCP presence ping."""
    tag = ping[9] if len(ping) > 9 else 0
    supports = struct.pack(">IIBB6x", 0x11BE, 0, 0x81, 0)
    return RMCP_ASF + struct.pack(">IBBBB", 0x11BE, 0x40, tag, 0, len(supports)) + supports
