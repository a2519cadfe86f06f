"""Agents of imaginary machines, at the client's wire: no socket, virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ingot.drivers.faults import BadCredentials, Busy, Unreachable, Unsupported
from ingot.drivers.machine.agent.client import AgentAddress, AgentClient
from ingot.drivers.machine.fake.world import FakeMachine
from ingot.drivers.machine.types import PowerState
from ingot.kit.tasks.clock import Clock

#: Commands that answer at once; all others take some seconds.
_AT_ONCE = ("get_", "poll.", "standby.sync", "rescue.", "log.")
_STEPS = {
    "clean": [
        {"step": "erase_devices_metadata", "priority": 99, "interface": "deploy"},
        {"step": "erase_devices", "priority": 10, "interface": "deploy", "abortable": True},
        {"step": "burnin_cpu", "priority": 0, "interface": "deploy", "reboot_requested": True},
    ],
    "deploy": [
        {"step": "write_image", "priority": 0, "interface": "deploy"},
        {"step": "inject_files", "priority": 0, "interface": "deploy"},
    ],
    "service": [{"step": "burnin_cpu", "priority": 0, "interface": "deploy", "abortable": True}],
}


@dataclass
class Command:
    id: str
    name: str
    ends: float
    result: dict[str, Any]
    fails: bool = False


@dataclass
class SimAgent:
    """The agent of one boot. power_cycles: of the boot that it belongs to."""

    machine: FakeMachine
    power_cycles: int
    url: str
    calls_at: float
    token: str = ""
    called: bool = False
    commands: list[Command] = field(default_factory=list[Command])

    @property
    def alive(self) -> bool:
        on = self.machine.power is PowerState.ON
        return on and self.machine.power_cycles == self.power_cycles


def inventory(machine: FakeMachine) -> dict[str, Any]:
    return {
        "interfaces": [{"name": "eth0", "mac_address": machine.mac, "has_carrier": True}],
        "cpu": {"count": 4, "architecture": "x86_64"},
        "disks": [{"name": "/dev/sda", "size": 100 * 2**30}],
        "memory": {"physical_mb": 8192},
        "system_vendor": {"manufacturer": "Imaginary", "serial_number": machine.serial},
        "boot": {"current_boot_mode": "uefi", "pxe_interface": machine.mac},
        "bmc_address": "0.0.0.0",
    }


class FakeAgents(AgentClient):
    """The client with its last step, the HTTP request, answered from memory."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._time = clock
        self._ids = itertools.count(1)
        self.agents: dict[str, SimAgent] = {}
        self.failing: set[str] = set()  # keys of machines whose next long command fails
        self.silent: set[str] = set()  # keys of machines whose agents do not answer

    def boot(self, machine: FakeMachine, after: float) -> SimAgent:
        url = f"https://agent-{next(self._ids)}:9999"
        born = SimAgent(machine, machine.power_cycles, url, self._time.monotonic() + after)
        self.agents[url] = born
        return born

    async def _call(
        self,
        agent: AgentAddress,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        seconds: float = 30.0,
    ) -> dict[str, Any]:
        return await self.ask(agent, method, path, body)

    async def ask(
        self, agent: AgentAddress, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """What the agent at that address answers."""
        here = self.agents.get(agent.url)
        if here is None or not here.alive or here.machine.key in self.silent:
            raise Unreachable(f"{path}: nobody answers")
        if agent.token != here.token:
            raise BadCredentials("the token is not mine")
        if path == "/v1/status":
            return {"started_at": 0, "version": "13.0.0"}
        if method == "POST":
            return self._start(here, dict(body or {}))
        if path == "/v1/commands/":
            return {"commands": [self._shown(one) for one in here.commands]}
        found = [one for one in here.commands if one.id == path.rsplit("/", 1)[-1]]
        if not found:
            raise Unsupported("there is no such command")
        return self._shown(found[0])

    def _shown(self, command: Command) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": command.id, "command_name": command.name.split(".")[-1]}
        if self._time.monotonic() < command.ends:
            return {**shown, "command_status": "RUNNING"}
        if command.fails:
            error = {"type": "Failed", "message": "simulated failure of the agent"}
            return {**shown, "command_status": "FAILED", "command_error": error}
        return {**shown, "command_status": "SUCCEEDED", "command_result": command.result}

    def _start(self, here: SimAgent, body: dict[str, Any]) -> dict[str, Any]:
        now = self._time.monotonic()
        if here.commands and here.commands[-1].ends > now:
            raise Busy("the agent is busy")
        name, params = str(body["name"]), body.get("params") or {}
        at_once = any(part in name for part in _AT_ONCE)
        command = Command(
            f"c{next(self._ids)}",
            name,
            now if at_once else now + 7,
            self._result(here, name, params),
        )
        if not at_once and here.machine.key in self.failing:
            self.failing.discard(here.machine.key)
            command.fails = True
        if name == "standby.power_off":
            command.ends = now
            here.machine.switch(PowerState.OFF)
        here.commands.append(command)
        return self._shown(command)

    @staticmethod
    def _result(here: SimAgent, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        kind = name.split(".")[0]
        if name == "poll.get_hardware_info":
            return inventory(here.machine)
        if ".get_" in name:
            return {f"{kind}_steps": {"generic": _STEPS[kind]}, "hardware_manager_version": {}}
        if ".execute_" in name:
            return {f"{kind}_step": params["step"], f"{kind}_result": None}
        return {}

    def lives(self) -> list[SimAgent]:
        self.agents = {url: one for url, one in self.agents.items() if one.alive}
        return list(self.agents.values())
