"""Secrets at rest: encrypted with a key file that lies outside the database.

The newest key comes first in the file; older ones stay readable below it until everything has been
sealed anew.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ingot.kit.auth.keyfiles import create_private, read_fernet_keys
from ingot.kit.faults import Fault


class Vault:
    """Seals and opens JSON texts."""

    def __init__(self, keys: list[bytes]) -> None:
        self._take(keys)
        self._missing: Path | None = None

    @classmethod
    def at(cls, path: Path, *, keep: bool = True) -> Vault:
        """The vault of a key file (mode 0600). Fault when the file is no key file, or cannot be made.

        A missing file is made at once, or (not `keep`) when `keep` is called: a database may know better.
        """
        if path.exists():
            return cls(read_fernet_keys(path))
        vault = cls([Fernet.generate_key()])
        vault._missing = path
        if keep:
            vault.keep()
        return vault

    def keep(self) -> None:
        """Write the file that was missing; what another process wrote meanwhile counts."""
        if self._missing is not None:
            create_private(self._missing, self._keys[0] + b"\n")
            self._take(read_fernet_keys(self._missing))
            self._missing = None

    def _take(self, keys: list[bytes]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._keys = keys

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
