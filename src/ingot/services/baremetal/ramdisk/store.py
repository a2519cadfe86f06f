"""Queries of agents: the one that runs on each machine now, and its token."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement
from ingot.kit.db.vault import Vault
from ingot.services.baremetal.store import forget_secrets, read_secret, write_secret
from ingot.services.baremetal.tables import node_agents
from ingot.services.baremetal.types import Agent

_THIS = node_agents.c.node_uuid == sa.bindparam("ident")
_AGENT_OF = PreparedStatement(
    sa.select(
        node_agents.c.url,
        node_agents.c.version,
        node_agents.c.verify_ca,
        node_agents.c.last_heartbeat,
    ).where(_THIS)
)
_FORGET_AGENT = PreparedStatement(sa.delete(node_agents).where(_THIS))
_TOKEN = sa.select(node_agents.c.token_hash, node_agents.c.url).where(_THIS)
_TOKEN_OF = PreparedStatement(_TOKEN)
_TOKEN_LOCKED = PreparedStatement(_TOKEN.with_for_update())
_CALLED = PreparedStatement(
    sa.update(node_agents)
    .where(_THIS)
    .values(
        url=sa.bindparam("url"),
        version=sa.bindparam("version"),
        verify_ca=sa.bindparam("verify_ca"),
        last_heartbeat=sa.bindparam("last_heartbeat"),
    )
)
_NEW = PreparedStatement.insert(node_agents, "node_uuid", "token_hash")
_SET_TOKEN = PreparedStatement(
    sa.update(node_agents).where(_THIS).values(token_hash=sa.bindparam("token_hash"))
)


def get_agent(conn: sa.Connection, vault: Vault, node_uuid: str) -> Agent | None:
    row = _AGENT_OF.first(conn, {"ident": node_uuid})
    if row is None:
        return None
    url, version, verify_ca, last_heartbeat = row
    return Agent(
        url=url,
        version=version,
        verify_ca=verify_ca,
        last_heartbeat=last_heartbeat,
        token=read_secret(conn, vault, node_uuid, "agent"),
    )


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def add_agent(conn: sa.Connection, node_uuid: str, token: str) -> None:
    """An agent that has not called yet. Raises IntegrityError where the node has one by now."""
    _NEW.change(conn, {"node_uuid": node_uuid, "token_hash": token_hash(token)})


def set_token(conn: sa.Connection, node_uuid: str, token: str) -> None:
    """From now on this token counts."""
    _SET_TOKEN.change(conn, {"ident": node_uuid, "token_hash": token_hash(token)})


def token_and_url(conn: sa.Connection, node_uuid: str) -> tuple[str | None, str | None] | None:
    """The hash of an agent's token and the URL at which it was told to be; None where there is no agent."""
    return _pair(_TOKEN_OF.first(conn, {"ident": node_uuid}))


def token_and_url_locked(
    conn: sa.Connection, node_uuid: str
) -> tuple[str | None, str | None] | None:
    """The same inside a transaction that changes it.

    An agent whose answer was late asks while it calls already, and after its database was away it may do both at three
    controllers at once.
    """
    return _pair(_TOKEN_LOCKED.first(conn, {"ident": node_uuid}))


def _pair(row: tuple[Any, ...] | None) -> tuple[str | None, str | None] | None:
    return None if row is None else (row[0], row[1])


def agent_called(conn: sa.Connection, node_uuid: str, facts: Mapping[str, str | None]) -> None:
    """Write down a heartbeat: url, version, verify_ca, last_heartbeat."""
    _CALLED.change(conn, {**facts, "ident": node_uuid})


def forget_this_agent(conn: sa.Connection, vault: Vault, node_uuid: str, token: str) -> bool:
    """As `forget_agent`, unless the node has got another agent meanwhile."""
    row = conn.execute(
        sa.delete(node_agents)
        .where(node_agents.c.node_uuid == node_uuid, node_agents.c.token_hash == token_hash(token))
        .returning(node_agents.c.node_uuid)
    ).first()
    if row is not None:
        write_secret(conn, vault, node_uuid, "agent", None)
    return row is not None


def forget_agent(conn: sa.Connection, node_uuid: str, *secrets: str) -> None:
    """The machine is about to be restarted: whatever agent it had is gone, and its token with it.

    secrets: what goes too.
    """
    _FORGET_AGENT.change(conn, {"ident": node_uuid})
    forget_secrets(conn, node_uuid, "agent", *secrets)
