"""Statements whose text is made once, for one row of values or for many.

On PostgreSQL every statement is a round trip and costs each side about 50 µs, whatever it does. So what is to be
done with many rows is one statement there: values come as arrays, and the text is the same for any number of
rows, so that it is prepared once. On SQLite, which runs inside the process, the rows come as one JSON text: Python's
driver gives the interpreter up at every statement, and in a busy process gets it back after a while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import cloned_traverse

__all__ = ["BulkStatement", "PreparedStatement", "among"]


class _Among(FunctionElement[Any]):
    inherit_cache = True
    type = sa.types.NullType()  # "= 1" would follow a truth value on SQLite, and no index be used


def among(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Whether a text is one of the list that comes as the parameter `name`; for kept statements."""
    return _Among(column, sa.bindparam(name, None, type_=sa.ARRAY(sa.Text)))


@compiles(_Among)
def _any(element: _Among, compiler: Any, **options: Any) -> str:
    column, wanted = element.clauses
    return f"{compiler.process(column, **options)} = ANY ({compiler.process(wanted, **options)})"


@compiles(_Among, "sqlite")
def _from_json(element: _Among, compiler: Any, **options: Any) -> str:
    column, wanted = element.clauses
    text = sa.bindparam(cast("sa.BindParameter[Any]", wanted).key, None, type_=sa.Text)
    each = f"SELECT value FROM json_each({compiler.process(text, **options)})"
    return f"{compiler.process(column, **options)} IN ({each})"


#: By dialect: the text, its parameters in their order, those with values of their own, and those that are lists
#: and go in as JSON.
_Text = tuple[str, tuple[str, ...], dict[str, Any], list[str]]
_encode = msgspec.json.encode
_decode_rows = msgspec.json.Decoder(list[tuple[Any, ...]]).decode
#: Stands between texts that have no control characters (the record separator).
_BETWEEN = "\x1e"
#: SQLite's JSON ends a text there.
_NUL = b"\\u0000"


class PreparedStatement:
    """A statement whose text is made once and that runs on the driver's own cursor.

    SQLAlchemy keys a statement and describes its result at every call, which costs more than a short
    statement does. Values go in by the names of the statement's parameters; for `among` lists. Rows are plain tuples as the
    driver gives them, so truth values are numbers on SQLite. Errors are SQLAlchemy's, and who listens to
    statements (`Database.on_statement`) hears of these too.
    """

    def __init__(self, statement: sa.sql.ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[str, _Text] = {}
        self._named: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._packed: PreparedStatement | None = None

    @classmethod
    def insert(cls, table: sa.Table, *names: str) -> PreparedStatement:
        """An insert of these columns; the others get the database's own defaults."""
        values: dict[str, Any] = {name: sa.bindparam(name) for name in names}
        return cls(table.insert().values(values))

    def rows(self, conn: sa.Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """All rows."""
        cursor = self._run(conn, values)
        try:
            return cursor.fetchall()
        finally:
            cursor.close()

    def bulk(self, conn: sa.Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """All rows of a long answer; see `_pack` for what its columns may hold.

        Python's driver of SQLite gives the interpreter up for every row, and in a busy process gets it back after
        a while: a thousand rows then take half a second. So SQLite makes one text of all of them.
        """
        if conn.dialect.name != "sqlite":
            return self.rows(conn, values)
        if self._packed is None:
            self._packed = _pack(cast("sa.Select[Any]", self._statement))
        ((rows, texts),) = self._packed.rows(conn, values)
        if texts is None:  # of no rows
            return []
        return [
            (*row, text)
            for row, text in zip(_decode_rows(rows), texts.split(_BETWEEN), strict=True)
        ]

    def first(self, conn: sa.Connection, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row, None when there is none."""
        cursor = self._run(conn, values)
        try:
            return cursor.fetchone()
        finally:
            cursor.close()

    def scalar(self, conn: sa.Connection, values: Mapping[str, Any]) -> Any:
        """The first value of the first row, None when there is none."""
        row = self.first(conn, values)
        return None if row is None else row[0]

    def mappings(self, conn: sa.Connection, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All rows by the names of their columns, with truth values as such."""
        names, flags = self._columns()
        made = [dict(zip(names, row, strict=True)) for row in self.rows(conn, values)]
        for row in made:
            for name in flags:
                if row[name] is not None:
                    row[name] = bool(row[name])
        return made

    def _columns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if self._named is None:
            columns = cast("sa.Select[Any]", self._statement).exported_columns
            flags = tuple(str(c.key) for c in columns if isinstance(c.type, sa.Boolean))
            self._named = (tuple(str(c.key) for c in columns), flags)
        return self._named

    def change(self, conn: sa.Connection, values: Mapping[str, Any]) -> int:
        """Run it for what it changes; gives the number of rows."""
        cursor = self._run(conn, values)
        try:
            return cursor.rowcount
        finally:
            cursor.close()

    def _run(self, conn: sa.Connection, values: Mapping[str, Any]) -> Any:
        text, names, own, lists = self._texts.get(conn.dialect.name) or self._compile(conn.dialect)
        given = {**own, **values} if own else values
        if lists:
            given = {**given, **{name: _encode(given[name]).decode() for name in lists}}
        return _execute(conn, text, tuple([given[name] for name in names]))

    def _compile(self, dialect: sa.Dialect) -> _Text:
        needed: set[str] = set()
        lists: list[str] = []

        def may_wait(bind: Any) -> None:
            """A compiler that writes constants into the text wants all values at once."""
            if isinstance(bind.type, sa.ARRAY) and dialect.name == "sqlite":
                lists.append(bind.key)
            if bind.required:
                needed.add(bind.key)
                bind.required = False

        statement: Any = cloned_traverse(self._statement, {}, {"bindparam": may_wait})
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        names = tuple(compiled.positiontup or ())
        own = {name: value for name, value in compiled.params.items() if name not in needed}
        made = self._texts[dialect.name] = (str(compiled), names, own, lists)
        return made


def _pack(select: sa.Select[Any]) -> PreparedStatement:
    """The same rows in one: JSON of all columns but the last, and the texts of the last one after each other.

    The select needs a LIMIT where its order matters (with it, that stays the order in the aggregates), columns without
    octets (fractions keep fifteen digits), and as its last one a text that is never NULL and has no control
    characters, such as JSON: most of a long answer is JSON, and to quote it as a part of JSON and read it again would
    take a third of the time.
    """
    inner = select.subquery()
    *plain, last = inner.c
    rows = sa.func.json_group_array(sa.func.json_array(*plain))
    return PreparedStatement(
        sa.select(rows, sa.func.group_concat(last, sa.literal_column("char(30)")))
    )


class BulkStatement:
    """Rows that are inserted into a table, or that change rows of it: by the names of their columns."""

    def __init__(
        self, table: sa.Table, names: Sequence[str], one: str, arrays: str, packed: str
    ) -> None:
        """one: the text for one row, with the columns' names as parameters.

        arrays: that for PostgreSQL with an array for each. packed: that for SQLite with the rows as JSON.
        """
        types = [sa.bindparam(name, type_=table.c[name].type) for name in names]
        self._names = tuple(names)
        self._one = PreparedStatement(sa.text(one).bindparams(*types))
        self._arrays = arrays
        self._packed = packed

    @classmethod
    def insert(
        cls, table: sa.Table, *names: str, replacing: Sequence[str] = (), returning: str = ""
    ) -> BulkStatement:
        """names: columns that come with each row; the others get the database's own defaults.

        replacing: a key's columns; a row that is there with the same key gets the other values.
        returning: the table's own number, which grows with each row, see `numbers`.
        """
        upsert = ""
        if replacing:
            new = _settings([name for name in names if name not in replacing], "excluded.")
            upsert = f" ON CONFLICT ({_listed(replacing)}) DO UPDATE SET {new}"
        tail = f"{upsert} RETURNING {returning}" if returning else upsert
        head = f"INSERT INTO {table.name} ({_listed(names)})"
        values = ", ".join(f":{name}" for name in names)
        rows = f"SELECT {_listed(names)} FROM {_arrays(table, names)} ORDER BY nth"
        # WHERE tells SQLite's parser that ON CONFLICT is no join.
        packed = f"SELECT {_unpacked(names)} FROM json_each(?) WHERE true ORDER BY key"
        return cls(
            table,
            names,
            f"{head} VALUES ({values}){tail}",
            f"{head} {rows}{tail}",
            f"{head} {packed}{upsert}",
        )

    @classmethod
    def update(cls, table: sa.Table, key: str, *names: str) -> BulkStatement:
        """key: the column that says which row is meant; names: those that are set."""
        head = f"UPDATE {table.name} SET"
        new = [f'"{name}" = :{name}' for name in names]
        one = f"{head} {', '.join(new)} WHERE {key} = :{key}"
        set_, match = _settings(names, "new."), f"WHERE {table.name}.{key} = new.{key}"
        unpacked = f"(SELECT {_unpacked([key, *names])} FROM json_each(?)) AS new"
        return cls(
            table,
            [key, *names],
            one,
            f"{head} {set_} FROM {_arrays(table, [key, *names])} {match}",
            f"{head} {set_} FROM {unpacked} {match}",
        )

    def run(self, conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """No two rows may have one key."""
        cursor = self._all(conn, rows) if len(rows) > 1 else None
        if cursor is not None:
            cursor.close()
            return
        for row in rows:
            self._one.change(conn, row)

    def numbers(self, conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """What an insert returns of each row, in their order."""
        cursor = self._all(conn, rows) if len(rows) > 1 else None
        if cursor is None:
            return [self._one.scalar(conn, row) for row in rows]
        try:
            if conn.dialect.name == "sqlite":
                # One writer: the numbers of a statement follow each other.
                return list(range(cursor.lastrowid - len(rows) + 1, cursor.lastrowid + 1))
            # They are given in the order of the select. RETURNING promises no order, but they grow.
            return sorted(number for (number,) in cursor.fetchall())
        finally:
            cursor.close()

    def _all(self, conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> Any:
        """The cursor after one statement for all rows; None where they must go one by one."""
        if conn.dialect.name != "sqlite":
            arrays = tuple([[row[name] for row in rows] for name in self._names])
            return _execute(conn, self._arrays, arrays)
        packed = _encode([[row[name] for name in self._names] for row in rows])
        if _NUL in packed:
            return None
        return _execute(conn, self._packed, (packed.decode(),))


_ARRAYS: dict[type[sa.types.TypeEngine[Any]], str] = {
    sa.Text: "text",
    sa.String: "text",
    sa.Integer: "integer",
    sa.BigInteger: "bigint",
    sa.Float: "float8",
    sa.Boolean: "boolean",
}


def _arrays(table: sa.Table, names: Sequence[str]) -> str:
    """What makes rows called `new` of one array for each column, numbered in `nth`."""
    kinds = [_ARRAYS[type(table.c[name].type)] for name in names]
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(kinds, 1))
    return f"unnest({arrays}) WITH ORDINALITY AS new ({_listed(names)}, nth)"


def _unpacked(names: Sequence[str]) -> str:
    """The values of a row that came as JSON, by the names of their columns."""
    return ", ".join(
        f"json_extract(value, '$[{place}]') AS \"{name}\"" for place, name in enumerate(names)
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _settings(names: Sequence[str], source: str) -> str:
    return ", ".join(f'"{name}" = {source}"{name}"' for name in names)


def _execute(conn: sa.Connection, text: str, values: tuple[Any, ...]) -> Any:
    """The driver's cursor after a statement."""
    cursor: Any = conn.connection.cursor()
    _tell(conn, cursor, text, values)
    try:
        cursor.execute(text, values)
    except Exception as error:
        _fail(conn, cursor, text, error)
    return cursor


def _tell(conn: sa.Connection, cursor: Any, text: str, values: Any) -> None:
    """What SQLAlchemy does before each of its own statements: tell those who listen on the engine.

    It keeps whether there ever was anybody, since to look for listeners costs as much as a small statement.
    """
    if not getattr(conn.engine, "_has_events", True):
        return
    dispatch: Any = conn.dispatch
    for listener in dispatch.before_cursor_execute:
        listener(conn, cursor, text, values, None, False)


def _fail(conn: sa.Connection, cursor: Any, text: str, error: Exception) -> NoReturn:
    """Raise what SQLAlchemy would raise for the driver's error, a lost connection given up."""
    dialect = conn.dialect
    cursor.close()
    base: Any = dialect.loaded_dbapi.Error
    if not isinstance(error, base):
        raise error
    lost = dialect.is_disconnect(cast("Any", error), cast("Any", conn.connection), cursor)
    if lost:
        conn.invalidate(error)
    raise DBAPIError.instance(
        text, None, error, base, connection_invalidated=lost, dialect=dialect
    ) from error
