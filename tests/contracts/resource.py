"""What every declared resource keeps: told once, run for each (`CHECKS`), on both databases.

A `Sample` says what bodies of a resource are; everything else follows from its declaration.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ingot.kit.api.fields import Give
from ingot.kit.api.resource import Resource
from ingot.kit.api.styles import Style
from tests.contracts.client import Answer, Client

Body = dict[str, Any]
_STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 70, 1.5, "", " ", "x" * 70_000, "\x00", "'; DROP TABLE shelves; --",
    [], {}, [[[]]], {"a": {"b": None}}, "\ud7ff", "(a+)+$",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """How things of a kind are made. body: the n-th, unlike all others. change: of an update, and what it shows then.

    derived: fields that show something else than the value that a creation has for them where it names none.
    """

    resource: Resource
    body: Callable[[int], Body]
    change: Body
    parent: Sample | None = None
    derived: frozenset[str] = frozenset()

    def wrapped(self, inner: Any) -> Any:
        return {self.resource.name: inner}

    def as_new(self, inner: Any) -> Any:
        """The body of a creation."""
        several = self.resource.several
        return {self.resource.plural: [inner]} if several else self.wrapped(inner)

    def made(self, answer: Answer) -> Body:
        """What a creation replies of the one thing that was made."""
        several = self.resource.several
        return answer.body[self.resource.plural][0] if several else self.unwrapped(answer)

    def unwrapped(self, answer: Answer) -> Body:
        return answer.body[self.resource.name]


class Place:
    """Where things of a kind are made: below a parent of their own, where they need one."""

    def __init__(self, client: Client, sample: Sample, who: str = "") -> None:
        self.client, self.sample, self.who = client, sample, who
        self.path = ""
        self._made = 0

    @classmethod
    async def of(cls, client: Client, sample: Sample, who: str = "") -> Place:
        place = cls(client, sample, who)
        style, resource = sample.resource.style, sample.resource
        above = ""
        if sample.parent is not None:
            parent = await Place.of(client, sample.parent, who)
            made = await parent.make()
            above = f"{parent.path.removeprefix(style.root)}/{made['id']}"
        own = resource.path or resource.plural.replace("_", "-")
        place.path = f"{style.root}{above}/{own}"
        return place

    async def make(self, **more: Any) -> Body:
        """One more of them."""
        self._made += 1
        answer = await self.post({**self.sample.body(self._made), **more})
        assert answer.status == self.sample.resource.style.created, answer
        return self.sample.made(answer)

    async def post(self, inner: Any, who: str = "") -> Answer:
        return await self.client("POST", self.path, self.sample.as_new(inner), who=who or self.who)

    async def listed(self, query: str = "", who: str = "") -> list[Body]:
        answer = await self.client("GET", self.path + query, who=who or self.who)
        assert answer.status == 200, answer
        return answer.body[self.sample.resource.plural]

    async def update(self, ident: str, inner: Any, who: str = "", **more: Any) -> Answer:
        method = self.sample.resource.style.update
        body = self.sample.wrapped(inner)
        return await self.client(method, f"{self.path}/{ident}", body, who=who or self.who, **more)


def _gone(style: Style) -> tuple[int, ...]:
    """What is answered of a thing that is gone: some styles do not tell it from a foreign one."""
    return (404,) if style.hidden == "missing" else (403, 404)


# -- checks ----------------------------------------------------------------------------------------


async def lives(client: Client, sample: Sample) -> None:
    """Made, shown, listed, changed, deleted; gone for good."""
    style, place = sample.resource.style, await Place.of(client, sample)
    made = await place.make()
    one = f"{place.path}/{made['id']}"
    shown = await client("GET", one)
    assert shown.status == 200 and sample.unwrapped(shown) == made
    assert await place.listed() == [made]
    changed = await place.update(made["id"], sample.change)
    assert changed.status == style.updated, changed
    after = sample.unwrapped(await client("GET", one))
    assert {**after, **sample.change} == after and after["id"] == made["id"]
    assert (await client("DELETE", one)).status == style.deleted
    for method in ("GET", "DELETE", style.update):
        body = sample.wrapped(sample.change) if method == style.update else None
        assert (await client(method, one, body)).status in _gone(style), method
    assert await place.listed() == []


async def keeps_what_it_was_given(client: Client, sample: Sample) -> None:
    """Every field that a body named is shown as it was given, and the others have their beginnings."""
    place = await Place.of(client, sample)
    given = sample.body(1)
    made = await place.make()
    assert {name: made[name] for name in given} == given
    for field in sample.resource.given("create", 0):
        plain = not callable(field.default) and field.default is not msgspec.UNSET
        hidden = field.secret or field.see or field.ignored or field.name in sample.derived
        if field.name not in given and plain and not hidden:
            assert made[field.name] == field.default, field.name


async def hides_from_rivals(client: Client, sample: Sample) -> None:
    """What is another project's is as if it were not there, in every verb, and changes nothing."""
    place, style = await Place.of(client, sample), sample.resource.style
    made = await place.make()
    change = sample.wrapped(sample.change)
    for method in ("GET", style.update, "DELETE"):
        body = change if method == style.update else None
        answers = [
            await client(method, f"{place.path}/{ident}", body, who="rival")
            for ident in (made["id"], "0" * 36)
        ]
        texts = [
            answer.text.replace(made["id"], "ID").replace("0" * 36, "ID") for answer in answers
        ]
        assert answers[0].status in (403, 404) and texts[0] == texts[1], (method, answers)
    foreign = await client("GET", place.path, who="rival")
    assert foreign.status == 404 or foreign.body[sample.resource.plural] == []
    if style.marker:
        marker = await client("GET", f"{place.path}?marker={made['id']}", who="rival")
        assert marker.status in (400, 404), marker
    assert sample.unwrapped(await client("GET", f"{place.path}/{made['id']}")) == made


async def asks_for_roles(client: Client, sample: Sample) -> None:
    """Readers read, members write, and who has no role or no token does neither."""
    place, style = await Place.of(client, sample), sample.resource.style
    made = await place.make()
    one = f"{place.path}/{made['id']}"
    change, new = sample.wrapped(sample.change), sample.as_new(sample.body(77))
    reads = [("GET", one, None), ("GET", place.path, None)]
    writes = [("POST", place.path, new), (style.update, one, change), ("DELETE", one, None)]
    for method, path, body in [*reads, *writes]:
        assert (await client(method, path, body, who="nobody")).status == 401, (method, path)
        assert (await client(method, path, body, who="norole")).status in (403, 404), (method, path)
    for method, path, body in reads:
        assert (await client(method, path, body, who="reader")).status == 200, (method, path)
    for method, path, body in writes:
        assert (await client(method, path, body, who="reader")).status == 403, (method, path)
    assert sample.unwrapped(await client("GET", one)) == made


async def lists_what_it_shows(client: Client, sample: Sample) -> None:
    """For everybody the list holds just what a look at each of them gives."""
    place = await Place.of(client, sample)
    made = [await place.make() for _ in range(3)]
    for who in ("admin", "member", "reader", "rival", "rival-reader"):
        answer = await client("GET", place.path, who=who)
        listed = answer.body[sample.resource.plural] if answer.status == 200 else []
        shown = [await client("GET", f"{place.path}/{one['id']}", who=who) for one in made]
        assert sorted(one["id"] for one in listed) == sorted(
            sample.unwrapped(answer)["id"] for answer in shown if answer.status == 200
        ), who


async def turns_pages(client: Client, sample: Sample) -> None:
    """Pages of every size and order hold each thing once; what was deleted meanwhile shifts nothing."""
    style, place = sample.resource.style, await Place.of(client, sample)
    if not style.marker:
        return
    made = [(await place.make())["id"] for _ in range(7)]
    keys = (
        [field.name for field in sample.resource.shown(0) if field.sort]
        if style.sorting != "no"
        else []
    )
    for order in (
        "",
        *(f"&sort_key={key}&sort_dir={way}" for key in keys for way in ("asc", "desc")),
    ):
        for limit in (1, 3, 7, 100):
            found: list[str] = []
            marker = ""
            for _ in range(9):
                page = await place.listed(f"?limit={limit}{order}{marker}")
                found += [one["id"] for one in page]
                if len(page) < limit:
                    break
                marker = f"&marker={page[-1]['id']}"
            assert sorted(found) == sorted(made) and len(found) == len(set(found)), (order, limit)
    for bad in ("?limit=-1", "?limit=x", "?marker=nothing", "?limit=1&sort_key=nothing"):
        answer = await client("GET", place.path + bad)
        wanted = 200 if "sort_key" in bad and style.sorting == "no" else 400
        assert answer.status == wanted, bad


async def filters_exactly(client: Client, sample: Sample) -> None:
    """A filter gives those of that value and no others; secrets and unknown fields are no filters."""
    place = await Place.of(client, sample)
    made = [await place.make() for _ in range(3)]
    for field in sample.resource.shown(0):
        if field.filter != "equal":
            continue
        if field.name not in made[1]:  # who is not shown it finds nothing out by it
            answer = await client("GET", f"{place.path}?{field.name}=1")
            everything = answer.status == 200 and len(answer.body[sample.resource.plural]) == 3
            assert answer.status == 400 or everything, field.name
            continue
        value = made[1][field.name]
        if value is None:
            continue
        found = await place.listed(
            f"?{field.name}={str(value).lower() if value in (True, False) else value}"
        )
        assert [one["id"] for one in found] == sorted(
            one["id"] for one in made if one[field.name] == value
        ) or len(found) == sum(1 for one in made if one[field.name] == value), field.name
    unknown = await client("GET", f"{place.path}?no_such_field=1")
    refused = sample.resource.style.unknown == "refused"
    assert unknown.status == (400 if refused else 200)


async def refuses_nonsense(client: Client, sample: Sample) -> None:
    """Values of every sort in every field, bodies of every form: a clear 4xx, or it is kept; never a 5xx."""
    dice, place = random.Random(11), await Place.of(client, sample)
    made = await place.make()
    names = [field.name for field in sample.resource.fields] + ["id", "project_id", "nothing"]
    for at in range(250):
        inner = dict(sample.body(1000 + at))
        inner[dice.choice(names)] = dice.choice(_STRANGE)
        answer = await place.post(inner)
        assert answer.status < 500, (inner, answer)
        answer = await place.update(made["id"], {dice.choice(names): dice.choice(_STRANGE)})
        assert answer.status < 500, answer
    for raw in (b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"x":{}}', b"\xff", b'{"a":1}' * 3):
        for method in ("POST", sample.resource.style.update):
            path = place.path if method == "POST" else f"{place.path}/{made['id']}"
            answer = await client(method, path, raw=raw)
            assert 400 <= answer.status < 500, (method, raw, answer)
    assert (await client("GET", f"{place.path}/{made['id']}")).status == 200


async def needs_what_it_must_have(client: Client, sample: Sample) -> None:
    """A creation without a field that it must name is a 400, and nothing is made."""
    place = await Place.of(client, sample)
    for field in sample.resource.given("create", 0):
        if field.create is Give.MUST:
            inner = sample.body(1)
            del inner[field.name]
            assert (await place.post(inner)).status == 400, field.name
    assert await place.listed() == []


async def costs_the_same(client: Client, sample: Sample) -> None:
    """No operation takes more statements with fifty things than with one."""
    place = await Place.of(client, sample)
    made = await place.make()
    costs: list[dict[str, int]] = []
    for many in (0, 49):
        for _ in range(many):
            await place.make()
        costs.append(await _costs(client, sample, place, made["id"]))
    assert costs[0] == costs[1], costs


async def _costs(client: Client, sample: Sample, place: Place, ident: str) -> dict[str, int]:
    style, one = sample.resource.style, f"{place.path}/{ident}"
    found: dict[str, int] = {}
    _, found["list"] = await client.statements("GET", place.path)
    _, found["show"] = await client.statements("GET", one)
    _, found["update"] = await client.statements(style.update, one, sample.wrapped(sample.change))
    new = sample.as_new(sample.body(5000 + len(await place.listed())))
    answer, found["create"] = await client.statements("POST", place.path, new)
    assert answer.status == style.created, answer
    _, found["delete"] = await client.statements(
        "DELETE", f"{place.path}/{sample.made(answer)['id']}"
    )
    return found


async def is_audited(client: Client, sample: Sample) -> None:
    """Who did what to what, and what came of it, of every change and every refusal."""
    place = await Place.of(client, sample)
    client.audit.clear()
    made = await place.make()
    await place.update(made["id"], sample.change)
    await client("DELETE", f"{place.path}/{made['id']}", who="reader")
    await client("DELETE", f"{place.path}/{made['id']}")
    noted = [(entry.action, entry.user_id, entry.status < 400) for entry in client.audit]
    assert noted == [
        ("create", f"u-{client.who}", True),
        ("update", f"u-{client.who}", True),
        ("delete", "u-reader", False),
        ("delete", f"u-{client.who}", True),
    ]
    assert all(made["id"] in (entry.target_id, None) for entry in client.audit)


CHECKS: tuple[Callable[[Client, Sample], Awaitable[None]], ...] = (
    lives,
    keeps_what_it_was_given,
    hides_from_rivals,
    asks_for_roles,
    lists_what_it_shows,
    turns_pages,
    filters_exactly,
    refuses_nonsense,
    needs_what_it_must_have,
    costs_the_same,
    is_audited,
)
