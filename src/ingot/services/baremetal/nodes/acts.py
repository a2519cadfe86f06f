"""What a client waits for at a machine's controller: boot device, lights, NMI, vendor methods.

The request asks the controller itself, since its client wants the answer. Meanwhile the machine is held by an
operation of the request's own: nothing else begins on it, and others are told 409. Should the request die, the
engine ends that operation when its time is over (`workflows.controller_act`). What nobody waits for
starts in `controller_call`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from ingot import workflow
from ingot.kit.faults import Failed, Fault, TimedOut
from ingot.kit.log import get as get_log
from ingot.kit.tasks import fencing
from ingot.services.baremetal import orders, store
from ingot.services.baremetal.context import By, Context
from ingot.services.baremetal.nodes import verbs
from ingot.services.baremetal.types import Node

_log = get_log("baremetal")

#: So much longer the machine is held, for what was sent in the last moment.
_MARGIN = 15.0


@dataclass(frozen=True, slots=True)
class Held:
    """A machine that is held by this request. ends: on the monotonic clock, after which nothing is sent."""

    op_id: str
    node: Node
    ends: float


def hold(ctx: Context, conn: sa.Connection, node: Node, kind: str, by: By) -> Held:
    """Hold a machine for an act; Locked (409) while something else does."""
    verbs.free(conn, node)
    seconds = ctx.settings.act_seconds
    ends = ctx.clock.monotonic() + seconds
    until = ctx.clock.now() + timedelta(seconds=seconds + min(seconds, _MARGIN))
    store.update_node(conn, node.uuid, reservation=ctx.host)
    op_id = verbs.start(conn, node, kind, orders.ActOrder(), by, held_until=until)
    return Held(op_id, node, ends)


@contextlib.asynccontextmanager
async def under(ctx: Context, held: Held) -> AsyncGenerator[None]:
    """Do the act inside; the machine is given back at its end, whatever that is."""
    left = held.ends - ctx.clock.monotonic()

    def confirm() -> None:
        if ctx.clock.monotonic() >= held.ends:
            raise _late(ctx)

    fault: Fault | None = Failed("The client did not wait for the answer.")
    try:
        with fencing.held(confirm):
            async with asyncio.timeout(left):
                yield
        fault = None
    except TimeoutError as error:
        fault = _late(ctx)
        raise fault from error
    except Fault as error:
        fault = error
        raise
    except Exception as error:
        fault = Failed(f"Internal error: {type(error).__name__}.")
        raise
    finally:
        # Also where the request is being cancelled.
        await asyncio.shield(asyncio.ensure_future(_give_back(ctx, held, fault)))


async def _give_back(ctx: Context, held: Held, fault: Fault | None) -> None:
    def change(conn: sa.Connection) -> None:
        store.hold(conn, held.node.uuid)
        if workflow.end_held(conn, held.op_id, fault):
            store.update_node(conn, held.node.uuid, reservation=None)

    try:
        await ctx.db.write(change)
    except Exception as error:
        # The controller has answered already; the engine gives the machine back when its time is over.
        _log.warning("a machine stays held for a while", node=held.node.uuid, error=repr(error))


def _late(ctx: Context) -> TimedOut:
    return TimedOut(
        f"The controller did not do it within {ctx.settings.act_seconds:g} s; whether it did it later is not known.",
        next_action="Look at the machine, and ask again.",
    )
