"""Bare-metal machines: their inventory, life-cycle and API. The front door.

baremetal = Baremetal(db, clock, vault, registry, networks, host, settings)
service = baremetal.service(authenticator)      # the Bare Metal API
baremetal.claim(conn, node, instance) …         # verbs, as functions of a connection
"""

from ingot.baremetal.consoleholders import ADDRESS as CONSOLE_ADDRESS
from ingot.baremetal.consolerights import Grant as ConsoleGrant
from ingot.baremetal.consoles import Attachment, Consoles, console_kind
from ingot.baremetal.consoletickets import PATH as CONSOLE_PATH
from ingot.baremetal.consoletickets import Ticket as ConsoleTicket
from ingot.baremetal.consoletickets import url as console_url
from ingot.baremetal.context import NOBODY, By, Networks, NoNetworks, Settings
from ingot.baremetal.free import Candidate, Look, capabilities
from ingot.baremetal.imagerights import Right as ImageRight
from ingot.baremetal.imagerights import of as image_right_of
from ingot.baremetal.imagerights import viewer as image_viewer
from ingot.baremetal.patching import Change
from ingot.baremetal.service import Baremetal, HeldNode
from ingot.baremetal.tcpdoors import TcpDoors
from ingot.baremetal.types import Node, Port
from ingot.baremetal.verbs import Extras
from ingot.baremetal.webdoors import WebDoors

__all__ = [
    "CONSOLE_ADDRESS",
    "CONSOLE_PATH",
    "NOBODY",
    "Attachment",
    "Baremetal",
    "By",
    "Candidate",
    "Change",
    "ConsoleGrant",
    "ConsoleTicket",
    "Consoles",
    "Extras",
    "HeldNode",
    "ImageRight",
    "Look",
    "Networks",
    "NoNetworks",
    "Node",
    "Port",
    "Settings",
    "TcpDoors",
    "WebDoors",
    "capabilities",
    "console_kind",
    "console_url",
    "image_right_of",
    "image_viewer",
]
