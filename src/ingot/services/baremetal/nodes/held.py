"""A machine in the hand of the instance that has it: whoever acts for an instance acts through this.

The machine is found by its uuid *and* its instance in one statement that also locks its row, so that nobody acts on
a machine which was taken from him meanwhile, and it cannot be taken before the transaction has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Fault
from ingot.services.baremetal.allocations import claim_store as claims
from ingot.services.baremetal.boot.imagerights import Right
from ingot.services.baremetal.context import NOBODY, By, Context
from ingot.services.baremetal.nodes import verbs
from ingot.services.baremetal.nodes.verbs import VerbArguments
from ingot.services.baremetal.ports import vifs
from ingot.services.baremetal.types import Node, Port


class HeldNode:
    """What an instance may do with its machine, in the transaction in which it was proved to be its own."""

    def __init__(self, ctx: Context, conn: sa.Connection, node: Node, instance: str) -> None:
        self.node = node
        self._ctx = ctx
        self._conn = conn
        self._instance = instance

    # -- verbs -------------------------------------------------------------------------------

    def power(
        self, target: str, timeout: int | None = None, *, notify: str = "", by: By = NOBODY
    ) -> str:
        """target: as in PUT states/power. The operation's id; signal "power ended" to `notify`."""
        return verbs.power(self._ctx, self._conn, self.node.uuid, target, timeout, by, notify)

    def deploy(self, *, notify: str = "", by: By = NOBODY) -> str:
        """Deploy what `prepare` wrote; signal "deploy ended" to `notify`."""
        return self._do("active", VerbArguments(notify=notify), by)

    def rebuild(
        self, *, notify: str = "", preserve_ephemeral: bool = False, by: By = NOBODY
    ) -> str:
        """Signal "deploy ended" to `notify`."""
        extras = VerbArguments(notify=notify, preserve_ephemeral=preserve_ephemeral)
        return self._do("rebuild", extras, by)

    def rescue(self, *, rescue_password: str, notify: str = "", by: By = NOBODY) -> str:
        return self._do("rescue", VerbArguments(notify=notify, rescue_password=rescue_password), by)

    def unrescue(self, *, notify: str = "", by: By = NOBODY) -> str:
        return self._do("unrescue", VerbArguments(notify=notify), by)

    def undeploy(self, *, notify: str = "", by: By = NOBODY) -> str | None:
        """Take the instance away and clean; None when a deploy has to be given up first."""
        return self._provision("deleted", VerbArguments(notify=notify), by)

    def _do(self, verb: str, extras: VerbArguments, by: By) -> str:
        started = self._provision(verb, extras, by)
        if started is None:
            raise Fault(f"The verb {verb} started no operation on node {self.node.uuid}.")
        return started

    def _provision(self, verb: str, extras: VerbArguments, by: By) -> str | None:
        return verbs.provision(
            self._ctx, self._conn, self.node.uuid, verb, extras, by, instance=self._instance
        )

    # -- what it is to become ----------------------------------------------------------------

    def prepare(
        self,
        *,
        instance_info: Mapping[str, Any],
        right: Right,
        configdrive: dict[str, Any] | str | None = None,
    ) -> None:
        """Write what the machine is to become, before `deploy` or `rebuild`; right: opens its images."""
        claims.prepare_instance(
            self._ctx,
            self._conn,
            self.node.uuid,
            instance_info=instance_info,
            right=right,
            configdrive=configdrive,
        )

    def release(self) -> bool:
        """Undo the claim on a machine where nothing was deployed; False when something was."""
        return claims.release(self._ctx, self._conn, self.node.uuid, self._instance)

    def forsake(self) -> None:
        """Free of its instance at once, whatever is on the machine: its undeploy is no matter of the instance."""
        claims.forsake(self._ctx, self._conn, self.node.uuid, self._instance)

    # -- wiring ------------------------------------------------------------------------------

    def attach_vif(self, vif: str) -> Port:
        """Put a network port on a NIC; the NIC (its `address` is the MAC to use)."""
        return vifs.attach(self._ctx, self._conn, self.node.uuid, vif)

    def free_card(self, card: Port) -> None:
        """Before a network port is bound to a NIC: an agent that was left running gives its MAC up."""
        self._ctx.networks.free_card(self._conn, self.node, card)

    def detach_vif(self, vif: str) -> None:
        vifs.detach(self._ctx, self._conn, self.node.uuid, vif)

    def vifs(self) -> tuple[str, ...]:
        """Network ports that are attached."""
        return tuple(found["id"] for found in vifs.listed(self._conn, self.node))
