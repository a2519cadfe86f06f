"""Lists by pages: limit, marker, sort key and the link to the next page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlencode

from ingot.kit.api.operations import Call
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
