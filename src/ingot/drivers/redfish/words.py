"""Reading Redfish messages: what a service says about an error, as one text."""

from __future__ import annotations

from collections.abc import Mapping

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
#: More messages of one reply than these say nothing new.
MOST_MESSAGES = 50


def words_of(body: Mapping[str, object]) -> str:
    """The messages of an error reply, each once, with what the service proposes."""
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
    ids = " ".join(filter(None, (text(message, "MessageId") for message in messages(body))))
    told = text(error, "message") or ids or text(error, "code") or text(body, "text")
    return told or "no reason given"


def messages(body: Mapping[str, object]) -> list[Json]:
    """Extended messages of a reply, wherever the service put them."""
    found: list[Json] = []
    for holder in (as_map(body.get("error")), body):
        extended = holder.get("@Message.ExtendedInfo")
        # Some services send one object instead of a list.
        listed = [extended] if is_map(extended) else as_list(extended)
        found += [item for item in listed if is_map(item)]
    return found[:MOST_MESSAGES]


def busy_message(body: Mapping[str, object]) -> bool:
    """Whether the service says that it will be able to do it later."""
    ids = [str(message.get("MessageId") or "").rsplit(".", 1)[-1] for message in messages(body)]
    return any(known == found for known in BUSY_IDS for found in ids)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, None when it has none in seconds."""
    text = headers.get("retry-after", "").strip()
    return min(float(text), 300.0) if text.isascii() and text.isdigit() else None
