"""Secrets at rest: encrypted with a key file that lies outside the database.

The newest key comes first in the file; older ones stay readable below it until everything has been
sealed anew.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ingot.kit.faults import Fault


class Vault:
    """Seals and opens JSON texts."""

    def __init__(self, keys: list[bytes]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._keys = keys

    @classmethod
    def at(cls, path: Path) -> Vault:
        """The vault of a key file (mode 0600); made at first use."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(Fernet.generate_key() + b"\n")
        return cls(path.read_bytes().split())

    def seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise Fault(
                "A stored secret cannot be decrypted: the key file is not that of this database.",
                next_action="Put back the vault.key that belongs to it; all processes of a cluster share one.",
            ) from None

    def mark(self, text: str) -> str:
        """What only holders of the key can tell of `text`: for URLs that nobody is to guess. The same each time."""
        return _mark(self._keys[0], text)

    def proves(self, text: str, mark: str) -> bool:
        """Whether `mark` is that of `text`, by any of the keys."""
        given = mark.encode()
        found = [hmac.compare_digest(_mark(key, text).encode(), given) for key in self._keys]
        return any(found)


def _mark(key: bytes, text: str) -> str:
    return hmac.new(key, b"ingot mark\0" + text.encode(), hashlib.sha256).hexdigest()
