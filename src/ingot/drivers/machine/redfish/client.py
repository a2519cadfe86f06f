"""Redfish over HTTPS: kept connections, authentication, and what a reply means.

One `RedfishClient` per process. Calls to one controller pass its gate one at a time. Sessions are
used where the service offers them (`redfish_auth_type` auto or session): a token costs the
controller far less than a password check at every call. Replies become JSON or one of the faults
with the service's own messages.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ingot.drivers.addresses import not_asked
from ingot.drivers.faults import (
    BadCredentials,
    Busy,
    DriverFault,
    Refused,
    Unreachable,
    Unsupported,
)
from ingot.drivers.fencing import fenced
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.links import (
    MOST_REDIRECTS,
    confined,
    path_of,
    redirected,
    upgraded,
)
from ingot.drivers.machine.redfish.trust import context_of
from ingot.drivers.machine.redfish.words import (
    busy_message,
    ids,
    no_license,
    retry_after,
    words_of,
)
from ingot.drivers.machine.types import Access
from ingot.drivers.pace import Refusals
from ingot.drivers.shape import Json, is_map, text
from ingot.kit.http import client as http_client
from ingot.kit.http import untrusted

if TYPE_CHECKING:
    import aiohttp

CALL_SECONDS = 60.0
CONNECT_SECONDS = 10.0
#: An idle connection is closed after so long. It spans the questions of one turn and of a power change; from one
#: poll to the next it would hold one of a controller's few slots, and 54 KB of ours where there is TLS.
IDLE_SECONDS = 15.0
#: Bytes, packed or not: room for registries of several MB, and little enough to be held for many at once.
LONGEST_REPLY = 8 << 20
_MOVED = frozenset({301, 302, 303, 307, 308})
#: Values of a document, each of which takes time while nothing else goes on: the largest registries have fewer.
MOST_VALUES = 250_000
_ETAG = re.compile(r"[\x21-\x7e\x80-\uffff]{1,1024}\Z")
TRANSIENT = frozenset({429, 502, 503, 504})


class HttpRefused(Refused):
    """Refused, with the HTTP status that said so and the ids of its messages."""

    status: int = 0
    ids: tuple[str, ...] = ()


class ResourceMissing(Unsupported):
    """404: the resource does not exist at this service."""


class AccessDenied(BadCredentials):
    """403: this user may not see or do this; what else there is may be his."""


@dataclass(frozen=True)
class Service:
    """One Redfish service as the node's driver_info describes it."""

    base: str
    prefix: str
    user: str
    password: str
    verify: bool | str
    auth: str

    @property
    def root(self) -> str:
        return f"{self.prefix}/"

    @property
    def key(self) -> str:
        """Changes when any detail changes, so that a corrected password is used at once."""
        text = f"{self.base}\0{self.user}\0{self.password}\0{self.verify}\0{self.auth}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Reply:
    """status, lower-case headers and the JSON body ({} when there is none)."""

    status: int
    headers: Mapping[str, str]
    body: Json

    @property
    def location(self) -> str:
        """The path in the Location header, "" when there is none."""
        return path_of(self.headers.get("location", ""))


@dataclass
class _Login:
    token: str = ""
    session_path: str = ""
    basic: bool = False
    headers: dict[str, str] = field(default_factory=dict[str, str])


def service_of(access: Access) -> Service:
    """The service that `access` describes; raises Unsupported for an address that is no URL."""
    address = access.text("redfish_address").strip()
    if "://" not in address:
        address = f"https://{address}"
    base = _base(address)
    verify = access.options.get("redfish_verify_ca", True)
    return Service(
        base=base,
        prefix=access.text("redfish_root_prefix", "/redfish/v1").rstrip("/"),
        user=access.text("redfish_username"),
        password=access.text("redfish_password"),
        verify=verify if isinstance(verify, bool) else str(verify),
        auth=access.text("redfish_auth_type", "auto").lower(),
    )


def _base(address: str) -> str:
    """Scheme, host and port of an address; never a user or password, which have options of their own."""
    try:
        parts = urlsplit(address)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        parts, port = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        shown = address.rpartition("@")[2]
        raise Unsupported(
            f"redfish_address {shown} is not an http or https address of a host",
            next_action="Correct redfish_address; a user name belongs in redfish_username.",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


class RedfishClient:
    """All Redfish services of the process."""

    def __init__(self, context: DriverContext) -> None:
        self._gates = context.gates
        self._clock = context.clock
        self._egress = context.egress
        self._refusals = Refusals(context.clock)
        self._http: aiohttp.ClientSession | None = None
        self._logins: dict[str, _Login] = {}
        self._services: dict[str, Service] = {}
        self._tls: dict[bool | str, ssl.SSLContext | bool] = {}
        #: Bases without TLS -> those with it, to which their services have sent us.
        self._secure: dict[str, str] = {}
        context.on_close(self.aclose)

    async def get(self, access: Access, path: str) -> Reply:
        return await self.call(access, "GET", path)

    async def post(self, access: Access, path: str, body: Json) -> Reply:
        return await self.call(access, "POST", path, body)

    async def patch(self, access: Access, path: str, body: Json, etag: str = "") -> Reply:
        """PATCH with If-Match; falls back for services that mistake their own ETags.

        One that is no ETag (RFC 9110 8.8.3) is as none: in a header of ours it could be another header.
        """
        etag = etag if _ETAG.match(etag) else ""
        tries = [etag, etag.removeprefix("W/"), "*", ""] if etag else ["", "*"]
        last: HttpRefused | None = None
        for match in dict.fromkeys(tries):
            try:
                headers = {"If-Match": match} if match else {}
                return await self.call(access, "PATCH", path, body, headers)
            except HttpRefused as refused:
                if refused.status not in (412, 428):
                    raise
                last = refused
        assert last is not None
        raise last

    async def call(
        self,
        access: Access,
        method: str,
        path: str,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request through the controller's gate, logging in (again) where needed."""
        service = service_of(access)
        gate = self._gates.gate(f"redfish:{service.base}")
        return await gate.run(lambda: self._authorised(service, method, path, body, headers or {}))

    async def aclose(self) -> None:
        """End our sessions at the services (a few seconds at most) and close connections."""
        if self._http is None:
            return
        ends = [
            self._send(self._services[key], "DELETE", login.session_path, None, login.headers)
            for key, login in self._logins.items()
            if login.session_path
        ]
        try:
            async with asyncio.timeout(5):
                await asyncio.gather(*ends, return_exceptions=True)
        except TimeoutError:
            pass
        self._logins.clear()
        await self._http.close()
        self._http = None

    async def _authorised(
        self,
        service: Service,
        method: str,
        path: str,
        body: Json | None,
        headers: Mapping[str, str],
    ) -> Reply:
        self._refusals.check(service.key)
        try:
            reply = await self._once(service, method, path, body, headers)
            if reply.status == 401:
                # Some services refuse the right password now and then; more tries might lock it.
                self._logins.pop(service.key, None)
                await self._clock.sleep(1.0)
                reply = await self._once(service, method, path, body, headers)
        except BadCredentials as fault:
            self._refusals.note(service.key, fault)
            raise
        if reply.status < 300:
            return reply
        fault = fault_of(service, method, path, reply)
        if reply.status == 401 and isinstance(fault, BadCredentials):
            self._logins.pop(service.key, None)
            self._refusals.note(service.key, fault)
        raise fault

    async def _once(
        self,
        service: Service,
        method: str,
        path: str,
        body: Json | None,
        headers: Mapping[str, str],
    ) -> Reply:
        """The request, with a fresh session if the one we had is no longer known."""
        login = self._logins.get(service.key)
        known = login is not None
        if login is None:
            login = await self._login(service)
        reply = await self._send(service, method, path, body, {**headers, **login.headers})
        if reply.status == 401 and known and not login.basic:
            # The service forgot our session (it expired, or the controller restarted).
            self._logins.pop(service.key, None)
            login = await self._login(service)
            reply = await self._send(service, method, path, body, {**headers, **login.headers})
        return reply

    async def _login(self, service: Service) -> _Login:
        login: _Login | None = None
        if service.user and service.auth in ("auto", "session"):
            login = await self._open_session(service)
        if login is None:
            login = _Login(basic=True)
            if service.user and service.auth != "none":
                pair = f"{service.user}:{service.password}".encode()
                login.headers = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        self._logins[service.key] = login
        self._services[service.key] = service
        return login

    async def _open_session(self, service: Service) -> _Login | None:
        """A session, or None when the service has none to give and `auto` allows basic."""
        path = f"{service.prefix}/SessionService/Sessions"
        body: Json = {"UserName": service.user, "Password": service.password}
        reply = await self._send(service, "POST", path, body, {})
        token = reply.headers.get("x-auth-token", "")
        if reply.status < 300 and token:
            where = reply.location or text(reply.body, "@odata.id")
            return _Login(token, where, headers={"X-Auth-Token": token})
        if reply.status in (401, 403) and service.auth == "session":
            raise fault_of(service, "POST", path, reply)
        if service.auth == "session":
            raise fault_of(service, "POST", path, reply, BadCredentials)
        return None

    async def _send(
        self,
        service: Service,
        method: str,
        path: str,
        body: Json | None,
        headers: Mapping[str, str],
    ) -> Reply:
        """The request at the service itself, following a few redirects there; one to https is remembered."""
        base = self._secure.get(service.base, service.base)
        place = self._place(service, base, path)
        for _ in range(MOST_REDIRECTS + 1):
            at = dataclasses.replace(service, base=base)
            try:
                reply = await self._exchange(at, method, place, body, headers)
                if reply.status == 406 and method == "GET":
                    # HPE's newer ones do not give registries unpacked.
                    packed = {**headers, "Accept-Encoding": "gzip"}
                    reply = await self._exchange(at, method, place, body, packed)
            except Unreachable:
                self._secure.pop(service.base, None)
                raise
            moved = _moved(base, method, place, reply)
            if moved is None:
                return reply
            base, place = moved
            if base != at.base:
                self._secure[service.base] = base
        raise Refused(f"{method} {path}: redirected more than {MOST_REDIRECTS} times")

    @staticmethod
    def _place(service: Service, base: str, link: str) -> str:
        """Path and query of a link, asked for at `base`; a service moved to https may still name its old place."""
        try:
            return confined(base, link)
        except Refused:
            return confined(service.base, link)

    async def _exchange(
        self,
        service: Service,
        method: str,
        path: str,
        body: Json | None,
        headers: Mapping[str, str],
    ) -> Reply:
        await http_client.ready()
        import aiohttp  # loaded by then (`outgoing`)

        context = await self._context(service.verify)
        timeout = aiohttp.ClientTimeout(
            total=CALL_SECONDS, connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS
        )
        try:
            async with self._session().request(
                method,
                service.base + path,
                data=None if body is None else msgspec.json.encode(body),
                headers={**_HEADERS, **headers},
                timeout=timeout,
                ssl=context,
                allow_redirects=False,
            ) as response:
                data = await http_client.whole(response, LONGEST_REPLY)
                lower = {name.lower(): value for name, value in response.headers.items()}
                needed = method == "GET" and response.status < 300
                return Reply(response.status, lower, _json(data, needed))
        except untrusted.Unreadable as wrong:
            raise Refused(f"{method} {path}: {wrong}", secrets=(service.password,)) from None
        except (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise _unreachable(service, method, path, error) from None

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp  # loaded by then (`outgoing`)

        if self._http is None:
            # The gates allow one call per controller; the pool needs no limit of its own.
            connector = self._egress.connector(limit=0, keepalive_timeout=IDLE_SECONDS)
            self._http = http_client.session(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[fenced()],
            )
        return self._http

    async def _context(self, verify: bool | str) -> ssl.SSLContext | bool:
        if verify not in self._tls:
            self._tls[verify] = await asyncio.to_thread(context_of, verify)
        return self._tls[verify]


_HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "OData-Version": "4.0",
    "Accept-Encoding": "identity",
}


def _moved(base: str, method: str, place: str, reply: Reply) -> tuple[str, str] | None:
    """Base and path at which the same request is made next; None when this reply is the answer.

    Refused for a redirect that leads elsewhere, and so for one from https to http.
    """
    location = reply.headers.get("location", "")
    if not location or reply.status not in _MOVED:
        return None
    secure = upgraded(base, place, location)
    if secure:
        there = confined(secure, location)
        # What only wants TLS has done nothing yet: any request is made again.
        if method == "GET" or there == place:
            return secure, there
    if reply.status not in _redirects(method):
        return None
    return base, redirected(base, place, location)


def _redirects(method: str) -> frozenset[int]:
    """Statuses after which the same request is made elsewhere: never one that would turn into a GET."""
    return _MOVED if method == "GET" else frozenset({307, 308})


def _json(data: bytes, needed: bool) -> Json:
    """A reply's document; Unreadable when it is none and `needed`.

    Errors may come as plain text. It is not repeated: what answers here may be no controller at all.
    """
    if not data.strip():
        return {}
    try:
        body = untrusted.document(data, most_values=MOST_VALUES)
    except untrusted.NotJson:
        if needed:
            raise
        return {}
    return body if is_map(body) else {"value": body}


def _unreachable(service: Service, method: str, path: str, error: BaseException) -> DriverFault:
    import aiohttp  # loaded by then (`outgoing`)

    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if (refusal := not_asked("redfish_address", inner)) is not None:
        return refusal

    secrets = (service.password,)
    where = f"{method} {service.base}{path}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return Unreachable(
            f"{where}: the certificate is not trusted: {error}",
            next_action="Set redfish_verify_ca to the file of its authority, or to false.",
            secrets=secrets,
        )
    return Unreachable(f"{where}: {http_client.why(error)}", secrets=secrets)


def fault_of(
    service: Service,
    method: str,
    path: str,
    reply: Reply,
    kind: type[DriverFault] | None = None,
) -> DriverFault:
    """The fault that a reply of status 300 or above means, in the service's own words."""
    secrets = (service.password,)
    cause = f"{method} {path}: HTTP {reply.status}: {words_of(reply.body)}"
    status = reply.status
    if kind is not None:
        return kind(cause, secrets=secrets)
    if status == 403 and no_license(reply.body):
        return Unsupported(cause, next_action="Put the license on the controller.", secrets=secrets)
    if status == 401:
        return BadCredentials(cause, secrets=secrets)
    if status == 403:
        return AccessDenied(
            cause,
            next_action="Give the user of driver_info this right at the controller, or another user.",
            secrets=secrets,
        )
    if status == 404:
        return ResourceMissing(cause, secrets=secrets)
    if status in (405, 501):
        return Unsupported(cause, secrets=secrets)
    server_trouble = status == 500 and method == "GET"
    if status in TRANSIENT or server_trouble or busy_message(reply.body):
        return Busy(cause, retry_after=retry_after(reply.headers), secrets=secrets)
    refused = HttpRefused(cause, secrets=secrets)
    refused.status = status
    refused.ids = ids(reply.body)
    return refused
