"""What drivers share within one process: time, pace per controller, sessions, the fake world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from ingot.drivers.machine.fake.world import FakeWorld
from ingot.drivers.pace import Gates
from ingot.kit.http.egress import Egress
from ingot.kit.tasks.clock import Clock

T = TypeVar("T")


class DriverContext:
    """Given to every driver when it is made.

    run_dir: a private directory for short-lived files (CA files of agents and the like). egress: where controllers
    may be; anywhere for who makes drivers for controllers of their own.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        world: FakeWorld | None = None,
        run_dir: Path | None = None,
        egress: Egress | None = None,
    ) -> None:
        self.clock = clock
        self.egress = egress or Egress.anywhere()
        self.world = world or FakeWorld()
        self.gates = Gates(clock)
        self.run_dir = run_dir
        self._shared: dict[type[object], object] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []

    def shared(self, kind: type[T], make: Callable[[], T]) -> T:
        """The one instance of `kind` in this process, made at first use."""
        if kind not in self._shared:
            made = make()
            self._shared[kind] = made
            return made
        found = self._shared[kind]
        assert isinstance(found, kind)
        return found

    def on_close(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Run `closer` when the process ends."""
        self._closers.append(closer)

    async def aclose(self) -> None:
        while self._closers:
            await self._closers.pop()()
