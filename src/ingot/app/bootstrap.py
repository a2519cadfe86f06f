"""What a cloud has from its first start on: users, projects, the provisioning network."""

from __future__ import annotations

from ingot.app import tls
from ingot.app.options import near_url
from ingot.kit.db.database import Database
from ingot.services.identity import Identity, write_clouds_yaml
from ingot.services.network import Networks
from ingot.settings import Settings

#: Owner of the cloud's own addresses where it has no projects: no project that callers could name.
OWN_PROJECT = "ingot"


async def bootstrap(
    settings: Settings, db: Database, networks: Networks, identity: Identity | None
) -> None:
    """Make what is missing. identity: our own identity service, where this cloud has it."""
    project_id = await _bootstrap_identity(settings, db, identity) if identity else OWN_PROJECT
    own = settings.provisioning
    if own.cidr:
        first, _, last = own.pool.partition("-")
        await db.write(
            lambda conn: networks.ensure_flat_network(
                conn,
                own.network,
                own.physical_network,
                own.cidr,
                (first.strip(), last.strip()) if last else None,
                own.gateway or None,
                own.dns,
                project_id=project_id,
            )
        )


async def _bootstrap_identity(settings: Settings, db: Database, identity: Identity) -> str:
    """Users and projects that are missing, and the clouds.yaml that opens them; the admin project's id."""
    clouds = settings.state_dir / "clouds.yaml"
    made = await identity.bootstrap(
        settings.identity.admin_password or None,
        renew=db.is_sqlite and not clouds.exists(),
    )
    if made.admin_password and made.demo_password:
        write_clouds_yaml(
            clouds,
            f"{settings.public_url or near_url(settings)}/identity",
            admin_password=made.admin_password,
            demo_password=made.demo_password,
            region=settings.identity.region,
            cacert=tls.trusted(settings.tls.certificate),
        )
    return made.admin_project_id
