"""The connections of one listener: how many there may be, of whom, and how long each may let us wait.

Each listener has a budget of its own, so that machines (which anybody may be, on their network) cannot take the
connections, and with them the open files, from which the API lives. Where a budget is used up, the connection that
has let us wait longest gives way to the new one, and where all are at work, the new one is refused. So half-sent
requests, however many, keep nobody out, and neither do idle connections of a load balancer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ingot.kit.http.peers import peer_of

#: Shares of the files that this process may open; the rest is for controllers, agents, the database and disks.
_SHARES = {"api": (2, 20_000), "provisioning": (4, 8_000)}


@dataclass(frozen=True)
class Bounds:
    """What clients may take of a listener.

    connections: at a time, 0 for as many as the process's open files allow. of_peer: of them, from one address
    (IPv6: from one /64). head_seconds: from the first octet of a request (or from the connection) to the end of
    its head. head_bytes: of it. stall_seconds: a client that takes nothing of its answer for so long is cut off.
    idle_seconds: between requests.
    """

    connections: int = 0
    of_peer: int = 1024
    head_seconds: float = 15
    head_bytes: int = 1 << 16
    stall_seconds: float = 120
    idle_seconds: int = 75


def share(listener: str, files: int) -> int:
    """How many connections a listener may hold where the process may open so many files."""
    part, most = _SHARES[listener]
    return max(16, min(most, files // part))


class Held(Protocol):
    """A connection, as the crowd sees it."""

    #: Whose it is, as `Crowd.peer_of` tells it.
    peer: str | None

    def give_way(self) -> None:
        """Close at once."""
        ...

    def too_slow(self) -> None:
        """Its request's head has not come in time."""
        ...


class Crowd:
    """All connections of a listener. Those in `_waiting` wait for their client, longest first.

    trusts: whether an address is that of a proxy of ours. It stands for all its clients, so its connections are
    bounded by the listener's budget only.
    """

    def __init__(self, bounds: Bounds, trusts: Callable[[str], bool] = lambda _: False) -> None:
        self.bounds = bounds
        self._trusts = trusts
        self._most = bounds.connections
        self._all: dict[Held, None] = {}
        self._waiting: dict[Held, None] = {}
        self._peers: dict[str | None, _Peer] = {}
        #: Requests whose head has not come yet, and until when it must: in that order, as all have equally long.
        self._heads: dict[Held, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        #: How many were refused or gave way, for those who ask why.
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._all)

    def peer_of(self, address: object) -> str | None:
        """Whose connections count together: see `peer_of`; None for those of proxies, which count for nobody."""
        return None if self._trusts(str(address)) else peer_of(address)

    def enter(self, one: Held) -> bool:
        """Whether the connection may stay."""
        peer = None if one.peer is None else self._peers.get(one.peer)
        if peer is not None and peer.count >= self.bounds.of_peer and not self._room_in(peer):
            self.turned_away += 1
            return False
        if self._most and len(self._all) >= self._most and not self._room_in(self):
            self.turned_away += 1
            return False
        self._all[one] = None
        peer = self._peers.setdefault(one.peer, _Peer())
        peer.count += 1
        self.wait(one)
        return True

    def leave(self, one: Held) -> None:
        """Gone, or no longer ours. May be told twice."""
        if one not in self._all:
            return
        del self._all[one]
        self.work(one)
        self._heads.pop(one, None)
        peer = self._peers[one.peer]
        peer.count -= 1
        if not peer.count:
            del self._peers[one.peer]

    def wait(self, one: Held) -> None:
        """We wait for its client, from now on or still: it has just told something."""
        if one not in self._all:
            return
        for waiting in (self._waiting, self._peers[one.peer].waiting):
            waiting.pop(one, None)
            waiting[one] = None

    def work(self, one: Held) -> None:
        """Its request has come, and its client waits for us."""
        self._waiting.pop(one, None)
        peer = self._peers.get(one.peer)
        if peer is not None:
            peer.waiting.pop(one, None)

    def expect_head(self, one: Held) -> None:
        """A request's head must come in time; what is expected already stays so."""
        if one in self._all and one not in self._heads:
            loop = asyncio.get_running_loop()
            self._heads[one] = loop.time() + self.bounds.head_seconds
            if self._timer is None:
                self._timer = loop.call_later(self.bounds.head_seconds, self._sweep)

    def has_head(self, one: Held) -> None:
        self._heads.pop(one, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for one, until in list(self._heads.items()):
            if until > now:
                self._timer = loop.call_at(until, self._sweep)
                return
            del self._heads[one]
            one.too_slow()

    def _room_in(self, group: Crowd | _Peer) -> bool:
        """Whether one of them could give way."""
        oldest = next(iter(group._waiting if isinstance(group, Crowd) else group.waiting), None)
        if oldest is None:
            return False
        self.turned_away += 1
        self.leave(oldest)
        oldest.give_way()
        return True


class _Peer:
    """Connections from one address."""

    __slots__ = ("count", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.waiting: dict[Held, None] = {}


__all__ = ["Bounds", "Crowd", "Held", "peer_of", "share"]
