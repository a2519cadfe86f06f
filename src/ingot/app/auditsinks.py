"""Where audit records go beside the database: a file of JSON lines, and a webhook. Neither ever holds a request up."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ingot.kit import log, outgoing
from ingot.kit.audit import Audit, Entry, Taker, cadf
from ingot.kit.clock import Clock
from ingot.kit.db import Database
from ingot.settings import Settings

if TYPE_CHECKING:
    import aiohttp

_log = log.get("audit")
_WEBHOOK_SECONDS = 10.0
_MOST_WAITING = 10_000
_MOST_SENT = 500


def recorder(settings: Settings, db: Database, clock: Clock) -> Audit:
    """The audit of this process, as the settings want it."""
    own, takers = settings.audit, list[Taker]()
    if own.file:
        takers.append(File(Path(own.file)))
    if own.webhook:
        takers.append(Webhook(own.webhook))
    return Audit(db, clock, settings.hostname, takers, keep=own.database)


class File:
    """Records as lines at the end of a file (mode 0600), opened for each batch: whoever rotates it need not tell us."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False

    async def __call__(self, batch: Sequence[Entry]) -> None:
        try:
            await asyncio.to_thread(self._append, batch)
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.error("the audit file cannot be written", file=str(self._path), why=str(error))
            self._failed = True

    def _append(self, batch: Sequence[Entry]) -> None:
        lines = b"".join(msgspec.json.encode(cadf(entry)) + b"\n" for entry in batch)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
            file.write(lines)


class Webhook:
    """Records as JSON (`{"events": [...]}`) to an address, once each, by a task of their own. What it does not take
    within 10 s is not sent again, and what comes faster than it takes is dropped: the database and the file are the
    record, this is the bell."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._failed = False
        self._waiting: deque[Entry] = deque(maxlen=_MOST_WAITING)
        self._sender: asyncio.Task[None] | None = None

    async def __call__(self, batch: Sequence[Entry]) -> None:
        self._waiting.extend(batch)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name="audit webhook")

    async def _send_all(self) -> None:
        await outgoing.ready()
        import aiohttp

        limit = aiohttp.ClientTimeout(total=_WEBHOOK_SECONDS)
        async with outgoing.session(timeout=limit) as session:
            while self._waiting:
                count = min(_MOST_SENT, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(count)]
                try:
                    await self._send(session, batch)
                    self._failed = False
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    if not self._failed:
                        _log.error("the audit webhook does not take records", why=repr(error))
                    self._failed = True

    async def _send(self, session: aiohttp.ClientSession, batch: Sequence[Entry]) -> None:
        body = msgspec.json.encode({"events": [cadf(entry) for entry in batch]})
        head = {"Content-Type": "application/json"}
        async with session.post(self._url, data=body, headers=head, allow_redirects=False) as reply:
            reply.raise_for_status()
