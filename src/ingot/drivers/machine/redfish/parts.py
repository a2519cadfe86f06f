"""Reading many resources of a machine where each may be missing, refused or broken: none takes the others with it."""

from __future__ import annotations

from ingot.drivers.faults import Busy, DriverFault, Refused, Unsupported
from ingot.drivers.machine.redfish.client import AccessDenied
from ingot.drivers.machine.redfish.system import Systems
from ingot.drivers.machine.types import Access
from ingot.drivers.shape import Json
from ingot.kit.http.untrusted import words

#: Seconds for which parts that say "later" are waited for: in all, for a reading that can wait, and each time.
PATIENCE, INSPECTION_PATIENCE, LONGEST_WAIT = 5.0, 45.0, 10.0
MOST_LINES = 100


class ResourceReader(Systems):
    """A reading of one machine; made anew for each.

    untold: what was not told, by its path, and why. A service that is busy is asked again for `patience` seconds;
    what it then does not tell is unknown, unless it has told nothing at all (`some`).
    """

    def __init__(self, systems: Systems, patience: float = PATIENCE) -> None:
        super().__init__(systems.context)
        self._paths, self._ways = (
            systems._paths,
            systems._ways,
        )  # what is known of services, it shares
        self.untold: dict[str, DriverFault] = {}
        self._answered = 0
        self._patience = patience

    async def maybe(self, access: Access, path: str) -> Json | None:
        """Body of a resource; None where the service does not tell it."""
        if not path:
            return None
        try:
            return await self._patiently(access, path)
        except (Unsupported, Refused, AccessDenied, Busy) as fault:
            self.untold[path] = fault
            return None

    async def page(self, access: Access, path: str) -> Json:
        """A page of a collection; an empty one where the service does not tell it."""
        return await self.maybe(access, path) or {}

    def some(self) -> None:
        """Raises where all that was asked was answered by "later": then it is no answer."""
        busy = [fault for fault in self.untold.values() if isinstance(fault, Busy)]
        if busy and not self._answered:
            raise busy[-1]

    def words(self) -> list[str]:
        """What is unknown and why, a line each."""
        lines = [f"{words(path, 255)}: {fault.text}" for path, fault in self.untold.items()]
        more = len(lines) - MOST_LINES
        return lines if more <= 0 else [*lines[:MOST_LINES], f"and {more} more"]

    async def _patiently(self, access: Access, path: str) -> Json:
        while True:
            try:
                body = (await self.client.get(access, path)).body
            except Busy as fault:
                pause = min(max(fault.retry_after or 1.0, 1.0), LONGEST_WAIT, self._patience)
                if pause <= 0:
                    raise
                self._patience -= pause
                await self.context.clock.sleep(pause)
                continue
            self._answered += 1
            return body
