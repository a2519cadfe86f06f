"""A workflow as its author declares it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Fault

from .op import Op

Run = Callable[[Op, Any], Awaitable[Any]]
OnSuccess = Callable[[sa.Connection, Op, Any], None]
OnFailure = Callable[[sa.Connection, Op, Fault], None]


@dataclass(frozen=True)
class Workflow:
    """A kind of long work.

    input: the msgspec type of its input (None: plain JSON).
    run: the body; async, from top to bottom, deterministic between its steps.
    on_success / on_failure: run in the transaction that ends the operation. Aborts come to on_failure with
    fault.kind ABORTED. They may be run more than once when that transaction has to be repeated.
    """

    kind: str
    input: Any
    run: Run
    on_success: OnSuccess | None = None
    on_failure: OnFailure | None = None
    version: int = 1
    title: str = ""

    @property
    def label(self) -> str:
        return self.title or self.kind
