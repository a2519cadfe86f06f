"""A stock ironic-python-agent 13, seen from outside: inspect, look up, serve, heartbeat.

Follows the agent's own rules: versions (at most 1.62 for lookup, 1.68 for heartbeat), the
pauses after a locked node (5, 10, 30 s), the token (at least 32 characters; `******` without an
own token means lock-down), automatic TLS from 1.68 on, a heartbeat after 0.3 to 0.6 of the
time-out, another 5 to 10 s after a failed one, and at most 5 s after a command has ended.
Intervals are simulated time, except the regular heartbeat, which has its own speed.

Left out: mDNS, VLAN interfaces, LLDP, containers, bootc; of the poll extension there is only
get_hardware_info.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import aiohttp

from ingot.lab.sim.agent_api import AgentListener
from ingot.lab.sim.agent_commands import CommandTable
from ingot.lab.sim.agent_state import AgentWorld
from ingot.lab.sim.inventory import AGENT_VERSION, hardware_inventory, inspection_data
from ingot.lab.sim.jsonshape import as_object, read_object

if TYPE_CHECKING:
    from ingot.lab.sim.machine import Machine

Version = tuple[int, int]
MIN_VERSION: Version = (1, 31)
AGENT_VERSION_SINCE: Version = (1, 36)
TOKEN_VERSION: Version = (1, 62)
VERIFY_CA_VERSION: Version = (1, 68)
MIN_HEARTBEAT = 5.0
TROUBLE = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


class _NotYet(Exception):
    pass


class Agent:
    """One boot of the agent on one machine."""

    def __init__(
        self, machine: Machine, params: dict[str, str], mac: str, world: AgentWorld
    ) -> None:
        self.machine = machine
        self.params = params
        self.mac = mac
        self.world = world
        self.api_urls = [u.rstrip("/") for u in params.get("ipa-api-url", "").split(",") if u]
        self.token = params.get("ipa-agent-token", "")
        self.node: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.version: Version = MIN_VERSION
        self.certificate = ""
        self.locked = False
        self.commands = CommandTable(self)
        self.listener: AgentListener | None = None
        self._forced = asyncio.Event()
        self._restarting = False
        self._jobs: set[asyncio.Task[None]] = set()

    # Life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        node_uuid = await self._inspect()
        while self.api_urls:
            await self._lookup_for_ever(node_uuid)
            if self.locked:
                self.machine.set_running("locked")
                return
            await self._serve()
            await self._heartbeat_for_ever()
            if not self._restarting:
                return
            await self._forget()

    async def stop(self) -> None:
        await self.hang_up()
        for job in list(self._jobs):
            job.cancel()

    async def hang_up(self) -> None:
        """Close the listener; what was being asked gets no answer."""
        listener, self.listener = self.listener, None
        if listener is not None:
            await listener.close()

    def start_job(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def force_heartbeat(self) -> None:
        self._forced.set()

    async def vanish(self) -> None:
        """Agent and network are gone; the machine stays on."""
        self.machine.note("agent vanishes")
        await self.hang_up()
        self.locked = True
        await asyncio.Event().wait()

    def restart_process(self) -> None:
        """The service restarts inside the running ramdisk: token and commands are forgotten."""
        self._restarting = True
        self._forced.set()

    async def _forget(self) -> None:
        self.machine.note("agent restarts")
        await self.hang_up()
        self.token = ""
        self.commands = CommandTable(self)
        self._restarting = False
        self._forced.clear()
        await self._pause(10, "agent-restart")

    async def retire(self, state: str) -> None:
        """End serving for good, as after rescue or lock-down, once the reply has left."""
        self.locked = True
        self.machine.set_running(state)
        await self._pause(0.2, "agent-retires")
        await self.hang_up()

    async def _pause(self, seconds: float, label: str) -> None:
        await self.machine.clock.sleep(seconds, label)

    def _random(self, purpose: str) -> random.Random:
        return self.machine.chance.stream(purpose)

    # Inspection ---------------------------------------------------------------------------

    def inventory(self) -> dict[str, Any]:
        machine = self.machine
        inventory = hardware_inventory(
            machine.identity,
            machine.hardware,
            machine.hardware.firmware,
            machine.agent_address,
            machine.bmc_address,
            self.mac,
        )
        if machine.faults.reported_uuid:
            inventory["system_vendor"]["serial_number"] = machine.identity.serial
        inventory["boot"]["pxe_interface"] = self.params.get("BOOTIF")
        return inventory

    async def _inspect(self) -> str:
        collectors = self.params.get("ipa-inspection-collectors", "")
        callbacks = [u for u in self.params.get("ipa-inspection-callback-url", "").split(",") if u]
        if not callbacks and collectors and self.api_urls:
            callbacks = [f"{url}/v1/continue_inspection" for url in self.api_urls]
        if not callbacks:
            return ""
        data = inspection_data(self.inventory(), self.params.get("BOOTIF") or self.mac, collectors)
        for attempt in range(5):
            try:
                return await self._post_inspection(callbacks, data)
            except _NotYet as problem:
                self.machine.note("inspection post failed", str(problem))
                await self._pause(min(30, max(5, 1.5 * 2**attempt)), "inspection-retry")
        return ""

    async def _post_inspection(self, urls: list[str], data: dict[str, Any]) -> str:
        trouble = "nothing to try"
        for url in urls:
            try:
                status, body = await self._request("POST", url, json_body=data)
            except TROUBLE as problem:
                trouble = f"{type(problem).__name__} {problem}"
                continue
            if status >= 500 or status == 409:
                raise _NotYet(f"HTTP {status}")
            if status >= 400:
                self.machine.note("inspection refused", f"HTTP {status} {body[:300]!r}")
                return ""
            self.machine.note("inspection posted")
            with contextlib.suppress(ValueError, AttributeError):
                return str(json.loads(body).get("uuid") or "")
            return ""
        raise _NotYet(trouble)

    # Lookup -------------------------------------------------------------------------------

    async def _request(
        self,
        method: str,
        url: str,
        *,
        json_body: object = None,
        params: dict[str, str] | None = None,
        version: tuple[int, int] | None = None,
    ) -> tuple[int, bytes]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "python-requests/2.32.5",
        }
        if version is not None:
            headers["X-OpenStack-Ironic-API-Version"] = f"{version[0]}.{version[1]}"
        if request_id := self.params.get("ipa-global-request-id"):
            headers["X-OpenStack-Request-ID"] = request_id
        payload = None if json_body is None else json.dumps(json_body).encode()
        verify = self.params.get("ipa-insecure") not in ("1", "true", "True")
        async with (
            asyncio.timeout(self.world.options.request_timeout),
            self.world.session.request(
                method, url, headers=headers, data=payload, params=params, ssl=verify
            ) as reply,
        ):
            return reply.status, await reply.read()

    async def _api(self, method: str, path: str, **kwargs: Any) -> tuple[int, bytes]:
        """Ask the API at the first of its URLs that answers; that one comes first from then."""
        for number, url in enumerate(self.api_urls):
            try:
                answer = await self._request(method, url + path, **kwargs)
            except TROUBLE:
                if number == len(self.api_urls) - 1:
                    raise
                continue
            self.api_urls = self.api_urls[number:] + self.api_urls[:number]
            return answer
        raise OSError("no API URL")

    async def _learn_version(self) -> None:
        pinned = self.params.get("ipa-ironic-api-version", "")
        try:
            text = pinned
            if not text:
                _status, body = await self._api("GET", "/")
                text = str(json.loads(body)["default_version"]["version"])
            major, minor = text.split(".")[:2]
            self.version = (int(major), int(minor))
        except (*TROUBLE, KeyError, TypeError):
            self.version = MIN_VERSION

    async def _lookup_for_ever(self, node_uuid: str) -> None:
        """Lookup gives up after its time-out; the service manager then starts the agent anew."""
        limit = float(self.params.get("ipa-lookup-timeout") or 600)
        shortest = float(self.params.get("ipa-lookup-interval") or 1)
        while True:
            began = self.machine.clock.now()
            await self._learn_version()
            attempt = 0
            lock_pause = 0.0
            while self.machine.clock.now() - began < limit:
                status, content = await self._lookup(node_uuid)
                if content is not None:
                    self._take(content)
                    return
                if status == 409:
                    lock_pause = {0.0: 5.0, 5.0: 10.0}.get(lock_pause, 30.0)
                    await self._pause(lock_pause, "lookup-locked")
                top = min(60.0, 2.0**attempt)
                attempt = min(attempt + 1, 8)
                wait = max(shortest, self._random("lookup").uniform(0, top))
                await self._pause(wait, "lookup-retry")
            self.machine.note("lookup gave up")
            await self._pause(10, "agent-restart")

    async def _lookup(self, node_uuid: str) -> tuple[int, dict[str, Any] | None]:
        query = {"addresses": ",".join(nic.mac for nic in self.machine.hardware.nics)}
        if node_uuid:
            query["node_uuid"] = node_uuid
        version = min(self.version, TOKEN_VERSION)
        try:
            status, body = await self._api("GET", "/v1/lookup", params=query, version=version)
            content = read_object(body) if status == 200 else None
        except TROUBLE as problem:
            self.machine.note("lookup failed", f"{type(problem).__name__} {problem}")
            return 0, None
        node = as_object(content.get("node")) if content else None
        if content is None or node is None or "uuid" not in node:
            self.machine.note("lookup failed", f"HTTP {status}")
            return status, None
        return status, content

    def _take(self, content: dict[str, Any]) -> None:
        self.node = content["node"]
        self.config = content.get("config") or {}
        self.machine.note("lookup", str(self.node["uuid"]))
        given = str(self.config.get("agent_token") or "")
        if len(given) >= 32:
            self.token = given
        elif given == "******" and not self.token:
            self.machine.note("locked down", "the token was already given out")
            self.locked = True

    # Serving and heartbeats ---------------------------------------------------------------

    async def _serve(self) -> None:
        context = None
        machine = self.machine
        if self.world.options.tls and self.version >= VERIFY_CA_VERSION:
            made = self.world.certificates.for_address(
                machine.agent_address, machine.faults.clock_ahead
            )
            self.certificate, context = made.pem, made.context
        port = int(self.params.get("ipa-listen-port") or self.world.options.port)
        self.listener = await AgentListener.open(
            self, self.commands, machine.agent_address, port, context
        )
        machine.note("agent serves", self.listener.url)

    async def _heartbeat_for_ever(self) -> None:
        jitter = self._random("heartbeat")
        while not self.locked and not self._restarting:
            # Cleared before the request, not after it as there: time is compressed here but the
            # request is not, and a command that ends meanwhile would be told minutes later.
            self._forced.clear()
            accepted = await self._heartbeat()
            if accepted:
                timeout = float(self.config.get("heartbeat_timeout") or 300)
                wait = timeout * jitter.uniform(0.3, 0.6) * self.machine.faults.heartbeat_stretch
                speed = self.world.options.heartbeat_speed
            else:
                wait, speed = MIN_HEARTBEAT * jitter.uniform(1, 2), 0.0
            await self._wait_heartbeat(wait, speed, jitter)

    async def _wait_heartbeat(self, wait: float, speed: float, jitter: random.Random) -> None:
        """Wait for the regular heartbeat, or shorter when one is forced."""
        clock = self.machine.clock
        factor = getattr(clock, "speed", 0.0)
        virtual = wait * factor / speed if speed and factor else wait
        regular = asyncio.create_task(clock.sleep(virtual, "heartbeat"))
        forced = asyncio.create_task(self._forced.wait())
        try:
            await asyncio.wait({regular, forced}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            regular.cancel()
            forced.cancel()
        if self._forced.is_set() and not self._restarting and not regular.done():
            late = jitter.uniform(0, MIN_HEARTBEAT) * self.machine.faults.heartbeat_stretch
            await clock.sleep(late, "heartbeat-forced")

    async def _heartbeat(self) -> bool:
        listener = self.listener
        if listener is None:
            return False
        body: dict[str, Any] = {"callback_url": listener.url}
        if self.version >= TOKEN_VERSION:
            body["agent_token"] = self.token
        if self.version >= AGENT_VERSION_SINCE:
            body["agent_version"] = AGENT_VERSION
        if self.version >= VERIFY_CA_VERSION and self.certificate:
            body["agent_verify_ca"] = self.certificate
        version = min(self.version, VERIFY_CA_VERSION)
        path = f"/v1/heartbeat/{self.node['uuid']}"
        try:
            status, reply = await self._api("POST", path, json_body=body, version=version)
        except TROUBLE as problem:
            self.machine.note("heartbeat failed", f"{type(problem).__name__} {problem}")
            return False
        if status != 202:
            self.machine.note("heartbeat refused", f"HTTP {status} {reply[:200]!r}")
        return status == 202
