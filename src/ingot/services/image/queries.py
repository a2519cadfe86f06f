"""The query string of a list of images, read and checked."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ingot.kit.api.paging import check_keys
from ingot.kit.auth.policy import Caller
from ingot.kit.db.database import timestamp
from ingot.kit.faults import Invalid
from ingot.services.image.store import Filters
from ingot.services.image.types import VISIBILITIES

MOST = 1000
_DEFAULT = 25
_SORTABLE = frozenset(
    {
        "name",
        "status",
        "container_format",
        "disk_format",
        "size",
        "id",
        "created_at",
        "updated_at",
        "owner",
    }
)
_AMONG = frozenset({"id", "name", "status", "container_format", "disk_format"})
_EQUAL = frozenset({"owner", "checksum", "os_hash_algo", "os_hash_value"})
_NUMBERS = {"size_min": ("size", "gte"), "size_max": ("size", "lte")}
_PLAIN_NUMBERS = frozenset({"min_disk", "min_ram", "size"})
_WORDS = frozenset(
    {
        "limit",
        "marker",
        "sort",
        "sort_key",
        "sort_dir",
        "tag",
        "visibility",
        "member_status",
        "protected",
        "os_hidden",
    }
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A list as it is asked for. order: (column, descending), ending in the id."""

    filters: Filters
    order: list[tuple[str, bool]]
    limit: int
    marker: str | None


def read(args: list[tuple[str, str]], caller: Caller) -> Wanted:
    """The query, checked; a 400 that names what is wrong."""
    single = dict(args)
    among: dict[str, list[Any]] = {"os_hidden": [_flag(single.get("os_hidden", "false"))]}
    compare: list[tuple[str, str, Any]] = []
    properties: dict[str, str] = {}
    for name, value in args:
        if name in _AMONG:
            among[name] = _values(value)
        elif name in _EQUAL:
            among[name] = [value]
        elif name in _NUMBERS:
            column, operator = _NUMBERS[name]
            compare.append((column, operator, _number(name, value)))
        elif name in _PLAIN_NUMBERS:
            compare.append((name, "eq", _number(name, value)))
        elif name in ("created_at", "updated_at"):
            compare.append((name, *_time(name, value)))
        elif name == "protected":
            among[name] = [_flag(value)]
        elif name not in _WORDS:
            properties[name] = value
    visibility = single.get("visibility")
    if visibility not in (None, "all", *VISIBILITIES):
        raise Invalid(f"Invalid visibility value: {visibility}.")
    member_status = single.get("member_status", "accepted")
    if member_status not in ("accepted", "pending", "rejected", "all"):
        raise Invalid(f"Invalid member status: {member_status}.")
    filters = Filters(
        among=among,
        compare=compare,
        tags=[value for name, value in args if name == "tag"],
        properties=properties,
        project_id=caller.project_id,
        everything="admin" in caller.roles,
        visibility=visibility,
        member_status=member_status,
    )
    return Wanted(filters, _order(args), _limit(single.get("limit")), single.get("marker"))


def _values(text: str) -> list[str]:
    """One value, or those of `in:a,b,"c,d"`."""
    if not text.startswith("in:"):
        return [text]
    try:
        return next(csv.reader([text[3:]], strict=True), list[str]())
    except csv.Error:
        raise Invalid(f"Invalid filter value {text!r}: the quotes do not match.") from None


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("true", "false", "1", "0"):
        raise Invalid(f"Invalid filter value {text!r}: use true or false.")
    return word in ("true", "1")


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Invalid(f"Cannot convert {name} to a number that is not negative: {text!r}.")
    return int(text)


def _time(name: str, text: str) -> tuple[str, str]:
    operator, colon, value = text.partition(":")
    if not colon or operator not in ("eq", "neq", "gt", "gte", "lt", "lte"):
        operator, value = "eq", text
    try:
        moment = datetime.fromisoformat(value)
        return operator, timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise Invalid(f"Invalid time in {name}: {value!r}.") from None


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Invalid(f"limit param must be an integer that is not negative, not {text!r}.")
    return min(int(text), MOST) if len(text) < 10 else MOST


def _order(args: list[tuple[str, str]]) -> list[tuple[str, bool]]:
    """From `sort=name:asc,size` or pairs of sort_key and sort_dir; newest first by default."""
    sort = [value for name, value in args if name == "sort"]
    keys = [value for name, value in args if name == "sort_key"]
    directions = [value for name, value in args if name == "sort_dir"]
    if sort and (keys or directions):
        raise Invalid("Old and new sorting syntax cannot be combined.")
    pairs: list[tuple[str, str]] = []
    for part in ",".join(sort).split(",") if sort else []:
        key, _, direction = part.strip().partition(":")
        pairs.append((key, direction or "desc"))
    if len(directions) > max(1, len(keys)):
        raise Invalid("Number of sort dirs does not match the number of sort keys.")
    for at, key in enumerate(keys):
        one_for_all = directions[0] if len(directions) == 1 else "desc"
        pairs.append((key, directions[at] if at < len(directions) > 1 else one_for_all))
    if not pairs:
        pairs = [("created_at", directions[0] if directions else "desc")]
    check_keys([key for key, _ in pairs])
    for key, direction in pairs:
        if key not in _SORTABLE:
            raise Invalid(f"Invalid sort key: {key}. It must be one of {sorted(_SORTABLE)}.")
        if direction not in ("asc", "desc"):
            raise Invalid(f"Invalid sort direction: {direction}. It must be asc or desc.")
    return _settled([(key, direction == "desc") for key, direction in pairs])


def _settled(order: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Each key once, up to the id: nothing that follows it changes the order."""
    settled: dict[str, bool] = {}
    for key, descending in (*order, ("id", order[0][1])):
        settled.setdefault(key, descending)
        if key == "id":
            break
    return list(settled.items())
