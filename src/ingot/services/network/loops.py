"""The loop that keeps DHCP agreeing with our rows: kicked by every change, and once a minute for itself.

One port's change is read and told alone, whatever the number of others; all rows are read at the start, after a
fault, when networks or subnets change, and every ten minutes in case anything was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, Protocol

from ingot.agents.dhcp.plans import DhcpChange, DhcpPlan
from ingot.kit import log
from ingot.kit.db.database import timestamp
from ingot.kit.faults import Fault, TimedOut
from ingot.kit.tasks.clock import Clock
from ingot.services.network.dhcpplan import DhcpSnapshot
from ingot.services.network.service import Networks
from ingot.workflow import Loop

EVERY = 60.0
#: Seconds between two readings of all rows.
WHOLE = 600.0
#: What all readers of changes have seen: none goes longer without reading all rows.
FORGET = 6 * WHOLE
#: A plan that takes longer (a restart, a signal that waits its second) goes on beside the next one.
PATIENCE = 0.02
#: Seconds until a wire that could not be served is tried again.
RETRY = 2.0
#: Nothing in a DHCP server takes this long.
LIMIT = 60.0

_log = log.get("network")


class ServerStatus(Protocol):
    """How a DHCP server is, as its host daemon tells."""

    @property
    def name(self) -> str: ...
    @property
    def interface(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def generation(self) -> int: ...
    @property
    def fault(self) -> str | None: ...


class DhcpHostd(Protocol):
    """What follows plans: `hostd.dnsmasq.Dnsmasq`, or a test's own."""

    async def apply(self, plan: DhcpPlan) -> int: ...
    async def amend(self, change: DhcpChange) -> int | None: ...
    async def keep_only(self, names: Collection[str]) -> None: ...
    def status(self) -> Sequence[ServerStatus]: ...


class DhcpLoop:
    """Hands plans to a host daemon and knows which generation each wire has reached."""

    def __init__(self, nets: Networks, hostd: DhcpHostd, clock: Clock, host: str = "") -> None:
        self._nets = nets
        self._hostd = hostd
        self._clock = clock
        self._host = host
        self._applying: set[asyncio.Task[int]] = set()
        self._wanted: frozenset[str] = frozenset()
        self._reached: dict[str, int] = {}
        self._book: DhcpSnapshot | None = None
        self._whole_again = 0.0
        self._seen = 0
        self._changed = asyncio.Event()
        self.loop = Loop("network dhcp", EVERY, self.once, clock=clock)
        nets.on_change(self.loop.kick)
        nets.report_agents(self.agents)

    async def start(self) -> None:
        await self.loop.start()

    async def stop(self) -> None:
        await self.loop.stop()
        for task in self._applying:
            task.cancel()
        await asyncio.gather(*self._applying, return_exceptions=True)

    async def once(self) -> None:
        """Hand over what is new. Raises the first fault that shows at once."""
        snapshot = self._book
        if snapshot is not None and self._clock.monotonic() < self._whole_again:
            changed = await self._nets.db.read(
                lambda conn, snapshot=snapshot: self._nets.dhcp_changes(conn, snapshot)
            )
            if changed is not None:
                await self._hand_over(snapshot, [self._amend(change) for change in changed])
                return
        self._book = None
        snapshot = await self._nets.db.scan(self._nets.dhcp_snapshot)
        plans = snapshot.plans()
        names = frozenset(plan.name for plan in plans)
        if names != self._wanted:
            await self._hostd.keep_only(names)
            self._wanted = names
        self._book = snapshot
        self._whole_again = self._clock.monotonic() + WHOLE
        await self._hand_over(snapshot, [self._apply(plan) for plan in plans])
        await self._nets.db.write(lambda conn: self._nets.forget_dhcp_changes(conn, FORGET))

    async def _hand_over(
        self, snapshot: DhcpSnapshot, work: Sequence[Coroutine[Any, Any, int]]
    ) -> None:
        tasks = [asyncio.create_task(one) for one in work]
        self._seen = snapshot.generation
        self._tell()
        if not tasks:
            return
        done, _ = await asyncio.wait(tasks, timeout=PATIENCE)
        for task in done:
            task.result()

    async def _amend(self, change: DhcpChange) -> int:
        reached = await self._guarded(change.name, self._hostd.amend(change))
        if reached is None:  # it has not what the change continues
            self._again(0)
            return 0
        return reached

    async def _apply(self, plan: DhcpPlan) -> int:
        return await self._guarded(plan.name, self._hostd.apply(plan)) or 0

    async def _guarded(self, wire: str, work: Coroutine[Any, Any, int | None]) -> int | None:
        task = asyncio.current_task()
        assert task is not None
        self._applying.add(task)
        try:
            async with asyncio.timeout(LIMIT):
                reached = await work
        except Fault as fault:
            _log.warning("dhcp", wire=wire, fault=fault.sentence(), internal=fault.internal)
            # After a crash the server of our earlier life may take a moment to go.
            self._again(RETRY)
            raise
        except TimeoutError:
            self._again(RETRY)
            raise TimedOut(f"DHCP of {wire} did not take a plan in {LIMIT:.0f} s.") from None
        finally:
            self._applying.discard(task)
        self._reached[wire] = max(reached or 0, self._reached.get(wire, 0))
        self._tell()
        return reached

    def _again(self, seconds: float) -> None:
        """All rows once more, so many seconds from now."""
        self._book = None
        asyncio.get_running_loop().call_later(seconds, self.loop.kick)

    def _tell(self) -> None:
        """Wake all who wait for news; the next ones wait for the next news."""
        self._changed.set()
        self._changed = asyncio.Event()

    def has_reached(self, generation: int) -> bool:
        """Whether every wire of this host answers by this generation."""
        wires = [self._reached.get(name, 0) for name in self._wanted]
        return self._seen >= generation and all(reached >= generation for reached in wires)

    async def reached(self, generation: int, deadline: float = 10.0) -> None:
        """Wait until DHCP knows what was committed at `generation` (see `Networks.generation`)."""
        end = self._clock.monotonic() + deadline
        while not self.has_reached(generation):
            changed = self._changed
            left = end - self._clock.monotonic()
            if left <= 0:
                faults = [s.fault for s in self._hostd.status() if s.fault]
                raise TimedOut(
                    f"DHCP has not followed within {deadline:g} s. {' '.join(faults)}".strip(),
                    next_action="Look at `openstack network agent list` and at the server's log.",
                )
            timer = asyncio.ensure_future(self._clock.sleep(left))
            waiter = asyncio.ensure_future(changed.wait())
            await asyncio.wait([timer, waiter], return_when=asyncio.FIRST_COMPLETED)
            timer.cancel()
            waiter.cancel()

    def agents(self) -> list[dict[str, Any]]:
        """The DHCP servers as agents of the Networking API."""
        now = timestamp(self._clock.now())[:19].replace("T", " ")
        return [
            {
                "id": f"dhcp-{status.name}",
                "agent_type": "DHCP agent",
                "binary": "dnsmasq",
                "topic": "dhcp_agent",
                "host": self._host,
                "availability_zone": "nova",
                "admin_state_up": True,
                "alive": status.pid is not None and status.fault is None,
                "created_at": now,
                "started_at": now,
                "heartbeat_timestamp": now,
                "description": status.fault or "",
                "resources_synced": self.has_reached(status.generation),
                "configurations": {
                    "physical_network": status.name,
                    "interface": status.interface,
                    "generation": status.generation,
                },
            }
            for status in self._hostd.status()
        ]
