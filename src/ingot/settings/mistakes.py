"""Values of the settings that have the right type and cannot work, section by section, with what is wrong."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ingot.kit.faults import Invalid
from ingot.settings.sources import Keys

from .tree import (
    Cluster,
    Console,
    Deadlines,
    Egress,
    Inspection,
    Monitoring,
    NovaOptions,
    Provisioning,
    Ramdisk,
    Settings,
    StepOptions,
    parse_listen,
)

_LEVELS = ("debug", "info", "warning", "error", "critical")
_ROLES = ("api", "conductor", "console")
_STRATEGIES = ("keystone", "http_basic", "noauth")


def mistakes(settings: Settings) -> Iterator[tuple[Keys, str]]:
    """Values of the right type that cannot work, with what is wrong about them."""
    unknown = sorted(set(settings.roles) - set(_ROLES))
    if unknown or not settings.roles:
        yield ("roles",), f"{', '.join(unknown) or 'empty'}; roles are {', '.join(_ROLES)}."
    if settings.log.level not in _LEVELS:
        yield ("log", "level"), f"{settings.log.level!r} is none of {', '.join(_LEVELS)}."
    if settings.database and not settings.database.startswith(("postgresql://", "sqlite:///")):
        yield ("database",), "it is postgresql://user:password@host/name, or empty for SQLite."
    own = settings.provisioning
    for keys, text in ((("listen",), settings.listen), (("provisioning", "listen"), own.listen)):
        try:
            parse_listen(text or "0.0.0.0:0")
        except Invalid as fault:
            yield keys, fault.text
    for name in msgspec.structs.fields(Deadlines):
        if getattr(settings.deadlines, name.name) <= 0:
            yield ("deadlines", name.name), "it must be more than 0."
    if settings.identity.token_seconds <= 0:
        yield ("identity", "token_seconds"), "it must be more than 0."
    for text in settings.trusted_proxies:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield ("trusted_proxies",), f"{text!r} is no address and no network."
    yield from _in_egress(settings.egress)
    for option in msgspec.structs.fields(type(settings.retention)):
        if getattr(settings.retention, option.name) < 0:
            yield ("retention", option.name), "it must be 0 or more."
    if settings.audit.webhook and not settings.audit.webhook.startswith(("http://", "https://")):
        yield ("audit", "webhook"), f"{settings.audit.webhook!r} is no http:// or https:// address."
    yield from _in_nova(settings.nova)
    yield from _in_tls(settings)
    yield from _in_cluster(settings.cluster)
    yield from _in_monitoring(settings.monitoring, own)
    yield from _in_console(settings.console)
    yield from _in_network(own)
    yield from _in_inspection(settings.inspection)
    yield from _in_step(settings.steps)
    yield from _in_access(settings)
    if "conductor" in settings.roles:
        yield from _in_ramdisk(settings.ramdisk)


def _in_egress(own: Egress) -> Iterator[tuple[Keys, str]]:
    for name in ("allow", "refuse"):
        for text in getattr(own, name):
            try:
                ipaddress.ip_network(text)
            except ValueError as wrong:
                yield ("egress", name), f"{wrong}."


def _in_nova(own: NovaOptions) -> Iterator[tuple[Keys, str]]:
    if not own.url:
        return
    for name in ("url", "auth_url"):
        if not getattr(own, name).startswith(("http://", "https://")):
            yield ("nova", name), f"{getattr(own, name)!r} is no http:// or https:// address."
    if not own.password:
        yield ("nova", "password"), "nova's Keystone asks for it."
    if own.ca_file and not Path(own.ca_file).is_file():
        yield ("nova", "ca_file"), f"there is no file {own.ca_file}."


def _in_tls(settings: Settings) -> Iterator[tuple[Keys, str]]:
    own = settings.tls
    if bool(own.certificate) != bool(own.key):
        missing = "key" if own.certificate else "certificate"
        yield ("tls", missing), "certificate and key go together."
    elif own.certificate and settings.database:
        yield (
            ("tls", "certificate"),
            "the controllers of a cluster reach each other by HTTP: let the load balancer speak TLS.",
        )


def _in_cluster(own: Cluster) -> Iterator[tuple[Keys, str]]:
    """A process must be able to miss a beat or two without being taken for dead."""
    for name in ("beat_seconds", "dead_seconds"):
        if getattr(own, name) <= 0:
            yield ("cluster", name), "it must be more than 0."
    for name in ("drain_seconds", "leave_seconds"):
        if getattr(own, name) < 0:
            yield ("cluster", name), "it must be 0 or more."
    if own.dead_seconds < 3 * own.beat_seconds:
        yield ("cluster", "dead_seconds"), "it must be at least three times beat_seconds."


def _in_monitoring(own: Monitoring, boot: Provisioning) -> Iterator[tuple[Keys, str]]:
    if own.sensor_seconds < 0:
        yield ("monitoring", "sensor_seconds"), "it must be 0 or more."
    if own.event_poll_seconds <= 0:
        yield ("monitoring", "event_poll_seconds"), "it must be more than 0."
    if own.event_url and not own.event_url.startswith(("http://", "https://")):
        yield ("monitoring", "event_url"), f"{own.event_url!r} is no http or https address."
    elif own.event_url and not boot.listen:
        yield ("monitoring", "event_url"), "events need provisioning.listen."
    for text in own.metrics_from:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield ("monitoring", "metrics_from"), f"{text!r} is no address and no network."


def _in_ramdisk(own: Ramdisk) -> Iterator[tuple[Keys, str]]:
    """Machines that are told to boot a missing file only show it on their consoles, minutes later."""
    for name, text in (("kernel", own.kernel), ("initramfs", own.initramfs)):
        if text and not Path(text).is_file():
            yield ("ramdisk", name), f"there is no file {text}; `ingot ramdisk build` makes one."


def _in_step(own: StepOptions) -> Iterator[tuple[Keys, str]]:
    sources = ("autogenerated", "runbook", "hybrid")
    if own.cleaning_source not in sources:
        yield ("steps", "cleaning_source"), f"it is one of {', '.join(sources)}."
    lists = ("forbidden_clean", "forbidden_deploy", "forbidden_service", "clean_priorities")
    for key in lists:
        for name in getattr(own, key):
            if name.count(".") != 1:
                yield ("steps", key), f"{name!r} is not interface.step."
    for name, priority in own.clean_priorities.items():
        if priority < 0:
            yield ("steps", "clean_priorities"), f"the priority of {name} must be 0 or more."


def _in_inspection(own: Inspection) -> Iterator[tuple[Keys, str]]:
    choices = {
        "add_ports": ("pxe", "all", "active", "disabled"),
        "keep_ports": ("all", "present", "added"),
        "mask_secrets": ("always", "sensitive", "never"),
    }
    for name, allowed in choices.items():
        if getattr(own, name) not in allowed:
            yield ("inspection", name), f"it is one of {', '.join(allowed)}."
    for cidr in own.physical_networks:
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            yield ("inspection", "physical_networks"), f"{cidr!r} is no network."


def _in_access(settings: Settings) -> Iterator[tuple[Keys, str]]:
    """Who asks, and whom: the parts must fit together."""
    offered = settings.services.offered
    if not offered:
        yield ("services",), "all services are off."
    strategy, who = settings.baremetal.auth_strategy, settings.identity
    if strategy not in _STRATEGIES:
        yield (
            ("baremetal", "auth_strategy"),
            f"{strategy!r} is none of {', '.join(_STRATEGIES)}.",
        )
    if strategy == "http_basic" and not settings.baremetal.http_basic_auth_user_file:
        yield ("baremetal", "http_basic_auth_user_file"), "http_basic needs it (see `htpasswd -B`)."
    if settings.services.identity.mode == "external":
        for name in ("auth_url", "username", "password"):
            if not getattr(who, name):
                yield (
                    ("identity", name),
                    'mode "external" of services.identity needs it to validate tokens there.',
                )
    elif "identity" not in offered:
        others = sorted(set(offered) - {"baremetal"})
        if others:
            yield (
                ("services", "identity", "mode"),
                f"{', '.join(others)} need identity: own, or external with [identity] auth_url.",
            )
        elif strategy == "keystone":
            yield (
                ("baremetal", "auth_strategy"),
                "without the identity service it is http_basic or noauth.",
            )
    for at, path in enumerate(settings.baremetal.file_images):
        if not path.startswith("/"):
            yield ("baremetal", "file_images"), f"entry {at + 1}, {path!r}, is no absolute path."
    if settings.baremetal.max_image_bytes <= 0:
        yield ("baremetal", "max_image_bytes"), "it must be more than 0."


def _in_console(own: Console) -> Iterator[tuple[Keys, str]]:
    try:
        ipaddress.ip_address(own.address)
    except ValueError:
        yield ("console", "address"), f"{own.address!r} is no address."
    try:
        own.ranges()
    except ValueError:
        yield ("console", "ports"), "they are ranges of TCP ports such as 10000:20000."
    if own.idle_seconds < 0:
        yield ("console", "idle_seconds"), "it must be 0 or more."
    if own.websocket_url and not own.websocket_url.startswith(("ws://", "wss://")):
        yield (
            ("console", "websocket_url"),
            f"{own.websocket_url!r} is no address ws://… or wss://….",
        )
    if own.token_seconds <= 0:
        yield ("console", "token_seconds"), "it must be more than 0."


def _in_network(own: Provisioning) -> Iterator[tuple[Keys, str]]:
    try:
        cidr = ipaddress.ip_network(own.cidr, strict=False) if own.cidr else None
    except ValueError:
        yield ("provisioning", "cidr"), f"{own.cidr!r} is no network such as 192.0.2.0/24."
        return
    first, _, last = own.pool.partition("-")
    inside = {"gateway": [own.gateway], "pool": [first, last]}
    for name, addresses in inside.items():
        for text in filter(None, addresses):
            try:
                address = ipaddress.ip_address(text.strip())
            except ValueError:
                yield ("provisioning", name), f"{text.strip()!r} is no address."
                continue
            if cidr is not None and address not in cidr:
                yield ("provisioning", name), f"{address} is not inside {cidr}."
    if own.pool and not last:
        yield ("provisioning", "pool"), "it is a first and a last address: 192.0.2.10-192.0.2.99."
