"""Lists by pages: limit, marker, sort key and the link to the next page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from ingot.kit.api.operations import Call
from ingot.kit.api.styles import Style
from ingot.kit.faults import Invalid

#: A list is sorted by so many keys at most: the condition of a page grows with their square.
MOST_KEYS = 8


def check_keys(keys: Collection[str]) -> None:
    """400 for more sort keys than a list takes."""
    if len(keys) > MOST_KEYS:
        raise Invalid(f"A list is sorted by {MOST_KEYS} keys at most, not by {len(keys)}.")


@dataclass(frozen=True, slots=True)
class Page:
    """What a caller wants of a list. `limit` is never more than the service's own."""

    limit: int
    marker: str | None = None
    sort_key: str = ""
    descending: bool = False


def page(
    limit: int | None,
    marker: str | None,
    sort_key: str | None,
    sort_dir: str | None,
    *,
    most: int,
    sortable: Collection[str],
    default_key: str = "",
    zero_is_all: bool = False,
) -> Page:
    """A checked page; bad values are a 400 that names them."""
    if limit is not None and (limit < 0 or (limit == 0 and not zero_is_all)):
        raise Invalid(f"Limit must be positive, not {limit}.")
    if sort_dir not in (None, "asc", "desc"):
        raise Invalid(f"Invalid sort direction: {sort_dir}. Acceptable values are 'asc' or 'desc'.")
    if sort_key is not None and sort_key not in sortable:
        raise Invalid(f"The sort_key value {sort_key!r} is an invalid field for sorting.")
    return Page(
        limit=min(limit or most, most),
        marker=marker,
        sort_key=sort_key or default_key,
        descending=sort_dir == "desc",
    )


def next_link(call: Call, marker: str, limit: int) -> str:
    """The absolute URL of the page after `marker`, with the caller's own filters."""
    kept = [(k, v) for k, v in call.args if k not in ("marker", "limit")]
    url = call.url.partition("?")[0]
    return f"{url}?{urlencode([*kept, ('limit', str(limit)), ('marker', marker)])}"


class Cut(Protocol):
    """What a list's query says of its page (`filters.Query`)."""

    @property
    def limit(self) -> int | None: ...
    @property
    def marker(self) -> str | None: ...
    @property
    def reverse(self) -> bool: ...


def links(
    call: Call, style: Style, plural: str, query: Cut, ids: Sequence[str], more: bool
) -> dict[str, Any]:
    """What a list's reply says of the pages around it, in the manner of its style."""
    if style.pages == "keystone":
        found: dict[str, Any] = {"links": {"next": None, "self": call.url, "previous": None}}
        return {**found, "truncated": True} if more else found
    if not ids or style.pages == "no":
        return {}
    limit = query.limit or style.most
    if style.pages == "nova":
        if not more and (query.limit is None or len(ids) < limit):
            return {}
        return {f"{plural}_links": [{"rel": "next", "href": next_link(call, ids[-1], limit)}]}
    if query.limit is None and not more:
        return {}
    return _neutron_links(call, plural, query, ids, more, limit)


def _neutron_links(
    call: Call, plural: str, query: Cut, ids: Sequence[str], more: bool, limit: int
) -> dict[str, Any]:
    call.args[:] = [(name, value) for name, value in call.args if name != "page_reverse"]
    found: list[dict[str, str]] = []
    if more or query.reverse:
        found.append({"rel": "next", "href": next_link(call, ids[-1], limit)})
    if more if query.reverse else query.marker is not None:
        href = next_link(call, ids[0], limit) + "&page_reverse=True"
        found.append({"rel": "previous", "href": href})
    return {f"{plural}_links": found} if found else {}
