"""What we ask others over HTTP with (aiohttp): loaded when it is first needed.

It is 60 modules, 6 MiB and 0.15 s of the processor, and a server whose machines are not asked over HTTP never
needs it. Who needs it awaits `ready` and imports it after that, inside the function: then it costs nothing.
"""

from __future__ import annotations

import asyncio
import importlib
import sys


async def ready() -> None:
    """Load aiohttp unless it is there. In a thread, so that requests are answered meanwhile."""
    there = sys.modules.get("aiohttp")
    # A module stands in the table from the beginning of its import; another thread may be at it.
    if there is None or getattr(there.__spec__, "_initializing", False):
        await asyncio.to_thread(importlib.import_module, "aiohttp")
