"""Tags of a resource: names that clients give it, in the JSON column `tags`.

Source: the API-SIG guideline "Tags" (GET, PUT, DELETE …/tags; GET, PUT, DELETE …/tags/{tag}).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from ingot.kit.api import rows
from ingot.kit.api.fields import Row, Tag
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.api.resource import Resource
from ingot.kit.db.tx import Transactions, Tx
from ingot.kit.faults import Fault, Invalid, Kind

#: Tags of one thing at most.
MOST_TAGS = 50


class Tags(msgspec.Struct, forbid_unknown_fields=True):
    """Body and reply of a resource's tags."""

    tags: list[Tag]


class Tagged(Protocol):
    """What these operations need of a resource's own (`crud.Crud`)."""

    resource: Resource
    transactions: Transactions

    def find(self, tx: Tx, call: Call, rule: str, *, lock: str = "") -> Row: ...

    def check_revision(self, call: Call, row: Row) -> None: ...


def _missing(tag: str) -> Fault:
    return Fault(
        f"Tag {tag} could not be found.", kind=Kind.MISSING, details={"type": "TagNotFound"}
    )


def _none(_old: list[str]) -> list[str]:
    return []


class _Tags:
    """The handlers."""

    def __init__(self, crud: Tagged) -> None:
        self._crud = crud

    async def index(self, call: Call) -> Reply:
        return Reply({"tags": await self._read(call)})

    async def has(self, call: Call) -> Reply:
        if call.params["tag"] not in await self._read(call):
            raise _missing(call.params["tag"])
        return Reply()

    async def replace(self, call: Call) -> Reply:
        wanted = call.body.tags
        return Reply({"tags": await self._change(call, lambda _old: wanted)})

    async def add(self, call: Call) -> Reply:
        tag = call.params["tag"]
        if len(tag) > 255:
            raise Invalid("A tag has at most 255 characters.")
        await self._change(call, lambda old: [*old, tag])
        return Reply()

    async def remove(self, call: Call) -> Reply:
        tag = call.params["tag"]

        def without(old: list[str]) -> list[str]:
            if tag not in old:
                raise _missing(tag)
            return [other for other in old if other != tag]

        await self._change(call, without)
        return Reply()

    async def clear(self, call: Call) -> Reply:
        await self._change(call, _none)
        return Reply()

    async def _read(self, call: Call) -> list[str]:
        crud = self._crud
        rule = crud.resource.rule.show
        row = await crud.transactions.read(lambda tx: crud.find(tx, call, rule))
        return list(row["tags"] or ())

    async def _change(self, call: Call, new: Callable[[list[str]], list[str]]) -> list[str]:
        crud, resource = self._crud, self._crud.resource

        def work(tx: Tx) -> list[str]:
            row = crud.find(tx, call, resource.rule.update, lock="update")
            crud.check_revision(call, row)
            old: list[str] = list(row["tags"] or ())
            tags = list(dict.fromkeys(new(old)))
            if len(tags) > MOST_TAGS:
                raise Invalid(f"A resource has at most {MOST_TAGS} tags.")
            if tags != old:
                rows.backing(resource).update(tx, resource, call, row, {"tags": tags})
            return tags

        serializable = "update" not in resource.unlocked
        return await crud.transactions.write(work, serializable=serializable)


def tag_operations(crud: Tagged) -> list[Operation]:
    """The operations on the tags of a resource."""
    resource, tags = crud.resource, _Tags(crud)
    path, show, change = (
        f"{resource.style.root}{resource.one}/tags",
        resource.rule.show,
        resource.rule.update,
    )
    one = path + "/{tag}"
    common: dict[str, Any] = {"late": True, "since": resource.since, "until": resource.until}
    reading: dict[str, Any] = {**common, "late": not resource.rule.early}
    return [
        Operation("GET", path, tags.index, show, title="List tags", reply=Tags, **reading),
        Operation(
            "PUT", path, tags.replace, change, title="Replace tags", body=Tags, reply=Tags, **common
        ),
        Operation(
            "DELETE", path, tags.clear, change, title="Remove all tags", status=204, **common
        ),
        Operation("GET", one, tags.has, show, title="Check a tag", status=204, **reading),
        Operation("PUT", one, tags.add, change, title="Add a tag", status=201, **common),
        Operation("DELETE", one, tags.remove, change, title="Remove a tag", status=204, **common),
    ]
