"""One guest at a machine's console, whatever he came in by: bytes both ways until one side ends."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from ingot.baremetal.consoles import Attachment
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


async def relay(
    line: Attachment, guest: Guest, idle_seconds: float, over: asyncio.Event | None = None
) -> None:
    """Until he leaves, nothing was said for so long (0: for ever), or it is over.

    TimeoutError when he does not read.
    """
    touched = asyncio.Event()
    works: list[asyncio.Task[Any]] = [
        asyncio.create_task(_to_guest(line, guest, touched)),
        asyncio.create_task(_from_guest(line, guest, touched)),
        asyncio.create_task(_idle(touched, idle_seconds)),
        asyncio.create_task((over or asyncio.Event()).wait()),
    ]
    try:
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for work in done:
            work.result()
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


async def _to_guest(line: Attachment, guest: Guest, touched: asyncio.Event) -> None:
    async for chunk in line:
        if not chunk:
            continue
        touched.set()
        async with asyncio.timeout(WRITE_SECONDS):
            await guest.write(chunk)


async def _from_guest(line: Attachment, guest: Guest, touched: asyncio.Event) -> None:
    while data := await guest.read():
        touched.set()
        try:
            await line.send(data)
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
