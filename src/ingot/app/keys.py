"""Whether the controllers of one database have the same keys: each tells of its own, as something they do not follow from.

The key that opens secrets proves itself at the database (`prove_key`). Tokens and deploy URLs are never stored, so
a controller with other keys of these would serve, and every other answer of the cluster would be a refusal.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ingot.kit import log
from ingot.kit.faults import Conflict
from ingot.workflow import ConductorRow

_log = log.get("keys")

#: In a conductor's info.
INFO = "keys"


def marks(folder: Path) -> dict[str, list[str]]:
    """By file: a mark of each key in it, from which the key cannot be found. Both files hold random keys only."""
    return {
        "deploy-url-key": _marks(folder / "deploy-url-key", whole=True),
        "fernet-keys": _marks(folder / "fernet-keys", whole=False),
    }


def compare(own: dict[str, list[str]], host: str, others: Iterable[ConductorRow]) -> None:
    """Raises Conflict when a living controller has another deploy-url-key; warns where no token key is shared.

    Token keys may be exchanged one by one while controllers run, and what they told at their start is then old.
    """
    for other in others:
        told: dict[str, Any] = other.info.get(INFO) or {}
        if other.gone or other.host == host:
            continue
        for file, keys in own.items():
            theirs = set(told.get(file) or ())
            if not keys or not theirs or theirs & set(keys):
                continue
            if file == "deploy-url-key":
                raise Conflict(
                    f"The {file} of this controller is not that of {other.host}, which has the same database.",
                    next_action="Give all controllers the same folder of keys ([cluster] keys), then start again.",
                )
            _log.error(
                "no key in common: clients will be refused; give all controllers the same folder of keys",
                file=file,
                controller=other.host,
            )


def _marks(file: Path, *, whole: bool) -> list[str]:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return []
    keys = [data] if whole else data.split()
    return [hmac.digest(key, b"which key this is", hashlib.sha256)[:8].hex() for key in keys]
