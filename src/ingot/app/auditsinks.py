"""Where audit records go beside the database: a file of JSON lines, and a webhook. Neither ever holds a request up."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ingot.kit import log
from ingot.kit.audit.recorder import Audit, Entry, Taker, cadf
from ingot.kit.db.database import Database
from ingot.kit.http import client as http_client
from ingot.kit.tasks.clock import Clock
from ingot.settings import Settings

if TYPE_CHECKING:
    import aiohttp

_log = log.get("audit")
_WEBHOOK_SECONDS = 10.0
_MOST_WAITING = 10_000
_MOST_SENT = 500
#: Octets that are written at once.
_PIECE = 1 << 16
_NEW_LINE = ord("\n")


def recorder(settings: Settings, db: Database, clock: Clock) -> Audit:
    """The audit of this process, as the settings want it."""
    own, takers = settings.audit, list[Taker]()
    if own.file:
        takers.append(File(Path(own.file)))
    if own.webhook:
        takers.append(Webhook(own.webhook))
    return Audit(db, clock, settings.hostname, takers, keep=own.database)


class File:
    """Records as lines at the end of a file (mode 0600), opened for each batch: whoever rotates it need not tell us.

    Lines wait for a disk that is full, as many as `most`; the oldest are dropped beyond it, and counted in the log.
    """

    def __init__(self, path: Path, most: int = _MOST_WAITING) -> None:
        self._path = path
        self._failed = False
        self._torn = False  # the last line is a part of one
        self._lost = 0
        self._most = most
        self._waiting: deque[bytes] = deque()

    async def __call__(self, batch: Sequence[Entry]) -> None:
        self._waiting.extend(msgspec.json.encode(cadf(entry)) + b"\n" for entry in batch)
        while len(self._waiting) > self._most:
            self._waiting.popleft()
            self._lost += 1
        if not self._waiting:
            return
        lines = list(self._waiting)
        written, error = await asyncio.to_thread(self._append, lines)
        for _ in range(written):
            self._waiting.popleft()
        if error is not None and not self._failed:
            _log.error("the audit file cannot be written", file=str(self._path), why=str(error))
        if error is None and self._failed:
            _log.info("the audit file is written again", file=str(self._path), lost=self._lost)
            self._lost = 0
        self._failed = error is not None

    def _append(self, lines: list[bytes]) -> tuple[int, OSError | None]:
        """How many lines are in the file, and what stood in the way of the others."""
        done, octets = 0, b"".join(lines)
        if self._torn:
            octets = b"\n" + octets
        at, error = 0, None
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                while at < len(octets):
                    at += os.write(file, octets[at : at + _PIECE])
            finally:
                os.close(file)
        except OSError as wrong:
            error = wrong
        if at:
            done = octets.count(b"\n", 0, at) - self._torn
            self._torn = octets[at - 1] != _NEW_LINE
        return done, error


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
        if self._waiting and (self._sender is None or self._sender.done()):
            self._sender = asyncio.create_task(self._send_all(), name="audit webhook")

    async def _send_all(self) -> None:
        await http_client.ready()
        import aiohttp

        limit = aiohttp.ClientTimeout(total=_WEBHOOK_SECONDS)
        async with http_client.session(timeout=limit) as session:
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
