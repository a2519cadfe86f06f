"""How many may be under way at once, by what became of those before: fewer while they end each other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

#: One that went through lets so much of another one in.
_MORE = 0.1
_LEAST = 0.5


class Gate:
    """Who comes while it is full waits, in order. It halves with each clash and widens slowly."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._width = float(most)
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def alone(self) -> bool:
        """Whether even one at a time of each process were too many: all processes must take turns."""
        return self._width < 1

    def clashed(self) -> None:
        """Somebody inside was ended for the sake of another, here or in another process."""
        self._width = max(_LEAST, self._width / 2)

    @asynccontextmanager
    async def entered(self, seconds: float) -> AsyncGenerator[None]:
        """Inside, once it is one's turn; TimeoutError when that does not come within so many seconds."""
        async with asyncio.timeout(seconds):
            await self._enter()
        try:
            yield
            self._width = min(self._most, self._width + _MORE)
        finally:
            self._inside -= 1
            self._let_in()

    def _is_free(self) -> bool:
        return self._inside < max(1, int(self._width))

    async def _enter(self) -> None:
        if self._is_free() and not self._waiting:
            self._inside += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let in and gone at the same moment
                self._inside -= 1
                self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting and self._is_free():
            turn = self._waiting.popleft()
            if not turn.done():  # else it has gone away
                turn.set_result(None)
                self._inside += 1
