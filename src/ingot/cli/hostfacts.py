"""What `ingot doctor` reads from the host: one small question each, no judgement."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

#: Before a command that needs root, for whoever is not.
SUDO = "" if os.geteuid() == 0 else "sudo "

# Not every user's PATH has the administrator's commands.
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))

#: Bits of the kernel's capability sets that serving DHCP and making namespaces need.
_CAPABILITIES = {"NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_ADMIN": 21}
_TIME_ERROR = 5


def which(program: str) -> str | None:
    """Where a program is, also in the administrator's folders."""
    return shutil.which(program, path=_PATH)


def dpkg_installed(package: str) -> bool:
    """Whether Debian has this package installed; False also where there is no dpkg."""
    query = which("dpkg-query")
    if query is None:
        return False
    command = [query, "-W", "-f", "${db:Status-Status}", package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout == "installed"


def lacking_capabilities() -> list[str]:
    """Names of the capabilities that this process does not have in force."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return [name for name, bit in _CAPABILITIES.items() if not bits >> bit & 1]
    return []


def available_memory() -> int:
    """Bytes that programs can still get, swap left out."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def port_trouble(kind: str, address: str, port: int) -> str:
    """Why a port cannot be had; "" when it can."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    which_kind = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, which_kind) as probe:
        if kind == "tcp":  # as servers do: a connection that lingers from before is no hindrance
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.strip("[]"), port))
        except PermissionError:
            return "denied"
        except OSError as error:
            return (error.strerror or str(error)).lower()
    return ""


def is_ingot(address: str, port: int) -> bool:
    """Whether an Ingot that is well answers there."""
    connection = http.client.HTTPConnection(address.strip("[]"), port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        said = json.loads(connection.getresponse().read(4096))
        return said.get("status") == "ok"
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def first_line(command: list[str]) -> tuple[str, bool]:
    """The first line that a command says, and whether it ended well."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error), False
    lines = (done.stdout or done.stderr).strip().splitlines()
    return (lines[0] if lines else "no output"), done.returncode == 0


def newest_manifest(folder: Path) -> tuple[Path, str] | None:
    """The newest whole build in a folder of the builders' cache, and when it was made."""
    found = sorted(folder.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        return None
    made = datetime.fromtimestamp(found[-1].stat().st_mtime, UTC)
    return found[-1].parent, made.strftime("%Y-%m-%d %H:%M UTC")


def clock_trouble() -> tuple[str, bool]:
    """What is plainly wrong with the clock ("" when nothing), and whether the kernel holds it synchronised."""
    installed = Path(__file__).stat().st_mtime
    now = time.time()
    if now < installed - 86400:
        shown = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"says {shown}, before this Ingot was installed", False
    # struct timex; all zero means "only tell". Sized with room to spare.
    buffer = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    return "", 0 <= state != _TIME_ERROR
