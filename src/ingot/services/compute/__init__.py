"""Servers: ordered by flavor and image, placed on machines, told through the Compute API v2.1.

compute = Compute(db, clock, vault, baremetal, networks, images, settings, consoles, still=still)
compute.service(authenticator)      # the API under /compute
compute.workflows()                 # for the engine, beside the bare-metal service's
compute.loops()                     # to be started and stopped by the app
"""

from ingot.services.compute.consolelog import ConsoleKeeper
from ingot.services.compute.placement import Placement, PlacementRequest, rank, request_of
from ingot.services.compute.purging import forget, long_deleted
from ingot.services.compute.service import Compute, Draft
from ingot.services.compute.types import ComputeSettings, ConsoleLog, Flavor, Keypair, Server

__all__ = [
    "Compute",
    "ComputeSettings",
    "ConsoleKeeper",
    "ConsoleLog",
    "Draft",
    "Flavor",
    "Keypair",
    "Placement",
    "PlacementRequest",
    "Server",
    "forget",
    "long_deleted",
    "rank",
    "request_of",
]
