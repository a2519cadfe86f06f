"""Rows of inspection rules. What a sensitive rule says is sealed, for it may hold passwords."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.paging import Page
from ingot.kit.db.database import IntegrityError, from_json, to_json
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Conflict, Missing
from ingot.services.baremetal import paging_store
from ingot.services.baremetal.inspection.rules.types import Rule
from ingot.services.baremetal.tables import inspection_rules as table


def _values(vault: Vault, rule: Rule) -> dict[str, Any]:
    said = {"conditions": rule.conditions, "actions": rule.actions}
    return {
        "description": rule.description,
        "priority": rule.priority,
        "phase": rule.phase,
        "sensitive": rule.sensitive,
        "conditions": None if rule.sensitive else to_json(rule.conditions),
        "actions": None if rule.sensitive else to_json(rule.actions),
        "sealed": vault.seal(to_json(said)) if rule.sensitive else None,
    }


def rule_of(vault: Vault, row: Any) -> Rule:
    """The whole rule, unsealed: for work, not for showing."""
    said = from_json(vault.open(row.sealed)) if row.sensitive else None
    return Rule(
        uuid=row.uuid,
        actions=said["actions"] if said else from_json(row.actions),
        conditions=said["conditions"] if said else from_json(row.conditions),
        description=row.description,
        priority=row.priority,
        phase=row.phase,
        sensitive=bool(row.sensitive),
    )


def add_rule(conn: sa.Connection, vault: Vault, rule: Rule, now: str) -> None:
    taken = Conflict(f"A rule with UUID {rule.uuid} already exists.")
    if conn.execute(sa.select(table.c.id).where(table.c.uuid == rule.uuid)).first():
        raise taken
    try:
        conn.execute(table.insert().values(uuid=rule.uuid, created_at=now, **_values(vault, rule)))
    except IntegrityError:
        raise taken from None


def get_rule(conn: sa.Connection, vault: Vault, uuid: str) -> Rule:
    row = conn.execute(sa.select(table).where(table.c.uuid == uuid)).first()
    if row is None:
        raise Missing(f"Rule {uuid} could not be found.")
    return rule_of(vault, row)


def update_rule(conn: sa.Connection, vault: Vault, rule: Rule, now: str) -> None:
    change = sa.update(table).where(table.c.uuid == rule.uuid)
    conn.execute(change.values(updated_at=now, **_values(vault, rule)))


def delete_rule(conn: sa.Connection, uuid: str) -> None:
    if conn.execute(sa.delete(table).where(table.c.uuid == uuid)).rowcount == 0:
        raise Missing(f"Rule {uuid} could not be found.")


def delete_all_rules(conn: sa.Connection) -> None:
    conn.execute(sa.delete(table))


def rules_of_phase(conn: sa.Connection, vault: Vault, phase: str) -> list[Rule]:
    """All rules of a phase, the oldest first."""
    rows = conn.execute(sa.select(table).where(table.c.phase == phase).order_by(table.c.id))
    return [rule_of(vault, row) for row in rows]


def row_of(conn: sa.Connection, uuid: str) -> sa.RowMapping:
    """The row of a rule that is there, as it is stored."""
    return conn.execute(sa.select(table).where(table.c.uuid == uuid)).mappings().one()


def page_of_rules(
    conn: sa.Connection, page: Page, phase: str | None = None
) -> Sequence[sa.RowMapping]:
    """Rows of a page of rules, as they are stored. phase: only those of it."""
    query = sa.select(table)
    if phase is not None:
        query = query.where(table.c.phase == phase)
    query = paging_store.paged(conn, query, table, page, "Rule", table.c.uuid)
    return conn.execute(query).mappings().all()
