"""Simulated machines: coroutines that speak real Redfish, IPMI and the real agent protocol.

    async with Fleet(FleetOptions(count=1000, seed=7, speed=100, boot_url=url)) as fleet:
        document = fleet.enrolment()        # for `openstack baremetal create`
        machine = fleet.machine("sim-0001")
        await machine.wait_for("instance", timeout=30)
        assert len(machine.destructive_acts) == 2

or as a process: `python -m ingot.lab.sim --count 1000 --seed 7 --boot-url … --enrol-file f.json`.
The server under test sees only sockets on 127.0.0.0/8. Redfish controllers have virtual media (machines
boot ISOs from a URL), BIOS settings with their registry, RAID volumes, firmware updates, secure boot, tasks
and event subscriptions to which they send power changes, alerts and test events. Not simulated: DHCP and TFTP
(the boot script is asked for over HTTP); RAID volumes and BIOS settings do not change what the agent sees.
"""

from ingot.lab.sim.agent_state import AgentOptions
from ingot.lab.sim.bmc import Bmc
from ingot.lab.sim.clock import Chance, ScaledClock, SteppedClock
from ingot.lab.sim.control import ControlServer
from ingot.lab.sim.faults import ALWAYS, Faults
from ingot.lab.sim.fleet import Fleet, FleetOptions
from ingot.lab.sim.ipmi import IpmiService
from ingot.lab.sim.machine import Machine
from ingot.lab.sim.personalities import PERSONALITIES, RECOVERS, STOPS, Personality, misbehaving
from ingot.lab.sim.redfish import RedfishService
from ingot.lab.sim.types import (
    BmcCommand,
    BootDevice,
    BootMode,
    BootSetting,
    DestructiveAct,
    Hardware,
    Identity,
    PowerBackend,
    PowerState,
    Timings,
)

__all__ = [
    "ALWAYS",
    "PERSONALITIES",
    "RECOVERS",
    "STOPS",
    "AgentOptions",
    "Bmc",
    "BmcCommand",
    "BootDevice",
    "BootMode",
    "BootSetting",
    "Chance",
    "ControlServer",
    "DestructiveAct",
    "Faults",
    "Fleet",
    "FleetOptions",
    "Hardware",
    "Identity",
    "IpmiService",
    "Machine",
    "Personality",
    "PowerBackend",
    "PowerState",
    "RedfishService",
    "ScaledClock",
    "SteppedClock",
    "Timings",
    "misbehaving",
]
