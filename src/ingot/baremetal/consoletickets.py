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

    node: the machine's uuid. until: seconds since 1970.
    """

    kind: str
    holder: str
    node: str
    until: int
    what: str = _WHAT


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


def url(ctx: Context, asked: str, kind: str, holder: str, node: str) -> str:
    """The address of a console's websocket, with a new token.

    asked: the URL of the request, whose scheme and host are right for this client too, where no address is
    configured. Fault (unsupported) when this process has none of its own and knows of no other.
    """
    own = ctx.settings
    if own.console_url:
        base = own.console_url.rstrip("/")
    elif own.console_websockets:
        parts = urlsplit(asked)
        base = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{PATH}"
    else:
        raise Fault(
            "This process serves no consoles by websocket.",
            kind=Kind.UNSUPPORTED,
            next_action="Set console.websocket_url to the address of the process with the role console.",
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
