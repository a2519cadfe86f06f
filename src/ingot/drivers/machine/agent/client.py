"""Client of the command API of the stock ironic-python-agent (13.0) in a booted machine.

The agent runs one command at a time. Short ("sync") commands answer with their result; long ones
("async") answer at once with an id and are polled, or noticed by the heartbeat that the agent sends
when they end. The callback is https with a certificate that the agent made for its own address and
sent with its heartbeat: that certificate alone is trusted.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ingot.drivers.faults import (
    BadCredentials,
    Busy,
    DriverFault,
    Refused,
    Unreachable,
    Unsupported,
)
from ingot.drivers.fencing import fenced
from ingot.drivers.shape import Json, as_list, is_map
from ingot.kit.http import client as http_client
from ingot.kit.http import untrusted
from ingot.kit.http.egress import Egress
from ingot.kit.tasks.clock import Clock

if TYPE_CHECKING:
    import aiohttp

CALL_SECONDS = 30.0
SYNC_SECONDS = 90.0
#: Logs are the largest reply (`commands.LONGEST_LOGS`, in base64).
LONGEST_REPLY = 24 << 20
MOST_VALUES = 200_000
FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 5.0
LONGEST_ERROR = 2000

RUNNING = "RUNNING"
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
VERSION_MISMATCH = "CLEAN_VERSION_MISMATCH"


@dataclass(frozen=True)
class AgentAddress:
    """What the agent told with its heartbeat, and the token that lookup gave it.

    url: callback_url, "https://10.0.0.5:9999". verify_ca: its certificate as PEM text, None only
    where plain http is allowed.
    """

    url: str
    token: str
    verify_ca: str | None = None

    def __repr__(self) -> str:
        return f"AgentAddress({self.url})"


@dataclass(frozen=True)
class AgentCommand:
    """One command of the agent: RUNNING, SUCCEEDED, FAILED or CLEAN_VERSION_MISMATCH.

    error: {"type", "code", "message", "details"} when it failed.
    """

    id: str
    name: str
    status: str
    result: Json | None = None
    error: Json | None = None

    @property
    def done(self) -> bool:
        return self.status != RUNNING

    def value(self) -> Json:
        """The result; the agent's own words as a fault when it failed, Busy while it runs."""
        if self.status == SUCCEEDED:
            return self.result or {}
        if self.status == RUNNING:
            raise Busy(f"the agent still runs {self.name}")
        raise command_fault(self)


class VersionMismatch(Refused):
    """The agent's hardware managers changed since the steps were read: read them again."""


class CommandLost(Refused):
    """The agent does not know the command's id: it has restarted since."""


class AgentClient:
    """Calls to agents. One per process; holds connections, no state of machines.

    longest_reply: bytes of a reply, packed or not, that are read: anybody may have answered. egress: whom
    machines may name as their agents.
    """

    def __init__(
        self, clock: Clock, longest_reply: int = LONGEST_REPLY, egress: Egress | None = None
    ) -> None:
        self._clock = clock
        self._egress = egress or Egress()
        self._longest_reply = longest_reply
        self._http: aiohttp.ClientSession | None = None
        self._tls: dict[str, ssl.SSLContext] = {}

    async def status(self, agent: AgentAddress) -> Json:
        """{"started_at", "version"}; needs no token."""
        return await self._call(agent, "GET", "/v1/status")

    async def commands(self, agent: AgentAddress) -> tuple[AgentCommand, ...]:
        """All commands since the agent started, oldest first."""
        body = await self._call(agent, "GET", "/v1/commands/")
        listed = body.get("commands")
        return tuple(_command(item) for item in as_list(listed) if is_map(item))

    async def get_command(self, agent: AgentAddress, command_id: str) -> AgentCommand:
        """One command as it is now. Raises CommandLost when the agent has restarted."""
        if not command_id.replace("-", "").isalnum():
            raise Refused("a command id has letters, digits and dashes only")
        try:
            return _command(await self._call(agent, "GET", f"/v1/commands/{command_id}"))
        except Unsupported as fault:
            raise CommandLost(
                fault.cause, next_action="Boot the agent again and repeat the step."
            ) from None

    async def latest(self, agent: AgentAddress, name: str | None = None) -> AgentCommand | None:
        """The newest command (of that name), e.g. to find one whose reply was lost."""
        listed = await self.commands(agent)
        fitting = [c for c in listed if name is None or c.name in (name, name.split(".")[-1])]
        return fitting[-1] if fitting else None

    async def start(
        self, agent: AgentAddress, name: str, params: Mapping[str, object] | None = None
    ) -> AgentCommand:
        """Send a command "extension.name"; a long one comes back RUNNING.

        Raises Busy while another one runs (then nothing was started).
        """
        body: Json = {"name": name, "params": dict(params or {})}
        return _command(await self._call(agent, "POST", "/v1/commands/", body, SYNC_SECONDS))

    async def run(
        self,
        agent: AgentAddress,
        name: str,
        params: Mapping[str, object] | None = None,
        timeout: float = SYNC_SECONDS,
    ) -> Json:
        """Send a command and give its result, polling up to `timeout` seconds if it is long."""
        command = await self.start(agent, name, params)
        if not command.done:
            command = await self.wait(agent, command.id, timeout)
        return command.value()

    async def wait(self, agent: AgentAddress, command_id: str, timeout: float) -> AgentCommand:
        """Poll until the command is done; a fault Busy when it is not after `timeout` seconds.

        An agent that does not answer for a moment (its machine writes to a slow disk) is asked
        again until the deadline.
        """
        deadline = self._clock.monotonic() + timeout
        poll = FIRST_POLL_SECONDS
        trouble: DriverFault | None = None
        while True:
            try:
                command = await self.get_command(agent, command_id)
                if command.done:
                    return command
                trouble = None
            except (Unreachable, Busy) as fault:
                trouble = fault
            if self._clock.monotonic() + poll > deadline:
                raise trouble or Busy(
                    f"the agent still runs command {command_id} after {timeout:g} s",
                    next_action="Wait longer, or power-cycle the machine and retry.",
                )
            await self._clock.sleep(poll)
            poll = min(poll * 1.5, LONGEST_POLL_SECONDS)

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _call(
        self,
        agent: AgentAddress,
        method: str,
        path: str,
        body: Json | None = None,
        seconds: float = CALL_SECONDS,
    ) -> Json:
        parts = urlsplit(agent.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unsupported("the agent's callback URL is neither http nor https")
        url = f"{parts.scheme}://{parts.netloc}{path}"
        await http_client.ready()
        import aiohttp  # loaded by then (`outgoing`)

        try:
            async with self._session().request(
                method,
                url,
                params={"agent_token": agent.token},
                data=None if body is None else msgspec.json.encode(body),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=10),
                ssl=self._context(agent),
                allow_redirects=False,
            ) as response:
                data = await http_client.whole(response, self._longest_reply)
                if response.status >= 300:
                    raise _http_fault(agent, method, path, response.status, data)
                return _decode(data)
        except untrusted.Unreadable as wrong:
            raise Refused(f"{method} {path}: {wrong}", secrets=(agent.token,)) from None
        except (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise _unreachable(agent, method, path, error) from None

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp  # loaded by then (`outgoing`)

        if self._http is None:
            connector = self._egress.connector(limit=0, keepalive_timeout=15)
            self._http = http_client.session(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=1 << 18,
                trace_configs=[fenced()],
            )
        return self._http

    def _context(self, agent: AgentAddress) -> ssl.SSLContext | bool:
        if not agent.verify_ca:
            return True
        if agent.verify_ca not in self._tls:
            if len(self._tls) > 2000:  # agents make a new certificate at every boot
                self._tls.clear()
            self._tls[agent.verify_ca] = _tls_context(agent.verify_ca)
        return self._tls[agent.verify_ca]


def command_fault(command: AgentCommand) -> DriverFault:
    """The fault of a command that ended badly, in the agent's words."""
    error = command.error or {}
    parts = [str(error.get(key) or "") for key in ("type", "message", "details")]
    words = untrusted.words(": ".join(part for part in parts if part), LONGEST_ERROR)
    cause = f"{command.name}: {words or command.status}"
    if command.status == VERSION_MISMATCH:
        return VersionMismatch(cause, next_action="Read the agent's steps again and restart.")
    return Refused(cause)


def _tls_context(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A self-made certificate has no authority's extensions.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise Refused(f"the agent's certificate cannot be read: {error}") from None
    return context


#: What an agent's error has: ironic-python-agent's api/app.py, `handle_exception`.
_FAULT = frozenset({"faultcode", "faultstring", "debuginfo"})


def _http_fault(
    agent: AgentAddress, method: str, path: str, status: int, data: bytes
) -> DriverFault:
    """Only an agent's own words, in the form that agents give them: the machine may have named any host as its agent."""
    try:
        body = _decode(data)
    except untrusted.Unreadable:
        body = {}
    said = body.get("faultstring") if body.keys() <= _FAULT else None
    words = untrusted.words(said) if isinstance(said, str) and said else "no reason given"
    cause = f"{method} {path}: HTTP {status}: {words}"
    kinds: dict[int, type[DriverFault]] = {401: BadCredentials, 404: Unsupported, 409: Busy}
    kind = Busy if status in (429, 502, 503, 504) else kinds.get(status, Refused)
    next_action = "Boot the agent again: its token is not ours." if status == 401 else None
    return kind(cause, next_action=next_action, secrets=(agent.token,))


def _unreachable(agent: AgentAddress, method: str, path: str, error: BaseException) -> Unreachable:
    import aiohttp  # loaded by then (`outgoing`)

    where = f"{method} {path} of the agent at {agent.url}"
    next_action = "Check that the machine still runs the agent and reaches this network."
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        words = f"{where}: not the certificate that its heartbeat sent: {error}"
    else:
        words = f"{where}: {http_client.why(error)}"
    return Unreachable(words, next_action=next_action, secrets=(agent.token,))


def _decode(data: bytes) -> Json:
    """A reply's document. Raises Unreadable."""
    if not data.strip():
        return {}
    body = untrusted.document(data, most_values=MOST_VALUES)
    return body if is_map(body) else {"value": body}


def _command(body: Json) -> AgentCommand:
    result, error = body.get("command_result"), body.get("command_error")
    if isinstance(error, str):
        error = {"message": error}
    return AgentCommand(
        id=str(body.get("id") or ""),
        name=str(body.get("command_name") or ""),
        status=str(body.get("command_status") or FAILED),
        result=result if is_map(result) else None if result is None else {"result": result},
        error=error if is_map(error) else None,
    )
