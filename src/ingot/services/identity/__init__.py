"""Identity: users, projects, domains, roles, tokens, application credentials and the catalogue.

The Identity API v3 for stock clients, and the one answer to "who asks?" for all other services:
`Identity.authenticate` is their authenticator.
"""

from ingot.services.identity.bootstrap import write_clouds_yaml
from ingot.services.identity.loops import FORGET_EVERY, forget_revocations
from ingot.services.identity.service import Identity
from ingot.services.identity.types import (
    Bootstrap,
    CatalogueEntry,
    IdentitySettings,
    Project,
    User,
)

__all__ = [
    "FORGET_EVERY",
    "Bootstrap",
    "CatalogueEntry",
    "Identity",
    "IdentitySettings",
    "Project",
    "User",
    "forget_revocations",
    "write_clouds_yaml",
]
