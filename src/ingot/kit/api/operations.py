"""The table of operations: what a service answers to.

A service is a list of `Operation` rows. From a row come routing, microversion, body and query checks,
policy, the success code and the documents; the handler sees only a `Call` of the newest form and gives a
`Reply`. `kit.asgi` is the thin adapter that runs such services on the web framework.

    Operation("GET", "/v1/nodes/{id}", api.show_node, rule="baremetal:node:get", query=NodeQuery)

Faults raised anywhere become the service's own error envelope in one place (`Service.envelope`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from ingot.kit.api.versions import Microversions, Version
from ingot.kit.audit.actions import AuditedRequest
from ingot.kit.auth.policy import ANONYMOUS, Caller, Policy, Target
from ingot.kit.faults import Fault, Kind

#: HTTP status of each kind of fault, where a service does not say otherwise.
STATUS: Mapping[Kind, int] = {
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.MISSING: 404,
    Kind.METHOD: 405,
    Kind.VERSION: 406,
    Kind.SLOW: 408,
    Kind.CONFLICT: 409,
    Kind.LOCKED: 409,
    Kind.GONE: 410,
    Kind.PRECONDITION: 412,
    Kind.TOO_LARGE: 413,
    Kind.MEDIA_TYPE: 415,
    Kind.RANGE: 416,
    Kind.LIMIT: 403,
    Kind.TOO_MANY: 429,
    Kind.INTERNAL: 500,
    Kind.UNIMPLEMENTED: 501,
    Kind.UNAVAILABLE: 503,
    Kind.FULL: 507,
    Kind.DISK_FULL: 507,
    # A driver asked on behalf of a request (get boot device, validate): the machine's fault, told as ours.
    Kind.UNREACHABLE: 503,
    Kind.BAD_CREDENTIALS: 400,
    Kind.BUSY: 409,
    Kind.UNSUPPORTED: 400,
    Kind.REFUSED: 400,
    Kind.TIMEOUT: 503,
    Kind.WRONG_MACHINE: 409,
    Kind.ABORTED: 409,
    Kind.FAILED: 500,
}

Handler = Callable[["Call"], Awaitable["Reply | None"]]


@dataclass(frozen=True, slots=True)
class Shape:
    """Types of a body (None: no body) and of a reply, at one microversion."""

    body: Any
    reply: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a service can be asked for.

    path: below the service's prefix, with `{name}` for parameters. At one level of a path the parameter
        must have the same name in all rows.
    rule: the policy rule; None means open to everybody, without token.
    late: the handler checks the rule itself, since it depends on the subject (owner, lessee).
    since, until: minor microversions, inclusive. Outside of them the operation is not there.
    hidden: the kind of fault outside of them (most services 404).
    body: the type of the JSON body; None when there is none or (stream) when the handler reads it.
    query: a struct for the query string; unknown parameters are refused when the struct says so
        (forbid_unknown_fields). None: the handler reads `call.args`.
    status: the success code when the reply names none.
    also: other success codes that the handler may name.
    reply: the type of the reply, for documents.
    creates: whether it makes something new in what its path names; audit records then name that.
    shape: the types of body and reply at a minor microversion, for documents, where the handler reads the body itself.
    max_body, max_values: octets of a body, and values in its JSON (0 for any number) that are taken.
    """

    method: str
    path: str
    handler: Handler
    rule: str | None
    late: bool = False
    since: int = 0
    until: int | None = None
    hidden: Kind = Kind.MISSING
    body: Any = None
    query: type[msgspec.Struct] | None = None
    status: int = 200
    also: tuple[int, ...] = ()
    reply: Any = None
    stream: bool = False
    max_body: int = 1 << 20
    max_values: int = 0
    title: str = ""
    creates: bool = False
    shape: Callable[[int], Shape] | None = None

    def visible(self, version: Version) -> bool:
        return self.since <= version.minor and (self.until is None or version.minor <= self.until)

    def types(self, version: Version) -> Shape:
        """What documents tell of its body and reply."""
        return Shape(self.body, self.reply) if self.shape is None else self.shape(version.minor)


@dataclass(slots=True)
class Call:
    """One request, already checked, for a handler.

    args: the query string as (name, value) pairs in their order.
    base_url: scheme, host and prefix of this service as the client wrote them, without a slash.
    stream: the raw body for operations with `stream`.
    still: who the caller is by now, for what lasts longer than a look at their right may be old; Unauthenticated
        once their token, their account or their role is gone.
    deed: what the audit record of this request will say; log-ins add to it who they are.
    """

    operation: Operation
    version: Version
    caller: Caller
    params: dict[str, str]
    args: list[tuple[str, str]]
    query: Any
    body: Any
    header: Callable[[str], str | None]
    base_url: str
    url: str
    request_id: str
    policy: Policy
    remote: str
    stream: Callable[[], AsyncIterator[bytes]]
    still: Callable[[], Awaitable[Caller]]
    deed: AuditedRequest = field(default_factory=AuditedRequest)

    def allows(self, rule: str, target: Target | None = None) -> bool:
        return self.policy.allows(rule, self.caller, target or {})

    def require(self, rule: str, target: Target | None = None) -> None:
        """Raise 401 or 403 unless the caller may."""
        self.policy.require(rule, self.caller, target or {})


@dataclass(slots=True)
class Reply:
    """What a handler gives back.

    body: any JSON-able value (msgspec), or bytes that are sent as they are; None for an empty body.
    stream: instead of body, chunks of bytes.
    """

    body: Any = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    stream: AsyncIterator[bytes] | None = None
    content_type: str = "application/json"


class Envelope(Protocol):
    """How a service wraps a fault: body and content type."""

    def __call__(self, fault: Fault, status: int) -> tuple[bytes, str]: ...


class Shown(Protocol):
    """What a request shows of who sends it: its headers by name, and the network address that it comes from."""

    @property
    def remote(self) -> str: ...

    def __call__(self, name: str, /) -> str | None: ...


class Authenticator(Protocol):
    """Turns a request's credentials into a caller.

    Raises Unauthenticated when credentials are there but not good; answers ANONYMOUS when there are none.
    """

    async def __call__(self, header: Shown, /) -> Caller: ...


async def nobody(header: Callable[[str], str | None]) -> Caller:
    """The authenticator of a listener without callers, such as the provisioning network's."""
    return ANONYMOUS


#: Who a caller is by now, with the rights that are left to them. Raises Unauthenticated when nothing is.
#: A caller without a token is known by user and scope.
Still = Callable[[Caller], Awaitable[Caller]]


@dataclass(frozen=True)
class Service:
    """One API: its rows, its versions, its policy and its way of telling faults.

    prefix: where it lives on a shared port, such as "/baremetal"; "" for the root.
    implied: the first part of paths that clients may leave out, such as "/v1"; "" for none.
    aliases: further prefixes, such as "" for clients that know it as the only service of its address.
    status: exceptions from `STATUS`.
    challenge: what a 401 asks for (WWW-Authenticate); "" names our own identity service.
    still: who a caller is by now; None for asking the authenticator again.
    depth: the deepest nesting of JSON that is read.
    collections: paths of lists that with a slash behind them mean one thing of an empty id, which is not there. (A
    client that forgot the id would otherwise get the list, or be told of a method.)
    """

    name: str
    prefix: str
    operations: Sequence[Operation]
    envelope: Envelope
    policy: Policy
    authenticator: Authenticator = nobody
    versions: Microversions | None = None
    status: Mapping[Kind, int] = field(default_factory=dict[Kind, int])
    aliases: tuple[str, ...] = ()
    challenge: str = ""
    still: Still | None = None
    depth: int = 25
    implied: str = ""
    request_id_headers: tuple[str, ...] = ("x-openstack-request-id",)
    collections: frozenset[str] = frozenset()

    def status_of(self, fault: Fault) -> int:
        return self.status.get(fault.kind) or STATUS.get(fault.kind, 500)
