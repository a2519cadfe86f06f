"""Whether this process may still give orders to hardware: asked in the moment before an order leaves.

A process that was stopped for a while (a signal, a suspended virtual machine) goes on in the middle of whatever
it did, when its work may long be in other hands. Rows are fenced by their epoch; a machine's controller knows of
no epochs. So whoever works under a lease says with `hold` how to ask for it, and drivers call `check` last
thing before they send. Work that nobody else could take over (readings, people at consoles) holds none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from contextvars import ContextVar

_asked: ContextVar[Callable[[], None] | None] = ContextVar("lease", default=None)


def hold(ask: Callable[[], None]) -> None:
    """For this task and those that it starts: `ask` raises when the lease is over."""
    _asked.set(ask)


@contextlib.contextmanager
def held(ask: Callable[[], None]) -> Generator[None]:
    """The same for what happens inside."""
    before = _asked.set(ask)
    try:
        yield
    finally:
        _asked.reset(before)


def check() -> None:
    """Raises what the lease's holder raises when it is over; nothing where none is held."""
    ask = _asked.get()
    if ask is not None:
        ask()
