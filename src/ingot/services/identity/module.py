"""The identity service as the app knows it."""

from __future__ import annotations

from ingot.services.identity import tables
from ingot.services.identity.api import make_service
from ingot.services.identity.policies import RULES
from ingot.services.identity.service import Identity
from ingot.services.module import BuiltService, ServiceModule

SERVICE = ServiceModule(
    name="identity",
    type="identity",
    product="keystone",
    url="/identity",
    title="Identity (Ingot)",
    policies=RULES,
    tables=tables,
)


def built(identity: Identity) -> BuiltService:
    """Its API has an authenticator of its own: an expired token is none there."""
    return BuiltService(api=lambda _who: [make_service(identity)])
