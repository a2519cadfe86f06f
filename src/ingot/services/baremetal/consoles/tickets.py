"""What opens a console by websocket: a token in its URL, good for some minutes and for one console only.

The token is sealed, not stored, so that every process of the cluster reads it and asking for a URL writes
nothing. Seconds are those of Nova's and upstream's tokens. It opens nothing by itself: when a client connects, and again
while the guest is there, it is asked whether he still is who he was and the machine still is his
(`consolerights.py`). So it carries the token by which it was asked for.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from ingot.kit.auth.policy import Caller
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Fault, Forbidden, Kind
from ingot.services.baremetal.consoles import holders as console_holders
from ingot.services.baremetal.consoles import store as console_store
from ingot.services.baremetal.context import Context

PATH = "/console"
_WHAT = "console"
#: Longer than any that we issue.
_MOST = 2048


class Ticket(msgspec.Struct, frozen=True):
    """kind: whose grant it is ("node", "server"). holder: what must still be so, in the words of that grant.

    node: the machine's uuid. until: seconds since 1970. passed: made by a controller that passes its guest on;
    it is passed on no further. user, token: who asked for it, and by what ("" where callers have no tokens).
    """

    kind: str
    holder: str
    node: str
    until: int
    what: str = _WHAT
    passed: bool = False
    user: str = ""
    token: str = ""

    @property
    def caller(self) -> Caller:
        """As far as a ticket tells it: whom to ask about."""
        return Caller(user_id=self.user or None, token=self.token or None)


def seal(vault: Vault, ticket: Ticket) -> str:
    return vault.seal(msgspec.json.encode(ticket).decode()).rstrip("=")


def read(vault: Vault, token: str, now: datetime) -> Ticket:
    """The ticket of a token of ours that is not over; Forbidden otherwise."""
    wrong = Forbidden("This token opens no console.", next_action="Ask for the URL again.")
    if not token or len(token) > _MOST or not token.isascii():
        raise wrong
    try:
        text = vault.open(token + "=" * (-len(token) % 4))
        ticket = msgspec.json.decode(text, type=Ticket)
    except (Fault, msgspec.MsgspecError):
        raise wrong from None
    if ticket.what != _WHAT:
        raise wrong
    if ticket.until <= now.timestamp():
        raise Forbidden("This token is too old.", next_action="Ask for the URL again.")
    return ticket


def url(
    ctx: Context,
    conn: sa.Connection,
    asked: str,
    caller: Caller,
    *,
    kind: str,
    holder: str,
    node: str,
) -> str:
    """The address of a console's websocket, with a new token for this caller; see `address`."""
    until = int(ctx.clock.now().timestamp() + ctx.settings.console_token_seconds)
    ticket = Ticket(kind, holder, node, until, user=caller.user_id or "", token=caller.token or "")
    return f"{address(ctx, conn, asked)}?token={seal(ctx.vault, ticket)}"


def address(ctx: Context, conn: sa.Connection, asked: str) -> str:
    """Where websockets of consoles are served.

    asked: the URL of the request, whose scheme and host are right for this client too, where no address is
    configured: every process answers there, and passes on to the controller that holds the console. Fault
    (unsupported) when no controller serves any.
    """
    own = ctx.settings
    if own.console_url:
        return own.console_url.rstrip("/")
    if own.console_websockets or console_holders.any_passes_on(ctx, conn):
        parts = urlsplit(asked)
        return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{PATH}"
    raise Fault(
        "No controller that is alive serves consoles by websocket.",
        kind=Kind.UNSUPPORTED,
        next_action="Start one with the roles api, conductor and console, or set console.websocket_url.",
    )


def node_ticket(conn: sa.Connection, ticket: Ticket) -> bool:
    """Whether the console that a node's ticket is for is on; not one of an earlier time."""
    since = console_store.websocket_since(conn, ticket.node)
    return since is not None and since == ticket.holder
