"""Identity: users, projects, domains, roles, tokens, application credentials and the catalogue.

The Identity API v3 for stock clients, and the one answer to "who asks?" for all other services:
`Identity.authenticate` is their authenticator.
"""

from ingot.identity.bootstrap import write_clouds_yaml
from ingot.identity.loops import FORGET_EVERY, forget_revocations
from ingot.identity.service import Identity
from ingot.identity.types import Bootstrap, CatalogEntry, IdentitySettings, Project, User

__all__ = [
    "FORGET_EVERY",
    "Bootstrap",
    "CatalogEntry",
    "Identity",
    "IdentitySettings",
    "Project",
    "User",
    "forget_revocations",
    "write_clouds_yaml",
]
