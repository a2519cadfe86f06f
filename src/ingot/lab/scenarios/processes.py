"""The lab's own processes of a scenario: the machines, and where it has a cloud of its own, that and its database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from ingot.lab.scenarios.script import CloudPlan, Fleet, ScenarioError

#: No process of ours outlives us, whatever ends us.
ENDS_WITH_US = ["setpriv", "--pdeathsig", "TERM"]
START_SECONDS = 120.0
STOP_SECONDS = 30.0
#: libfaketime, where Debian's package `libfaketime` has it.
FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class Child:
    """A process that ends with us. log: where it writes."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, command: Sequence[str], environment: dict[str, str] | None = None) -> str:
        """Start it and give its first line."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *ENDS_WITH_US,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            said = self._log.read_text(errors="replace")[-2000:]
            raise ScenarioError(f"{self.name} did not start:\n{said}")
        return line.decode().strip()

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self.kill()


class Machines:
    """A fleet in a process of its own, commanded over its control port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child = Child("the fleet of simulated machines", folder / "machines.log")
        self._control = ""
        self.nodes: list[dict[str, Any]] = []

    async def start(self, fleet: Fleet, boot_url: str) -> None:
        enrolment = self._folder / "enrolment.json"
        command = [sys.executable, "-m", "ingot.lab.sim", "--boot-url", boot_url]
        command += ["--count", str(fleet.machines), "--seed", str(fleet.seed)]
        command += ["--speed", str(fleet.speed), "--enrol-file", str(enrolment)]
        command += ["--protocols", ",".join(fleet.protocols), "--image-fetch", "auto"]
        for name, share in fleet.personalities.items():
            command += ["--personality", f"{name}={share}"]
        self._control = json.loads(await self._child.start(command))["control"]
        self.nodes = json.loads(enrolment.read_text())["nodes"]

    async def inject(self, names: Sequence[str], faults: dict[str, Any]) -> None:
        await self._post("/inject", {"names": list(names), "faults": faults})

    async def mains(self, names: Sequence[str], on: bool) -> None:
        await self._post("/mains", {"names": list(names), "on": on})

    async def commands(self) -> list[dict[str, Any]]:
        """What arrived at the controllers and changed something."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._control}/commands") as reply,
        ):
            return (await reply.json())["commands"]

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._control + path, json=body) as reply,
        ):
            if reply.status != 200:
                raise ScenarioError(f"the fleet refused {path}: {await reply.text()}")

    async def stop(self) -> None:
        await self._child.stop()


class Postgres:
    """A private server: loopback only, no login from elsewhere, durable as in real life.

    As root its files are in a folder of their own that goes with us: PostgreSQL then runs as another user, who may
    not enter the folder of a scenario's state.
    """

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name)
        if not found:
            raise ScenarioError("PostgreSQL is not installed: apt-get install postgresql")
        self._programs = found[-1]
        self._own = None
        if os.geteuid() == 0:
            self._own = tempfile.TemporaryDirectory(prefix="ingot-postgres-")
        self._folder = Path(self._own.name) if self._own else folder
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"postgresql://ingot:ingot@127.0.0.1:{self._port}/ingot"

    async def create(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        data = self._folder / "data"
        await self._run(
            "initdb", "-D", data, "-U", "ingot", "-A", "trust", "-E", "UTF8", "--locale=C"
        )
        await self.start()
        await self._run("createdb", "-h", "127.0.0.1", "-p", self._port, "-U", "ingot", "ingot")

    async def start(self) -> None:
        words = ["-D", self._folder / "data", "-p", self._port, "-k", self._folder]
        words += ["-h", "127.0.0.1", "-c", "max_connections=200"]
        self._process = await self._spawn("postgres", *words)
        ends = time.monotonic() + START_SECONDS
        while True:
            asking = await self._spawn("pg_isready", "-q", "-h", "127.0.0.1", "-p", self._port)
            if await asking.wait() == 0:
                return
            if time.monotonic() > ends or self._process.returncode is not None:
                raise ScenarioError(f"PostgreSQL did not start; see {self._folder}/log")
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """At once for its clients, as at a fail-over."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()

    async def _run(self, program: str, *words: object) -> None:
        process = await self._spawn(program, *words)
        async with asyncio.timeout(START_SECONDS):
            code = await process.wait()
        if code != 0:
            said = (self._folder / "log").read_text(errors="replace")[-1000:]
            raise ScenarioError(f"{program} failed: {said}")

    async def _spawn(self, program: str, *words: object) -> asyncio.subprocess.Process:
        with (self._folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._unprivileged(),
                str(self._programs / program),
                *map(str, words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )

    def _unprivileged(self) -> list[str]:
        """PostgreSQL refuses root; the folder is given to its user."""
        if os.geteuid() != 0:
            return ENDS_WITH_US
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                user = pwd.getpwnam(name)
                os.chown(self._folder, user.pw_uid, user.pw_gid)
                ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
                return [*ENDS_WITH_US, "setpriv", *ids, "--pdeathsig", "INT"]
        raise ScenarioError("neither the user postgres nor nobody exists")


class OwnCloud:
    """`ingot serve` on loopback with a state folder of its own."""

    def __init__(self, folder: Path, plan: CloudPlan, *, jumps: bool = False) -> None:
        self._folder = folder
        self._plan = plan
        self._child = Child("the cloud", folder / "serve.log")
        self._listen = f"127.0.0.1:{free_port()}"
        self._boot = f"127.0.0.1:{free_port()}"
        self._jump = 0.0
        self._faketime = _faketime() if jumps else ""
        self.database = Postgres(folder / "postgres") if plan.database == "postgresql" else None

    @property
    def boot_url(self) -> str:
        return f"http://{self._boot}"

    @property
    def clouds(self) -> Path:
        return self._folder / "cloud" / "clouds.yaml"

    async def start(self) -> None:
        if self.database is not None:
            await self.database.create()
        agent = self._folder / "agent"
        agent.write_bytes(b"simulated machines look only at the name")
        tables: dict[str, dict[str, Any]] = {
            "": {
                "state": str(self._folder / "cloud"),
                "listen": self._listen,
                "database": self.database.url if self.database else "",
            },
            "provisioning": {"listen": self._boot, "dhcp": False},
            "ramdisk": {"kernel": str(agent), "initramfs": str(agent)},
            "log": {"level": "warning"},
        }
        for name, values in self._plan.settings.items():
            tables[name] = {**tables.get(name, {}), **values}
        (self._folder / "ingot.toml").write_text(_toml(tables))
        await self.serve()

    async def serve(self) -> None:
        command = [sys.executable, "-m", "ingot.cli.main", "serve"]
        environment: dict[str, str] = {}
        if self._faketime:
            self.jump(0)
            environment = {
                "LD_PRELOAD": self._faketime,
                "FAKETIME_TIMESTAMP_FILE": str(self._folder / "faketime"),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        config = str(self._folder / "ingot.toml")
        await self._child.start([*command, "--config", config], environment)

    def jump(self, seconds: float) -> None:
        """Its wall clock is so many seconds ahead from now on, as after a wrong NTP server."""
        self._jump += seconds
        (self._folder / "faketime").write_text(f"{self._jump:+.0f}\n")

    async def kill(self) -> None:
        await self._child.kill()

    async def stop(self) -> None:
        await self._child.stop()
        if self.database is not None:
            await self.database.stop()


def _faketime() -> str:
    found = sorted(Path("/").glob(FAKETIME.lstrip("/")))
    if not found:
        raise ScenarioError("a clock can only jump with libfaketime: apt-get install libfaketime")
    return str(found[0])


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    """Flat tables as TOML; JSON's plain values are TOML's too."""
    lines: list[str] = []
    for name, values in tables.items():
        lines += [f"[{name}]"] if name else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
