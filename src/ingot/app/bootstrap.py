"""What a cloud has from its first start on: users, projects, the provisioning network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingot.app import tls
from ingot.app.options import near_url
from ingot.services.identity import write_clouds_yaml

if TYPE_CHECKING:
    from ingot.app import App

#: Owner of the cloud's own addresses where it has no projects.
OWN_PROJECT = "ingot"


async def bootstrap(app: App) -> None:
    settings = app.settings
    if app.offers("identity") and not app.outside:
        admin_project_id = await _bootstrap_identity(app)
    else:
        # What the cloud itself has on its networks belongs to no project that callers could name.
        admin_project_id = app.provisioning.project_id = OWN_PROJECT
    own = settings.provisioning
    if own.cidr:
        first, _, last = own.pool.partition("-")
        await app.db.write(
            lambda conn: app.networks.ensure_flat_network(
                conn,
                own.network,
                own.physical_network,
                own.cidr,
                (first.strip(), last.strip()) if last else None,
                own.gateway or None,
                own.dns,
                project_id=admin_project_id,
            )
        )


async def _bootstrap_identity(app: App) -> str:
    """Users and projects that are missing, and the clouds.yaml that opens them; the admin project's id."""
    settings = app.settings
    clouds = settings.state_dir / "clouds.yaml"
    made = await app.identity.bootstrap(
        settings.identity.admin_password or None,
        renew=app.db.is_sqlite and not clouds.exists(),
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
    app.provisioning.project_id = made.service_project_id
    return made.admin_project_id
