"""Real processes for tests that kill: start, wait, and a small client of their Bare Metal API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parents[2]


@dataclass
class Process:
    """One server process; `start` again after its death."""

    folder: Path
    plan: dict[str, Any]
    child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        file = self.folder / f"{self.plan.get('host', 'server')}.json"
        file.write_text(json.dumps(self.plan))
        self.child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.flows.server",
            str(file),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=(self.folder / f"{self.plan.get('host', 'server')}.log").open("ab"),
        )
        assert self.child.stdout is not None
        line = await asyncio.wait_for(self.child.stdout.readline(), 60)
        # A process whose work goes on at once may be dead before it could say so.
        assert line in (b"ready\n", b""), line

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()

    async def wait(self) -> int:
        assert self.child is not None
        return await self.child.wait()

    async def close(self) -> None:
        if self.child is not None and self.child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.child.kill()
            await self.child.wait()


class Client:
    """The Bare Metal API of a server that may be away for a moment."""

    def __init__(self, base: str, patience: float = 60) -> None:
        self._base = base + "/baremetal"
        self._patience = patience
        self._http = aiohttp.ClientSession(headers={"X-OpenStack-Ironic-API-Version": "1.110"})

    async def close(self) -> None:
        await self._http.close()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The reply's JSON; asks again while nobody listens."""
        ends = time.monotonic() + self._patience
        while True:
            try:
                async with self._http.request(method, self._base + path, json=body) as reply:
                    text = await reply.text()
                    assert reply.status < 300, f"{method} {path}: {reply.status} {text}"
                    return json.loads(text) if text else None
            except aiohttp.ClientError:
                assert time.monotonic() < ends, f"nobody listens at {self._base}"
                await asyncio.sleep(0.05)

    async def enrol(self, node: dict[str, Any]) -> str:
        ports = node.pop("ports")
        made = await self.ask("POST", "/v1/nodes", {**node, "network_interface": "noop"})
        for port in ports:
            await self.ask("POST", "/v1/ports", {**port, "node_uuid": made["uuid"]})
        return made["uuid"]

    async def node(self, uuid: str) -> dict[str, Any]:
        return await self.ask("GET", f"/v1/nodes/{uuid}")

    async def verb(self, uuid: str, target: str) -> None:
        await self.ask("PUT", f"/v1/nodes/{uuid}/states/provision", {"target": target})

    async def image(self, uuid: str, url: str, checksum: str) -> None:
        info = {"image_source": url, "image_checksum": checksum, "image_disk_format": "raw"}
        patch = [{"op": "add", "path": "/instance_info", "value": info}]
        await self.ask("PATCH", f"/v1/nodes/{uuid}", patch)

    async def until(self, uuid: str, state: str, deadline: float = 60) -> dict[str, Any]:
        ends = time.monotonic() + deadline
        while True:
            node = await self.node(uuid)
            if node["provision_state"] == state and node["reservation"] is None:
                return node
            said = f"{node['provision_state']}: {node['last_error']}"
            assert not node["provision_state"].endswith("failed"), said
            assert time.monotonic() < ends, f"not {state} in {deadline:g} s but {said}"
            await asyncio.sleep(0.1)
