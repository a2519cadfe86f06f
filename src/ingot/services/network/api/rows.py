"""Networks, subnets, ports and security groups as rows of declared resources (`kit.api`): the service's own values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.fields import Row
from ingot.kit.api.operations import Call
from ingot.kit.api.resource import Resource, Values, Where
from ingot.kit.db.tx import Tx
from ingot.services.network import store


class Value(Mapping[str, Any]):
    """One of the service's values (`types`) as a row; `value` is the thing itself."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self.value, name)
        except AttributeError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.value.__slots__)

    def __len__(self) -> int:
        return len(self.value.__slots__)


Hold = Callable[[Tx, str, str, Sequence[Where]], Any]


def _no_hold(_tx: Tx, _verb: str, _id: str, _where: Sequence[Where]) -> Any:
    return None


@dataclass(frozen=True)
class CollectionRows:
    """Rows of one of the store's collections; changes are the service's verbs.

    hold: locks one for a verb on PostgreSQL (SQLite has one writer); gives it where it is read with the lock.
    """

    collection: store.Collection[Any]
    create: Callable[[Tx, Call, Values], Any]
    change: Callable[[Tx, Call, Any, Values], Any]
    remove: Callable[[Tx, Call, Any], None]
    hold: Hold = _no_hold

    def select(
        self,
        tx: Tx,
        resource: Resource,
        where: Sequence[Where],
        order: Sequence[sa.ColumnElement[Any]] = (),
        limit: int | None = None,
    ) -> Sequence[Row]:
        found = store.select(tx.conn, self.collection, *where, order=order, limit=limit)
        return [Value(one) for one in found]

    def get(
        self, tx: Tx, resource: Resource, ident: str, where: Sequence[Where], lock: str = ""
    ) -> Row | None:
        found: Any = None
        if lock and tx.conn.dialect.name != "sqlite":
            found = self.hold(tx, lock, ident, where)
        if found is None:
            found = store.get(tx.conn, self.collection, ident, *where)
        return None if found is None else Value(found)

    def insert(self, tx: Tx, resource: Resource, call: Call, values: Values) -> Row:
        return Value(self.create(tx, call, values))

    def update(
        self, tx: Tx, resource: Resource, call: Call, before: Row, values: Values
    ) -> Row | None:
        if set(values) == {"tags"}:  # which no verb is about
            made = store.update(tx.conn, self.collection, tx.now, str(before["id"]), values)
            return Value(made)
        return Value(self.change(tx, call, itself(before), values))

    def delete(self, tx: Tx, resource: Resource, call: Call, row: Row) -> bool:
        self.remove(tx, call, itself(row))
        return True


def itself(row: Row) -> Any:
    """The value of a row that `CollectionRows` has given."""
    assert isinstance(row, Value)
    return row.value
