"""The cloud's public API as a scenario uses it: patient with what passes (503, 409 of a locked node, a lost line)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import aiohttp

from ingot.cli.client import LOGIN, login, root_of
from ingot.lab.scenarios.script import ScenarioError

VERSION = {"X-OpenStack-Ironic-API-Version": "1.99"}
AT_ONCE = 16
#: So long a request that the cloud cannot take now is sent again.
PATIENCE = 120.0
PAGE = 1000
_ONE_BYTE = {"Range": "bytes=0-0"}


async def check_listener(boot_url: str, *, deploys: bool) -> None:
    """Raises ScenarioError where no machine could boot from this provisioning listener.

    deploys: it must have an agent, too.
    """
    base = boot_url.removesuffix("/boot.ipxe").rstrip("/")
    timeout = aiohttp.ClientTimeout(total=30)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.get(f"{base}/boot.ipxe") as reply:
                text = await reply.text() if reply.status == 200 else ""
            async with session.get(f"{base}/files/agent.kernel", headers=_ONE_BYTE) as reply:
                has_agent = reply.status < 300
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise ScenarioError(f"nobody answers at --boot-url {boot_url} ({error})") from None
    if not text.startswith("#!ipxe"):
        raise ScenarioError(
            f"--boot-url {boot_url} is no provisioning listener: it gives no boot script; "
            "it is [provisioning] listen of the cloud's settings, not the API's address"
        )
    if deploys and not has_agent:
        raise ScenarioError(
            f"the cloud at {boot_url} has no agent to deploy with: set kernel and initramfs in [ramdisk] of its "
            "settings (simulated machines do not look into the files)"
        )


class Api:
    """auth: of a clouds.yaml. `async with Api(auth) as api:`"""

    def __init__(self, auth: dict[str, Any]) -> None:
        self._auth = auth
        self.root = root_of(auth)
        self._headers = dict(VERSION)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None
        self.retried = 0
        #: Requests that the cloud answered with 500: a client that waits for 503 would have failed.
        self.broken: list[str] = []

    async def __aenter__(self) -> Api:
        connector = aiohttp.TCPConnector(limit=AT_ONCE, keepalive_timeout=2)
        self._session = aiohttp.ClientSession(connector=connector)
        try:
            await self._log_in()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def _log_in(self) -> None:
        try:
            status, _, headers = await self._once("POST", LOGIN, login(self._auth))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ScenarioError(
                f"{self.root} does not answer ({error or type(error).__name__}): is the cloud running?"
            ) from None
        if status != 201:
            raise ScenarioError(f"log-in at {self.root} was answered {status}")
        self._headers["X-Auth-Token"] = headers["X-Subject-Token"]

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's body. Raises ScenarioError for an answer that waiting does not mend."""
        ends = time.monotonic() + PATIENCE
        async with self._slots:
            while True:
                said = await self._try(method, path, body)
                if not isinstance(said, str):
                    return said[0]
                if time.monotonic() > ends:
                    raise ScenarioError(f"{method} {path}: {said}")
                self.retried += 1
                await asyncio.sleep(0.5)

    async def _try(self, method: str, path: str, body: object) -> tuple[Any] | str:
        """The body, or why it is worth another try."""
        try:
            status, answer, _ = await self._once(method, path, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return repr(error)
        if status < 300:
            return (answer,)
        if status == 500:
            self.broken.append(f"{method} {path}: {str(answer)[:300]}")
        if status >= 500 or (status == 409 and "locked" in str(answer)):
            return f"{status} {str(answer)[:300]}"
        raise ScenarioError(f"{method} {path}: {status} {str(answer)[:500]}")

    async def _once(self, method: str, path: str, body: object) -> tuple[int, Any, Any]:
        assert self._session is not None
        async with (
            asyncio.timeout(60),
            self._session.request(
                method, self.root + path, json=body, headers=self._headers
            ) as reply,
        ):
            is_json = "json" in reply.headers.get("Content-Type", "")
            answer = await (reply.json() if is_json else reply.text())
            return reply.status, answer, reply.headers

    async def upload(self, path: str, data: bytes) -> None:
        assert self._session is not None
        headers = {**self._headers, "Content-Type": "application/octet-stream"}
        async with self._session.put(self.root + path, data=data, headers=headers) as reply:
            if reply.status >= 300:
                raise ScenarioError(f"PUT {path}: {reply.status} {await reply.text()}")

    async def each(self, calls: Sequence[tuple[str, str, object]]) -> None:
        """Many calls, as many at once as the cloud is asked by one scenario."""
        waiting = iter(calls)

        async def work() -> None:
            for method, path, body in waiting:
                await self.call(method, path, body)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(calls))):
                    group.create_task(work())
        except* ScenarioError as several:
            first = several.exceptions[0]
        else:
            return
        raise first

    async def remove(self, names: set[str]) -> int:
        """Take these nodes out of the cloud, whatever state they are in; how many there were."""
        nodes = await self.nodes(names)
        paths = [f"/baremetal/v1/nodes/{node['uuid']}" for node in nodes]
        why = {"reason": "removed by the lab"}
        await self.each([("PUT", f"{path}/maintenance", why) for path in paths])
        await self.each([("DELETE", path, None) for path in paths])
        return len(nodes)

    async def nodes(self, names: set[str]) -> list[dict[str, Any]]:
        """These nodes: name, states, last_error."""
        fields = "uuid,name,provision_state,power_state,last_error,maintenance_reason"
        found: list[dict[str, Any]] = []
        marker = ""
        while True:
            path = f"/baremetal/v1/nodes?fields={fields}&limit={PAGE}{marker}"
            page: list[dict[str, Any]] = (await self.call("GET", path))["nodes"]
            found += [node for node in page if node["name"] in names]
            if len(page) < PAGE:
                return found
            marker = f"&marker={page[-1]['uuid']}"
