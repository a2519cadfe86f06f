"""Fields of a resource: what a body may say, what a row holds, what a reply shows.

A field is declared once. From it follow the types of bodies and replies (also for OpenAPI), the check of what a
client may write, the column, filters and sort keys, and the microversions at which all this is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta

Row = Mapping[str, Any]

#: No NUL octets: PostgreSQL stores none. `\Z`: `$` would let a line break pass.
_CLEAN = r"^[^\x00]*\Z"
Text = Annotated[str, Meta(max_length=255, pattern=_CLEAN)]
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=_CLEAN)]
LongText = Annotated[str, Meta(max_length=65535, pattern=_CLEAN)]
Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=_CLEAN)]
Tag = Annotated[str, Meta(min_length=1, max_length=255, pattern=_CLEAN)]
Positive = Annotated[int, Meta(ge=1, le=0x7FFFFFFF)]
NotNegative = Annotated[int, Meta(ge=0, le=0x7FFFFFFF)]
#: A time in a reply, as its service writes it.
Moment = Annotated[str, Meta(title="date-time")]


class Give(Enum):
    """Whether a body may, must or must not name a field."""

    NO = "no"
    MAY = "may"
    MUST = "must"


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    name: on the wire. type: of its value in bodies and replies; None is taken besides where `nullable`.
    column: of its value in the row; "": the same as the name. A field with `read` has none.
    create, update: whether the body of a creation and of a change may name it.
    default: of a creation that does not name it; a function gets the values that it named. UNSET: none, the column's.
    null: what a null in a body means where `nullable`; UNSET: null.
    since, until: minor microversions, inclusive, at which the field is there.
    read: its value in a reply, from the row by column names; for what no column holds.
    secret: stored, and never shown.
    filter: how lists are filtered by it ("": not at all). sort: whether they are sorted by it.
    usual: value that a creation may name without that further rule; UNSET: the default.
    ignored: whether bodies may name it to no effect, as clients do that send back what they were shown.
    rule: a further policy rule for a body that gives it another value than the default's, such as
    "create_network:shared"; `{verb}` in it is create or update. see: the rule for who is shown it.
    """

    name: str
    type: Any
    column: str = ""
    create: Give = Give.NO
    update: bool = False
    default: Any = UNSET
    nullable: bool = False
    null: Any = UNSET
    since: int = 0
    until: int | None = None
    read: Callable[[Row], Any] | None = None
    secret: bool = False
    filter: Literal["", "equal", "member"] = ""
    sort: bool = False
    ignored: bool = False
    usual: Any = UNSET
    rule: str = ""
    see: str = ""

    @property
    def source(self) -> str:
        """The name of its column."""
        return self.column or self.name

    def visible(self, minor: int) -> bool:
        return self.since <= minor and (self.until is None or minor <= self.until)

    def starting(self, given: Row) -> Any:
        """Its value in a creation that does not name it; UNSET for the column's own."""
        return self.default(given) if callable(self.default) else self.default


MAY, MUST = Give.MAY, Give.MUST
