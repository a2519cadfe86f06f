"""The Bare Metal service with everything that its work needs: drivers, agents, images' and networks' clients, consoles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ingot.agents.dhcp.dnsmasq import find_loader
from ingot.app.access import Gate
from ingot.app.options import boot_url, has_dhcp, has_websockets, machine_options, offers, path
from ingot.drivers.machine.agent.client import AgentClient
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.fake.world import FakeWorld
from ingot.drivers.machine.hardware import build_registry
from ingot.drivers.machine.registry import Registry
from ingot.drivers.machine.vmedia.store import MediaStore
from ingot.kit.db.database import Database
from ingot.kit.db.vault import Vault
from ingot.kit.http.egress import Egress
from ingot.kit.tasks.clock import Clock
from ingot.services.baremetal import Baremetal, ConsoleSessions, TcpConsoles
from ingot.services.baremetal.adapters import AloneNetworks, OwnImages, OwnNetworks
from ingot.services.baremetal.boot.imagesources import ImageSources
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.consoles.rights import NodeGrant
from ingot.services.baremetal.inspection.facts import inspection_options
from ingot.services.baremetal.monitoring.power_sync import PowerSync
from ingot.services.baremetal.ramdisk.api import RamdiskApi, RamdiskFiles
from ingot.services.baremetal.store import find_node
from ingot.services.baremetal.workflows import AgentLogOptions, Deps, Timing
from ingot.services.image import Images
from ingot.services.network import Networks
from ingot.services.server_events import ServerEvents
from ingot.settings import Settings


@dataclass(frozen=True)
class Base:
    """What all services of a process are built on."""

    settings: Settings
    clock: Clock
    db: Database
    vault: Vault
    egress: Egress


@dataclass(frozen=True)
class Machines:
    """The Bare Metal service of one process, built."""

    baremetal: Baremetal
    registry: Registry
    agents: AgentClient
    deps: Deps
    ramdisk: RamdiskApi
    power_sync: PowerSync
    sessions: ConsoleSessions
    consoles: TcpConsoles
    #: Who may be at consoles of nodes.
    grant: NodeGrant


def build_machines(
    base: Base,
    gate: Gate,
    images: Images,
    networks: OwnNetworks,
    nova: ServerEvents,
    fake: FakeWorld | None,
) -> Machines:
    """gate: who a caller of the Bare Metal API is. fake: machines of fake hardware, where tests bring theirs."""
    settings = base.settings
    registry = _registry(base, fake)
    agents = AgentClient(base.clock, settings.baremetal.max_agent_reply_bytes, base.egress)
    opened = OwnImages(images, gate.still)
    baremetal = Baremetal(
        base.db,
        base.clock,
        base.vault,
        registry,
        networks,
        settings.hostname,
        machine_options(settings, has_websockets(settings)),
        opened,
        nova,
    )
    deps = _deps(base, baremetal, opened, networks, agents)
    ramdisk = RamdiskApi(
        deps,
        RamdiskFiles(_boot_files(settings, networks.service)),
        require_tls=settings.baremetal.require_agent_tls,
        egress=base.egress,
    )
    sessions = ConsoleSessions(baremetal.ctx)
    grant = baremetal.console_grant(gate.still)
    return Machines(
        baremetal,
        registry,
        agents,
        deps,
        ramdisk,
        PowerSync(baremetal.ctx),
        sessions,
        TcpConsoles(baremetal.ctx, sessions, grant),
        grant,
    )


def machine_networks(
    settings: Settings, networks: Networks, project: Callable[[], str]
) -> OwnNetworks:
    """How machines get their addresses. project: gives the one that owns those of running agents."""
    kind = OwnNetworks if offers(settings, "network") else AloneNetworks
    name = settings.provisioning.network
    return kind(networks, name, project, has_wires=has_dhcp(settings))


def _registry(base: Base, fake: FakeWorld | None) -> Registry:
    async def last_power(node_uuid: str) -> str | None:
        """The power that a node was last seen with."""
        node = await base.db.read(lambda conn: find_node(conn, node_uuid))
        return node.power_state if node else None

    settings = base.settings
    run = settings.state_dir / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    world = fake or FakeWorld(recall=last_power)
    return build_registry(
        DriverContext(base.clock, world=world, run_dir=run, egress=base.egress),
        enabled_hardware_types=settings.baremetal.hardware_types or None,
        enabled_interfaces=settings.baremetal.interfaces or None,
        default_interfaces=settings.baremetal.default_interfaces,
    )


def _boot_files(settings: Settings, networks: Networks) -> dict[str, Path]:
    """The agent, and the loaders for machines that fetch theirs by HTTP."""
    own = settings.ramdisk
    found = {"agent.kernel": own.kernel, "agent.initramfs": own.initramfs}
    files = {name: Path(text) for name, text in found.items() if text}
    if has_dhcp(settings):
        loaders = networks.settings.loaders.values()
        files.update({name: find_loader(name) for name in loaders})
    return files


def _deps(
    base: Base,
    baremetal: Baremetal,
    images: OwnImages,
    networks: OwnNetworks,
    agents: AgentClient,
) -> Deps:
    settings, url = base.settings, boot_url(base.settings)
    has_agent = bool(settings.ramdisk.kernel and settings.ramdisk.initramfs)
    files = ("agent.kernel", "agent.initramfs") if has_agent else ("", "")
    return Deps(
        baremetal.ctx,
        images=images,
        sources=ImageSources(
            folders=[Path(folder) for folder in settings.baremetal.file_images],
            base_url=url,
            vault=base.vault,
            clock=base.clock,
            probe=True,
            most_bytes=settings.baremetal.max_image_bytes,
            egress=base.egress,
        ),
        networks=networks,
        agents=agents,
        urls=BootUrls(
            url,
            *(f"{url}/files/{name}" if name else "" for name in files),
            params=settings.ramdisk.params,
        ),
        timing=Timing(**msgspec.structs.asdict(settings.deadlines)),
        clean_whole_disks=settings.baremetal.clean_whole_disks,
        automated_clean=settings.baremetal.automated_clean,
        fast_track=settings.baremetal.fast_track,
        media=MediaStore(
            settings.state_dir / "media",
            path(settings.ramdisk.kernel),
            path(settings.ramdisk.initramfs),
            egress=base.egress,
            own_url=url,
        ),
        agent_logs=AgentLogOptions(
            settings.ramdisk.logs,
            Path(settings.ramdisk.logs_folder or settings.state_dir / "agent-logs"),
            settings.ramdisk.logs_kept,
        ),
        install_boot_loaders=settings.baremetal.install_boot_loaders,
        inspection=inspection_options(msgspec.to_builtins(settings.inspection)),
    )
