"""What all parts of the Compute API share: envelopes, times, links, reading of bodies."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from ingot.kit.api.operations import Call
from ingot.kit.api.versions import Microversions, Version
from ingot.kit.db.database import timestamp, when
from ingot.kit.faults import Fault, Invalid, Kind
from ingot.services.compute.types import Server

if TYPE_CHECKING:
    from ingot.services.compute.service import Compute

T = TypeVar("T")
Body = dict[str, Any]
Wire = dict[str, Any]

VERSIONS = Microversions(
    service_type="compute",
    minimum=Version(2, 1),
    maximum=Version(2, 96),
    default=Version(2, 1),
    own_header="X-OpenStack-Nova-API-Version",
)
MOST = 1000

_encoder = msgspec.json.Encoder()
_NAMES: Mapping[int, str] = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def envelope(fault: Fault, status: int) -> tuple[bytes, str]:
    """The Compute API's error: one key that names the sort, with code and message."""
    name = _NAMES.get(status, "computeFault")
    return _encoder.encode(
        {name: {"code": status, "message": fault.sentence()}}
    ), "application/json"


def seconds(text: str | None) -> str | None:
    """A time as most of the API writes it: `2026-01-01T00:00:00Z`."""
    at = when(text)
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def naive(text: str | None) -> str | None:
    """A time without a zone, with microseconds: `2026-01-01T00:00:00.000000`."""
    at = when(text)
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%S.%f")


def links(call: Call, path: str) -> list[dict[str, str]]:
    """Self and bookmark, as every resource has them."""
    return [
        {"rel": "self", "href": f"{call.base_url}/v2.1/{path}"},
        {"rel": "bookmark", "href": f"{call.base_url}/{path}"},
    ]


def unimplemented(text: str, next_action: str = "") -> Fault:
    return Fault(text, kind=Kind.UNIMPLEMENTED, next_action=next_action)


def boolean(value: object, name: str) -> bool:
    """The many spellings of a boolean that the API takes."""
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in ("true", "1", "on", "yes", "t"):
        return True
    if text in ("false", "0", "off", "no", "f", ""):
        return False
    raise Invalid(f"Invalid input for field/attribute {name}. Value: {value}. It is no boolean.")


def read(shape: type[T], value: object, where: str = "") -> T:
    """A part of a body as a struct; Invalid that names the place."""
    try:
        return msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError as wrong:
        place = f" {where}" if where else ""
        raise Invalid(f"Invalid input for field/attribute{place}: {wrong}.") from None


def part(body: Body, name: str) -> Any:
    """The one thing in a body such as {"server": {...}}; nothing else may be beside it."""
    if name not in body:
        raise Invalid(f"Invalid input for field/attribute {name}: it is a required property.")
    extra = set(body) - {name}
    if extra:
        raise unexpected(extra)
    return body[name]


def unexpected(names: set[str]) -> Invalid:
    told = ", ".join(repr(name) for name in sorted(names))
    return Invalid(
        f"Additional properties are not allowed ({told} {'were' if len(names) > 1 else 'was'} "
        "unexpected)"
    )


def printable(text: str | None, name: str, also: str = "") -> str | None:
    """A text as it came; Invalid for control characters and the like, but those of `also`. Source: upstream's names.

    What prints names (clients, logs, the metadata of machines) is not to be steered by them.
    """
    for char in text or "":
        category = unicodedata.category(char)
        if char not in also and (category.startswith("C") or category in ("Zl", "Zp")):
            raise Invalid(
                f"Invalid input for field/attribute {name}. Value: {text!a}. It can only have printable "
                "characters."
            )
    return text


def since(call: Call, body: Mapping[str, Any], fields: Mapping[str, int]) -> None:
    """Refuse fields that this request's microversion does not know."""
    early = {name for name, minor in fields.items() if name in body and call.version.minor < minor}
    if early:
        raise unexpected(early)


def mapping(value: object, name: str) -> Body:
    if not isinstance(value, dict):
        raise Invalid(f"Invalid input for field/attribute {name}. Value: {value}. It is no object.")
    return cast("Body", value)


#: From 2.75 on unknown parameters of a list are refused; before, they were ignored.
STRICT_QUERY_SINCE = 75


def strict_query(call: Call, known: Collection[str]) -> None:
    """400 for parameters that a list does not know, where the microversion is that strict."""
    unknown = sorted({name for name, _ in call.args} - set(known))
    if unknown and call.version.minor >= STRICT_QUERY_SINCE:
        raise Invalid(
            "Invalid input for query parameters: Additional properties are not allowed "
            f"({', '.join(map(repr, unknown))} {'was' if len(unknown) == 1 else 'were'} unexpected)."
        )


def number(call: Call, name: str) -> int | None:
    """A whole number of the query string, not negative."""
    text = dict(call.args).get(name)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise Invalid(f"Invalid input for query parameters {name}. Value: {text[:40]}.")
    return int(text)


def moment(value: str, name: str) -> str:
    """A time of the query string as it is stored."""
    try:
        at = datetime.fromisoformat(value.replace("Z", "+00:00").replace(" ", "+"))
        return timestamp(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise Invalid(f"Invalid input for query parameters {name}. Value: {value}.") from None


class Handlers:
    """Base of the API's handlers: holds the service, and does what each request needs of it."""

    def __init__(self, compute: Compute) -> None:
        self.compute = compute

    async def server(self, call: Call, rule: str) -> Server:
        """The server of the path, for a caller who may do this with it."""
        uuid = call.params["id"]
        server = await self.compute.db.read(lambda conn: self.compute.get(conn, uuid, call.caller))
        call.require(f"os_compute_api:{rule}", target(server))
        return server

    async def change(
        self, call: Call, rule: str, fn: Callable[[Any, Server], T], *, serializable: bool = True
    ) -> T:
        """`fn(conn, server)` in one transaction, on the server as it is in it.

        serializable: unless all that it decides by is of the server, which is locked then.
        """
        uuid = call.params["id"]

        def transaction(conn: Any) -> T:
            server = self.compute.get(conn, uuid, call.caller, lock=not serializable)
            call.require(f"os_compute_api:{rule}", target(server))
            return fn(conn, server)

        return await self.compute.db.write(transaction, serializable=serializable)


def target(server: Server) -> dict[str, object]:
    return {"project_id": server.project_id, "user_id": server.user_id}


def own(call: Call) -> dict[str, object]:
    return {"project_id": call.caller.project_id, "user_id": call.caller.user_id}
