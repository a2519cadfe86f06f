"""Secrets in the arguments of steps: out of orders, records and what is shown; back in where the step runs.

An order, the record of a workflow and the node's clean_step hold the masked form. The whole form waits sealed
in the node's secrets until the operation has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.vault import Vault
from ingot.kit.faults import Invalid
from ingot.services.baremetal import store
from ingot.services.baremetal.nodes import history_store, masking

_NAME = history_store.SECRET_STEPS


def hide(
    conn: sa.Connection, vault: Vault, node_uuid: str, steps: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The steps as they may be recorded; their secrets are sealed in the place of any earlier ones."""
    shown: list[dict[str, Any]] = []
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for step in steps:
        args: dict[str, Any] = dict(step.get("args") or {})
        public, sealed = masking.part(args, (), None)
        shown.append({**step, "args": public} if "args" in step else dict(step))
        if sealed:
            pairs.append((_key(shown[-1]), {**public, **sealed}))
    if any(a == b and x != y for a, x in pairs for b, y in pairs):
        raise Invalid(
            "Two steps differ in nothing but their secrets.",
            next_action="Run them one after the other.",
        )
    store.write_secret(conn, vault, node_uuid, _NAME, [list(pair) for pair in pairs] or None)
    return shown


def whole(
    conn: sa.Connection, vault: Vault, node_uuid: str, step: Mapping[str, Any]
) -> dict[str, Any]:
    """A recorded step with its secrets, for whoever carries it out."""
    key = _key(step)
    for known, args in store.read_secret(conn, vault, node_uuid, _NAME) or ():
        if known == key:
            return {**step, "args": args}
    return dict(step)


def forget(conn: sa.Connection, vault: Vault, node_uuid: str) -> None:
    """The operation is over."""
    store.write_secret(conn, vault, node_uuid, _NAME, None)


def _key(step: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "interface": step["interface"],
        "step": step["step"],
        "args": dict(step.get("args") or {}),
    }
