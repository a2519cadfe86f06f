"""What the workflows of this service are told with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from ingot.kit.faults import Failed, Fault, Kind
from ingot.services.baremetal import By, ImageRight
from ingot.services.compute import store
from ingot.services.compute.types import Server
from ingot.services.compute.workflows import machines
from ingot.workflow import Op, StepContext

if TYPE_CHECKING:
    from ingot.services.compute.service import Compute

#: How often an order to a machine is repeated while another operation holds the machine.
_TRIES = 60
_PAUSE = 5.0


class ServerTask:
    """One operation on one server."""

    def __init__(self, compute: Compute, op: Op) -> None:
        self.compute = compute
        self.op = op
        self.uuid = op.subject.partition(":")[2]

    @property
    def by(self) -> By:
        """Who ordered it: what the machine does for it is done for the same person."""
        return By(user=self.op.requested_by, request_id=self.op.request_id, right=self.right)

    @property
    def right(self) -> ImageRight:
        """By which the images are opened that were ordered; orders from before it was kept had a member's."""
        given: dict[str, Any] = self.op.input or {}
        kept = given.get("right")
        if kept is not None:
            return msgspec.convert(kept, ImageRight)
        return ImageRight(
            user=self.op.requested_by,
            project_id=self.op.project_id or "",
            roles=("member", "reader"),
        )

    async def image(self, image_id: str) -> list[str]:
        """Look at an image that was ordered, before the machine is touched; what it asks of its machine.

        It may have been deleted since, its share taken back, or the right of whoever ordered it.
        """

        async def look(_ctx: StepContext) -> list[str]:
            image = await self.compute.opened(image_id, self.right)
            return machines.image_traits(image.properties)

        return await self.op.step("look at the image", look)

    async def server(self) -> Server:
        return await self.compute.db.read(self.here)

    def here(self, conn: sa.Connection) -> Server:
        """The server, also in the transaction that removes it."""
        found = store.find_server(conn, self.uuid, deleted=True)
        if found is None:
            raise Failed(f"Server {self.uuid} is not in the database any more.")
        return found

    def settle(self, conn: sa.Connection, **values: Any) -> None:
        """The end of the operation: at rest, unless its deletion was asked for meanwhile."""
        self.compute.settle(conn, self.uuid, **values)

    async def order(
        self, name: str, give: Callable[[sa.Connection], Any], first: str | None = None
    ) -> Any:
        """Give an order to the machine, waiting while another operation holds it. first: key of the first try."""
        for attempt in range(1, _TRIES + 1):
            again = str(attempt) if first is None else f"{first}, again {attempt}"
            key = first if attempt == 1 else again
            try:
                return await self.op.commit(name, give, key=key)
            except Fault as fault:
                if fault.kind is not Kind.LOCKED or attempt == _TRIES:
                    raise
                await self.op.sleep(_PAUSE, name="wait for the machine's operation", key=key)
        raise AssertionError("not reached")

    async def ended(self, kind: str, seconds: float, what: str, key: str | None = None) -> None:
        """Wait for the end of the machine's operation; its failure is ours."""
        payload = await self.op.wait(
            f"{kind} ended", name=f"wait for the {kind}", key=key, deadline=seconds, what=what
        )
        if not payload["ok"]:
            raise failure(payload)


def failure(payload: dict[str, Any]) -> Fault:
    """The fault that a machine's operation ended with."""
    return Failed(str(payload["error"]), details={"machine": payload.get("kind")})


WorkflowBody = Callable[[ServerTask, Any], Awaitable[Any]]
Ending = Callable[[ServerTask, sa.Connection], None]
Failing = Callable[[ServerTask, sa.Connection, Fault], None]


def bind_task(compute: Compute, body: WorkflowBody) -> Callable[[Op, Any], Awaitable[Any]]:
    """The body of a workflow as the engine calls it: with an operation and its order."""

    async def run(op: Op, order: Any) -> Any:
        return await body(ServerTask(compute, op), order)

    return run


def ending(compute: Compute, end: Ending) -> Callable[[sa.Connection, Op, Any], None]:
    def on_success(conn: sa.Connection, op: Op, _result: Any) -> None:
        end(ServerTask(compute, op), conn)

    return on_success


def failing(compute: Compute, fail: Failing) -> Callable[[sa.Connection, Op, Fault], None]:
    def on_failure(conn: sa.Connection, op: Op, fault: Fault) -> None:
        # What it writes it writes to a server that is there: one that is gone is left alone.
        fail(ServerTask(compute, op), conn, fault)

    return on_failure
