"""Reading Redfish messages: what a service says about an error, as one text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ingot.drivers.shape import Json, as_list, as_map, is_map, text

BUSY_IDS = (
    "ResourceInUse",
    "ServiceTemporarilyUnavailable",
    "ServiceShuttingDown",
    "ResourceInStandby",
    "UnableToModifyDuringSystemPOST",
    "InPostState",
    "ServerNotReady",
)
#: What controllers say, each in its own words, while they are not ready for a change (also sushy waits for these).
NOT_READY = re.compile(r"SYS518\Z|iLO\.[\d.]*InvalidOperationForSystemState\Z")
#: Base registry: the value, or the property, is none that this service takes.
UNKNOWN_VALUE = frozenset(
    {
        "PropertyValueNotInList",
        "PropertyValueFormatError",
        "PropertyValueTypeError",
        "PropertyValueError",
        "PropertyValueIncorrect",
        "PropertyValueOutOfRange",
        "PropertyNotWritable",
        "PropertyNotWritableOrUnknown",
        "PropertyNotUpdated",
        "PropertyUnknown",
        "PropertyMissing",
        "ActionParameterNotSupported",
        "ActionParameterUnknown",
        "ActionParameterValueNotInList",
        "ActionParameterValueError",
        "ActionParameterValueFormatError",
        "ActionParameterValueTypeError",
    }
)
#: An id of a message: registry, version and key (DSP0266, MessageId). Whoever names an address as a controller's need
#: not be somebody who may read what else answers there, and an error with a message has many a service.
_ID = re.compile(r"[A-Za-z]\w*(\.\d+){1,3}\.\w+\Z")
#: More messages of one reply than these say nothing new.
MOST_MESSAGES = 50


def words_of(body: Mapping[str, object]) -> str:
    """The messages of an error reply, each once, with what the service proposes.

    Of a reply that is not Redfish's nothing is told.
    """
    texts: dict[str, None] = {}
    for message in messages(body):
        said = text(message, "Message")
        if not said:
            continue
        resolution = text(message, "Resolution")
        if resolution and resolution.lower() not in ("none", "none."):
            said = f"{said} {resolution}"
        texts[said] = None
    if texts:
        return " ".join(texts)
    error = as_map(body.get("error"))
    # Some services give only ids there, and say what is wrong in the error's own message.
    known = [ident for message in messages(body) if (ident := text(message, "MessageId"))]
    if not known and _ID.match(text(error, "code")):
        known = [text(error, "code")]
    if not known:
        return "no reason given"
    return text(error, "message") or " ".join(known)


def messages(body: Mapping[str, object]) -> list[Json]:
    """Extended messages of a reply, wherever the service put them."""
    found: list[Json] = []
    for holder in (as_map(body.get("error")), body):
        extended = holder.get("@Message.ExtendedInfo")
        # Some services send one object instead of a list.
        listed = [extended] if is_map(extended) else as_list(extended)
        found += [item for item in listed if is_map(item)]
    return found[:MOST_MESSAGES]


def ids(body: Mapping[str, object]) -> tuple[str, ...]:
    """Ids of a reply's messages, with their registries: "Base.1.8.PropertyUnknown"."""
    error = as_map(body.get("error"))
    found = [text(message, "MessageId") for message in messages(body)] or [text(error, "code")]
    return tuple(filter(None, found))


def busy_message(body: Mapping[str, object]) -> bool:
    """Whether the service says that it will be able to do it later."""
    return any(_name(ident) in BUSY_IDS or NOT_READY.search(ident) for ident in ids(body))


def unknown_value(idents: Iterable[str]) -> bool:
    """Whether a service says that it does not take a value or property at all."""
    return any(_name(ident) in UNKNOWN_VALUE for ident in idents)


def no_license(body: Mapping[str, object]) -> bool:
    """Whether what is asked for needs a license that the controller lacks."""
    return any("license" in _name(ident).lower() for ident in ids(body))


def _name(ident: str) -> str:
    return ident.rsplit(".", 1)[-1]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, None when it has none in seconds."""
    text = headers.get("retry-after", "").strip()
    return min(float(text), 300.0) if text.isascii() and text.isdigit() else None
