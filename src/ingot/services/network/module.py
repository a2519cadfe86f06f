"""The network service as the app knows it."""

from __future__ import annotations

from ingot.services.module import BuiltService, ServiceModule
from ingot.services.network import tables
from ingot.services.network.api import make_service
from ingot.services.network.policies import RULES
from ingot.services.network.service import Networks

SERVICE = ServiceModule(
    name="network",
    type="network",
    product="neutron",
    url="/network",
    title="Networking (Ingot)",
    policies=RULES,
    tables=tables,
    requires=("identity",),
)


def built(networks: Networks) -> BuiltService:
    """Networks of one process; DHCP is served where the app has a daemon for it."""
    return BuiltService(api=lambda who: [make_service(networks, who)])
