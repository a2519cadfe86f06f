"""Callers known to an outside Keystone: each token is validated there, and the answer kept for a while.

The other implementation of `Authenticates`, for joining an existing cloud: users, projects
and the catalogue stay with that Keystone, so the Identity API is not offered here.

    GET {auth_url}/v3/auth/tokens   X-Auth-Token: ours, X-Subject-Token: the caller's

An answer is kept `cache_seconds` at most and never beyond the token's end: a token that is revoked there
may go on working here for so long, but no event stream and no console stays open by it. A token that is no good is asked about again after `REFUSED_SECONDS`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ingot.kit import log
from ingot.kit.auth.policy import ANONYMOUS, Caller
from ingot.kit.faults import Invalid, Unauthenticated, Unavailable
from ingot.kit.http import client as http_client
from ingot.kit.http import untrusted
from ingot.kit.tasks.clock import Clock

if TYPE_CHECKING:
    import aiohttp

_log = log.get("keystone")

REFUSED_SECONDS = 10.0
#: Whose service token has the right to bring an expired one.
SERVICE_ROLE = "service"
#: What lasts (streams, consoles) is asked about again when the answer is older.
STILL_SECONDS = 4.0
TIMEOUT_SECONDS = 15.0
#: Bytes of an answer, packed or not: it comes without a catalogue, and has a few hundred roles at most.
LONGEST_REPLY = 1 << 20
_CACHED_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class OutsideSettings:
    """auth_url: Keystone's root, with or without /v3. The user is one that may validate tokens there."""

    auth_url: str
    username: str
    password: str = field(repr=False)
    project_name: str = "service"
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"
    ca_file: str = ""
    cache_seconds: float = 300

    @property
    def root(self) -> str:
        return self.auth_url.rstrip("/").removesuffix("/v3") + "/v3"


class _Domain(msgspec.Struct):
    id: str


class _NamedEntity(msgspec.Struct):
    """A user, project or role, as far as it matters here."""

    id: str | None = None
    name: str | None = None
    domain: _Domain | None = None


class _Token(msgspec.Struct):
    user: _NamedEntity
    expires_at: datetime
    project: _NamedEntity | None = None
    domain: _Domain | None = None
    system: dict[str, bool] = {}
    roles: list[_NamedEntity] = []
    audit_ids: list[str] = []


class _Document(msgspec.Struct):
    token: _Token


@dataclass(slots=True)
class _CachedToken:
    """since, until: of the monotonic clock. caller: None for a token that is no good."""

    since: float
    until: float
    caller: Caller | None


class OutsideIdentity:
    """Who asks, as an outside Keystone says."""

    def __init__(self, clock: Clock, settings: OutsideSettings) -> None:
        self.settings = settings
        self._clock = clock
        self._http: aiohttp.ClientSession | None = None
        self._own_token = ""
        self._log_in = asyncio.Lock()
        self._kept: dict[bytes, _CachedToken] = {}
        self._asked: dict[bytes, asyncio.Future[Caller | None]] = {}
        self._tls = _tls(settings)

    @property
    def challenge(self) -> str:
        """What a 401 names as the place to log in."""
        return f'Keystone uri="{self.settings.root.removesuffix("/v3")}"'

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def authenticate(self, header: Callable[[str], str | None]) -> Caller:
        """The authenticator of all services: X-Auth-Token, and X-Service-Token's roles beside it.

        With a service's token one that has expired is good as long as Keystone takes it. Unavailable when
        Keystone cannot be asked.
        """
        service_token = header("X-Service-Token")
        service = await self.caller_for(service_token) if service_token else ANONYMOUS
        token = header("X-Auth-Token")
        if not token:
            return ANONYMOUS
        caller = await self.caller_for(token, allow_expired=SERVICE_ROLE in service.roles)
        return dataclasses.replace(caller, service_roles=service.roles) if service_token else caller

    async def caller_for(self, token: str, *, allow_expired: bool = False) -> Caller:
        """Whose token it is; Unauthenticated when Keystone does not take it."""
        caller = await self._lookup(token, allow_expired=allow_expired)
        if caller is None:
            raise Unauthenticated(
                "The request you have made requires authentication.",
                next_action="The token is unknown, was revoked or has expired: log in again.",
            )
        return caller

    async def still(self, caller: Caller) -> Caller:
        """Who a caller is by now, as Keystone said `STILL_SECONDS` ago or later; Unauthenticated otherwise.

        Keystone tells nothing of somebody whose token is not there: they stay who they were.
        """
        if not caller.token:
            return caller
        found = await self._lookup(caller.token, STILL_SECONDS)
        if found is None:
            raise Unauthenticated("The token was revoked or has expired.")
        return found

    async def _lookup(
        self, token: str, oldest: float = float("inf"), *, allow_expired: bool = False
    ) -> Caller | None:
        key = hashlib.sha256(token.encode()).digest() + (b"late" if allow_expired else b"")
        kept, now = self._kept.get(key), self._clock.monotonic()
        if kept is not None and now < kept.until and now - kept.since <= oldest:
            return kept.caller
        # Many requests with one new token ask once.
        asked = self._asked.get(key)
        if asked is None:
            work = self._validate(key, token, allow_expired)
            asked = self._asked[key] = asyncio.ensure_future(work)
            asked.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(asked)

    def _answered(self, key: bytes, done: asyncio.Future[Caller | None]) -> None:
        self._asked.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever waits is told; nobody may be waiting any more

    async def _validate(self, key: bytes, token: str, late: bool) -> Caller | None:
        status, body = await self._ask_about(token, late)
        if status == 401:  # our own token has ended: log in again, once
            self._own_token = ""
            status, body = await self._ask_about(token, late)
        if status == 404:
            self._keep(key, None, REFUSED_SECONDS)
            return None
        if status != 200:
            raise Unavailable(
                f"The identity service does not validate tokens for us (HTTP {status}).",
                next_action=f"Give the user {self.settings.username} a role there that may validate "
                "tokens (service or admin)."
                if status in (401, 403)
                else "Try again in a moment.",
                retry_after=5,
            )
        caller, seconds = self._read(body, token, late)
        self._keep(key, caller, min(seconds, self.settings.cache_seconds))
        return caller

    def _keep(self, key: bytes, caller: Caller | None, seconds: float) -> None:
        while len(self._kept) >= _CACHED_TOKENS:
            self._kept.pop(next(iter(self._kept)))
        now = self._clock.monotonic()
        self._kept[key] = _CachedToken(now, now + seconds, caller)

    def _read(self, body: Any, token: str, late: bool) -> tuple[Caller | None, float]:
        """The caller of Keystone's document, and for how many seconds it holds."""
        try:
            told = msgspec.convert(body, _Document).token
        except msgspec.ValidationError as error:
            raise Unavailable(
                "The identity service's answer about a token cannot be read.", internal=repr(error)
            ) from None
        ends = told.expires_at
        if ends.tzinfo is None:
            ends = ends.replace(tzinfo=UTC)
        left = (ends - self._clock.now()).total_seconds()
        if late and left <= 0:
            return _caller(told, token), REFUSED_SECONDS
        return (_caller(told, token), left) if left > 0 else (None, REFUSED_SECONDS)

    # -- the wire ----------------------------------------------------------------------------

    async def _ask_about(self, token: str, late: bool) -> tuple[int, Any]:
        headers = {"X-Auth-Token": await self._token(), "X-Subject-Token": token}
        more = "&allow_expired=1" if late else ""
        status, body, _ = await self._call("GET", f"/auth/tokens?nocatalog=1{more}", headers)
        return status, body

    async def _token(self) -> str:
        async with self._log_in:
            if self._own_token:
                return self._own_token
            own = self.settings
            user = {
                "name": own.username,
                "domain": {"name": own.user_domain_name},
                "password": own.password,
            }
            project = {"name": own.project_name, "domain": {"name": own.project_domain_name}}
            body = {
                "auth": {
                    "identity": {"methods": ["password"], "password": {"user": user}},
                    "scope": {"project": project},
                }
            }
            status, _, token = await self._call("POST", "/auth/tokens", {}, body)
            if status != 201 or not token:
                raise Unavailable(
                    f"The identity service at {own.root} refuses our own user {own.username} "
                    f"(HTTP {status}).",
                    next_action="Check [identity] username, password and project_name.",
                    retry_after=5,
                )
            _log.info("logged in", url=own.root, user=own.username)
            self._own_token = token
            return token

    async def _call(
        self, method: str, path: str, headers: dict[str, str], body: Any = None
    ) -> tuple[int, Any, str]:
        """Status, document and X-Subject-Token of an answer; Unavailable when there is none."""
        await http_client.ready()
        import aiohttp  # loaded by then (`outgoing`)

        if self._http is None:
            self._http = http_client.session(
                timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        url = self.settings.root + path
        try:
            async with self._http.request(
                method, url, headers=headers, json=body, ssl=self._tls, allow_redirects=False
            ) as reply:
                document = None
                if reply.status == 200:  # of a log-in only the head matters
                    document = untrusted.document(await http_client.whole(reply, LONGEST_REPLY))
                return reply.status, document, reply.headers.get("X-Subject-Token", "")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(
                f"The identity service at {self.settings.root} does not answer.",
                next_action="Try again in a moment; operators: see [identity] auth_url.",
                internal=http_client.why(error),
                retry_after=5,
            ) from None


def _caller(told: _Token, token: str) -> Caller:
    user, project = told.user, told.project or _NamedEntity()
    return Caller(
        user_id=user.id,
        user_name=user.name,
        user_domain_id=user.domain.id if user.domain else None,
        project_id=project.id,
        project_name=project.name,
        project_domain_id=project.domain.id if project.domain else None,
        domain_id=told.domain.id if told.domain else None,
        system=told.system.get("all", False),
        roles=frozenset(role.name.lower() for role in told.roles if role.name),
        audit_id=next(iter(told.audit_ids), None),
        token=token,
    )


def _tls(settings: OutsideSettings) -> ssl.SSLContext | bool:
    if not settings.auth_url.startswith("https://") or not settings.ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=str(Path(settings.ca_file)))
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"[identity] ca_file {settings.ca_file} cannot be used: {error}.") from None


__all__ = ["OutsideIdentity", "OutsideSettings"]
