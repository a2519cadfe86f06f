"""The peer: Ironic from PyPI in an environment of its own, on loopback, measured in the same run.

One process (`ironic`, all in one, no RPC), no authentication, `fake-hardware` without delays, no cleaning, no
debug log: the leanest set-up that upstream documents. Agents are looked up in every state
(`restrict_lookup`), since its fake deploy cannot be made to last for one node alone; that is less work for it
than for us, whose agents call while an operation waits.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import Server, cpu_seconds, family, memory

VERSION = "39.0.0"
_PACKAGES = (f"ironic=={VERSION}", "psycopg2-binary==2.9.*")
#: Its clean-up of dead conductors and its periodic tasks stay as they come; only what would touch machines
#: that do not exist is off.
_CONFIG = """
[DEFAULT]
auth_strategy = noauth
debug = false
default_log_levels = ironic=WARNING,sqlalchemy=WARNING,oslo=WARNING,cheroot=WARNING,alembic=WARNING
state_path = {state}
host = bench
rpc_transport = none
enabled_hardware_types = fake-hardware
enabled_bios_interfaces = no-bios
enabled_boot_interfaces = fake
enabled_console_interfaces = no-console
enabled_deploy_interfaces = fake
enabled_firmware_interfaces = no-firmware
enabled_inspect_interfaces = fake
enabled_management_interfaces = fake
enabled_network_interfaces = noop
enabled_power_interfaces = fake
enabled_raid_interfaces = no-raid
enabled_rescue_interfaces = no-rescue
enabled_storage_interfaces = noop
enabled_vendor_interfaces = no-vendor
default_network_interface = noop
log_file = {state}/server.log
use_stderr = false
[api]
host_ip = 127.0.0.1
port = {port}
restrict_lookup = false
[conductor]
automated_clean = false
[database]
connection = {database}
[oslo_concurrency]
lock_path = {state}/lock
"""


def environment() -> Path:
    """The folder of its programs; installed at the first use, kept in the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "ingot" / f"bench-ironic-{VERSION}"
    ready = folder / "ready"
    if not ready.exists():
        uv = os.environ.get("UV") or shutil.which("uv")
        if uv is None:
            raise RuntimeError("uv is needed to install the peer: run `make setup` first")
        print(f"installing Ironic {VERSION} into {folder}", file=sys.stderr, flush=True)
        subprocess.run([uv, "venv", "-q", "--clear", str(folder)], check=True)
        python = str(folder / "bin" / "python")
        subprocess.run([uv, "pip", "install", "-q", "--python", python, *_PACKAGES], check=True)
        ready.touch()
    return folder / "bin"


@dataclass
class Ironic(Server):
    """`ironic` on a state folder, in the shape of our own server."""

    api: str = ""
    tokens: bool = False
    long_deploy: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.boot_port = self.port

    def _command(self) -> list[str]:
        programs, config = environment(), self.state / "ironic.conf"
        if not config.exists():
            config.write_text(
                _CONFIG.format(state=self.state, port=self.port, database=self._url())
            )
            subprocess.run(
                [programs / "ironic-dbsync", "--config-file", config, "create_schema"],
                check=True,
                capture_output=True,
                timeout=300,
            )
        return [str(programs / "ironic"), "--config-file", str(config)]

    # Its process starts others that do the work.

    def _own_cpu(self) -> float:
        return sum(cpu_seconds(pid) for pid in family(self.pid))

    def memory(self) -> dict[str, float]:
        parts = [memory(pid) for pid in family(self.pid)]
        return {name: sum(part[name] for part in parts) for name in ("pss", "rss")}

    def _url(self) -> str:
        if self.database:
            return self.database.replace("postgresql://", "postgresql+psycopg2://")
        return f"sqlite:///{self.state}/ironic.db"
