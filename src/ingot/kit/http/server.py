"""The thin adapter between the table of operations and the web framework (Falcon on ASGI).

Nothing else imports the framework, so that it can be replaced. One `WebApp` is one listener; it may carry
any number of services under their prefixes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, quote

import falcon
import falcon.asgi
import falcon.media
import msgspec

from ingot.kit import ids, log
from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.api.versions import Version
from ingot.kit.audit.actions import LOOKS, AuditedRequest
from ingot.kit.audit.records import Entry
from ingot.kit.auth.policy import Caller
from ingot.kit.faults import Fault, Kind, Missing, Unauthenticated, beyond, disk_full, unusable_file
from ingot.kit.http.decoding import check_address, decode_body, decode_query, too_large
from ingot.kit.http.proxies import Proxies
from ingot.kit.http.routes import Routes
from ingot.kit.http.websockets import Channel
from ingot.kit.http.websockets import serve as serve_websocket

_log = log.get("web")
_encoder = msgspec.json.Encoder()
_NO_VERSION = Version(0, 0)

#: Called after every request: service, operation's path, method, status, seconds.
Observer = Callable[[str, str, str, int, float], None]


class _ClientGone(Exception):
    """Nobody is left to send to."""


#: Marks a request's scope once its client has gone.
_GONE = "ingot.client_gone"
_DRAIN_SECONDS = 10.0
#: What stays as it is in a header's value of which something cannot be sent.
_SAFE = " !\"#$%&'()*+,/:;<=>?@[]^`{|}~"


@dataclass(frozen=True)
class RequestTimeouts:
    """With clients that send a body, in seconds. whole: for all of a JSON body. silence: between pieces of a stream."""

    whole: float = 60.0
    silence: float = 120.0


_USUAL = RequestTimeouts()


class _Framework(falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]):
    """The framework's application, which also notes that a client has gone, and ends its stream then.

    Websockets pass it by.
    """

    channels: Sequence[Channel] = ()
    proxies = Proxies()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = self.proxies.seen(scope)
        if scope["type"] == "websocket":
            await serve_websocket(self.channels, scope, receive, send)
            return
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        watch: asyncio.Task[None] | None = None

        async def noting() -> Any:
            happened = await receive()
            if happened["type"] == "http.disconnect":
                scope[_GONE] = True
            return happened

        async def leaving() -> None:
            while not scope.get(_GONE):
                await noting()

        async def sending(message: Any) -> None:
            nonlocal watch
            if message.get("more_body"):
                # The server takes all that we send to nobody, for ever.
                if scope.get(_GONE):
                    raise _ClientGone
                watch = watch or asyncio.ensure_future(leaving())
            await send(message)

        # Only a server that ends cancels its requests: that is no error to be told of.
        try:
            with contextlib.suppress(asyncio.CancelledError, _ClientGone):
                await super().__call__(scope, noting, sending)
        finally:
            if watch is not None:
                watch.cancel()


class WebApp:
    """All services of one listener, and its websockets, as an ASGI application (`.asgi`)."""

    def __init__(
        self,
        services: Sequence[Service],
        observe: Observer | None = None,
        channels: Sequence[Channel] = (),
        patience: RequestTimeouts = _USUAL,
        audit: Callable[[Entry], None] | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        """audit: takes a record of each request that is more than a look. proxies: whose word on clients counts."""
        self.services = services
        self._observe = observe
        self._patience = patience
        self._audit = audit
        self._routes = Routes()
        self.asgi: Any = _Framework(router=cast("Any", self._routes))
        self.asgi.channels = channels
        self.asgi.proxies = proxies or Proxies()
        self.asgi.req_options.strip_url_path_trailing_slash = True
        # Bodies are read and written by us (`kit.wire`). Those of the framework hold half a megabyte of buffers.
        for options in (self.asgi.req_options, self.asgi.resp_options):
            options.media_handlers = falcon.media.Handlers(
                {falcon.MEDIA_JSON: falcon.media.JSONHandler()}
            )
        self.asgi.add_error_handler(Exception, self._unexpected)
        mounts = list(services)
        for service in services:
            mounts += [dataclasses.replace(service, prefix=other) for other in service.aliases]
        for service in sorted(mounts, key=lambda item: len(item.prefix)):
            self._mount(service)

    def _mount(self, service: Service) -> None:
        by_path: dict[str, list[Operation]] = {}
        for operation in service.operations:
            by_path.setdefault(operation.path, []).append(operation)
        for path, operations in by_path.items():
            endpoint = _Endpoint(service, operations, self._observe, self._patience, self._audit)
            self._routes.add((service.prefix + path) or "/", endpoint)
            if service.implied and path.startswith(f"{service.implied}/"):
                self._routes.add(service.prefix + path.removeprefix(service.implied), endpoint)
        sink = _Endpoint(service, (), self._observe, self._patience, None)
        self.asgi.add_sink(sink.absent, prefix=f"{service.prefix}(/|$)" if service.prefix else "/")

    async def _unexpected(
        self, req: Any, resp: Any, error: Exception, _params: dict[str, Any], ws: Any = None
    ) -> None:
        if isinstance(error, falcon.HTTPStatus | falcon.HTTPError):
            resp.status = error.status
            return
        _log.error("request failed", path=req.path, error=repr(error), exc_info=error)
        resp.status = 500


class _Endpoint:
    """All operations of one path."""

    def __init__(
        self,
        service: Service,
        operations: Iterable[Operation],
        observe: Observer | None,
        patience: RequestTimeouts,
        audit: Callable[[Entry], None] | None,
    ) -> None:
        self._audit = audit
        self._service = service
        self._patience = patience
        self._operations = tuple(operations)
        self._observe = observe
        self._methods: dict[str, list[Operation]] = {}
        for operation in self._operations:
            self._methods.setdefault(operation.method, []).append(operation)
        self._path = self._operations[0].path if self._operations else "?"

    async def serve(self, req: Any, resp: Any, **params: str) -> None:
        started = time.perf_counter()
        service = self._service
        request_id = ids.new_request_id()
        version: Version | None = None
        deed = AuditedRequest(params=params)
        try:
            if service.versions is not None:
                version = service.versions.negotiate(req.get_header)
            deed.reply = await self._answer(req, params, version or _NO_VERSION, request_id, deed)
            self._send(resp, deed.reply)
        except Fault as fault:
            deed.fault = fault
            if "login" in fault.details:
                deed.logs_in(None, str(fault.details["login"]))
            self._tell(req, resp, fault)
            if fault.kind is Kind.SLOW:
                # What comes late would pass for the next request.
                resp.set_header("Connection", "close")
            elif req.method in ("PUT", "POST", "PATCH"):
                await _drain(req)
        except asyncio.CancelledError:
            self._tell(req, resp, _stopping())
        except Exception as error:
            deed.fault = _foreseen(req, error) or _unexpected(req, request_id, error)
            self._tell(req, resp, deed.fault)
        if service.versions is not None:
            resp.set_headers(service.versions.reply_headers(version))
        for name in service.request_id_headers:
            resp.set_header(name, request_id)
        if self._audit is not None and (deed.login or req.method not in LOOKS):
            self._note(req, resp.status_code, request_id, deed)
        if self._observe is not None:
            took = time.perf_counter() - started
            # Whoever asks chooses the method, and each costs a row of the metrics for ever.
            method = req.method if req.method in self._methods else "other"
            self._observe(service.name, self._path, method, resp.status_code, took)

    def _note(self, req: Any, status: int, request_id: str, deed: AuditedRequest) -> None:
        """A record of what was done or refused. It must never stand in the way of the answer."""
        assert self._audit is not None
        try:
            client, agent = req.remote_addr or "", req.get_header("User-Agent") or ""
            entry = deed.entry(self._service.name, req.method, status, client, agent)
            if entry is not None:
                entry.request_id = request_id
                self._audit(entry)
        except Exception as error:
            _log.error("no audit record", request_id=request_id, error=repr(error), exc_info=error)

    def __getitem__(self, method: str) -> Callable[..., Awaitable[None]]:
        """The framework's responder for a method."""
        return self.options if method == "OPTIONS" else self.serve

    async def options(self, _req: Any, resp: Any, **_params: str) -> None:
        """Browsers and monitors ask so; what is allowed depends on the version too, so all methods are told."""
        resp.set_header("Allow", ", ".join(self._methods))
        resp.status = 200

    async def absent(self, req: Any, resp: Any, **_params: str) -> None:
        """A path that no operation has."""
        await self.serve(req, resp)

    def _choose(self, method: str, version: Version) -> Operation:
        if not self._operations:
            raise Missing("The resource could not be found.")
        rows = self._methods.get(method)
        if rows is None and method == "HEAD":
            rows = self._methods.get("GET")
        if rows is None and not any(row.visible(version) for row in self._operations):
            raise Fault("The resource could not be found.", kind=self._operations[0].hidden)
        if rows is None:
            raise Fault(f"Method {method} is not allowed here.", kind=Kind.METHOD)
        for operation in rows:
            if operation.visible(version):
                return operation
        raise Fault("The resource could not be found.", kind=rows[-1].hidden)

    async def _answer(
        self,
        req: Any,
        params: dict[str, str],
        version: Version,
        request_id: str,
        deed: AuditedRequest,
    ) -> Reply:
        service = self._service
        if self._path in service.collections and str(req.scope["path"]).endswith("/"):
            raise await self._nameless(req)
        operation = deed.operation = self._choose(req.method, version)
        caller = deed.caller = await service.authenticator(_Shown(req))
        if operation.rule is not None:
            if caller.anonymous:
                raise Unauthenticated(
                    "The request you have made requires authentication.",
                    next_action=self._how_to_log_in(req),
                )
            if not operation.late:
                service.policy.require(
                    operation.rule,
                    caller,
                    {"project_id": caller.project_id, "user_id": caller.user_id},
                )
        args = parse_qsl(req.query_string, keep_blank_values=True) if req.query_string else []
        check_address(params, args)
        query = decode_query(args, operation.query) if operation.query is not None else None
        body: Any = None
        if operation.body is not None:
            data = await _whole_body(req, operation.max_body, self._patience.whole)
            body = decode_body(data, operation.body, service.depth, operation.max_values)
            deed.body = body
        call = Call(
            operation=operation,
            version=version,
            caller=caller,
            params=params,
            args=args,
            query=query,
            body=body,
            header=req.get_header,
            base_url=_origin(req) + service.prefix,
            url=req.forwarded_uri,
            request_id=request_id,
            policy=service.policy,
            remote=req.remote_addr or "",
            stream=lambda: _chunks(req, self._patience.silence),
            still=lambda: self._still(req, caller),
            deed=deed,
        )
        reply = await operation.handler(call) or Reply()
        if reply.status is None:
            reply.status = operation.status
        return reply

    async def _nameless(self, req: Any) -> Fault:
        """The answer to somebody who names a thing by an empty id."""
        if (await self._service.authenticator(_Shown(req))).anonymous:
            return Unauthenticated(
                "The request you have made requires authentication.",
                next_action=self._how_to_log_in(req),
            )
        return Missing("The resource could not be found: its id is empty.")

    def _still(self, req: Any, caller: Caller) -> Awaitable[Caller]:
        still = self._service.still
        return still(caller) if still is not None else self._service.authenticator(_Shown(req))

    def _how_to_log_in(self, req: Any) -> str:
        if self._service.challenge.startswith("Basic"):
            return "Send a user name and password (HTTP Basic)."
        if req.get_header("X-Auth-Token"):
            return "The token is unknown, was revoked or has expired: log in again."
        return "Log in and send the token in the header X-Auth-Token."

    @staticmethod
    def _send(resp: Any, reply: Reply) -> None:
        resp.status = reply.status
        for name, value in reply.headers.items():
            resp.set_header(name, _visible(value))
        if reply.stream is not None:
            resp.content_type = reply.content_type
            resp.stream = _Closing(reply.stream)
        elif reply.body is not None:
            resp.content_type = reply.content_type
            resp.data = reply.body if isinstance(reply.body, bytes) else _encoder.encode(reply.body)
        elif reply.content_type == "application/json":
            # An empty body is no JSON; strict clients complain.
            resp.content_type = "text/plain"

    def _tell(self, req: Any, resp: Any, fault: Fault) -> None:
        status = self._service.status_of(fault)
        if status >= 500 and fault.internal:
            _log.warning(
                "fault",
                path=req.path,
                client=req.remote_addr,
                fault=fault.text,
                internal=fault.internal,
            )
        body, content_type = self._service.envelope(fault, status)
        resp.status = status
        resp.content_type = content_type
        resp.data = body
        if status == 401:
            own = f'Keystone uri="{_origin(req)}/identity"'
            resp.set_header("WWW-Authenticate", self._service.challenge or own)
        if fault.retry_after is not None:
            resp.set_header("Retry-After", str(max(1, round(fault.retry_after))))


class _Closing:
    """A stream that the framework closes at its end, whatever ends it: it knows no `aclose`."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._source

    async def close(self) -> None:
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()


class _Shown:
    """What a request shows of who sends it (`web.Shown`)."""

    __slots__ = ("_req",)

    def __init__(self, req: Any) -> None:
        self._req = req

    @property
    def remote(self) -> str:
        return self._req.remote_addr or ""

    def __call__(self, name: str, /) -> str | None:
        return self._req.get_header(name)


def _origin(req: Any) -> str:
    """Scheme and host as the client sees them, through a proxy or not."""
    return f"{req.forwarded_scheme}://{req.forwarded_host}"


async def _whole_body(req: Any, limit: int, seconds: float) -> bytes:
    if (req.content_length or 0) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in req.bounded_stream:
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                parts.append(chunk)
    except TimeoutError:
        raise _slow(f"The request's body did not come within {seconds:g} seconds.") from None
    return b"".join(parts)


async def _chunks(req: Any, silence: float) -> AsyncIterator[bytes]:
    source = aiter(req.stream)
    try:
        while True:
            async with asyncio.timeout(silence):
                chunk = await anext(source, None)
            if chunk is None:
                break
            yield chunk
    except TimeoutError:
        raise _slow(f"Nothing of the request's body came for {silence:g} seconds.") from None
    # The framework ends a stream silently when the client goes away: half a body must not pass for one.
    if req.scope.get(_GONE):
        raise Fault("The client went away before its whole body had come.", kind=Kind.ABORTED)


async def _drain(req: Any) -> None:
    """Read what a refused client still sends, for a while: many read no answer before they have sent all."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            await req.stream.exhaust()
    except TimeoutError:
        pass


def _foreseen(req: Any, error: Exception) -> Fault | None:
    """What no handler looks for, and yet is no error of ours."""
    fault = beyond(error)
    if fault is not None:
        _log.warning("a value that cannot be held", path=req.path, error=type(error).__name__)
    return fault or disk_full(error) or unusable_file(error)


def _unexpected(req: Any, request_id: str, error: Exception) -> Fault:
    """An error of ours: the log has all of it, the client a reference."""
    _log.error(
        "request failed",
        path=req.path,
        request_id=request_id,
        client=req.remote_addr,
        error=repr(error),
        exc_info=error,
    )
    return Fault(
        f"An unexpected error prevented the server from fulfilling your request "
        f"(reference {request_id}).",
        kind=Kind.INTERNAL,
    )


def _visible(value: str) -> str:
    """A header's value: names that somebody has chosen may be in it, and not all of them can be sent so."""
    return value if value.isascii() and value.isprintable() else quote(value, safe=_SAFE)


def _slow(text: str) -> Fault:
    return Fault(text, kind=Kind.SLOW, next_action="Send the request again.")


def _stopping() -> Fault:
    return Fault(
        "The server was stopped before the request was done.",
        kind=Kind.UNAVAILABLE,
        next_action="Send it again in a moment.",
        retry_after=5,
    )


def plain_envelope(fault: Fault, status: int) -> tuple[bytes, str]:
    """The envelope of our own services: kind, text and what to do next."""
    body = {"error": {"code": status, "kind": fault.kind.value, "message": fault.text}}
    if fault.next_action:
        body["error"]["next_action"] = fault.next_action
    return _encoder.encode(body), "application/json"


__all__ = ["Observer", "RequestTimeouts", "WebApp", "plain_envelope"]
