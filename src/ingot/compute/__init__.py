"""Servers: ordered by flavor and image, placed on machines, told through the Compute API v2.1.

compute = Compute(db, clock, vault, baremetal, networks, images, settings, consoles, still=still)
compute.service(authenticator)      # the API under /compute
compute.workflows()                 # for the engine, beside the bare-metal room's
compute.loops()                     # to be started and stopped by the app
"""

from ingot.compute.consolelog import ConsoleKeeper
from ingot.compute.placement import Placing, Wish, rank, wish_of
from ingot.compute.purging import forget, long_deleted
from ingot.compute.service import Compute, Draft
from ingot.compute.types import ConsoleLog, Flavor, Keypair, Server, Settings

__all__ = [
    "Compute",
    "ConsoleKeeper",
    "ConsoleLog",
    "Draft",
    "Flavor",
    "Keypair",
    "Placing",
    "Server",
    "Settings",
    "Wish",
    "forget",
    "long_deleted",
    "rank",
    "wish_of",
]
