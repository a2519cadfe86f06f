"""Which conductor cares for which node: rendezvous hashing over the conductors of a group."""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Sequence

from ingot import workflow


class HashRing:
    """Which process cares for which node: by conductor group, spread by uuid.

    When one comes or goes, only machines that it gets or had change hands.
    """

    def __init__(self, rows: Sequence[workflow.ConductorRow]) -> None:
        groups: dict[str, list[str]] = {}
        for row in rows:
            groups.setdefault(row.group, []).append(row.host)
        self._groups = {
            group: _shares(tuple(sorted(set(hosts)))) for group, hosts in groups.items()
        }

    def has(self, group: str) -> bool:
        return group in self._groups

    def of(self, uuid: str, group: str) -> str | None:
        shares = self._groups.get(group)
        if not shares:
            return None
        return shares[zlib.crc32(uuid.encode()) % len(shares)]


#: Into so many shares the machines of a group are divided.
_SHARES = 1024


@functools.lru_cache(maxsize=64)
def _shares(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Who has each share: the host that a hash of both puts first (rendezvous hashing)."""
    if len(hosts) == 1:
        return hosts

    def weight(host: str, share: int) -> bytes:
        return hashlib.blake2b(f"{share} {host}".encode(), digest_size=8).digest()

    return tuple(max(hosts, key=lambda host: weight(host, share)) for share in range(_SHARES))
