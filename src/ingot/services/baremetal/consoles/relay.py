"""One guest at a machine's console, whatever he came in by: bytes both ways until one side ends.

The console is a line of this process, or another controller's that is passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any, Protocol

from ingot.kit.faults import Fault

#: How long a guest who does not read is waited for.
WRITE_SECONDS = 30.0


class Guest(Protocol):
    async def read(self) -> bytes | None:
        """What he types; None or nothing once he is gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Waits while he does not read."""
        ...


class ConsoleStream(Protocol):
    """What a guest is given: iterate for what the machine says, `send` to type (a Fault where it cannot be)."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def send(self, data: bytes) -> None: ...


class RelayEnd(Enum):
    """Why a guest is served no longer."""

    LEFT = "he left"
    SILENT = "nothing was said for long"
    LINE = "the line ended"
    TOLD = "it was told to"


async def relay(
    stream: ConsoleStream, guest: Guest, idle_seconds: float, over: asyncio.Event | None = None
) -> RelayEnd:
    """Until he leaves, nothing was said for so long (0: for ever), the line ends, or `over` is set.

    TimeoutError when he does not read.
    """
    touched = asyncio.Event()
    works: dict[asyncio.Task[Any], RelayEnd] = {
        asyncio.create_task(_from_guest(stream, guest, touched)): RelayEnd.LEFT,
        asyncio.create_task((over or asyncio.Event()).wait()): RelayEnd.TOLD,
        asyncio.create_task(_idle(touched, idle_seconds)): RelayEnd.SILENT,
        asyncio.create_task(_to_guest(stream, guest, touched)): RelayEnd.LINE,
    }
    try:
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for work in done:
            work.result()
        return next(why for work, why in works.items() if work in done)
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


async def _to_guest(stream: ConsoleStream, guest: Guest, touched: asyncio.Event) -> None:
    async for chunk in stream:
        if not chunk:
            continue
        touched.set()
        async with asyncio.timeout(WRITE_SECONDS):
            await guest.write(chunk)


async def _from_guest(stream: ConsoleStream, guest: Guest, touched: asyncio.Event) -> None:
    while data := await guest.read():
        touched.set()
        try:
            await stream.send(data)
        except Fault as fault:
            await guest.write(f"\r\n[{fault.text}]\r\n".encode())


async def _idle(touched: asyncio.Event, seconds: float) -> None:
    """Ends when neither side said anything for so long."""
    if seconds <= 0:
        await asyncio.Event().wait()
    while True:
        touched.clear()
        try:
            async with asyncio.timeout(seconds):
                await touched.wait()
        except TimeoutError:
            return
