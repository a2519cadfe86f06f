"""A crowd of clients that ask at the same moment, and the oracle of all their answers.

Nothing here knows a service: an ask is a coroutine function that gives an object with `status`, and `json`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

#: How many ask at the same moment.
CLIENTS = 50


class Reply(Protocol):
    """What a test's client gives."""

    @property
    def status(self) -> int: ...

    @property
    def json(self) -> Any: ...


Ask = Callable[[], Awaitable[Reply]]
#: What happens in the middle of a crowd's work.
Disturb = Callable[[], Coroutine[Any, Any, None]]


class Working(Protocol):
    """Clients that work on and on, until they are stopped."""

    stopping: bool

    async def client(self, number: int) -> None: ...


@dataclass(frozen=True)
class Answer:
    """One client's answer. key: what its ask was about."""

    key: Any
    status: int
    json: Any

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


class Answers(list[Answer]):
    """All answers of a crowd; every check names what it saw."""

    @property
    def statuses(self) -> Counter[int]:
        return Counter(one.status for one in self)

    def accepted(self) -> Answers:
        return Answers(one for one in self if one.accepted)

    @property
    def keys(self) -> list[Any]:
        return [one.key for one in self]

    def civil(self, *refusals: int) -> Answers:
        """Every answer is a success or one of these refusals: no 500, nothing unexpected."""
        odd = [one for one in self if not one.accepted and one.status not in refusals]
        assert not odd, (self.statuses, odd[:3])
        return self

    def one_winner(self) -> Answer:
        """Exactly one was accepted."""
        won = self.accepted()
        assert len(won) == 1, (self.statuses, won)
        return won[0]

    def kept(self, found: Iterable[Any]) -> None:
        """What was accepted is there, and nothing else."""
        seen, wanted = Counter(list(found)), Counter(self.accepted().keys)
        lost, more = wanted - seen, seen - wanted
        assert not lost and not more, {"lost": lost, "more": more, "answers": self.statuses}


async def crowd(asks: Sequence[tuple[Any, Ask]], width: int = CLIENTS) -> Answers:
    """Ask all; `width` clients at a time, the first of them at the same moment."""
    start = asyncio.Event()
    turns = asyncio.Semaphore(width)

    async def one(key: Any, ask: Ask) -> Answer:
        await start.wait()
        async with turns:
            reply = await ask()
        return Answer(key, reply.status, reply.json)

    tasks = [asyncio.ensure_future(one(key, ask)) for key, ask in asks]
    await asyncio.sleep(0)
    start.set()
    return Answers(await asyncio.gather(*tasks))


async def work(workers: Working, clients: int, disturb: Disturb | None, seconds: float) -> None:
    """Let so many clients work for so long, twice; `disturb` happens in their middle."""
    tasks = [asyncio.ensure_future(workers.client(number)) for number in range(clients)]
    try:
        await asyncio.sleep(seconds)
        if disturb is not None:
            await disturb()
            await asyncio.sleep(seconds)
    finally:
        workers.stopping = True
    await asyncio.gather(*tasks)
