"""Network boot without DHCP: the machine asks the boot server over HTTP what to do.

A real machine learns from DHCP where its boot server is and fetches a loader by TFTP; here the
place is given. From the loader on it is the same: it runs the script `<base>/boot.ipxe`, which asks for
`<base>/boot/<mac>`; where there is no first script, the machine's own is asked for at once.
Boot files are asked for with a one-byte range (and remembered for a minute), because a thousand
machines that each load a hundred megabytes over loopback would measure only the loopback.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from ingot.lab.sim.bootscript import BootFailed, BootTarget, ScriptRun
from ingot.lab.sim.types import BootMode, Identity

REMEMBER_SECONDS = 60.0
_TROUBLE = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


class NoAnswer(Exception):
    """The boot server knows nothing for this MAC, or can't be reached; worth a retry.

    away: nobody is there. A real machine would then not even get an address: DHCP ends with its controller.
    """

    def __init__(self, text: str, *, away: bool = False) -> None:
        super().__init__(text)
        self.away = away


@dataclass
class _Asked:
    """How the last question of one boot was answered. away: why by nobody, "" otherwise."""

    away: str = ""


@dataclass
class BootServer:
    """`base` is the boot server's URL; `…/boot.ipxe` at its end is cut off."""

    base: str
    session: aiohttp.ClientSession
    timeout: float = 150.0  # iPXE waits for its answer as long as the connection stands
    _seen: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        self.base = self.base.removesuffix("/boot.ipxe").rstrip("/")

    async def boot(
        self,
        mac: str,
        identity: Identity,
        mode: BootMode,
        say: Callable[[str], None],
        pause: Callable[[float], Awaitable[None]],
    ) -> BootTarget:
        """What to boot. Raises NoAnswer (nothing there) or BootFailed (a bad script or file).

        pause: lets the machine's seconds pass; a script may have it wait and ask again, for as long as it likes.
        """
        url = f"{self.base}/boot.ipxe"
        try:
            script = await self._script(url)
        except NoAnswer as problem:
            if problem.away:
                raise
            url = f"{self.base}/boot/{mac.lower()}"
            script = await self._script(url)
        asked = _Asked()

        async def chained(chained_url: str) -> str:
            return await self._chained(chained_url, asked)

        variables = {
            "mac": mac,
            "net0/mac": mac,
            "netX/mac": mac,
            "uuid": identity.uuid,
            "serial": identity.serial,
            "manufacturer": identity.manufacturer,
            "product": identity.model,
            "platform": "efi" if mode is BootMode.UEFI else "pcbios",
            "buildarch": "x86_64",
        }
        target = await ScriptRun(variables, chained, self._check, pause, say).run(script, url)
        if target.kind == "next" and asked.away:
            raise NoAnswer(asked.away, away=True)
        return target

    async def _chained(self, url: str, asked: _Asked) -> str:
        asked.away = ""
        try:
            return await self._script(url)
        except NoAnswer as problem:
            asked.away = str(problem) if problem.away else ""
            raise BootFailed(str(problem)) from problem

    async def _script(self, url: str) -> str:
        try:
            async with asyncio.timeout(self.timeout), self.session.get(url) as reply:
                if reply.status != 200:
                    # So a load balancer answers for controllers that are gone.
                    away = reply.status in (502, 503, 504)
                    raise NoAnswer(f"{url}: HTTP {reply.status}", away=away)
                return await reply.text()
        except _TROUBLE as problem:
            raise NoAnswer(f"{url}: {type(problem).__name__} {problem}", away=True) from problem

    async def _check(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise BootFailed(f"{url}: only HTTP is simulated")
        if time.monotonic() - self._seen.get(url, -REMEMBER_SECONDS) < REMEMBER_SECONDS:
            return
        try:
            headers = {"Range": "bytes=0-0"}
            async with (
                asyncio.timeout(self.timeout),
                self.session.get(url, headers=headers) as reply,
            ):
                if reply.status not in (200, 206):
                    raise BootFailed(f"{url}: HTTP {reply.status}")
                await reply.content.read(1)
        except _TROUBLE as problem:
            raise BootFailed(f"{url}: {type(problem).__name__} {problem}") from problem
        self._seen[url] = time.monotonic()
