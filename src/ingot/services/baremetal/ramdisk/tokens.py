"""Agents' tokens: one boot, one token that counts.

An agent gets its token by looking itself up. The answer may be lost (a controller dies, a load balancer asks a second
one), and an agent without a token is lost for its boot. So whoever looks up again before any token was used gets
another one; the first that comes with a heartbeat is the agent's, and the others are worthless from then on. Nobody
is given a token that another has: a stranger who looks up can take the agent's place, and the agent is then refused
for all to see, but nobody can give an agent orders with a token that is not its own.
"""

from __future__ import annotations

import hmac

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.db.vault import Vault
from ingot.services.baremetal import store
from ingot.services.baremetal.ramdisk import store as agent_store

#: Tokens of one boot, together.
MOST = 8
_EARLIER = "agent earlier"


def give(conn: sa.Connection, vault: Vault, node_uuid: str) -> str:
    """The first token of a boot; all of before are forgotten."""
    agent_store.forget_agent(conn, node_uuid)
    return begin(conn, vault, node_uuid)


def begin(conn: sa.Connection, vault: Vault, node_uuid: str) -> str:
    """The first token where no agent is known. Raises IntegrityError where one is by now."""
    token = ids.new_secret()
    agent_store.add_agent(conn, node_uuid, token)
    store.forget_secrets(conn, node_uuid, _EARLIER)
    store.write_secret(conn, vault, node_uuid, "agent", token)
    return token


def all_given(conn: sa.Connection, vault: Vault, node_uuid: str) -> bool:
    """Whether this boot has had its tokens: who asks on and on is answered without a write."""
    return len(_earlier(conn, vault, node_uuid)) >= MOST - 1


def give_another(conn: sa.Connection, vault: Vault, node_uuid: str) -> str:
    """One more for a boot whose agent has not called yet; "" when there were too many."""
    before = store.read_secret(conn, vault, node_uuid, "agent")
    earlier = _earlier(conn, vault, node_uuid)
    if before is None or len(earlier) >= MOST - 1:
        return ""
    token = ids.new_secret()
    _count(conn, vault, node_uuid, token)
    store.write_secret(conn, vault, node_uuid, _EARLIER, [*earlier, before])
    return token


def accept(conn: sa.Connection, vault: Vault, node_uuid: str, told: str) -> bool:
    """Whether an earlier token of this boot is told; then it is the one that counts.

    Only for agents that have not called yet.
    """
    earlier = _earlier(conn, vault, node_uuid)
    found = [hmac.compare_digest(one.encode(), told.encode()) for one in earlier]
    if not any(found):
        return False
    _count(conn, vault, node_uuid, told)
    store.write_secret(conn, vault, node_uuid, _EARLIER, None)
    return True


def _earlier(conn: sa.Connection, vault: Vault, node_uuid: str) -> list[str]:
    """Tokens of this boot that were given before the one that counts."""
    return store.read_secret(conn, vault, node_uuid, _EARLIER) or []


def _count(conn: sa.Connection, vault: Vault, node_uuid: str, token: str) -> None:
    agent_store.set_token(conn, node_uuid, token)
    store.write_secret(conn, vault, node_uuid, "agent", token)
