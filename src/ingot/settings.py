"""Every option, in one typed tree. Sources in rising order: defaults, TOML file, environment, command line.

The environment spells a key `INGOT_SECTION__KEY`, for example `INGOT_PROVISIONING__LISTEN`. A wrong value
names the file, the line and the key.
"""

from __future__ import annotations

import os
import socket
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    """The agent's kernel and ramdisk (from `ingot ramdisk build`), and kernel parameters added for it."""

    kernel: str = ""
    initramfs: str = ""
    params: str = ""


class BareMetal(Section):
    """Bare-metal life-cycle.

    clean_whole_disks: automated cleaning erases whole disks, not only their metadata (hours).
    require_agent_tls: refuse agents that offer plain http. hardware_types: enabled ones, all when empty.
    interfaces: capability -> names in order of preference. public_ramdisk_api: lookup and heartbeat also on
    the API listener (for a stock agent behind a router).
    """

    clean_whole_disks: bool = False
    require_agent_tls: bool = True
    hardware_types: list[str] = []
    interfaces: dict[str, list[str]] = {}
    public_ramdisk_api: bool = False
    power_sync_seconds: float = 60


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
    """admin_password: of the first start; random when empty. token_seconds: how long tokens live."""

    admin_password: str = ""
    token_seconds: int = 24 * 3600
    password_cost: int = 15
    region: str = "RegionOne"


class Log(Section):
    level: str = "info"
    json: bool = False


class Settings(Section):
    """The whole tree.

    state: folder of everything that must be kept. listen: the API's address. netns: network namespace to
    live in, while the API stays where it was bound (virtual racks). database: "" for SQLite in `state`.
    host: this process's name among its peers. roles: api, conductor,
    console (holds the serial consoles of servers open: one process of a cluster only). group: conductor group.
    public_url: as clients see us, when behind a proxy.
    """

    state: str = "var"
    listen: str = "127.0.0.1:6385"
    database: str = ""
    host: str = ""
    group: str = ""
    roles: list[str] = msgspec.field(default_factory=lambda: ["api", "conductor", "console"])
    netns: str = ""
    public_url: str = ""
    provisioning: Provisioning = msgspec.field(default_factory=Provisioning)
    ramdisk: Ramdisk = msgspec.field(default_factory=Ramdisk)
    baremetal: BareMetal = msgspec.field(default_factory=BareMetal)
    deadlines: Deadlines = msgspec.field(default_factory=Deadlines)
    identity: IdentityOptions = msgspec.field(default_factory=IdentityOptions)
    log: Log = msgspec.field(default_factory=Log)

    @property
    def state_dir(self) -> Path:
        return Path(self.state).absolute()

    @property
    def hostname(self) -> str:
        return self.host or socket.gethostname()


def load(
    path: Path | None, environment: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """The settings of a file (may be None), the environment, and the command line's own values."""
    text = ""
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            text = path.read_text()
            tree = tomllib.loads(text)
        except OSError as error:
            raise Invalid(f"{path} cannot be read: {error.strerror}.") from None
        except tomllib.TOMLDecodeError as error:
            raise Invalid(f"{path} is not valid TOML: {error}.") from None
    _apply_environment(tree, environment if environment is not None else os.environ)
    tree.update({key: value for key, value in overrides.items() if value is not None})
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(_place(str(error), path, text)) from None


def parse_listen(text: str) -> tuple[str, int]:
    """`address:port`, `[v6]:port`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Invalid(f"{text!r} is not address:port.")
    return host.strip("[]"), int(port)


def reference() -> str:
    """All options with their defaults, as TOML with comments."""
    lines: list[str] = []
    _describe(Settings, "", lines)
    return "\n".join(lines) + "\n"


def _describe(shape: type[msgspec.Struct], prefix: str, lines: list[str]) -> None:
    hints = typing.get_type_hints(shape)
    if prefix:
        lines += ["", f"[{prefix}]"]
    lines += [f"# {line.strip()}".rstrip() for line in (shape.__doc__ or "").strip().splitlines()]
    nested: list[tuple[str, type[msgspec.Struct]]] = []
    for field in msgspec.structs.fields(shape):
        kind = hints[field.name]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            nested.append((field.name, kind))
            continue
        default: Any = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        lines.append(f"# {field.name} = {_toml(default)}")
    for name, kind in nested:
        _describe(kind, f"{prefix}.{name}".lstrip("."), lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | list | dict):
        return msgspec.json.encode(value).decode()
    return str(value)


def _apply_environment(tree: dict[str, Any], environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        if not name.startswith("INGOT_"):
            continue
        *sections, key = name.removeprefix("INGOT_").lower().split("__")
        if not sections and key not in {f.name for f in msgspec.structs.fields(Settings)}:
            continue  # other programs' variables may begin like ours
        here = tree
        for section in sections:
            here = here.setdefault(section, {})
        is_list = value.startswith(("[", "{"))
        here[key] = msgspec.json.decode(value) if is_list else value


def _place(error: str, path: Path | None, text: str) -> str:
    """Add file and line to a message that ends in `at `$.section.key``."""
    what, _, where = error.partition(" - at `$.")
    key = where.rstrip("`").split(".")[-1]
    if not key and "unknown field" in error:
        key = error.split("`")[1]
    for number, line in enumerate(text.splitlines(), 1):
        if key and line.split("=")[0].strip().strip('"') == key:
            return f"{path}, line {number}: {key}: {what}."
    return f"Settings: {error}."
