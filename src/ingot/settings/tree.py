"""The tree of options: what each means, and its default."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ingot.kit.faults import Invalid


class Section(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; unknown keys are refused, since they are misspellings."""


class Provisioning(Section):
    """The network on which machines boot. Without `interface` no DHCP is given by us.

    listen: address and port that booting machines reach; "" for none. url: as machines see it, when
    that differs. interface: the host's device on that network. cidr, pool, gateway, dns: the flat network
    that is made at the first start. dhcp: whether we run DHCP and TFTP there.
    """

    listen: str = ""
    url: str = ""
    interface: str = ""
    network: str = "provider"
    physical_network: str = "physnet1"
    cidr: str = ""
    pool: str = ""
    gateway: str = ""
    dns: list[str] = []
    dhcp: bool = True


class Ramdisk(Section):
    """The agent's kernel and ramdisk (from `ingot ramdisk build`), and kernel parameters added for it. Its logs:
    when they are kept, where ("": agent-logs in the state folder), how many archives of a node.
    """

    kernel: str = ""
    initramfs: str = ""
    params: str = ""
    logs: Literal["on_failure", "always", "never"] = "on_failure"
    logs_folder: str = ""
    logs_kept: Annotated[int, msgspec.Meta(ge=1)] = 10


class BareMetal(Section):
    """Bare-metal life-cycle.

    automated_clean: machines are cleaned on their way to available, where their node says nothing else.
    clean_whole_disks: automated cleaning erases whole disks, not only their metadata (hours). fast_track:
    inspection and cleaning leave the agent running, and the next cleaning or deploy saves a boot; machines that
    are available then stay switched on. A node's driver_info.fast_track counts before it.
    allow_provisioning_in_maintenance: nodes in maintenance may be provided. automatic_lessee: the project named
    in instance_info becomes the node's lessee while its instance is on it. max_concurrent_deploy,
    max_concurrent_clean: machines at a time, above which the API answers 503; 0 is any number.
    require_agent_tls: refuse agents that offer plain http. hardware_types: enabled ones, all when empty.
    interfaces: capability -> enabled names, all where it is missing. default_interfaces: capability -> the
    interface of nodes that choose none, else the first enabled one of the hardware type; a hardware type that
    does not have it then needs a choice. public_ramdisk_api: lookup, heartbeat and
    continue_inspection also on the API listener (for a stock agent behind a router). lock_wait_seconds: how
    long a request about a node waits for a power change or the like to end before it is told 409.
    auth_strategy: who may use the Bare Metal API: keystone (tokens), http_basic (names and bcrypt passwords
    of http_basic_auth_user_file, all with every right), noauth (everybody, with every right).
    elevated_service_role: the role `service` in the project `service` counts as the system's.
    project_admins_own_nodes: project admins may enrol and delete nodes that their project owns.
    file_images: folders from which file:// images may be deployed. max_image_bytes: larger ones are refused.
    max_agent_reply_bytes: so much of what an agent answers is read, unpacked. install_boot_loaders: let the
    agent install the boot loader of images of file systems (image_type partition), by running the image's own installer as root in the ramdisk. undeploy_under_server: refuse: the
    Bare Metal API does not take a machine from a server of the Compute API but in maintenance, and the server is
    in ERROR then; end: it does, and the server is deleted with it.
    """

    automated_clean: bool = True
    clean_whole_disks: bool = False
    fast_track: bool = False
    allow_provisioning_in_maintenance: bool = True
    automatic_lessee: bool = True
    max_concurrent_deploy: int = 0
    max_concurrent_clean: int = 0
    require_agent_tls: bool = True
    hardware_types: list[str] = []
    interfaces: dict[str, list[str]] = {}
    default_interfaces: dict[str, str] = {}
    public_ramdisk_api: bool = False
    auth_strategy: str = "keystone"
    http_basic_auth_user_file: str = ""
    elevated_service_role: bool = False
    project_admins_own_nodes: bool = True
    file_images: list[str] = []
    max_image_bytes: int = 1 << 40
    max_agent_reply_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = 24 << 20
    install_boot_loaders: bool = False
    undeploy_under_server: Literal["refuse", "end"] = "refuse"
    power_sync_seconds: float = 60
    lock_wait_seconds: float = 3


class Monitoring(Section):
    """What machines' controllers are asked beside their power (baremetal.power_sync_seconds), and what they send.

    health: nodes show the health that controllers tell with the power. sensor_seconds: sensors are read once in
    so many seconds and shown at /metrics, 0 for never (600 is usual); sensors_of_undeployed: also of machines that
    are not active. event_url: the provisioning listener as controllers reach it: those that speak Redfish are asked
    to send events there, "" for none. event_poll_seconds: how often controllers are asked whose events arrive.
    metrics_from: networks in CIDR, of scrapers, to which /metrics is told; it names machines and needs no token.
    """

    health: bool = True
    sensor_seconds: float = 0
    sensors_of_undeployed: bool = False
    event_url: str = ""
    event_poll_seconds: float = 300
    metrics_from: list[str] = msgspec.field(default_factory=lambda: ["127.0.0.0/8", "::1/128"])


class StepOptions(Section):
    """Steps of cleaning, deploying and servicing; names are "interface.step".

    forbidden_clean, forbidden_deploy, forbidden_service: never run, whoever asks. clean_priorities: name ->
    priority in automated cleaning, 0: never. cleaning_source: autogenerated (what is offered, by priority),
    runbook, or hybrid (a runbook where one is named for the machine). cleaning_runbook: its name or uuid;
    cleaning_runbooks: resource class -> runbook. cleaning_runbook_from_node: driver_info.cleaning_runbook of
    a node counts before both. cleaning_runbook_validate_traits: the machine must share a trait with it.
    """

    forbidden_clean: list[str] = msgspec.field(default_factory=lambda: ["vendor.send_raw"])
    forbidden_deploy: list[str] = msgspec.field(default_factory=lambda: ["vendor.send_raw"])
    forbidden_service: list[str] = msgspec.field(default_factory=lambda: ["vendor.send_raw"])
    clean_priorities: dict[str, int] = {}
    cleaning_source: str = "autogenerated"
    cleaning_runbook: str = ""
    cleaning_runbooks: dict[str, str] = {}
    cleaning_runbook_from_node: bool = False
    cleaning_runbook_validate_traits: bool = True


class PciAlias(Section):
    """A PCI device by its ids; `name` is the capability that counts such devices."""

    vendor_id: str
    product_id: str
    name: str


class Inspection(Section):
    """Inspections.

    hooks: for what the agent posts; out_of_band_hooks: for what controllers tell; both in order, upstream's
    names, the usual ones when empty. add_ports: pxe (the card that booted), all, active (with an address),
    disabled. keep_ports: all, present (the card is there), added (what add_ports names).
    update_pxe_enabled: mark ports by the card that booted. create_ports: a node without ports gets those
    that its controller tells before the agent is booted. cpu_capabilities: CPU flag -> capability; the usual
    ones when empty. pci_aliases: [{vendor_id, product_id, name}]. physical_networks: CIDR -> physical
    network. extra_hardware_strict: refuse records of hardware-detect that are too short.
    built_in_rules: YAML file of inspection rules. mask_secrets: always, sensitive (unless the rule is),
    never: whether rules see passwords in the inspection data masked. max_bytes, max_values, max_interfaces,
    max_disks: larger messages of machines are refused, and such with more values in their JSON, network
    interfaces or disks: they come without a token.
    """

    hooks: list[str] = []
    out_of_band_hooks: list[str] = []
    add_ports: str = "pxe"
    keep_ports: str = "all"
    update_pxe_enabled: bool = True
    create_ports: bool = True
    cpu_capabilities: dict[str, str] = {}
    pci_aliases: list[PciAlias] = []
    physical_networks: dict[str, str] = {}
    extra_hardware_strict: bool = False
    built_in_rules: str = ""
    mask_secrets: str = "always"
    max_bytes: Annotated[int, msgspec.Meta(ge=1 << 16)] = 16 << 20
    max_values: Annotated[int, msgspec.Meta(ge=1000)] = 200_000
    max_interfaces: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256
    max_disks: Annotated[int, msgspec.Meta(ge=1, le=16384)] = 1024


class Cluster(Section):
    """Several processes on one PostgreSQL database; see the how-to about clusters.

    beat_seconds: how often a conductor tells that it lives. dead_seconds: after so much silence the others
    take its work over. drain_seconds: at SIGTERM, steps under way get so long before their work is handed to
    others. leave_seconds: the API still answers so long after SIGTERM, while /healthz already says 503, so that
    a load balancer sends nobody here any more. keys: folder of vault.key, fernet-keys and deploy-url-key, which
    must be the same for all processes; "": in `state`. images: folder of image contents, shared by all; "": in
    `state`. address: host:port at which the other controllers reach this one's API, to pass consoles on; "": that of
    `listen`, with the host's name where that means all addresses.
    """

    beat_seconds: float = 2
    dead_seconds: float = 10
    drain_seconds: float = 30
    leave_seconds: float = 0
    keys: str = ""
    images: str = ""
    address: str = ""


class Console(Section):
    """Serial consoles (`openstack baremetal node console enable`, `openstack console url show --serial`).

    address: where those over TCP listen, and what clients are told; they ask for no password. ports: ranges
    first:last to choose from, the last one is not used. idle_seconds: silent connections are closed after it;
    0 for never. websocket_url: where websockets are answered, such as wss://cloud.example/console; "" for the
    API's address as the client wrote it. token_seconds: how long a websocket's URL may be used to connect.
    folder: of the servers' console logs, shared by all processes of a cluster; "": in `state`.
    """

    folder: str = ""
    address: str = "127.0.0.1"
    ports: list[str] = msgspec.field(default_factory=lambda: ["10000:20000"])
    idle_seconds: float = 600
    websocket_url: str = ""
    token_seconds: float = 600

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """`ports` as numbers; ValueError when they are none."""
        found: list[tuple[int, int]] = []
        for text in self.ports:
            first, colon, end = text.partition(":")
            if not colon or not 0 < int(first) <= int(end) <= 65536:
                raise ValueError(text)
            found.append((int(first), int(end)))
        return tuple(found)


class Deadlines(Section):
    """Seconds, before there is history of a hardware model; then they are learned."""

    agent: float = 1200
    inspection: float = 1200
    write: float = 7200
    clean_step: float = 86400
    power: float = 180
    agent_silence: float = 180
    poll: float = 1.0
    boots: int = 3


class IdentityOptions(Section):
    """Who asks: this cloud, or an outside Keystone (see services.identity).

    Own: admin_password of the first start, random when empty; token_seconds: how long tokens live;
    keep_used_projects: refuse (409) to delete a project that has servers or machines. With false it is deleted as by
    Keystone, and an event tells what it left without an owner.
    Keystone: auth_url (its root, without /v3), and the user that may validate tokens there: username,
    password, project_name and their domains; ca_file: who signed its certificate, "" for the host's list;
    cache_seconds: how long an answer about a token is kept, so a revoked one may work so much longer.
    """

    admin_password: str = ""
    token_seconds: int = 24 * 3600
    password_cost: int = 15
    region: str = "RegionOne"
    keep_used_projects: bool = True
    auth_url: str = ""
    username: str = "ironic"
    password: str = ""
    project_name: str = "service"
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"
    ca_file: str = ""
    cache_seconds: float = 300


class ComputeOptions(Section):
    """Servers. flavors_without_class_take_any: a flavor that names no resource class takes machines of any class
    that are large enough; else only machines that have no class.
    """

    flavors_without_class_take_any: bool = False


class NovaOptions(Section):
    """An outside Nova, which is told when a machine's power or a port of its servers changes without its doing.

    url: its endpoint, as http://nova.example:8774/v2.1; "" for none. auth_url: Keystone's root, with or without /v3;
    username, password, project_name and their domains: a user that may send Nova external events (role admin, or
    service); ca_file: who signed the certificates, "" for the host's list.
    """

    url: str = ""
    auth_url: str = ""
    username: str = "ironic"
    password: str = ""
    project_name: str = "service"
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"
    ca_file: str = ""


class PolicyFiles(Section):
    """Files with an operator's own policy rules for each service (oslo.policy's language, YAML or JSON).

    Read at the start and again within seconds after a change; `ingot policy check` tries one before.
    """

    identity: str = ""
    image: str = ""
    network: str = ""
    baremetal: str = ""
    compute: str = ""


class Egress(Section):
    """Whom this cloud asks because tenants or machines said so: controllers that driver_info names, images and checksum
    files at URLs, agents.

    allow: networks in CIDR that may be asked besides. This host's loopback and its other addresses, link-local ones and
    those of clouds' metadata services, and others that mean this host or many are refused otherwise, by name or number,
    also after a redirect. Loopback and this host's addresses are allowed where provisioning.listen is on loopback, as
    with simulated machines; the host's addresses also in virtual racks (netns). refuse: further networks that are not
    asked, such as those of the site's own services, but for what is in allow. Images that a controller's virtual medium
    is made of are read by this host, and a machine's owner reads them there.
    """

    allow: list[str] = []
    refuse: list[str] = []


class Http(Section):
    """What clients may take of our listeners; machines, which anybody may be, have a budget of their own.

    api_connections, provisioning_connections: at a time; 0 for half and for a quarter of the files that this
    process may open, at most 20,000 and 8,000. peer_connections: of them, from one address (a /64 of IPv6);
    proxies of trusted_proxies have all of the listener's, as they stand for many. Beyond
    them the connection that has let us wait longest is closed, and a new one is refused only where all are at work.
    head_seconds: within which a request's head must come (408). body_seconds: and its body, where it is JSON (408).
    stall_seconds: the longest silence within an upload (408) and of a client that takes nothing of its answer.
    idle_seconds: between requests; stock clients ask every five seconds, and a line closed just then would fail
    their request.
    """

    api_connections: Annotated[int, msgspec.Meta(ge=0)] = 0
    provisioning_connections: Annotated[int, msgspec.Meta(ge=0)] = 0
    peer_connections: Annotated[int, msgspec.Meta(ge=1)] = 1024
    head_seconds: Annotated[float, msgspec.Meta(gt=0)] = 15
    body_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60
    stall_seconds: Annotated[float, msgspec.Meta(gt=0)] = 120
    idle_seconds: Annotated[int, msgspec.Meta(ge=1)] = 75


class Tls(Section):
    """TLS of the API's listener. certificate: PEM file with the chain; key: its key, without a passphrase. Both are
    read again within a minute when they change. Without them the API speaks plain HTTP, for a proxy before it.
    """

    certificate: str = ""
    key: str = ""


class Log(Section):
    level: str = "info"
    json: bool = False


class AuditOptions(Section):
    """Who changed what, and who was refused (`ingot audit`). database: records are kept there, see retention.

    file: they are also written to it, a JSON object with the fields of CADF in each line. webhook: they are also
    sent there by POST, as {"events": [...]}; "" for none.
    """

    database: bool = True
    file: str = ""
    webhook: str = ""


class Retention(Section):
    """Days for which what is over is kept; 0 for ever. It is looked at every hour, and deleted in small batches.

    details_days: events, and the steps of operations. operations_days: operations themselves (what, on what, for whom,
    when, how it ended). audit_days: audit records in the database, and audit_records: the most of them that are kept.
    servers_days: deleted servers, as lists of changes and administrators still see them.
    """

    details_days: int = 365
    operations_days: int = 0
    audit_days: int = 365
    audit_records: int = 10_000_000
    servers_days: int = 365


class OwnService(Section):
    """mode: own (this cloud has the service) or off (its routes answer 404)."""

    mode: Literal["own", "off"] = "own"


class IdentityService(Section):
    """mode: own, external (an outside Keystone knows the callers, see identity), or off."""

    mode: Literal["own", "external", "off"] = "own"


class Services(Section):
    """Which services this cloud offers. Bare Metal alone, with all others off, is a service by itself."""

    identity: IdentityService = msgspec.field(default_factory=IdentityService)
    image: OwnService = msgspec.field(default_factory=OwnService)
    network: OwnService = msgspec.field(default_factory=OwnService)
    baremetal: OwnService = msgspec.field(default_factory=OwnService)
    compute: OwnService = msgspec.field(default_factory=OwnService)

    def mode(self, name: str) -> str:
        """Of the service of this name."""
        own: OwnService | IdentityService = getattr(self, name)
        return own.mode

    @property
    def offered(self) -> list[str]:
        """Names of the services that this cloud has itself."""
        return [name for name in self.__struct_fields__ if self.mode(name) == "own"]


class Settings(Section):
    """The whole tree.

    state: folder of everything that must be kept. listen: the API's address. netns: network namespace to
    live in, while the API stays where it was bound (virtual racks). database: "" for SQLite in `state`.
    host: this process's name among its peers. roles: api, conductor,
    console (holds the serial consoles of its machines open). group: conductor group.
    public_url: as clients see us, when behind a proxy. trusted_proxies: addresses or networks of proxies whose
    X-Forwarded-For, -Proto and -Host are believed; of all others they are not.
    """

    state: str = "var"
    listen: str = "127.0.0.1:6385"
    database: str = ""
    host: str = ""
    group: str = ""
    roles: list[str] = msgspec.field(default_factory=lambda: ["api", "conductor", "console"])
    netns: str = ""
    public_url: str = ""
    trusted_proxies: list[str] = []
    services: Services = msgspec.field(default_factory=Services)
    provisioning: Provisioning = msgspec.field(default_factory=Provisioning)
    ramdisk: Ramdisk = msgspec.field(default_factory=Ramdisk)
    baremetal: BareMetal = msgspec.field(default_factory=BareMetal)
    monitoring: Monitoring = msgspec.field(default_factory=Monitoring)
    inspection: Inspection = msgspec.field(default_factory=Inspection)
    cluster: Cluster = msgspec.field(default_factory=Cluster)
    steps: StepOptions = msgspec.field(default_factory=StepOptions)
    console: Console = msgspec.field(default_factory=Console)
    deadlines: Deadlines = msgspec.field(default_factory=Deadlines)
    identity: IdentityOptions = msgspec.field(default_factory=IdentityOptions)
    compute: ComputeOptions = msgspec.field(default_factory=ComputeOptions)
    nova: NovaOptions = msgspec.field(default_factory=NovaOptions)
    policy: PolicyFiles = msgspec.field(default_factory=PolicyFiles)
    egress: Egress = msgspec.field(default_factory=Egress)
    http: Http = msgspec.field(default_factory=Http)
    tls: Tls = msgspec.field(default_factory=Tls)
    log: Log = msgspec.field(default_factory=Log)
    audit: AuditOptions = msgspec.field(default_factory=AuditOptions)
    retention: Retention = msgspec.field(default_factory=Retention)

    @property
    def state_dir(self) -> Path:
        return Path(self.state).absolute()

    @property
    def keys_dir(self) -> Path:
        return Path(self.cluster.keys).absolute() if self.cluster.keys else self.state_dir

    @property
    def hostname(self) -> str:
        return self.host or socket.gethostname()


def parse_listen(text: str) -> tuple[str, int]:
    """`address:port`, `[v6]:port`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Invalid(f"{text!r} is not address:port.")
    return host.strip("[]"), int(port)
