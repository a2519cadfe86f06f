"""What most kinds are: things with names, documents that many add to, and parents with their children."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.races.table import Act, Case, Place, Seen

#: What a thing belongs to: whatever its `home` gives.
Home = Any


async def nowhere(_: Place) -> Home:
    return None


def pick(one: Any, path: str) -> str:
    """What a list's entry has there: "keypair.name" is inside of another."""
    for name in path.split("."):
        one = one[name]
    return str(one)


@dataclass(frozen=True)
class Things:
    """Things that are made and deleted: names that several want, and old ones that several delete.

    path: of the collection; {home} in it is what `home` gives. body: of a new one, of its name and home. shown, ident:
    where an entry has its name and id. unique: only one may have a name. naming: a name of a number.
    """

    path: str
    body: Callable[[str, Home], Any]
    plural: str
    shown: str = "name"
    ident: str = "id"
    unique: bool = True
    home: Callable[[Place], Awaitable[Home]] = nowhere
    naming: Callable[[int], str] = "x{}".format
    query: str = ""
    system: bool = False
    civil: tuple[int, ...] = (404, 409)

    async def __call__(self, place: Place) -> Case:
        home = await self.home(place)
        path = self.path.format(home=home)
        many = max(2, place.size // 5)
        new = [self.naming(place.number()) for _ in range(many if self.unique else 2 * many)]
        old = [self.naming(place.number()) for _ in range(many)]
        for name in old:
            await place.make(path, self.body(name, home), self.system)
        wanted = {*new, *old}

        async def entries() -> list[Any]:
            found = await place.get(path + self.query, self.system)
            return [one for one in found[self.plural] if pick(one, self.shown) in wanted]

        ids = {pick(one, self.shown): pick(one, self.ident) for one in await entries()}
        assert set(ids) == set(old), (path, ids, old)
        acts: list[Act] = []
        for name, past in zip(new, old * 2, strict=False):
            once = f"new {name}" if self.unique else ""
            make = Act(name, "POST", path, self.body(name, home), once=once, system=self.system)
            acts += [make] * (5 if self.unique else 1)
            if past in ids:
                one = f"{path}/{ids.pop(past)}"
                end = Act(past, "DELETE", one, gone=True, once=f"end of {past}", system=self.system)
                acts += [end] * 3

        async def look() -> Seen:
            return Seen([pick(one, self.shown) for one in await entries()])

        return Case(acts, look, before=old, civil=self.civil)


@dataclass(frozen=True)
class Document:
    """A thing that many add parts to, while others take parts away.

    home: the thing's path. add, drop: method, rest of the path and body for a part. read: the parts in the answer of a
    GET of `where` below it, or of another path (absolute). keys: the parts; made up when there are none.
    """

    home: Callable[[Place], Awaitable[str]]
    add: Callable[[str], tuple[str, str, Any]]
    read: Callable[[Any], Iterable[str]]
    drop: Callable[[str], tuple[str, str, Any]] | None = None
    where: str = ""
    absolute: str = ""
    keys: Callable[[Place], Awaitable[Sequence[str]]] | None = None
    naming: Callable[[int], str] = "k{}".format
    system: bool = False
    headers: Mapping[str, str] | None = None
    civil: tuple[int, ...] = (404, 409)

    async def __call__(self, place: Place) -> Case:
        path = await self.home(place)
        count = min(40, place.size)
        if self.keys is None:
            keys: Sequence[str] = [self.naming(place.number()) for _ in range(count)]
        else:
            keys = await self.keys(place)
        old = list(keys[: len(keys) // 4]) if self.drop else []
        for key in old:
            method, rest, body = self.add(key)
            await place.change(method, path + rest, body, self.system, self.headers)
        acts: list[Act] = []
        for key in keys:
            gone = key in old
            assert self.drop is not None or not gone
            method, rest, body = self.drop(key) if gone and self.drop else self.add(key)
            act = Act(key, method, path + rest, body, gone, "", self.system, self.headers)
            acts += [act] * 2

        async def look() -> Seen:
            found = await place.get(self.absolute or path + self.where, self.system)
            return Seen([key for key in self.read(found) if key in set(keys)])

        return Case(acts, look, before=old, civil=self.civil)


@dataclass(frozen=True)
class Family:
    """Parents that are deleted while they get children: none is left without its parent.

    parent: makes one; its path. child: path and body for a child of that parent with that name. children: names and
    parents' paths of all there are. cascade: children go with their parent; else a parent with children stays.
    """

    parent: Callable[[Place], Awaitable[str]]
    child: Callable[[str, str], tuple[str, str, Any]]
    children: Callable[[Place], Awaitable[Mapping[str, str]]]
    cascade: bool
    naming: Callable[[int], str] = "x{}".format
    system: bool = False
    civil: tuple[int, ...] = (400, 404, 409)

    async def __call__(self, place: Place) -> Case:
        parents = [await self.parent(place) for _ in range(max(2, place.size // 5))]
        acts: list[Act] = []
        kin: dict[str, str] = {}
        for turn in range(6):
            for number, path in enumerate(parents):
                name = self.naming(place.number())
                kin[name] = path
                method, where, body = self.child(path, name)
                acts.append(Act(name, method, where, body, system=self.system))
                if turn == number % 6:
                    acts += [Act(path, "DELETE", path, None, True, path, self.system)] * 2

        async def look() -> Seen:
            alive = await asyncio.gather(*(place.there(path, self.system) for path in parents))
            left = {path for path, there in zip(parents, alive, strict=True) if there}
            found = {n: path for n, path in (await self.children(place)).items() if n in kin}
            torn = [f"{n}: its parent {p} is gone" for n, p in found.items() if p not in left]
            free = [n for n, path in kin.items() if self.cascade and path not in left]
            return Seen([*left, *found], torn=torn, free=free)

        return Case(acts, look, before=parents, civil=self.civil)
