"""Machines for instances: who is free, who takes which, and what it is to become.

Claims are one UPDATE with all conditions in its WHERE, so two placements never get the same machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import IntegrityError, PreparedStatement
from ingot.kit.faults import Conflict
from ingot.services.baremetal import store
from ingot.services.baremetal.allocations.candidate_store import free
from ingot.services.baremetal.boot import imagerights
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes import masking, states, unreported_store
from ingot.services.baremetal.tables import nodes
from ingot.services.baremetal.types import Node
from ingot.workflow import live_id

#: States in which a claim can be given back without taking an instance off the machine.
RELEASABLE = (
    states.AVAILABLE,
    states.MANAGEABLE,
    states.ENROLL,
    states.CLEANING,
    states.CLEANWAIT,
    states.CLEANFAIL,
)


def claim(
    ctx: Context,
    conn: sa.Connection,
    node_uuid: str,
    instance_uuid: str,
    *,
    instance_name: str | None = None,
    lessee: str | None = None,
) -> bool:
    """Take a machine for a server; False when somebody was faster or it is not free.

    lessee: the project that may use the machine from now on; None leaves it as it is.
    """
    values = {
        "ident": node_uuid,
        "instance": instance_uuid,
        "named": instance_name,
        "now": ctx.now(),
        "to": lessee,
    }
    unreported_store.leave(conn, node_uuid)
    try:
        return _CLAIM.change(conn, values) == 1
    except IntegrityError as error:
        raise Conflict(
            f"Instance {instance_uuid} is already associated with a node.", internal=str(error)
        ) from error


def _claiming() -> PreparedStatement:
    other = nodes.alias()
    taken = sa.exists().where(other.c.instance_uuid == sa.bindparam("instance"))
    change = sa.update(nodes).where(nodes.c.uuid == sa.bindparam("ident"), *free(), ~taken)
    return PreparedStatement(
        change.values(
            instance_uuid=sa.bindparam("instance"),
            instance_name=sa.bindparam("named"),
            server_uuid=sa.bindparam("instance"),
            server_power=None,
            updated_at=sa.bindparam("now"),
            lessee=sa.func.coalesce(sa.bindparam("to", type_=sa.Text), nodes.c.lessee),
        )
    )


_CLAIM = _claiming()


def release(
    ctx: Context,
    conn: sa.Connection,
    node_uuid: str,
    instance_uuid: str,
    *,
    lessee: str | None = None,
) -> bool:
    """Give back a machine on which nothing was deployed; False when it is not this instance's.

    lessee: clears the lessee when it is this project. Deployed machines come back by `undeploy`.
    """
    mine = sa.and_(
        nodes.c.uuid == node_uuid,
        nodes.c.instance_uuid == instance_uuid,
        nodes.c.provision_state.in_(RELEASABLE),
    )
    values: dict[str, Any] = {
        "instance_uuid": None,
        "instance_name": None,
        "server_uuid": None,
        "instance_info": "{}",
        "updated_at": ctx.now(),
    }
    if lessee is not None:
        values["lessee"] = sa.case((nodes.c.lessee == lessee, None), else_=nodes.c.lessee)
    done = conn.execute(sa.update(nodes).where(mine).values(**values)).rowcount == 1
    if done:
        for name in ("instance_info", "configdrive", "rescue_password"):
            store.write_secret(conn, ctx.vault, node_uuid, name, None)
    return done


def forsake(ctx: Context, conn: sa.Connection, node_uuid: str, instance_uuid: str) -> None:
    """Take the instance's name off a machine whatever is on it; what it then meets is no matter of the instance."""
    conn.execute(
        sa.update(nodes)
        .where(nodes.c.uuid == node_uuid, nodes.c.instance_uuid == instance_uuid)
        .values(instance_uuid=None, instance_name=None, server_uuid=None, updated_at=ctx.now())
    )


_LOCK_HELD = PreparedStatement(
    sa.select(nodes.c.uuid)
    .where(
        nodes.c.instance_uuid == sa.bindparam("instance"),
        sa.or_(
            sa.bindparam("ident", type_=sa.Text).is_(None), nodes.c.uuid == sa.bindparam("ident")
        ),
    )
    .with_for_update()
)


def lock(conn: sa.Connection, uuid: str | None, instance_uuid: str) -> Node | None:
    """The machine that an instance has, if it is this one (None: whichever), its row locked."""
    found = _LOCK_HELD.scalar(conn, {"ident": uuid, "instance": instance_uuid})
    return None if found is None else store.find_node(conn, found)


def held() -> sa.Subquery:
    """The machines that have an instance, for other services' questions: instance, node, power, under an operation."""
    busy = live_id(sa.literal("node:") + nodes.c.uuid)
    return (
        sa.select(
            nodes.c.instance_uuid.label("instance"),
            nodes.c.uuid.label("node"),
            nodes.c.power_state.label("power"),
            busy.label("operation"),
        )
        .where(nodes.c.instance_uuid.is_not(None))
        .subquery("held")
    )


def prepare_instance(
    ctx: Context,
    conn: sa.Connection,
    node_uuid: str,
    *,
    instance_info: Mapping[str, Any],
    right: imagerights.Right,
    configdrive: dict[str, Any] | str | None = None,
) -> None:
    """Write what the machine is to become; replaces what was there. The config drive is sealed.

    right: by which the images are opened that it names.
    """
    old = store.read_secret(conn, ctx.vault, node_uuid, "instance_info")
    shown, sealed = masking.part(
        instance_info, masking.INSTANCE_SECRETS, old, masking.INSTANCE_URLS
    )
    known, _ = store.image_rights(conn, node_uuid)
    rights = imagerights.written(known, {}, {"instance_info": instance_info}, right)
    store.update_node(
        conn, node_uuid, instance_info=shown, image_rights=rights, updated_at=ctx.now()
    )
    store.write_secret(conn, ctx.vault, node_uuid, "instance_info", sealed)
    store.write_secret(conn, ctx.vault, node_uuid, "configdrive", configdrive)
