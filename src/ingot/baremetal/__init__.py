"""Bare-metal machines: their inventory, life-cycle and API. The front door.

baremetal = Baremetal(db, clock, vault, registry, networks, host, settings)
service = baremetal.service(authenticator)      # the Bare Metal API
baremetal.claim(conn, node, instance) …         # verbs, as functions of a connection
"""

from ingot.baremetal.consoles import Attachment, Consoles, console_kind
from ingot.baremetal.context import NOBODY, By, Networks, NoNetworks, Settings
from ingot.baremetal.patching import Change
from ingot.baremetal.service import Baremetal
from ingot.baremetal.supply import Candidate, capabilities
from ingot.baremetal.tcpdoors import TcpDoors
from ingot.baremetal.types import Node, Port
from ingot.baremetal.verbs import Extras

__all__ = [
    "NOBODY",
    "Attachment",
    "Baremetal",
    "By",
    "Candidate",
    "Change",
    "Consoles",
    "Extras",
    "Networks",
    "NoNetworks",
    "Node",
    "Port",
    "Settings",
    "TcpDoors",
    "capabilities",
    "console_kind",
]
