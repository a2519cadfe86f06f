"""How rows of the table of operations are made."""

from __future__ import annotations

from typing import Any

from ingot.kit.api.operations import Call, Operation
from ingot.services.baremetal.api.common import Handlers


def late(method: str, path: str, handler: Any, rule: str, **more: Any) -> Operation:
    """A row whose rule is decided on the owner and lessee of the node it is about."""
    return Operation(method, path, handler, f"baremetal:{rule}", late=True, **more)


def system_wide(
    method: str, path: str, handlers: Handlers, handler: Any, rule: str, **more: Any
) -> Operation:
    """A row about nothing that belongs to a project."""
    name = f"baremetal:{rule}"

    async def checked(call: Call) -> Any:
        call.require(name, handlers.target())
        return await handler(call)

    return Operation(method, path, checked, name, late=True, **more)
