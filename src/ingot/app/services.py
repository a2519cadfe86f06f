"""The services of the cloud, in the order in which they are built: each requires only those before it.

A new service is added here; outside of its own folder this is the one place.
"""

from __future__ import annotations

from ingot.services.baremetal.module import SERVICE as BAREMETAL
from ingot.services.compute.module import SERVICE as COMPUTE
from ingot.services.identity.module import SERVICE as IDENTITY
from ingot.services.image.module import SERVICE as IMAGE
from ingot.services.module import ServiceModule
from ingot.services.network.module import SERVICE as NETWORK

SERVICES: tuple[ServiceModule, ...] = (IDENTITY, IMAGE, NETWORK, BAREMETAL, COMPUTE)
BY_NAME = {one.name: one for one in SERVICES}
