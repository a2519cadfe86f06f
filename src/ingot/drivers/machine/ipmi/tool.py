"""Running ipmitool: one short process per call, and what its words mean.

Secrets go by environment variables (`-E`, `-K`), never in the argument list, which every user of
the host can read. The cipher suite is always given: without it ipmitool asks the controller first
and waits ten seconds where that question is not understood. Suite 17 is tried, then 3; what worked
is remembered per controller.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingot.drivers.addresses import found
from ingot.drivers.faults import (
    BadCredentials,
    Busy,
    DriverFault,
    Refused,
    Unreachable,
    Unsupported,
)
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.ipmi.probe import answers
from ingot.drivers.machine.types import Access
from ingot.drivers.pace import Refusals
from ingot.kit.tasks import fencing

CALL_SECONDS = 25.0
RESEND_SECONDS = 1
RESENDS = 4
CIPHER_SUITES = ("17", "3")
LONGEST_OUTPUT = 1 << 20
LOG_IN_TRIES = 3
# A controller that answered within this time is not probed before a call.
KNOWN_ALIVE_SECONDS = 60.0

# Our reading of ipmitool's words; compared in lower case, the first match counts.
MEANINGS: tuple[tuple[str, type[DriverFault]], ...] = (
    # It answered the open request before: alive, but too busy to go on.
    ("no response from rakp", Busy),
    ("unauthorized name", BadCredentials),
    ("invalid user name", BadCredentials),
    ("hmac is invalid", BadCredentials),
    ("invalid integrity check value", BadCredentials),
    ("incorrect password", BadCredentials),
    ("password is longer", BadCredentials),
    ("username is longer", BadCredentials),
    ("activate session error", BadCredentials),
    ("invalid role", BadCredentials),
    ("unauthorized role", BadCredentials),
    ("insufficient privilege", BadCredentials),
    ("set session privilege level", BadCredentials),
    ("node busy", Busy),
    ("insufficient resources", Busy),
    ("bmc initialization in progress", Busy),
    ("timeout while processing command", Busy),
    ("out of space", Busy),
    ("invalid command", Unsupported),
    ("command not supported in present state", Refused),
    ("not supported", Unsupported),
    ("parameter out of range", Unsupported),
    ("could not open socket", Unreachable),
    ("no route to host", Unreachable),
    ("network is unreachable", Unreachable),
    ("address lookup", Unreachable),
    ("name or service not known", Unreachable),
    ("connection refused", Unreachable),
    ("no response", Unreachable),
    ("timeout", Unreachable),
)
NO_SESSION = "unable to establish"
NO_CIPHER = (
    "invalid authentication algorithm",
    "invalid integrity algorithm",
    "invalid confidentiality algorithm",
    "no matching cipher",
    "no cipher suite",
    "no matching integrity",
    "unsupported cipher",
)


@dataclass(frozen=True)
class Target:
    """One controller as ipmitool needs it."""

    host: str
    port: int
    user: str
    password: str
    privilege: str
    kg_key: str
    cipher_suite: str
    interface: str

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def key(self) -> str:
        """Changes when any detail changes, so that a corrected password is used at once."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.password, self.kg_key)


def target_of(access: Access) -> Target:
    """The controller that `access` describes."""
    version = access.text("ipmi_protocol_version", "2.0")
    return Target(
        host=access.text("ipmi_address"),
        port=access.number("ipmi_port", 623),
        user=access.text("ipmi_username"),
        password=access.text("ipmi_password"),
        privilege=access.text("ipmi_priv_level", "ADMINISTRATOR").upper(),
        kg_key=access.text("ipmi_hex_kg_key"),
        cipher_suite=access.text("ipmi_cipher_suite"),
        interface="lanplus" if version == "2.0" else "lan",
    )


def command_line(target: Target, at: str, suite: str, command: Sequence[str]) -> list[str]:
    """Arguments of ipmitool, free of secrets. at: the address that was found for the target's host."""
    line = ["ipmitool", "-I", target.interface, "-H", at, "-p", str(target.port)]
    line += ["-L", target.privilege, "-U", target.user, "-E"]
    line += ["-N", str(RESEND_SECONDS), "-R", str(RESENDS)]
    if target.interface == "lanplus":
        line += ["-C", suite]
        if target.kg_key:
            line.append("-K")
    return [*line, *command]


def environment(target: Target) -> dict[bytes, bytes]:
    """Environment of ipmitool: nothing of ours but PATH, and the secrets."""
    values = {
        b"PATH": os.environb.get(b"PATH", b"/usr/sbin:/usr/bin:/sbin:/bin"),
        b"LC_ALL": b"C",
        b"HOME": b"/nonexistent",
        b"IPMI_PASSWORD": target.password.encode(),
    }
    if target.kg_key:
        key = bytes.fromhex(target.kg_key.removeprefix("0x")).rstrip(b"\0")
        if b"\0" in key:
            raise Unsupported("an ipmi_hex_kg_key with a zero byte inside cannot be passed safely")
        values[b"IPMI_KGKEY"] = key
    return values


class IpmiTool:
    """Calls of ipmitool for all controllers of the process."""

    def __init__(self, context: DriverContext) -> None:
        self._gates = context.gates
        self._suites: dict[str, str] = {}
        self._clock = context.clock
        self._egress = context.egress
        self.refusals = Refusals(context.clock)
        self._alive: dict[str, float] = {}

    async def run(self, access: Access, *command: str, seconds: float = CALL_SECONDS) -> str:
        """Standard output of one command; a fault with the controller's words otherwise."""
        target = target_of(access)
        gate = self._gates.gate(f"ipmi:{target.address}")
        return await gate.run(lambda: self._patiently(target, command, seconds))

    async def raw(self, access: Access, *data: int) -> bytes:
        """Reply bytes (without the completion code) of a raw command: netfn, command, data."""
        words = await self.run(access, "raw", *(f"0x{byte:02x}" for byte in data))
        return bytes.fromhex("".join(words.split()))

    async def find(self, target: Target) -> str:
        """The address to ask at: the target's host may be a name, which means another address the next time."""
        return await found(self._egress, "ipmi_address", target.host, target.port)

    def suite(self, target: Target) -> str:
        """The cipher suite to use now: the option, what was learned, or the first to try."""
        learned = self._suites.get(target.address)
        return target.cipher_suite or learned or CIPHER_SUITES[0]

    def knows(self, target: Target) -> bool:
        """Whether some suite has opened a session here before."""
        return target.address in self._suites

    def learn(self, target: Target, suite: str) -> None:
        """This suite has opened a session: the controller lives and knows it."""
        self._suites[target.address] = suite
        self._alive[target.address] = self._clock.monotonic()

    async def _patiently(self, target: Target, command: Sequence[str], seconds: float) -> str:
        """Refused credentials are tried again, as some controllers refuse right ones at times.

        Then the refusal is remembered for a while: more tries might lock the account.
        """
        self.refusals.check(target.key)
        for _ in range(LOG_IN_TRIES - 1):
            try:
                return await self._run(target, command, seconds)
            except BadCredentials:
                await self._clock.sleep(1.0)
        try:
            return await self._run(target, command, seconds)
        except BadCredentials as fault:
            self.refusals.note(target.key, fault)
            raise

    async def _run(self, target: Target, command: Sequence[str], seconds: float) -> str:
        suites = [self.suite(target)]
        if not target.cipher_suite and target.interface == "lanplus":
            suites += [suite for suite in CIPHER_SUITES if suite not in suites]
        at = await self.find(target)
        await self._prove_alive(target, at)
        words = ""
        for suite in suites:
            line = command_line(target, at, suite, command)
            code, output, errors = await execute(line, environment(target), seconds)
            if code == 0 or NO_SESSION not in errors.lower():
                self.learn(target, suite)
            if code == 0:
                return output
            words = errors.strip() or output.strip() or f"ipmitool ended with {code}"
            if not _is_about_the_suite(words):
                break
        raise await self._fault(target, at, words)

    async def _prove_alive(self, target: Target, at: str) -> None:
        """One datagram instead of ipmitool's twenty seconds when nobody is there."""
        seen = self._alive.get(target.address)
        if seen is not None and self._clock.monotonic() - seen < KNOWN_ALIVE_SECONDS:
            return
        if not await answers(at, target.port):
            raise Unreachable(f"no IPMI controller answers at {target.address}")

    async def _fault(self, target: Target, at: str, words: str) -> DriverFault:
        plain = words.lower()
        for text, kind in MEANINGS:
            if text in plain:
                return kind(words, secrets=target.secrets)
        if NO_SESSION in plain or _is_about_the_suite(words):
            # ipmitool says the same whether nobody answers or the password is wrong.
            if await answers(at, target.port):
                return BadCredentials(
                    f"{target.address} answers but opens no session: {words}",
                    next_action="Check user name, password, privilege level and cipher suite.",
                    secrets=target.secrets,
                )
            self._alive.pop(target.address, None)
            return Unreachable(f"{target.address}: {words}", secrets=target.secrets)
        return Refused(words, secrets=target.secrets)


def _is_about_the_suite(words: str) -> bool:
    plain = words.lower()
    return any(text in plain for text in NO_CIPHER)


async def execute(
    line: Sequence[str], environ: Mapping[bytes, bytes], seconds: float
) -> tuple[int, str, str]:
    """Run a program to its end: exit code, standard output, standard error.

    It is killed after `seconds` and when the caller is cancelled; Unreachable in the first case.
    """
    if shutil.which(line[0]) is None:
        raise Unsupported(f"{line[0]} is not installed", next_action=f"apt-get install {line[0]}")
    fencing.check()
    process = await asyncio.create_subprocess_exec(
        *line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
        limit=LONGEST_OUTPUT,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        raise Unreachable(f"no answer within {seconds:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    code = process.returncode if process.returncode is not None else -1
    return code, output.decode(errors="replace"), errors.decode(errors="replace")
