"""Networks, subnets, ports: which machine has which address on which wire, and who answers its DHCP.

Functions take the caller's connection, so that a change is part of the caller's own
transaction; after the commit the service wakes the DHCP loop. The API is the Networking API v2.0, thin: flat provider
networks, no routers, no floating IPs (neither listed nor answered).
"""

from ingot.services.network.ipam import AddressRequest
from ingot.services.network.service import Networks
from ingot.services.network.types import (
    FixedIp,
    Network,
    NetworkSettings,
    Port,
    ProvisioningWire,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)

__all__ = [
    "AddressRequest",
    "FixedIp",
    "Network",
    "NetworkSettings",
    "Networks",
    "Port",
    "ProvisioningWire",
    "SecurityGroup",
    "SecurityGroupRule",
    "Subnet",
]
