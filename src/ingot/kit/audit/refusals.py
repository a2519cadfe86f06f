"""Refused requests, gathered: the first of each sort is told by itself, those alike are counted, a minute long.

However many come, they make a bounded number of records. A client that tries many paths takes no more than its share of
that number, so that the others' refusals can still be told apart.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import msgspec

from ingot.kit.audit.records import Entry

#: Seconds for which those alike are counted together.
SECONDS = 60.0
#: Sorts that are told apart in that time: of all, and of one (a caller; at log-in an address).
MOST = 100
MOST_OF_ONE = 10
#: The action of a record that stands for many sorts.
VARIOUS = "various"


@dataclass(slots=True)
class _Sort:
    """Refusals that are counted together. like: what the record of their number says beside that."""

    like: Entry
    first: str
    last: str = ""
    more: int = 0


class Refusals:
    """Those of this minute."""

    def __init__(self) -> None:
        self._sorts: dict[Hashable, _Sort] = {}
        self._shares: dict[Hashable, int] = {}

    def is_new(self, entry: Entry) -> bool:
        """Whether this one is to be told by itself; else it was only counted. entry: with its time."""
        who = _who(entry)
        for key, like, share in _sorts_of(entry, who):
            sort = self._sorts.get(key)
            if sort is not None:
                sort.more += 1
                sort.first, sort.last = sort.first or entry.at, entry.at
                return False
            taken = self._shares.get(who, 0)
            if key == () or (len(self._sorts) < MOST and taken < share):
                self._sorts[key] = _Sort(like, "")
                self._shares[who] = taken + 1
                return True
        raise AssertionError

    def settle(self, at: str) -> list[Entry]:
        """How many more there were of each sort, as records; counting begins anew. at: now."""
        sorts, self._sorts, self._shares = self._sorts, {}, {}
        return [
            msgspec.structs.replace(
                sort.like,
                at=at,
                request_id=None,
                data={
                    **sort.like.data,
                    "count": sort.more,
                    "first": sort.first,
                    "last": sort.last,
                },
            )
            for sort in sorts.values()
            if sort.more
        ]


def _who(entry: Entry) -> Hashable:
    """Whose share a refusal takes. The name that somebody gives at a log-in is anybody's."""
    return entry.client if entry.refused_login else (entry.client, entry.user_id, entry.project_id)


def _sorts_of(entry: Entry, who: Hashable) -> list[tuple[Hashable, Entry, int]]:
    """From narrow to wide: what a refusal is counted with, the record of that, and up to which share of one's own."""
    name = entry.user_name or entry.user_id
    deed = (entry.service, entry.action, entry.target_type)
    same = _without(entry, target_id=None)
    if entry.refused_login:
        same = _without(same, user_id=None, user_name=None)
    wide = _without(same, action=VARIOUS, target_type=entry.service)
    wide.data = {}
    all_of_all = _without(wide, client=None, user_id=None, user_name=None, project_id=None)
    return [
        ((who, *deed, name, entry.target_id, entry.status), entry, MOST_OF_ONE),
        ((who, *deed), same, 2 * MOST_OF_ONE),
        ((who,), wide, 2 * MOST_OF_ONE + 1),
        ((), all_of_all, 0),
    ]


def _without(entry: Entry, **less: Any) -> Entry:
    """The record without what does not hold for all."""
    data = {
        name: value for name, value in entry.data.items() if name in ("method", "path", "scope")
    }
    return msgspec.structs.replace(entry, **less, data=data)
