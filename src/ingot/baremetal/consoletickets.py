"""What opens a console by websocket: a token in its URL, good for some minutes and for one console only.

The token is sealed, not stored, so that every process of the cluster reads it and asking for a URL writes
nothing. Seconds are those of Nova's and upstream's tokens. It opens nothing by itself: whoever issued it is
asked, at the door and again while the guest is there, whether the machine still is his (`Grant`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from ingot.baremetal import consoleholders
from ingot.baremetal.context import Context
from ingot.baremetal.tables import node_consoles
from ingot.kit.faults import Fault, Forbidden, Kind
from ingot.kit.vault import Vault

PATH = "/console"
#: In the place of a console's port, where there is none to open.
NO_PORT = 0
_WHAT = "console"
#: Longer than any that we issue.
_MOST = 2048


class Ticket(msgspec.Struct, frozen=True):
    """kind: whose grant it is ("node", "server"). holder: what must still be so, in the words of that grant.

    node: the machine's uuid. until: seconds since 1970. passed: made by a controller that passes its guest on;
    it is passed on no further.
    """

    kind: str
    holder: str
    node: str
    until: int
    what: str = _WHAT
    passed: bool = False


#: Whether the holder of a ticket may (still) be at that machine's console.
Grant = Callable[[sa.Connection, Ticket], bool]


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


def url(ctx: Context, conn: sa.Connection, asked: str, kind: str, holder: str, node: str) -> str:
    """The address of a console's websocket, with a new token.

    asked: the URL of the request, whose scheme and host are right for this client too, where no address is
    configured: every process answers there, and passes on to the controller that holds the console. Fault
    (unsupported) when no controller serves any.
    """
    own = ctx.settings
    if own.console_url:
        base = own.console_url.rstrip("/")
    elif own.console_websockets or consoleholders.any_passes_on(ctx, conn):
        parts = urlsplit(asked)
        base = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{PATH}"
    else:
        raise Fault(
            "No controller that is alive serves consoles by websocket.",
            kind=Kind.UNSUPPORTED,
            next_action="Start one with the roles api, conductor and console, or set console.websocket_url.",
        )
    until = int(ctx.clock.now().timestamp() + own.console_token_seconds)
    return f"{base}?token={seal(ctx.vault, Ticket(kind, holder, node, until))}"


def node_grant(conn: sa.Connection, ticket: Ticket) -> bool:
    """A node's ticket is good while its console is on; one of an earlier time is not."""
    since = conn.execute(
        sa.select(node_consoles.c.created_at).where(
            node_consoles.c.node_uuid == ticket.node, node_consoles.c.port == NO_PORT
        )
    ).scalar()
    return since is not None and since == ticket.holder
