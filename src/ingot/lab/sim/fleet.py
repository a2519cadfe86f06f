"""Thousands of simulated machines with their BMCs in one process.

Each machine has one loopback address for its BMC and one for its agent: 127.N.0.0/17 for BMCs,
127.N.128.0/17 for agents, N chosen free. All chance comes from the seed: same seed, count,
personalities and timings give the same machines, the same delays and the same faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp

from ingot.lab.sim.agent import Agent
from ingot.lab.sim.agent_state import AgentOptions, AgentWorld
from ingot.lab.sim.bmc import Bmc
from ingot.lab.sim.boot import BootServer
from ingot.lab.sim.clock import Chance, Clock, ScaledClock, SteppedClock
from ingot.lab.sim.delivery import MANNERS
from ingot.lab.sim.enrol import enrol_document, enrol_node
from ingot.lab.sim.faults import Faults
from ingot.lab.sim.inventory import make_identity
from ingot.lab.sim.ipmi import IpmiService
from ingot.lab.sim.listeners import claim_network, raise_file_limit
from ingot.lab.sim.machine import Machine, Ramdisk
from ingot.lab.sim.personalities import personality
from ingot.lab.sim.redfish import RedfishService
from ingot.lab.sim.redfish_events import alert, power_event
from ingot.lab.sim.tls import CertificateShop
from ingot.lab.sim.types import BmcCommand, DestructiveAct, Timings

MAX_MACHINES = 30_000
PLUG_SECONDS = 5.0


@dataclass(frozen=True)
class FleetOptions:
    """`protocols` are dealt out in turn. `network` such as "127.77", None for a free one.

    `stepped` gives every machine a clock of its own that only `Machine.step` moves; BMC delays
    stay in automatic time. `personalities` maps name to share (0..1); the rest is healthy. `manners`: how the
    Redfish services hand their answers over, dealt out in turn from the seed on.
    """

    count: int = 10
    seed: int = 0
    personalities: Mapping[str, float] = field(default_factory=dict[str, float])
    speed: float = 1.0
    stepped: bool = False
    boot_url: str = ""
    protocols: tuple[str, ...] = ("redfish", "ipmi")
    manners: tuple[str, ...] = MANNERS
    network: str | None = None
    redfish_port: int = 8000
    ipmi_port: int = 6230
    bmc_tls: bool = False
    username: str = "admin"
    password: str = "simulated"
    name_prefix: str = "sim"
    resource_class: str = "baremetal"
    timings: Timings = field(default_factory=Timings)
    agent: AgentOptions = field(default_factory=AgentOptions)


class BmcUnit:
    """A BMC with its listener: what stands at one management address."""

    def __init__(self, bmc: Bmc, protocol: str, address: str) -> None:
        self.bmc = bmc
        self.protocol = protocol
        self.address = address
        self.port = 0
        self._service: RedfishService | IpmiService | None = None

    async def open(self, options: FleetOptions, certificates: CertificateShop) -> None:
        if self.protocol == "ipmi":
            service = IpmiService(self.bmc)
            await service.open(self.address, options.ipmi_port)
        else:
            service = RedfishService(self.bmc)
            context = certificates.for_host(self.address) if options.bmc_tls else None
            await service.open(self.address, options.redfish_port, context)
        self.port = service.port
        self._service = service

    async def close(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            await service.close()


class Fleet:
    """`async with Fleet(FleetOptions(...)) as fleet:`; see `machines`, `bmc`, `enrolment`."""

    def __init__(self, options: FleetOptions) -> None:
        if not 0 < options.count <= MAX_MACHINES:
            raise ValueError(f"count must be 1 to {MAX_MACHINES}, not {options.count}")
        if sum(options.personalities.values()) > 1 + 1e-9:
            raise ValueError("the shares of the personalities add up to more than 1")
        unknown = set(options.protocols) - {"redfish", "ipmi"}
        if unknown or not options.protocols:
            raise ValueError(f"protocols must be redfish or ipmi, not {sorted(unknown)}")
        self.options = options
        self.clock = ScaledClock(options.speed)
        self.machines: dict[str, Machine] = {}
        self._units: dict[str, BmcUnit] = {}
        self._lock: socket.socket | None = None
        self._world: AgentWorld | None = None
        self.network = ""

    async def __aenter__(self) -> Fleet:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _start(self) -> None:
        options = self.options
        raise_file_limit(options.count * 6 + 1024)
        self.network, self._lock = claim_network(options.network)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=5),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        self._world = AgentWorld(session, CertificateShop(), options.agent, set())
        boot = BootServer(options.boot_url, session) if options.boot_url else None
        kinds = deal(options.personalities, options.count, options.seed)
        for index, kind in enumerate(kinds):
            machine = self._make(index, kind, boot)
            self.machines[machine.name] = machine
            self._units[machine.name] = self._make_bmc(machine)
        for unit in self._units.values():
            await unit.open(options, self._world.certificates)

    def _address(self, number: int) -> str:
        return f"{self.network}.{number >> 8}.{number & 255}"

    def _make(self, index: int, kind: str, boot: BootServer | None) -> Machine:
        options = self.options
        chance = Chance(options.seed, index)
        identity, hardware = make_identity(index, chance.stream("hardware"))
        faults = Faults()
        faults.put(personality(kind).draw(chance.stream("personality")))
        clock: Clock = SteppedClock() if options.stepped else self.clock
        machine = Machine(
            f"{options.name_prefix}-{index:04d}",
            index,
            identity,
            hardware,
            clock=clock,
            timings=options.timings,
            chance=chance,
            faults=faults,
            boot_server=boot,
            agent_factory=self._agent,
            agent_address=self._address(0x8000 + index + 1),
        )
        machine.personality = kind
        machine.bmc_address = self._address(index + 1)
        return machine

    def _agent(self, machine: Machine, params: dict[str, str], mac: str) -> Ramdisk:
        assert self._world is not None
        return Agent(machine, params, mac, self._world)

    def _make_bmc(self, machine: Machine) -> BmcUnit:
        options, manners = self.options, self.options.manners
        bmc = Bmc(
            machine,
            username=options.username,
            password=options.password,
            faults=machine.faults,
            clock=self.clock,
            chance=Chance(options.seed, machine.index, "bmc"),
            manner=manners[(options.seed + machine.index // len(options.protocols)) % len(manners)],
        )
        machine.power_listeners.append(lambda power: bmc.board.emit(power_event(power)))
        protocol = options.protocols[machine.index % len(options.protocols)]
        return BmcUnit(bmc, protocol, machine.bmc_address)

    async def close(self) -> None:
        """End everything; may be called twice."""
        await asyncio.gather(*(machine.close() for machine in self.machines.values()))
        await asyncio.gather(*(unit.close() for unit in self._units.values()))
        world, self._world = self._world, None
        if world is not None:
            await world.session.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    # Reading ------------------------------------------------------------------------------

    def machine(self, name: str) -> Machine:
        """By name. Raises KeyError."""
        return self.machines[name]

    def bmc(self, name: str) -> Bmc:
        """The BMC that stands at the management address of machine `name`."""
        return self._units[name].bmc

    def unit(self, name: str) -> BmcUnit:
        return self._units[name]

    def commands(self) -> list[tuple[str, BmcCommand]]:
        """All state-changing BMC commands of the fleet, oldest first, with the machine's name."""
        rows = [(name, one) for name, u in self._units.items() for one in u.bmc.commands]
        return sorted(rows, key=lambda row: row[1].wall)

    def destructive_acts(self) -> list[tuple[str, DestructiveAct]]:
        rows = [(m.name, act) for m in self.machines.values() for act in m.destructive_acts]
        return sorted(rows, key=lambda row: row[1].wall)

    def enrolment(self, *names: str) -> dict[str, Any]:
        """The document for `openstack baremetal create`, of all machines or of those named."""
        nodes: list[dict[str, Any]] = []
        for name in names or tuple(self.machines):
            unit = self._units[name]
            nodes.append(
                enrol_node(
                    self.machines[name],
                    protocol=unit.protocol,
                    address=unit.address,
                    port=unit.port,
                    username=self.options.username,
                    password=self.options.password,
                    tls=self.options.bmc_tls,
                    resource_class=self.options.resource_class,
                )
            )
        return enrol_document(nodes)

    # Doing mischief -----------------------------------------------------------------------

    def inject(self, name: str, fault: str | dict[str, object]) -> None:
        """Set knobs of `Faults`, or draw those of a personality by its name, at run time."""
        machine = self.machines[name]
        if isinstance(fault, str):
            kind = personality(fault)
            machine.faults.put(kind.draw(machine.chance.stream("personality")))
            machine.personality = kind.name
        else:
            machine.faults.put(fault)
        machine.note("fault injected", str(fault))

    def alert(self, name: str, text: str, severity: str = "Warning") -> None:
        """The BMC tells its subscribers so. severity: OK, Warning or Critical."""
        self.bmc(name).board.emit(alert(text, severity))

    def heal(self, name: str) -> None:
        self.machines[name].faults.clear()
        self.machines[name].personality = "healthy"

    def swap_bmcs(self, one: str, other: str) -> None:
        """Exchange the management cables: each address now commands the other machine."""
        a, b = self._units[one].bmc, self._units[other].bmc
        a.backend, b.backend = b.backend, a.backend
        first, second = self.machines[one], self.machines[other]
        first.power_listeners, second.power_listeners = (
            second.power_listeners,
            first.power_listeners,
        )
        first.bmc_address, second.bmc_address = second.bmc_address, first.bmc_address

    async def pull_plug(self, name: str) -> None:
        """Mains gone: the machine stops at once and its BMC answers nothing (no listener)."""
        self.machines[name].pull_plug()
        await self._units[name].close()

    async def plug_in(self, name: str) -> None:
        """Mains back: the BMC needs a while to start; the machine stays off."""
        assert self._world is not None
        unit = self._units[name]
        await unit.open(self.options, self._world.certificates)
        unit.bmc.go_silent(PLUG_SECONDS)


def deal(shares: Mapping[str, float], count: int, seed: int) -> list[str]:
    """Personalities of `count` machines: each share rounded to a whole number, seeded order.

    Largest remainders get the machines that rounding leaves, so that the misbehaving part of a
    fleet has the size that was asked for. Raises KeyError for an unknown name.
    """
    for name in shares:
        personality(name)
    exact = {name: share * count for name, share in shares.items()}
    given = {name: int(value) for name, value in exact.items()}
    left = round(sum(exact.values())) - sum(given.values())
    by_remainder = sorted(exact, key=lambda name: (given[name] - exact[name], name))
    for name in by_remainder[: max(0, left)]:
        given[name] += 1
    kinds = [name for name in sorted(given) for _ in range(given[name])][:count]
    kinds += ["healthy"] * (count - len(kinds))
    random.Random(f"{seed}/deal").shuffle(kinds)
    _pair_up(kinds)
    return kinds


def _pair_up(kinds: list[str]) -> None:
    """One machine alone can't have a duplicate UUID: make it two."""
    if kinds.count("duplicate-uuid") == 1:
        with contextlib.suppress(ValueError):
            kinds[kinds.index("healthy")] = "duplicate-uuid"
