"""Events for an outside Nova (`POST os-server-external-events`), as Ironic and Neutron send them.

Without them Nova keeps the first MAC of a server's port, and its own power sync undoes what the Bare Metal API was
asked for. They are news, no record: what Nova does not take after a few tries is dropped with a line in the log.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from ingot.kit import log
from ingot.kit.db.database import after_commit
from ingot.kit.http import client as http_client
from ingot.kit.tasks.clock import Clock
from ingot.services.server_events import UNTOLD, Name, ServerEvents
from ingot.settings.tree import NovaOptions

if TYPE_CHECKING:
    import aiohttp

_log = log.get("nova")
#: The first with power-update.
_VERSION = "compute 2.76"
_MOST_WAITING, _MOST_SENT = 10_000, 50
_TRIES, _PAUSE_SECONDS, _TIMEOUT_SECONDS = 4, 2.0, 15.0


class Refused(Exception):
    """Nova or its Keystone answered otherwise than hoped for. status: HTTP's."""

    def __init__(self, where: str, status: int) -> None:
        super().__init__(f"{where} answered {status}")
        self.status = status


def events_of(own: NovaOptions, clock: Clock) -> ServerEvents:
    """Who tells the Nova of these settings."""
    return NovaEvents(own, clock) if own.url else UNTOLD


class NovaEvents:
    """Sends in the order in which things happened, by a task of its own that lives while there is something."""

    def __init__(self, own: NovaOptions, clock: Clock) -> None:
        self._own = own
        self._clock = clock
        self._token = ""
        self._waiting: deque[dict[str, str]] = deque(maxlen=_MOST_WAITING)
        self._sender: asyncio.Task[None] | None = None

    def tell(self, conn: sa.Connection, name: Name, server: str, tag: str) -> None:
        event = {"name": name, "server_uuid": server, "tag": tag}
        after_commit(conn, lambda: self._note(event))

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)

    def _note(self, event: dict[str, str]) -> None:
        self._waiting.append(event)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name="events for nova")

    async def _send_all(self) -> None:
        await http_client.ready()
        import aiohttp

        limit = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        async with http_client.session(timeout=limit) as session:
            while self._waiting:
                count = min(_MOST_SENT, len(self._waiting))
                await self._patiently(session, [self._waiting.popleft() for _ in range(count)])

    async def _patiently(
        self, session: aiohttp.ClientSession, batch: Sequence[dict[str, str]]
    ) -> None:
        import aiohttp

        for number in range(1, _TRIES + 1):
            try:
                await self._send(session, batch)
                return
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError, Refused) as error:
                final = isinstance(error, Refused) and 400 <= error.status < 500
                if isinstance(error, Refused) and error.status == 401 and self._token:
                    self._token, final = "", False  # it has ended
                if final or number == _TRIES:
                    why = str(error) if isinstance(error, Refused) else http_client.why(error)
                    _log.error("nova does not take events", why=why, dropped=len(batch))
                    return
            await self._clock.sleep(_PAUSE_SECONDS * (number - 1))

    async def _send(self, session: aiohttp.ClientSession, batch: Sequence[dict[str, str]]) -> None:
        if not self._token:
            self._token = await self._log_in(session)
        url = f"{self._own.url.rstrip('/')}/os-server-external-events"
        head = {"X-Auth-Token": self._token, "OpenStack-API-Version": _VERSION}
        async with session.post(
            url, json={"events": batch}, headers=head, ssl=self._tls, allow_redirects=False
        ) as reply:
            # 207: some are of servers that Nova does not have, 404: all are. Machines may have instances of others.
            if reply.status not in (200, 202, 207, 404):
                raise Refused("nova", reply.status)

    async def _log_in(self, session: aiohttp.ClientSession) -> str:
        own = self._own
        user: dict[str, Any] = {
            "name": own.username,
            "domain": {"name": own.user_domain_name},
            "password": own.password,
        }
        project = {"name": own.project_name, "domain": {"name": own.project_domain_name}}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": project},
        }
        url = f"{own.auth_url.rstrip('/').removesuffix('/v3')}/v3/auth/tokens?nocatalog=1"
        async with session.post(
            url, data=msgspec.json.encode({"auth": auth}), ssl=self._tls, allow_redirects=False,
            headers={"Content-Type": "application/json"},
        ) as reply:  # fmt: skip
            token = reply.headers.get("X-Subject-Token", "")
            if reply.status != 201 or not token:
                raise Refused(f"keystone, asked for a token of {own.username},", reply.status)
            return token

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext | bool:
        """Whom it trusts; True for the host's own list."""
        return ssl.create_default_context(cafile=self._own.ca_file) if self._own.ca_file else True
