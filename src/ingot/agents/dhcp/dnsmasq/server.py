"""One dnsmasq for one wire: started, fed, watched and ended by us.

A machine that comes or goes is a new file in a folder that dnsmasq watches (seen within milliseconds, see `hosts`). An
address that is given again needs SIGHUP, at which dnsmasq reads all files: the longer that takes, the more seldom it
is sent. Changed ranges or boot options need a restart, which costs no lease, since every address comes from a plan.
The process is ended by the kernel when we die (PDEATHSIG).
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ingot.agents.dhcp.advertiser import Advertiser
from ingot.agents.dhcp.dnsmasq import checks
from ingot.agents.dhcp.dnsmasq.config import render
from ingot.agents.dhcp.dnsmasq.hosts import HostFiles, HostsChange, replace_file
from ingot.agents.dhcp.dnsmasq.release import release
from ingot.agents.dhcp.dnsmasq.words import Word, understand
from ingot.agents.dhcp.plans import DhcpChange, DhcpPlan
from ingot.kit import log
from ingot.kit.faults import Failed, Fault
from ingot.kit.tasks.clock import Clock
from ingot.kit.tasks.processes import cpu_seconds

#: Called with a machine's MAC (None: the server itself), what happened, and dnsmasq's own words.
OnEvent = Callable[[str | None, str, str], None]

START_DEADLINE = 10.0
STOP_DEADLINE = 3.0
#: A watched file is read in milliseconds; after this we send SIGHUP instead.
READ_DEADLINE = 0.5
#: Seconds between two signals: as many times the processor's seconds that dnsmasq has used since the last one, but
#: within these bounds.
REREAD_REST = 4.0
REREAD_INTERVAL, MOST_REREAD_INTERVAL = 1.0, 10.0
#: Reading all files takes less.
REREAD_DEADLINE = 10.0
#: Entries that dnsmasq keeps in vain before we have it read all for that alone.
MOST_DEAD = 1000
FIRST_BACKOFF, MOST_BACKOFF = 0.2, 30.0
#: Up for so long, a server is healthy and its next death starts the backoff anew.
HEALTHY_AFTER = 60.0

_CAPABILITIES = "-all,+net_bind_service,+net_admin,+net_raw,+setgid"
#: dnsmasq's word for a file that it has read, and its whole line.
_READ = b": read /"
_READ_LINE = re.compile(rb"^dnsmasq[^ ]*: read (/.*)\n?", re.MULTILINE)
_log = log.get("dnsmasq")


@dataclass(frozen=True, slots=True)
class Status:
    """How a server is. pid: None while it does not serve. generation: of the newest plan in force."""

    name: str
    interface: str
    pid: int | None
    generation: int
    restarts: int
    fault: str | None


class Server:
    """The DHCP and TFTP server of one wire. folder: its own, made when missing."""

    def __init__(self, name: str, folder: Path, clock: Clock, on_event: OnEvent) -> None:
        self.name = name
        self._folder = folder.absolute()
        self._clock = clock
        self._on_event = on_event
        self._plan: DhcpPlan | None = None
        self._advertiser: Advertiser | None = None
        self._config = ""
        self._hosts = HostFiles(self._folder / "hosts")
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._reads: dict[str, asyncio.Future[None]] = {}
        self._seen: set[str] = set()
        self._transactions: OrderedDict[str, str] = OrderedDict()
        self._changing = asyncio.Lock()
        self._reread: asyncio.Task[None] | None = None
        self._last_reread = -MOST_REREAD_INTERVAL
        self._spent = 0.0
        self._generation = 0
        self._restarts = 0
        self._backoff = FIRST_BACKOFF
        self._fault: str | None = None

    @property
    def status(self) -> Status:
        return Status(
            name=self.name,
            interface=self._plan.interface if self._plan else "",
            pid=self._process.pid if self._process and self._serving() else None,
            generation=self._generation,
            restarts=self._restarts,
            fault=self._fault,
        )

    async def apply(self, plan: DhcpPlan) -> int:
        """Bring a plan into force; returns the generation that is in force then.

        May be called again while an older plan is still on its way; an older plan than the newest is left.
        Raises Failed with the next action when the wire can't be served.
        """
        if self._plan is not None and plan.generation < self._plan.generation:
            return self._generation
        # Its hosts are in the files, and may be many.
        self._plan = replace(plan, hosts=())
        try:
            await self._follow(plan)
        except Fault as fault:
            self._fault = fault.sentence()
            raise
        self._fault = None
        self._generation = max(self._generation, plan.generation)
        return self._generation

    async def amend(self, change: DhcpChange) -> int | None:
        """Bring a change into force; returns as `apply` does, None when it does not continue what is here."""
        plan = self._plan
        if plan is None or plan.generation < change.since:
            return None
        if change.generation <= plan.generation:
            return self._generation
        self._plan = replace(plan, generation=change.generation)
        try:
            if plan.ranges:
                config = render(plan, self._folder)
                await self._make_known(plan, config, self._hosts.change(change.put, change.gone))
        except Fault as fault:
            self._fault = fault.sentence()
            raise
        self._generation = max(self._generation, change.generation)
        return self._generation

    async def _follow(self, plan: DhcpPlan) -> None:
        if not plan.ranges:
            await self.close()
            return
        # No await between here and the files: plans are written in the order in which they come.
        config = render(plan, self._folder)
        await self._make_known(plan, config, self._hosts.become(plan.hosts))

    async def _make_known(self, plan: DhcpPlan, config: str, change: HostsChange) -> None:
        """Have the process see what the files say."""
        self._seen.difference_update(change.removed)
        if config != self._config or not self._alive():
            await self._start(plan, config)
        else:
            await self._see(change, subnets=len(plan.ranges))
        self._hosts.was_read(change)
        self._seen.difference_update(change.tombstones.values(), [change.last])
        for host in change.gone:
            with suppress(OSError):
                release(host.mac, host.ip, plan.listen, plan.interface)

    async def _see(self, change: HostsChange, subnets: int) -> None:
        if not await self._read(change.new):
            _log.warning("dnsmasq did not see new files; sending SIGHUP", wire=self.name)
            await self._signal()
        elif change.refused or (change.moved and subnets > 1):
            await self._signal()
            await self._read(change.refused, REREAD_DEADLINE)
        elif self._hosts.dead > max(MOST_DEAD, len(self._hosts)) and self._reread is None:
            self._reread = asyncio.create_task(self._signal_soon())

    async def close(self) -> None:
        """End the server; it answers nobody then."""
        async with self._changing:
            await self._stop()
            self._advertise(None)
            self._config = ""

    # -- files -----------------------------------------------------------------------------------

    def _write_config(self, plan: DhcpPlan, config: str) -> None:
        replace_file(self._folder / "reread", "")
        tftp = self._folder / "tftp"
        tftp.mkdir(parents=True, exist_ok=True)
        if plan.boot is not None:
            for name in set(plan.boot.loaders.values()):
                source = checks.find_loader(name)
                shutil.copyfile(source, tftp / f".{name}.new")
                os.replace(tftp / f".{name}.new", tftp / name)
        replace_file(self._folder / "dnsmasq.conf", config)

    # -- the process -----------------------------------------------------------------------------

    def _alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def _serving(self) -> bool:
        """Alive, and it has said so."""
        return self._alive() and self._started is not None and self._started.done()

    async def _start(self, plan: DhcpPlan, config: str) -> None:
        async with self._changing:
            if config == self._config and self._alive():
                return
            await self._stop()
            await asyncio.to_thread(checks.check_interface, plan)
            await asyncio.to_thread(checks.check_ports, plan)
            await asyncio.to_thread(self._write_config, plan, config)
            await self._run()
            self._config = config
            self._advertise(plan)

    async def _run(self) -> None:
        """Start the process and wait until it says that it serves."""
        self._started = asyncio.get_running_loop().create_future()
        self._seen.clear()
        self._hosts.forget()
        self._spent = 0.0
        guard = ["setpriv", "--pdeathsig", "KILL"]
        if os.geteuid() == 0:
            guard += ["--no-new-privs", "--inh-caps", "-all", "--bounding-set", _CAPABILITIES]
        self._process = await asyncio.create_subprocess_exec(
            *guard,
            checks.binary(),
            f"--conf-file={self._folder / 'dnsmasq.conf'}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._listen(self._process))
        try:
            await asyncio.wait_for(asyncio.shield(self._started), START_DEADLINE)
        except TimeoutError:
            await self._stop()
            raise Failed(
                f"dnsmasq on {self.name} did not start within {START_DEADLINE:.0f} s.",
                next_action="Look at the machine's load, and try again.",
            ) from None
        except Fault:
            await self._stop()
            raise
        _log.info("dnsmasq serves", wire=self.name, pid=self._process.pid)
        self._watcher = asyncio.create_task(self._watch(self._process))

    async def _stop(self) -> None:
        for task in (self._watcher, self._reread):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._watcher = self._reread = None
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_DEADLINE)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=STOP_DEADLINE)
            self._reader.cancel()
            self._reader = None

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Start again whatever dies, each time a little later while it keeps dying."""
        since = self._clock.monotonic()
        code = await process.wait()
        self._on_event(None, "died", f"dnsmasq of {self.name} ended with {code}; starting it again")
        _log.warning("dnsmasq died", wire=self.name, code=code)
        if self._clock.monotonic() - since > HEALTHY_AFTER:
            self._backoff = FIRST_BACKOFF
        while True:
            await self._clock.sleep(self._backoff)
            self._backoff = min(self._backoff * 2, MOST_BACKOFF)
            self._restarts += 1
            try:
                async with self._changing:
                    if self._process is not process or self._plan is None:
                        return
                    await asyncio.to_thread(checks.check_interface, self._plan)
                    await asyncio.to_thread(checks.check_ports, self._plan)
                    await self._run()
                self._fault = None
                return
            except Fault as fault:
                self._fault = fault.sentence()
                self._process = process
                _log.warning("dnsmasq can't start", wire=self.name, fault=self._fault)

    def _advertise(self, plan: DhcpPlan | None) -> None:
        """Keep booting machines from waiting for an IPv6 router; None: no more."""
        if self._advertiser is not None:
            self._advertiser.close()
            self._advertiser = None
        if plan is not None and plan.boot is not None:
            self._advertiser = Advertiser(plan.interface)
            self._advertiser.open()

    # -- waiting for dnsmasq ---------------------------------------------------------------------

    async def _signal(self) -> None:
        """Have all files read again: one signal for all who ask meanwhile."""
        if self._reread is None:
            self._reread = asyncio.create_task(self._signal_soon())
        await asyncio.wait([self._reread])  # waits, and cancels nothing when we are cancelled

    async def _signal_soon(self) -> None:
        while (rest := self._rest()) > 0:
            await self._clock.sleep(rest)
        # From here on a change needs a signal of its own.
        self._reread = None
        self._last_reread = self._clock.monotonic()
        marker = str(self._folder / "reread")
        if self._process is not None and self._alive():
            self._spent = cpu_seconds(self._process.pid)
            self._seen.discard(marker)
            self._seen -= self._hosts.forget()
            self._process.send_signal(signal.SIGHUP)
            await self._read([marker], REREAD_DEADLINE)

    def _rest(self) -> float:
        """Seconds until dnsmasq may be made to read all files again; it is a small part of a core then."""
        used = cpu_seconds(self._process.pid) - self._spent if self._process else 0.0
        interval = min(max(REREAD_INTERVAL, REREAD_REST * used), MOST_REREAD_INTERVAL)
        return self._last_reread + interval - self._clock.monotonic()

    async def _read(self, paths: list[str], deadline: float = READ_DEADLINE) -> bool:
        """Wait until dnsmasq says that it has read these files; False when it does not."""
        loop = asyncio.get_running_loop()
        waiting = [
            self._reads.setdefault(path, loop.create_future())
            for path in paths
            if path not in self._seen
        ]
        if not waiting:
            return True
        _, pending = await asyncio.wait(waiting, timeout=deadline)
        return not pending

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Read dnsmasq's log to its end."""
        assert process.stderr is not None
        last, rest = "", b""
        while octets := await process.stderr.read(1 << 16):
            whole, mark, rest = (rest + octets).rpartition(b"\n")
            if _READ in whole:
                whole = self._were_read(whole)
            for line in (whole + mark).splitlines():
                last = line.decode(errors="replace").strip()
                word = understand(last)
                if word is not None:
                    self._hear(word)
        if self._started is not None and not self._started.done():
            self._started.set_exception(_did_not_start(self.name, last))

    def _were_read(self, lines: bytes) -> bytes:
        """Note the files that dnsmasq has read; gives the other lines.

        After each signal it names the file of every host, thousands in a second, and nobody waits for most of them.
        """
        files = [os.fsdecode(name) for name in _READ_LINE.findall(lines)]
        self._seen.update(files)
        if self._reads:
            for file in self._reads.keys() & set(files):
                waiting = self._reads.pop(file)
                if not waiting.done():
                    waiting.set_result(None)
        return _READ_LINE.sub(b"", lines)

    def _hear(self, word: Word) -> None:
        if word.what == "started":
            if self._started is not None and not self._started.done():
                self._started.set_result(None)
        elif word.what == "trouble" and str(self._hosts.folder) in word.text:
            # It looked at a host's file just when we had taken it away: nothing is wrong.
            _log.debug("dnsmasq", wire=self.name, text=word.text)
        elif word.what == "trouble":
            self._on_event(None, "trouble", word.text)
            _log.warning("dnsmasq", wire=self.name, text=word.text)
        else:
            self._tell(word)

    def _tell(self, word: Word) -> None:
        """A machine's event. TFTP's lines name an address, those on boot files a transaction."""
        mac = word.mac
        if mac is not None and word.xid is not None:
            self._transactions[word.xid] = mac
            if len(self._transactions) > 1000:
                self._transactions.popitem(last=False)
        elif word.xid is not None:
            mac = self._transactions.get(word.xid)
        elif word.ip is not None:
            mac = self._hosts.mac_of(word.ip)
        if mac is not None:
            self._on_event(mac, word.what, word.text)


def _did_not_start(name: str, last: str) -> Failed:
    return Failed(
        f"dnsmasq on {name} did not start: {last or 'it said nothing'}.",
        next_action="Correct what it names; it is started again with the next plan.",
    )
