"""Races as a table: a kind tells what its rivals ask for and how to look at what is there; one oracle judges them all.

What was accepted must be there once, what was refused must not; an answer that never came leaves both open.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.races.crowd import CLIENTS, Answers, Ask, crowd
from tests.races.processes import Cloud, Said

#: So long may things take until they are at rest, in seconds.
REST = 90


@dataclass(frozen=True)
class Act:
    """One request of a rival.

    key: what is there once it was accepted; gone: what is there no more. once: of all acts with this word one may be
    accepted. system: asked with a token of the system instead of one of the project.
    """

    key: str
    method: str
    path: str
    body: Any = None
    gone: bool = False
    once: str = ""
    system: bool = False
    headers: Mapping[str, str] | None = None


@dataclass
class Seen:
    """What is there when all is quiet.

    there: keys. alike: values of which none may be there twice. torn: what contradicts itself, in words. counts: how
    much there is of what has a limit. stuck: what is not at rest. free: keys that may have gone with their parent.
    """

    there: Iterable[str]
    alike: Iterable[Any] = ()
    torn: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    stuck: Sequence[str] = ()
    free: Iterable[str] = ()


@dataclass
class Case:
    """A race that is ready to be run. before: keys that are there already. civil: refusals that a rival may meet."""

    acts: Sequence[Act]
    look: Callable[[], Awaitable[Seen]]
    before: Iterable[str] = ()
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    civil: tuple[int, ...] = (404, 409)


@dataclass
class Row:
    """What came of a kind."""

    kind: str
    statuses: Counter[int]
    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    over: list[str] = field(default_factory=list[str])
    stuck: list[str] = field(default_factory=list[str])
    odd: list[str] = field(default_factory=list[str])

    HEAD = (
        "| kind | acts | accepted | unknown | lost | doubled | over | stuck | 500 | odd |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )

    @property
    def wrong(self) -> bool:
        found = (self.lost, self.doubled, self.over, self.stuck, self.odd)
        return any(found) or bool(self.statuses[500])

    def __str__(self) -> str:
        told = self.statuses
        accepted = sum(count for status, count in told.items() if 200 <= status < 300)
        unknown = sum(count for status, count in told.items() if Said(status, None).unknown)
        lists = [self.lost, self.doubled, self.over, self.stuck]
        cells = [sum(told.values()), accepted, unknown, *map(len, lists), told[500], len(self.odd)]
        return f"| {self.kind} | {' | '.join(map(str, cells))} |"

    def why(self) -> str:
        """The first of all that is wrong."""
        named = {"lost": self.lost, "doubled": self.doubled, "over": self.over}
        named |= {"stuck": self.stuck, "odd": self.odd}
        told = {name: some[:3] for name, some in named.items() if some}
        return f"{self.kind}: {told} of {dict(self.statuses)}"


@dataclass
class Place:
    """A cloud with a project that has no limits. size: how many rivals a kind has."""

    system: Cloud
    tenant: Cloud
    size: int = CLIENTS
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    async def of(cls, cloud: Cloud, size: int = CLIENTS) -> Place:
        made = cls(cloud, await cloud.enter("admin"), size)
        project = made.tenant.project
        kinds = ("network", "subnet", "port", "security_group", "security_group_rule")
        body: Any = {"quota": dict.fromkeys(kinds, -1)}
        await made.change("PUT", f"/network/v2.0/quotas/{project}", body)
        names = ("instances", "cores", "ram", "key_pairs", "server_groups")
        body = {"quota_set": dict.fromkeys(names, -1)}
        await made.change("PUT", f"/compute/v2.1/os-quota-sets/{project}", body)
        return made

    def number(self) -> int:
        """One that no other race has."""
        return next(self._numbers)

    def name(self, prefix: str = "x") -> str:
        return f"{prefix}{self.number()}"

    def as_(self, system: bool) -> Cloud:
        return self.system if system else self.tenant

    async def change(
        self,
        method: str,
        path: str,
        body: Any = None,
        system: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request that must be accepted; its answer's JSON."""
        said = await self.as_(system).ask(method, path, body, headers)
        assert said.accepted, (method, path, said)
        return said.json

    async def make(self, path: str, body: Any, system: bool = False) -> Any:
        """POST; what is inside of the envelope, where there is one."""
        made = await self.change("POST", path, body, system)
        return next(iter(made.values())) if len(made) == 1 else made

    async def get(self, path: str, system: bool = False) -> Any:
        said = await self.as_(system).sure("GET", path)
        assert said.status == 200, (path, said)
        return said.json

    async def there(self, path: str, system: bool = False) -> bool:
        said = await self.as_(system).sure("GET", path)
        assert said.status in (200, 404), (path, said)
        return said.status == 200

    def ask(self, act: Act) -> Ask:
        async def send() -> Said:
            return await self.as_(act.system).ask(act.method, act.path, act.body, act.headers)

        return send


Kind = Callable[[Place], Awaitable[Case]]


async def race(place: Place, name: str, kind: Kind) -> Row:
    """Let a kind's rivals loose, and judge."""
    case = await kind(place)
    answers = await crowd([(act, place.ask(act)) for act in case.acts])
    return await judged(name, case, answers)


async def races(
    place: Place, kinds: Mapping[str, Kind], disturb: Callable[[], Awaitable[None]]
) -> list[Row]:
    """All kinds at the same time; `disturb` happens in their middle."""
    cases = {name: await kind(place) for name, kind in kinds.items()}
    queues = [[(name, act) for act in case.acts] for name, case in cases.items()]
    mixed = [one for some in itertools.zip_longest(*queues) for one in some if one is not None]
    asks = [(one, _patient(place.ask(one[1]))) for one in mixed]
    middle = len(asks) // 3
    first = await crowd(asks[:middle])
    at_work = asyncio.ensure_future(crowd(asks[middle:]))
    await disturb()
    assert not at_work.done(), "the traffic ended before its disturbance"
    rest = await at_work
    assert any(Said(one.status, None).unknown for one in rest), "nobody noticed the disturbance"
    rows: list[Row] = []
    for name, case in cases.items():
        own = [one for one in (*first, *rest) if one.key[0] == name]
        answers = Answers(dataclasses.replace(one, key=one.key[1]) for one in own)
        rows.append(await judged(name, case, answers))
    return rows


def _patient(ask: Ask) -> Ask:
    """Whoever hears nothing waits before the next."""

    async def send() -> Any:
        said: Any = await ask()
        if said.unknown:
            await asyncio.sleep(0.5)
        return said

    return send


async def judged(name: str, case: Case, answers: Answers) -> Row:
    """All answers against what is there."""
    row = Row(name, answers.statuses)
    told = {"add": Counter[str](), "gone": Counter[str](), "maybe": Counter[str]()}
    maybe_gone, winners = Counter[str](), Counter[str]()
    for answer in answers:
        act: Act = answer.key
        unknown = Said(answer.status, None).unknown
        if answer.accepted:
            told["gone" if act.gone else "add"][act.key] += 1
            winners[act.once] += 1
        elif unknown:
            (maybe_gone if act.gone else told["maybe"])[act.key] += 1
        elif answer.status != 500 and answer.status not in case.civil:
            row.odd.append(f"{act.method} {act.path}: {answer.status} {str(answer.json)[:200]}")
    row.doubled += [f"{once}: {n} accepted" for once, n in winners.items() if once and n > 1]
    seen = await _at_rest(case)
    row.stuck += seen.stuck
    row.lost += seen.torn
    row.over += [
        f"{what}: {seen.counts[what]} of {most}"
        for what, most in case.limits.items()
        if seen.counts[what] > most
    ]
    row.doubled += [f"{what}: {n} times" for what, n in Counter(seen.alike).items() if n > 1]
    there, before, free = Counter(seen.there), set(case.before), set(seen.free)
    for key in {*there, *before, *(act.key for act in case.acts)} - {""}:
        came = told["add"][key] or key in before
        went, may_have = told["gone"][key], maybe_gone[key] or key in free
        if came and not went and not may_have and not there[key]:
            row.lost.append(f"{key}: accepted, and not there")
        if went and not told["add"][key] and not told["maybe"][key] and there[key]:
            row.lost.append(f"{key}: its end was accepted, and it is there")
        if there[key] and not came and not told["maybe"][key]:
            row.doubled.append(f"{key}: not accepted, and there")
        if there[key] > 1:
            row.doubled.append(f"{key}: {there[key]} times there")
    return row


async def _at_rest(case: Case) -> Seen:
    """What is there once nothing moves any more, or the time is over."""
    end = time.monotonic() + REST
    while (seen := await case.look()).stuck and time.monotonic() < end:
        await asyncio.sleep(0.3)
    return seen


def show(rows: Sequence[Row]) -> None:
    """Print the table, and fail with all that is wrong in it."""
    print("\n" + Row.HEAD)
    for row in rows:
        print(row)
    wrong = [row.why() for row in rows if row.wrong]
    assert not wrong, "\n".join(wrong)
