"""Bare-metal machines: their inventory, life-cycle and API.

baremetal = Baremetal(db, clock, vault, registry, networks, host, settings)
service = baremetal.service(authenticator)      # the Bare Metal API
baremetal.claim(conn, node, instance) …         # verbs, as functions of a connection
"""

from ingot.services.baremetal.allocations.candidate_store import (
    Candidate,
    CandidateQuery,
    capabilities,
)
from ingot.services.baremetal.boot.imagerights import Right as ImageRight
from ingot.services.baremetal.boot.imagerights import of as image_right_of
from ingot.services.baremetal.boot.imagerights import viewer as image_viewer
from ingot.services.baremetal.consoles.holders import ADDRESS as CONSOLE_ADDRESS
from ingot.services.baremetal.consoles.rights import Grant as ConsoleGrant
from ingot.services.baremetal.consoles.sessions import Attachment, ConsoleSessions, console_kind
from ingot.services.baremetal.consoles.tcp import TcpConsoles
from ingot.services.baremetal.consoles.tickets import PATH as CONSOLE_PATH
from ingot.services.baremetal.consoles.tickets import Ticket as ConsoleTicket
from ingot.services.baremetal.consoles.tickets import url as console_url
from ingot.services.baremetal.consoles.websockets import WebsocketConsoles
from ingot.services.baremetal.context import NOBODY, BaremetalSettings, By, Networks, NoNetworks
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.nodes.verbs import VerbArguments
from ingot.services.baremetal.service import Baremetal, HeldNode
from ingot.services.baremetal.types import Node, Port

__all__ = [
    "CONSOLE_ADDRESS",
    "CONSOLE_PATH",
    "NOBODY",
    "Attachment",
    "Baremetal",
    "BaremetalSettings",
    "By",
    "Candidate",
    "CandidateQuery",
    "ConsoleGrant",
    "ConsoleSessions",
    "ConsoleTicket",
    "HeldNode",
    "ImageRight",
    "Networks",
    "NoNetworks",
    "Node",
    "PatchOperation",
    "Port",
    "TcpConsoles",
    "VerbArguments",
    "WebsocketConsoles",
    "capabilities",
    "console_kind",
    "console_url",
    "image_right_of",
    "image_viewer",
]
