"""The operator's settings as the services know them."""

from __future__ import annotations

from pathlib import Path

from ingot.app.services import SERVICES
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.http.server import RequestTimeouts
from ingot.services.baremetal import BaremetalSettings
from ingot.services.baremetal.steps.options import StepRules
from ingot.services.compute import ComputeSettings
from ingot.services.identity import IdentitySettings
from ingot.services.image import ImageSettings
from ingot.services.network import NetworkSettings, ProvisioningWire
from ingot.settings import Settings, StepOptions, parse_listen


def offers(settings: Settings, name: str) -> bool:
    """Whether this cloud has a service itself and offers it."""
    return name in settings.services.offered


def needed(settings: Settings) -> list[str]:
    """The services that are offered, and those that these require, in the order in which they are built."""
    wanted: set[str] = set()
    for service in reversed(SERVICES):
        if service.name in wanted or offers(settings, service.name):
            wanted |= {service.name, *service.requires}
    return [service.name for service in SERVICES if service.name in wanted]


def boot_url(settings: Settings) -> str:
    """The provisioning listener as booting machines reach it; "" when there is none."""
    own = settings.provisioning
    return own.url.rstrip("/") or (f"http://{own.listen}" if own.listen else "")


def has_dhcp(settings: Settings) -> bool:
    """Whether we give DHCP on the provisioning network."""
    return bool(network_options(settings).wires)


def has_websockets(settings: Settings) -> bool:
    """Whether consoles are served here: where their sessions are, beside the API. Others pass on."""
    return {"api", "conductor", "console"} <= set(settings.roles)


def network_options(settings: Settings) -> NetworkSettings:
    """What the network service is told."""
    own = settings.provisioning
    if not (own.dhcp and own.interface and own.listen):
        return NetworkSettings()
    address, _ = parse_listen(own.listen)
    wire = ProvisioningWire(own.interface, address, boot_url(settings))
    return NetworkSettings(wires={own.physical_network: wire})


def path(text: str) -> Path | None:
    """None where nothing is named."""
    return Path(text) if text else None


def identity_options(settings: Settings) -> IdentitySettings:
    """What the identity service is told."""
    return IdentitySettings(
        state_dir=settings.state_dir,
        token_seconds=settings.identity.token_seconds,
        password_cost=settings.identity.password_cost,
        public_url=settings.public_url or None,
        region=settings.identity.region,
        keys_dir=settings.keys_dir,
        keep_used_projects=settings.identity.keep_used_projects,
    )


def image_options(settings: Settings) -> ImageSettings:
    """What the image service is told."""
    return ImageSettings(
        state_dir=settings.state_dir,
        deploy_base_url=boot_url(settings),
        host=settings.hostname,
        folder=path(settings.cluster.images),
        keys_dir=settings.keys_dir,
    )


def machine_options(settings: Settings, websockets: bool) -> BaremetalSettings:
    """What the bare-metal service is told. websockets: whether consoles are offered by them."""
    return BaremetalSettings(
        power_sync_interval=settings.baremetal.power_sync_seconds,
        watch_health=settings.monitoring.health,
        sensor_interval=settings.monitoring.sensor_seconds,
        sensors_of_undeployed=settings.monitoring.sensors_of_undeployed,
        event_url=settings.monitoring.event_url,
        event_poll_interval=settings.monitoring.event_poll_seconds,
        lock_wait=settings.baremetal.lock_wait_seconds,
        steps=_step_rules(settings.steps),
        agent_ramdisk=bool(settings.ramdisk.kernel and settings.ramdisk.initramfs),
        service_project="service" if settings.baremetal.elevated_service_role else "",
        project_admin_can_manage_own_nodes=settings.baremetal.project_admins_own_nodes,
        allow_provisioning_in_maintenance=settings.baremetal.allow_provisioning_in_maintenance,
        automatic_lessee=settings.baremetal.automatic_lessee,
        undeploy_under_server=settings.baremetal.undeploy_under_server,
        max_concurrent_deploy=settings.baremetal.max_concurrent_deploy,
        max_concurrent_clean=settings.baremetal.max_concurrent_clean,
        egress=egress_of(settings),
        file_images=tuple(Path(folder) for folder in settings.baremetal.file_images),
        image_service=offers(settings, "image"),
        console_address=settings.console.address,
        console_ports=settings.console.ranges(),
        console_idle=settings.console.idle_seconds,
        console_websockets=websockets,
        console_url=settings.console.websocket_url,
        console_token_seconds=settings.console.token_seconds,
    )


def server_options(settings: Settings) -> ComputeSettings:
    """What the compute service is told."""
    return ComputeSettings(
        host=settings.hostname, any_class=settings.compute.flavors_without_class_take_any
    )


def with_bodies(settings: Settings) -> RequestTimeouts:
    """With clients that send a body."""
    return RequestTimeouts(settings.http.body_seconds, settings.http.stall_seconds)


def egress_of(settings: Settings) -> Egress:
    """Whom this cloud asks for others: loopback where the operator has put its machines there, and this host's own
    addresses there and in virtual racks, whose controllers have such."""
    own = settings.provisioning
    host = parse_listen(own.listen)[0] if own.listen else ""
    inside = host == "localhost" or (
        Egress.of(LOOPBACK).permits(host) and not Egress().permits(host)
    )
    opened = LOOPBACK if inside else ()
    named = settings.egress
    own_too = inside or bool(settings.netns)
    return Egress.of([*named.allow, *opened], own=own_too, closed=named.refuse)


def near_url(settings: Settings) -> str:
    """Where clients on this host reach the API; of all addresses that it listens at, the loopback one."""
    host, port = parse_listen(settings.listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if settings.tls.certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def peer_address(settings: Settings) -> str:
    """Where other controllers reach this one's API, as host:port; "" when it serves none."""
    if "api" not in settings.roles:
        return ""
    if settings.cluster.address:
        return settings.cluster.address
    host, port = parse_listen(settings.listen)
    if host in ("", "0.0.0.0", "::"):
        host = settings.hostname
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _step_rules(own: StepOptions) -> StepRules:
    """What operators say of steps, as the bare-metal service knows it."""
    return StepRules(
        forbidden={
            kind: frozenset(getattr(own, f"forbidden_{kind}"))
            for kind in ("clean", "deploy", "service")
        },
        clean_priorities=own.clean_priorities,
        cleaning_source=own.cleaning_source,
        cleaning_runbook=own.cleaning_runbook,
        by_resource_class=own.cleaning_runbooks,
        from_node=own.cleaning_runbook_from_node,
        validate_traits=own.cleaning_runbook_validate_traits,
    )
