"""Tokens: Fernet over a compact payload, with keys that rotate.

A token carries who, for what, since when and until when, and its audit ids; no roles, so a changed
assignment counts at once. The first key of the file makes tokens, all of them open tokens; rotation puts
a new one in front and drops the oldest. All processes of a cluster need the same key file.
"""

from __future__ import annotations

import base64
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ingot.kit import log
from ingot.kit.auth.keyfiles import create_private, read_fernet_keys, write_private
from ingot.kit.faults import Fault

_log = log.get("tokens")
METHODS = ("password", "token", "application_credential", "ec2credential")
_HEX = re.compile(r"^[0-9a-f]{32}\Z")
_KINDS = ("", "project", "domain", "system")


class Payload(msgspec.Struct, array_like=True, frozen=True):
    """What is inside of a token. Ids of 32 hex digits are packed into 16 octets."""

    methods: int
    user: bytes
    kind: int
    scope: bytes
    issued: int  # microseconds since 1970
    expires: int  # seconds since 1970
    audit: list[bytes]
    user_generation: int
    scope_generation: int = 0
    app_cred: bytes = b""
    epoch: int = 0  # of the assignments by which it was made
    trust: bytes = b""
    trustor_generation: int = 0

    @property
    def user_id(self) -> str:
        return _unpack(self.user)

    @property
    def scope_kind(self) -> str:
        return _KINDS[self.kind] if self.kind < len(_KINDS) else ""

    @property
    def scope_id(self) -> str:
        return _unpack(self.scope)

    @property
    def app_cred_id(self) -> str:
        return _unpack(self.app_cred)

    @property
    def trust_id(self) -> str:
        return _unpack(self.trust)

    @property
    def issued_at(self) -> datetime:
        return datetime.fromtimestamp(self.issued / 1e6, UTC)

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.expires, UTC)

    @property
    def audit_ids(self) -> tuple[str, ...]:
        return tuple(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in self.audit)

    @property
    def method_names(self) -> tuple[str, ...]:
        return tuple(name for bit, name in enumerate(METHODS) if self.methods >> bit & 1)


def payload(
    *,
    methods: tuple[str, ...],
    user_id: str,
    kind: str,
    scope_id: str,
    issued_at: datetime,
    expires_at: datetime,
    generations: tuple[int, int],
    parent: Payload | None = None,
    app_cred_id: str = "",
    epoch: int = 0,
    trust_id: str = "",
    trustor_generation: int = 0,
) -> Payload:
    """A new payload; `parent` is the token that it was made from, whose first audit id it keeps."""
    audit = [secrets.token_bytes(16)]
    if parent is not None and parent.audit:
        audit.append(parent.audit[-1])
    return Payload(
        methods=sum(1 << METHODS.index(name) for name in set(methods)),
        user=_pack(user_id),
        kind=_KINDS.index(kind),
        scope=_pack(scope_id),
        issued=round(issued_at.timestamp() * 1e6),
        expires=int(expires_at.timestamp()),
        audit=audit,
        user_generation=generations[0],
        scope_generation=generations[1],
        app_cred=_pack(app_cred_id),
        epoch=epoch,
        trust=_pack(trust_id),
        trustor_generation=trustor_generation,
    )


class TokenKeys:
    """The key file and what it opens.

    path: one Fernet key per line, newest first; made (mode 0600) when missing.
    """

    def __init__(self, path: Path, keep: int = 3) -> None:
        self._path = path
        self._keep = keep
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Payload).decode
        if not path.exists():
            create_private(path, Fernet.generate_key() + b"\n")
        self._read = (0, 0)
        self._fernet = self._load()

    def seal(self, content: Payload) -> str:
        """The token's text, under 255 characters."""
        data = self._fernet.encrypt_at_time(self._encode(content), content.issued // 1_000_000)
        return data.decode().rstrip("=")

    def open(self, token: str) -> Payload | None:
        """The payload of a token that we made; None for anything else. Says nothing about its time."""
        if not token or len(token) > 512 or not token.isascii():
            return None
        data = (token + "=" * (-len(token) % 4)).encode()
        try:
            return self._decode(self._fernet.decrypt(data))
        except (InvalidToken, msgspec.MsgspecError):
            pass
        if self._stamp() == self._read:
            return None
        try:
            self._fernet = self._load()  # another process rotated the keys
        except Fault as fault:
            _log.error(
                "the keys of tokens cannot be read again; the old ones count", why=fault.text
            )
            return None
        try:
            return self._decode(self._fernet.decrypt(data))
        except (InvalidToken, msgspec.MsgspecError):
            return None

    def rotate(self) -> None:
        """Put a new key in front; tokens of dropped keys end."""
        keys = [Fernet.generate_key(), *read_fernet_keys(self._path)][: self._keep]
        write_private(self._path, b"\n".join(keys) + b"\n")
        self._fernet = self._load()

    def _load(self) -> MultiFernet:
        self._read = self._stamp()
        return MultiFernet([Fernet(key) for key in read_fernet_keys(self._path)])

    def _stamp(self) -> tuple[int, int]:
        facts = self._path.stat()
        return facts.st_mtime_ns, facts.st_ino


def _pack(text: str) -> bytes:
    """An id as 16 octets where it is 32 hex digits; else its text after one "=" (two make 15 not 16)."""
    if _HEX.match(text):
        return bytes.fromhex(text)
    return (b"==" if len(text) == 15 else b"=") + text.encode() if text else b""


def _unpack(packed: bytes) -> str:
    return packed.hex() if len(packed) == 16 else packed.decode().lstrip("=")
