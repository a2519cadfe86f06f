"""What the parts of a simulated agent (its API, its commands, its image writer) know of the agent they belong to."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from ingot.lab.sim.machine import Machine
from ingot.lab.sim.tls import CertificateShop


@dataclass(frozen=True)
class AgentOptions:
    """`port` 0 lets the system choose one per machine. `heartbeat_speed` scales the regular
    heartbeat alone; `image_fetch`: `full`, `probe` (first chunk only) or `auto` (full for the
    first machine that gets an image of that size and checksum, probe for the others)."""

    tls: bool = True
    port: int = 9999
    heartbeat_speed: float = 10.0
    image_fetch: str = "auto"
    request_timeout: float = 30.0


@dataclass
class AgentWorld:
    """What all agents of a process share."""

    session: aiohttp.ClientSession
    certificates: CertificateShop
    options: AgentOptions
    verified_images: set[tuple[str, str]]


class AgentState(Protocol):
    """One boot of the agent on one machine.

    params: of the kernel's command line. config: what the lookup gave.
    """

    machine: Machine
    params: dict[str, str]
    world: AgentWorld
    token: str
    config: dict[str, Any]

    def inventory(self) -> dict[str, Any]: ...

    def start_job(self, job: Coroutine[Any, Any, None]) -> None:
        """Run it beside the agent's own work, at most until the agent ends."""
        ...

    def force_heartbeat(self) -> None: ...

    async def retire(self, state: str) -> None: ...

    async def vanish(self) -> None:
        """Agent and network are gone; the machine stays on."""
        ...

    def restart_process(self) -> None:
        """The service restarts inside the running ramdisk."""
        ...
