"""All SQL about the options of domains."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.services.identity import tables

_T = tables.domain_options
#: (group, option) -> its value as JSON, sealed where it is secret.
Options = dict[tuple[str, str], str]


def _where(domain_id: str, group: str, option: str) -> sa.ColumnElement[bool]:
    found = [_T.c.domain_id == domain_id]
    found += [_T.c.group_name == group] if group else []
    found += [_T.c.option_name == option] if option else []
    return sa.and_(*found)


def options(conn: sa.Connection, domain_id: str, group: str = "", option: str = "") -> Options:
    """The options of a domain: all, those of a group, or one."""
    rows = conn.execute(sa.select(_T).where(_where(domain_id, group, option)))
    return {(row.group_name, row.option_name): row.value for row in rows}


def put(conn: sa.Connection, domain_id: str, values: Options) -> None:
    """Set options; those that are not named stay."""
    for (group, option), value in values.items():
        where = _where(domain_id, group, option)
        if not conn.execute(_T.update().where(where).values(value=value)).rowcount:
            row = {"group_name": group, "option_name": option, "value": value}
            conn.execute(_T.insert().values(domain_id=domain_id, **row))


def remove(conn: sa.Connection, domain_id: str, group: str = "", option: str = "") -> int:
    """Remove options; how many there were."""
    return conn.execute(_T.delete().where(_where(domain_id, group, option))).rowcount
